"""The pages that show something."""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from switchover.access.reach import PlanReach
from switchover.bootstrap import Executor
from switchover.domain.audit import EVERYTHING
from switchover.domain.events import Event
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.interfaces.console.board import BoardRow, Boards, PlanBoard, Wanted
from switchover.interfaces.console.configuration import field_rows, place_rows
from switchover.interfaces.console.door import Visitor
from switchover.interfaces.console.drawing import draw_crowd, draw_lanes
from switchover.interfaces.console.entrance import Entrance
from switchover.interfaces.console.feed import stream
from switchover.interfaces.console.questions import plan_asks, task_asks
from switchover.interfaces.console.shapes import TASK_LOOKS
from switchover.interfaces.console.timeline import Timelines
from switchover.spi import StoredTask

_PLANS = 50
_ROWS = 100
_MOST_ROWS = 400
_EVENTS = 100
_LANES = 60
_HISTORY = 50
_AUDIT = 100
_FORBIDDEN = 403

TONES = json.dumps({look.letter: str(look.tone) for look in TASK_LOOKS.values()})
"""What the map of squares needs to know about states."""


class Pages:
    """
    Everything that can be looked at.

    Args:
        entrance: Says who looks, and puts what every page shows around each of them.
        stopping: Set when the server stops: streams end then.
    """

    def __init__(self, executor: Executor, entrance: Entrance, stopping: asyncio.Event) -> None:
        self._executor = executor
        self._entrance = entrance
        self._stopping = stopping
        self._boards = Boards(executor)
        self._timelines = Timelines(executor.store)
        self._reach = PlanReach(executor.store)
        self._root = entrance.root

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(include_in_schema=False)
        get = router.get
        get("/plans")(self.plans)
        get("/feed")(self.plans_feed)
        get("/plans/{plan_id}")(self.plan)
        get("/plans/{plan_id}/rows")(self.rows)
        get("/plans/{plan_id}/map")(self.letters)
        get("/plans/{plan_id}/timeline")(self.timeline)
        get("/plans/{plan_id}/events")(self.events)
        get("/plans/{plan_id}/events/since")(self.events_since)
        get("/plans/{plan_id}/feed")(self.plan_feed)
        get("/tasks/{task_id}")(self.task)
        get("/tasks/{task_id}/feed")(self.task_feed)
        get("/tenants")(self.tenants)
        get("/tenants/{tenant_id}")(self.tenant)
        get("/brakes")(self.brakes)
        get("/audit")(self.audit)
        return router

    async def aclose(self) -> None:
        """Follow no plan any more."""
        await self._boards.aclose()

    # Plans

    async def plans(self, request: Request, before: int | None = None, part: bool = False) -> Response:  # noqa: FBT001, FBT002  # a query parameter
        """The list."""
        visitor = await self._entrance.visitor(request)
        found = await self._executor.store.list_plans(before=before, limit=_PLANS)
        shown = [plan for plan in found if await self._reach.sees(visitor.tenants, plan.plan_id)]
        older = found[-1].plan_id if len(found) == _PLANS else None
        return await self._entrance.page(
            request,
            "plans.html",
            visitor,
            {"shown": shown, "older": older},
            part=part,
            section="Plans",
            feed="/feed",
        )

    async def plans_feed(self, request: Request) -> Response:
        """Says when the list of plans looks different."""
        await self._entrance.visitor(request)

        async def token() -> object:
            plans = await self._executor.store.list_plans(before=None, limit=_PLANS)
            return tuple((plan.plan_id, plan.version) for plan in plans)

        return stream(self._executor, self._stopping, token)

    async def plan(
        self,
        request: Request,
        plan_id: int,
        *,
        q: str = "",
        status: Annotated[list[TaskStatus] | None, Query()] = None,
        first: Annotated[int, Query(ge=0)] = 0,
        part: bool = False,
    ) -> Response:
        """A plan as a board of tenants and stages."""
        visitor = await self._entrance.visitor(request)
        board = await self._board(plan_id, visitor)
        wanted = Wanted(text=q, statuses=frozenset(status or ()))
        rows = self._rows(board, wanted, visitor)
        return await self._plan_page(
            request,
            "plan.html",
            visitor,
            board,
            part=part,
            view="Board",
            wanted=wanted,
            rows=rows[first : first + _ROWS],
            found=len(rows),
            first=first,
            page=_ROWS,
            query=_query(wanted),
            stages=board.stages,
            tones=TONES,
        )

    async def rows(
        self,
        request: Request,
        plan_id: int,
        *,
        q: str = "",
        status: Annotated[list[TaskStatus] | None, Query()] = None,
        first: Annotated[int, Query(ge=0)] = 0,
        count: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = _ROWS,
    ) -> Response:
        """Some rows of the board."""
        visitor = await self._entrance.visitor(request)
        board = await self._board(plan_id, visitor)
        rows = self._rows(board, Wanted(text=q, statuses=frozenset(status or ())), visitor)
        return self._entrance.fragment(
            "plan_rows_part.html",
            plan=board.plan,
            rows=rows[first : first + count],
            first=first,
            found=len(rows),
            stages=board.stages,
        )

    async def letters(
        self,
        request: Request,
        plan_id: int,
        *,
        q: str = "",
        status: Annotated[list[TaskStatus] | None, Query()] = None,
    ) -> Response:
        """One letter for each row of the board."""
        visitor = await self._entrance.visitor(request)
        board = await self._board(plan_id, visitor)
        rows = self._rows(board, Wanted(text=q, statuses=frozenset(status or ())), visitor)
        letters = "".join([TASK_LOOKS[row.status].letter for row in rows])
        return PlainTextResponse(letters, headers={"Cache-Control": "no-store"})

    async def timeline(
        self,
        request: Request,
        plan_id: int,
        first: Annotated[int, Query(ge=0)] = 0,
        part: bool = False,  # noqa: FBT001, FBT002  # a query parameter
    ) -> Response:
        """When which tenant ran which stage."""
        visitor = await self._entrance.visitor(request)
        board = await self._board(plan_id, visitor)
        timeline = await self._timelines.of(PlanId(plan_id))
        lanes = [lane for lane in timeline.lanes.values() if visitor.sees(lane.tenant_id)]
        now = self._executor.clock.now()
        shown = lanes[first : first + _LANES]
        return await self._plan_page(
            request,
            "timeline.html",
            visitor,
            board,
            part=part,
            view="Timeline",
            crowd=draw_crowd(lanes, now) if lanes else "",
            lanes=draw_lanes(shown, now) if shown else "",
            first=first,
            page=_LANES,
            total=len(lanes),
            pruned=await self._pruned(plan_id),
        )

    async def events(
        self,
        request: Request,
        plan_id: int,
        before: Annotated[int | None, Query(ge=1)] = None,
        part: bool = False,  # noqa: FBT001, FBT002  # a query parameter
    ) -> Response:
        """The newest events, and older ones page by page."""
        visitor = await self._entrance.visitor(request)
        board = await self._board(plan_id, visitor)
        end = board.plan.position + 1 if before is None else before
        pruned = await self._pruned(plan_id)
        start = max(end - _EVENTS - 1, pruned)
        events = await self._events(plan_id, start, end, visitor)
        return await self._plan_page(
            request,
            "events.html",
            visitor,
            board,
            part=part,
            view="Events",
            events=events,
            before=start + 1,
            pruned=pruned,
        )

    async def events_since(self, request: Request, plan_id: int, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        """What is newer; at most the newest hundred, for a page that fell behind shows no more anyway."""
        visitor = await self._entrance.visitor(request)
        board = await self._board(plan_id, visitor)
        end = board.plan.position + 1
        events = await self._events(plan_id, max(after, end - _EVENTS - 1), end, visitor)
        return self._entrance.fragment("event_rows.html", events=events)

    async def plan_feed(self, request: Request, plan_id: int) -> Response:
        """Says when the board looks different."""
        visitor = await self._entrance.visitor(request)
        board = await self._board(plan_id, visitor)

        async def token() -> object:
            return board.version

        return stream(board, self._stopping, token)

    # Tenants

    async def task(
        self,
        request: Request,
        task_id: str,
        observe: bool = False,  # noqa: FBT001, FBT002  # a query parameter
        part: bool = False,  # noqa: FBT001, FBT002  # a query parameter
    ) -> Response:
        """One tenant's switch: where it stands and why, its configuration, its events and its history."""
        visitor = await self._entrance.visitor(request)
        key, store = TaskKey.parse(task_id), self._executor.store
        found: Sequence[StoredTask] = () if key is None else await store.load_tasks([key])
        if key is None or not found or not visitor.sees(found[0].task.tenant_id):
            raise self._entrance.nothing(f"No task {task_id} is known.")
        stored = found[0]
        task = stored.task
        hold = (await store.list_holds()).get(task.tenant_id)
        reports = await self._executor.observe(task_id) if observe else None
        previous = (
            stored.config.source_tenant_deploy_config
            or stored.previous
            or (stored.tenant.last_known_good if task.started_at is None else None)
        )
        events = await self._task_events(task)
        return await self._entrance.page(
            request,
            "task.html",
            visitor,
            {
                "task": task,
                "hold": hold,
                "why": await self._executor.facade.explain_task(task_id),
                "asks": task_asks(self._root, task, on_hold=hold is not None) if visitor.operates else [],
                "fields": field_rows(previous, stored.config),
                "previous_known": previous is not None,
                "observed": reports,
                "places": place_rows(reports or ()),
                "events": events[::-1],
                "pruned": task.sequence_id - len(events) if len(events) < min(task.sequence_id, _EVENTS) else 0,
                "history": await store.tenant_history(task.tenant_id, _HISTORY),
            },
            part=part,
            section="Tenants",
            feed=f"/tasks/{task_id}/feed",
        )

    async def task_feed(self, request: Request, task_id: str) -> Response:
        """Says when the task looks different."""
        await self._entrance.visitor(request)
        key = TaskKey.parse(task_id)
        if key is None:
            raise self._entrance.nothing(f"No task {task_id} is known.")

        async def token() -> object:
            found = await self._executor.store.load_tasks([key])
            return [(stored.task.version, stored.tenant.hold) for stored in found]

        return stream(self._executor, self._stopping, token)

    async def tenants(self, request: Request, tenant: str = "") -> Response:
        """Find a tenant."""
        visitor = await self._entrance.visitor(request)
        if tenant and await self._newest(tenant) is not None and visitor.sees(tenant):
            return RedirectResponse(f"{self._root}/tenants/{tenant}", 303)
        return await self._entrance.page(request, "tenants.html", visitor, {"asked": tenant}, section="Tenants")

    async def tenant(self, request: Request, tenant_id: str) -> Response:
        """The tenant's task that holds its lock, else its newest one."""
        visitor = await self._entrance.visitor(request)
        task_id = await self._newest(tenant_id)
        if task_id is None or not visitor.sees(tenant_id):
            raise self._entrance.nothing(f"No task of tenant {tenant_id} is known.")
        return RedirectResponse(f"{self._root}/tasks/{task_id}", 303)

    async def brakes(self, request: Request) -> Response:
        """The stop-line and the holds."""
        visitor = await self._entrance.visitor(request)
        holds = sorted((await self._executor.store.list_holds()).items())
        shown = [(tenant_id, hold) for tenant_id, hold in holds if visitor.sees(tenant_id)]
        return await self._entrance.page(request, "brakes.html", visitor, {"holds": shown}, section="Brakes")

    async def audit(self, request: Request, before: Annotated[int | None, Query(ge=1)] = None) -> Response:
        """Who asked for what, from where, why, and what came of it."""
        visitor = await self._entrance.visitor(request)
        if not visitor.admin or visitor.limited:
            raise HTTPException(_FORBIDDEN, f"{visitor.name} may not read the audit log; that takes the scope admin.")
        records = await self._executor.store.access.list_audit(EVERYTHING, before=before, limit=_AUDIT)
        older = records[-1].number if len(records) == _AUDIT else None
        values = {"records": records, "older": older}
        return await self._entrance.page(request, "audit.html", visitor, values, section="Audit")

    # Inside

    async def _board(self, plan_id: int, visitor: Visitor) -> PlanBoard:
        seen = await self._reach.sees(visitor.tenants, plan_id)
        board = await self._boards.of(PlanId(plan_id)) if seen else None
        if board is None:
            raise self._entrance.nothing(f"No plan {plan_id} is known.")
        return board

    def _rows(self, board: PlanBoard, wanted: Wanted, visitor: Visitor) -> Sequence[BoardRow]:
        rows = board.rows(wanted)
        return [row for row in rows if visitor.sees(row.tenant_id)] if visitor.limited else rows

    async def _plan_page(
        self, request: Request, template: str, visitor: Visitor, board: PlanBoard, *, part: bool, **values: object
    ) -> Response:
        plan = board.plan
        causes = [
            (cause, own)
            for cause, rows in board.failures()
            if (own := [row for row in rows if visitor.sees(row.tenant_id)])
        ]
        shown: dict[str, object] = {
            "plan": plan,
            "asks": plan_asks(self._root, plan) if visitor.operates and not visitor.limited else [],
            "rate": board.rate,
            "seconds_left": board.seconds_left,
            "causes": causes,
            "now": self._executor.clock.now(),
            **values,
        }
        feed = f"/plans/{plan.plan_id}/feed"
        return await self._entrance.page(request, template, visitor, shown, part=part, section="Plans", feed=feed)

    async def _events(self, plan_id: int, after: int, before: int, visitor: Visitor) -> list[object]:
        events = await self._executor.store.load_events(PlanId(plan_id), after, max(before - after - 1, 0))
        return [event for event in reversed(events) if event.tenant_id is None or visitor.sees(event.tenant_id)]

    async def _pruned(self, plan_id: int) -> int:
        """The position up to which the plan's events are no longer kept."""
        oldest = await self._executor.store.load_events(PlanId(plan_id), 0, 1)
        return oldest[0].position - 1 if oldest else 0

    async def _task_events(self, task: TaskAggregate) -> Sequence[Event]:
        after = max(task.sequence_id - _EVENTS, 0)
        return await self._executor.store.load_task_events(task.key, after, _EVENTS)

    async def _newest(self, tenant_id: str) -> str | None:
        record = (await self._executor.store.load_tenants([TenantId(tenant_id)])).get(TenantId(tenant_id))
        key = None if record is None else record.owner or record.newest
        return None if key is None else key.task_id


def _query(wanted: Wanted) -> str:
    return urlencode([("q", wanted.text), *(("status", str(status)) for status in sorted(wanted.statuses))])
