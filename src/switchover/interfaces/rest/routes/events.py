"""Events: a page of history as JSON, or history and then live as server-sent events."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from switchover.domain.events import Event
from switchover.domain.task import LARGEST_ID, PlanId
from switchover.dto import PlanStatusInfo, TaskStatusInfo
from switchover.errors import ErrorCode, EventsPrunedError
from switchover.interfaces.rest.answers import answer
from switchover.interfaces.rest.live import AllSource, Item, PlanSource, Streams, TaskSource
from switchover.interfaces.rest.parameters import Limit, PlanNumber, TaskText, executor_of, principal_of, reach_of
from switchover.interfaces.rest.problems import ProblemError, malformed, unknown
from switchover.interfaces.rest.reach import check_plan_is_seen
from switchover.interfaces.rest.routes.tasks import known_task
from switchover.interfaces.rest.schemas import AllEvents, Events
from switchover.interfaces.rest.streams import STREAM, STREAMED, EventStream

router = APIRouter(tags=["events"])

Since = Annotated[
    int,
    Query(
        ge=0,
        le=LARGEST_ID,
        description="Only events behind this `position` (of a plan) or `sequenceId` (of a task).",
    ),
]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=64, description="The id of the last event that was seen; before `since`."),
]


@router.get("/plans/{planId}/events", response_model=Events, responses=STREAMED)
async def plan_events(
    request: Request,
    plan_id: PlanNumber,
    *,
    since: Since = 0,
    limit: Limit = 500,
    last_event_id: LastEventId = None,
) -> Response:
    """List a plan's events and its tasks', in commit order; live with `Accept: text/event-stream`."""
    executor = executor_of(request)
    plan = await executor.store.load_plan(PlanId(plan_id))
    if plan is None:
        raise unknown(executor.facade.unknown_plan(plan_id), f"plan {plan_id}")
    await check_plan_is_seen(reach_of(request), principal_of(request), plan_id)
    start = _start(since, last_event_id)
    found = await executor.store.load_events(PlanId(plan_id), start, limit)
    if (not found and plan.position > start) or (found and found[0].position != start + 1):
        kept_since = found[0].position - 1 if found else plan.position
        raise _pruned(start, plan.position, PlanStatusInfo.of(plan).to_dict(), kept_since=kept_since)
    if _wants_stream(request):
        streams: Streams = request.app.state.streams
        batches = streams.read(("plan", plan_id), lambda: PlanSource(executor, PlanId(plan_id)), (start,))
        return _stream(request, batches, start)
    return _page(request, found, found[-1].position if found else start)


@router.get("/tasks/{taskId}/events", response_model=Events, responses=STREAMED)
async def task_events(
    request: Request,
    task_id: TaskText,
    *,
    since: Since = 0,
    limit: Limit = 500,
    last_event_id: LastEventId = None,
) -> Response:
    """List a task's own events, in their order; live with `Accept: text/event-stream`."""
    executor = executor_of(request)
    task = await known_task(executor, principal_of(request), task_id)
    start = _start(since, last_event_id)
    found = await executor.store.load_task_events(task.key, start, limit)
    if (not found and task.sequence_id > start) or (found and found[0].sequence_id != start + 1):
        kept_since = found[0].sequence_id - 1 if found else task.sequence_id
        raise _pruned(start, task.sequence_id, TaskStatusInfo.of(task).to_dict(), kept_since=kept_since)
    if _wants_stream(request):
        streams: Streams = request.app.state.streams
        batches = streams.read(("task", *task.key), lambda: TaskSource(executor, task.key), (start,))
        return _stream(request, batches, start)
    return _page(request, found, found[-1].sequence_id if found else start)


@router.get("/events", response_model=AllEvents, responses=STREAMED)
async def all_events(
    request: Request,
    *,
    since: Annotated[int, Query(ge=0, le=LARGEST_ID, description="Only events behind this `number`.")] = 0,
    limit: Limit = 500,
    last_event_id: LastEventId = None,
) -> Response:
    """List the events of all plans, in commit order; live with `Accept: text/event-stream`."""
    executor = executor_of(request)
    start = _start(since, last_event_id)
    page = await executor.store.load_all_events(start, limit)
    if page.pruned > start:
        plans = {"plans": str(request.app.url_path_for("list_plans"))}
        raise _pruned(start, page.newest, plans, kept_since=page.pruned)
    if _wants_stream(request):
        streams: Streams = request.app.state.streams
        return _stream(request, streams.read("all", lambda: AllSource(executor), (start,)), start)
    seen = _seen(request)
    items = [
        {"number": number, **event.to_dict()}
        for number, event in page.events
        if seen is None or await seen(event.plan_id, event.tenant_id)
    ]
    return answer({"items": items, "nextSince": page.events[-1].number if page.events else start})


def _seen(request: Request) -> Callable[[int, str | None], Awaitable[bool]] | None:
    """Which events the caller may see: of tenants within reach, and of plans with one of them; None: all."""
    principal, reach = principal_of(request), reach_of(request)
    if not principal.is_limited:
        return None

    async def seen(plan_id: int, tenant_id: str | None) -> bool:
        if tenant_id is not None:
            return principal.may_touch(tenant_id)
        return await reach.sees(principal.tenants, plan_id)

    return seen


def _wants_stream(request: Request) -> bool:
    return STREAM in request.headers.get("accept", "")


def _start(since: int, last_event_id: str | None) -> int:
    if last_event_id is None or not last_event_id.strip():
        return since
    text = last_event_id.strip()
    if not (text.isascii() and text.isdigit()) or int(text) > LARGEST_ID:
        message = "Last-Event-ID is no id of an event of this stream; it is a number"
        raise malformed(ErrorCode.INVALID_PARAMETER, message, parameter="Last-Event-ID")
    return int(text)


def _stream(request: Request, batches: AsyncGenerator[Sequence[Item] | None], start: int) -> Response:
    seen = _seen(request)

    async def wanted(item: Item) -> bool:
        return seen is None or await seen(item.plan_id, item.tenant_id)

    return EventStream(
        batches,
        since=str(start),
        wanted=None if seen is None else wanted,
        patience=request.app.state.patience,
    )


def _page(request: Request, found: Sequence[Event], next_since: int) -> Response:
    principal = principal_of(request)
    items = [event.to_dict() for event in found if event.tenant_id is None or principal.may_touch(event.tenant_id)]
    return answer({"items": items, "nextSince": next_since})


def _pruned(start: int, newest: int, snapshot: Mapping[str, object], *, kept_since: int) -> ProblemError:
    error = EventsPrunedError(start, kept_since=kept_since, newest=newest)
    members = {"resumeFrom": newest, "keptSince": kept_since, "snapshot": snapshot}
    return ProblemError(HTTPStatus.GONE, error.code, error.message, members=members)
