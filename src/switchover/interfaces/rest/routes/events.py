"""Events: a page of history as JSON, or history and then live as server-sent events."""

from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from switchover.domain.events import Event
from switchover.domain.task import LARGEST_ID, PlanId
from switchover.dto import PlanStatusInfo, TaskStatusInfo
from switchover.errors import ErrorCode
from switchover.interfaces.rest.answers import answer
from switchover.interfaces.rest.live import Item, PlanSource, Streams, TaskSource
from switchover.interfaces.rest.parameters import Limit, PlanNumber, TaskText, executor_of, principal_of, reach_of
from switchover.interfaces.rest.problems import ProblemError, malformed, unknown
from switchover.interfaces.rest.reach import check_plan_is_seen
from switchover.interfaces.rest.routes.tasks import known_task
from switchover.interfaces.rest.schemas import Events
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
        raise _pruned(start, plan.position, PlanStatusInfo.of(plan).to_dict())
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
        raise _pruned(start, task.sequence_id, TaskStatusInfo.of(task).to_dict())
    if _wants_stream(request):
        streams: Streams = request.app.state.streams
        batches = streams.read(("task", *task.key), lambda: TaskSource(executor, task.key), (start,))
        return _stream(request, batches, start)
    return _page(request, found, found[-1].sequence_id if found else start)


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
    principal = principal_of(request)
    return EventStream(
        batches,
        since=str(start),
        wanted=principal.may_touch if principal.is_limited else None,
        patience=request.app.state.patience,
    )


def _page(request: Request, found: Sequence[Event], next_since: int) -> Response:
    principal = principal_of(request)
    items = [event.to_dict() for event in found if event.tenant_id is None or principal.may_touch(event.tenant_id)]
    return answer({"items": items, "nextSince": next_since})


def _pruned(start: int, newest: int, snapshot: dict[str, object]) -> ProblemError:
    return ProblemError(
        HTTPStatus.GONE,
        ErrorCode.EVENTS_PRUNED,
        f"events behind {start} are no longer kept; start from the snapshot, and read on behind {newest}",
        members={"resumeFrom": newest, "snapshot": snapshot},
    )
