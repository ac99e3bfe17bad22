"""Questions, and what is done when they are answered with yes."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from switchover.bootstrap import Executor
from switchover.domain.task import Operation, PlanId, TargetType, TaskKey, TenantId
from switchover.interfaces.console.door import Visitor
from switchover.interfaces.console.entrance import Entrance
from switchover.interfaces.console.questions import Question, brake_question, plan_question, task_question
from switchover.operations import OperationRequest
from switchover.spi import StoredTask

_OPERATIONS = frozenset(str(operation) for operation in Operation)
_VERBS = _OPERATIONS | {"hold", "unhold", "adopt", "stop-line", "start-line"}
_TYPES = {"plan": TargetType.PLAN, "tenant": TargetType.TENANT, "line": TargetType.LINE}
_FORBIDDEN = 403
_NOT_FOUND = 404


class Actions:
    """
    Everything that can be asked for.

    Args:
        entrance: Says who asks.
    """

    def __init__(self, executor: Executor, entrance: Entrance) -> None:
        self._executor = executor
        self._entrance = entrance
        self._root = entrance.root

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(include_in_schema=False)
        router.get("/ask/{verb}")(self.ask)
        router.post("/do/{verb}")(self.do)
        router.get("/login")(self.login)
        router.post("/login")(self.sign_in)
        router.post("/logout")(self.sign_out)
        return router

    async def ask(self, request: Request, verb: str, plan: int | None = None, tenant: str = "") -> Response:
        """What will happen, and to how many."""
        visitor = await self._operator(request, tenant)
        question = await self._question(verb, plan, tenant)
        back = f"{self._root}/plans/{plan}" if plan is not None else f"{self._root}/brakes"
        if tenant and await self._executor.store.load_tenants([TenantId(tenant)]):
            back = f"{self._root}/tenants/{tenant}"
        return await self._entrance.page(request, "ask.html", visitor, {"question": question, "back": back})

    async def do(
        self,
        request: Request,
        verb: str,
        *,
        kind: Annotated[str, Form()],
        target: Annotated[str, Form()] = "",
        tenant: Annotated[str, Form()] = "",
        reason: Annotated[str, Form(max_length=500)] = "",
        origin: Annotated[str, Form(alias="from")] = "checkpoint",
        csrf: Annotated[str, Form()] = "",
    ) -> Response:
        """Do it, and say what came of it."""
        named = target or tenant
        visitor = await self._operator(request, named if kind == "tenant" else "")
        if not self._entrance.door.admits(request, visitor, csrf):
            raise HTTPException(
                _FORBIDDEN, "This form is not from one of our pages, or too old. Go back and ask again."
            )
        if kind == "plan" and visitor.limited:
            raise HTTPException(_FORBIDDEN, "A request by plan needs access to all tenants.")
        facade = self._executor.facade.acting_as(visitor.actor, reason=reason)
        result = await facade.operate(_request(verb, kind, named, reason, from_checkpoint=origin == "checkpoint"))
        places = {"plan": f"/plans/{named}", "tenant": f"/tenants/{named}"}
        to = places.get(kind, "/brakes") if verb not in {"hold", "unhold"} else "/brakes"
        return self._entrance.say(f"{self._root}{to}", result.message, good=result.success)

    async def login(self, request: Request, next: str = "") -> Response:  # noqa: A002  # as in the address
        """The form."""
        if await self._entrance.door.visitor(request) is not None:
            return RedirectResponse(self._entrance.own(next), 303)
        return await self._entrance.login_page(request, next)

    async def sign_in(
        self,
        request: Request,
        token: Annotated[str, Form()] = "",
        next: Annotated[str, Form()] = "",  # noqa: A002  # as in the form
    ) -> Response:
        """Come in, or be told why not."""
        answer = await self._entrance.door.sign_in(request, token, self._entrance.own(next))
        if isinstance(answer, Response):
            return answer
        return await self._entrance.login_page(request, next, answer, 401)

    async def sign_out(self, request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        """Leave."""
        visitor = await self._entrance.visitor(request)
        if not self._entrance.door.admits(request, visitor, csrf):
            raise HTTPException(
                _FORBIDDEN, "This form is not from one of our pages, or too old. Go back and ask again."
            )
        return await self._entrance.door.sign_out(request, f"{self._root}/login")

    # Inside

    async def _operator(self, request: Request, tenant_id: str) -> Visitor:
        visitor = await self._entrance.visitor(request)
        if not visitor.operates or (tenant_id and not visitor.sees(tenant_id)):
            raise HTTPException(_FORBIDDEN, f"{visitor.name} may look, but not ask for this.")
        return visitor

    async def _question(self, verb: str, plan: int | None, tenant: str) -> Question:
        store = self._executor.store
        question: Question | None
        if verb in _OPERATIONS and plan is not None:
            question = await plan_question(store, Operation(verb), PlanId(plan))
        elif verb in _OPERATIONS:
            record = (await store.load_tenants([TenantId(tenant)])).get(TenantId(tenant))
            key: TaskKey | None = None if record is None else record.owner or record.newest
            found: Sequence[StoredTask] = () if key is None else await store.load_tasks([key])
            question = await task_question(store, Operation(verb), found[0].task) if found else None
        else:
            question = brake_question(verb, tenant)
        if question is None:
            raise self._entrance.nothing("There is nothing that this could be asked of.")
        return question


def _request(verb: str, kind: str, target: str, reason: str, *, from_checkpoint: bool) -> OperationRequest:
    if kind not in _TYPES or verb not in _VERBS:
        raise HTTPException(_NOT_FOUND, "There is nothing that this could be asked of.")
    return OperationRequest(
        verb=verb, target_type=_TYPES[kind], target=target, reason=reason, from_checkpoint=from_checkpoint
    )
