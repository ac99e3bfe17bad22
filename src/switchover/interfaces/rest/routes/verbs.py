"""Requests about work that exists: accepted (202) and durable, or refused (404, 409); the same for every target."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from switchover.domain.task import TargetType
from switchover.interfaces.rest.answers import answer
from switchover.interfaces.rest.bodies import NeededReason, Reason, RetryRequest, body_of, read_as
from switchover.interfaces.rest.parameters import PlanNumber, TaskText, TenantText, executor_of, facade_of, principal_of
from switchover.interfaces.rest.problems import refused_operation
from switchover.interfaces.rest.reach import check_everyone, check_plan, check_task, check_tenant
from switchover.interfaces.rest.schemas import OperationResult
from switchover.operations import OperationRequest

router = APIRouter(tags=["verbs"])

SUMMARIES: Mapping[str, str] = {
    "pause": "Pause at the next stage boundary; what has not started is held at once.",
    "resume": "Go on after the last checkpoint.",
    "cancel": "Stop at the next stage boundary; what was switched stays, and can be rolled back.",
    "retry": "Run failed tasks again.",
    "rollback": "Restore what was effective before the switch.",
    "adopt": "Lift generations above what the targets hold, for a store that is new or was restored.",
    "prune": "Forget the events of a plan that has ended, but for its newest; how everything stands is kept.",
    "hold": "Start nothing more for the tenant, and refuse new plans for it, until the hold is lifted.",
    "unhold": "Lift the tenant's hold.",
    "stop-line": "Hold every task of every plan at its next stage boundary, and start none; rollbacks go on.",
    "start-line": "Let everything go on that the stop-line holds.",
}
NEEDS_REASON = frozenset({"hold", "unhold", "stop-line"})

_WORK = ("pause", "resume", "cancel", "retry", "rollback")


def body_model(verb: str) -> type[Reason | NeededReason]:
    """What a request about this verb may say."""
    if verb == "retry":
        return RetryRequest
    return NeededReason if verb in NEEDS_REASON else Reason


@dataclass(frozen=True, slots=True)
class _Verb:
    """One verb about one kind of target."""

    verb: str
    target_type: TargetType

    async def carry_out(self, request: Request, target: str) -> Response:
        given = await read_as(request, body_model(self.verb))
        result = await facade_of(request).operate(
            OperationRequest(
                verb=self.verb,
                target_type=self.target_type,
                target=target,
                from_checkpoint=given.from_checkpoint if isinstance(given, RetryRequest) else True,
                reason=given.reason or "",
            )
        )
        if not result.success:
            raise refused_operation(result)
        return answer(result.to_dict(), HTTPStatus.ACCEPTED)


def _about_plan(verb: _Verb) -> Callable[..., Awaitable[Response]]:
    async def route(request: Request, plan_id: PlanNumber) -> Response:
        await check_plan(executor_of(request), principal_of(request), plan_id)
        return await verb.carry_out(request, str(plan_id))

    return route


def _about_task(verb: _Verb) -> Callable[..., Awaitable[Response]]:
    async def route(request: Request, task_id: TaskText) -> Response:
        await check_task(executor_of(request), principal_of(request), task_id)
        return await verb.carry_out(request, task_id)

    return route


def _about_tenant(verb: _Verb) -> Callable[..., Awaitable[Response]]:
    async def route(request: Request, tenant_id: TenantText) -> Response:
        check_tenant(principal_of(request), tenant_id)
        return await verb.carry_out(request, tenant_id)

    return route


def _about_line(verb: _Verb) -> Callable[..., Awaitable[Response]]:
    async def route(request: Request) -> Response:
        check_everyone(principal_of(request), "the line, which every tenant's work is on,")
        return await verb.carry_out(request, "")

    return route


def _add(path: str, name: str, verb: str, endpoint: Callable[..., Awaitable[Response]]) -> None:
    router.add_api_route(
        path,
        endpoint,
        methods=["POST"],
        name=name,
        status_code=HTTPStatus.ACCEPTED,
        summary=SUMMARIES[verb].split(".")[0],
        description=SUMMARIES[verb],
        response_model=OperationResult,
        openapi_extra=body_of(body_model(verb)),
    )


for _verb in (*_WORK, "adopt", "prune"):
    _add(f"/plans/{{planId}}/{_verb}", f"{_verb}_plan", _verb, _about_plan(_Verb(_verb, TargetType.PLAN)))
for _verb in _WORK:
    _add(f"/tasks/{{taskId}}/{_verb}", f"{_verb}_task", _verb, _about_task(_Verb(_verb, TargetType.TASK)))
for _verb in (*_WORK, "adopt", "hold", "unhold"):
    _add(f"/tenants/{{tenantId}}/{_verb}", f"{_verb}_tenant", _verb, _about_tenant(_Verb(_verb, TargetType.TENANT)))
for _verb in ("stop", "start"):
    _add(f"/line/{_verb}", f"{_verb}_line", f"{_verb}-line", _about_line(_Verb(f"{_verb}-line", TargetType.LINE)))
