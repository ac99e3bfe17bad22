"""Plans: create, preview, list, look, export."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from switchover.domain.plan import PlanAggregate
from switchover.domain.task import LARGEST_ID, PlanId, TaskAggregate
from switchover.dto import PlanStatusInfo, TaskCreationResult, TaskStatusInfo
from switchover.dto.details import plan_detail, task_detail
from switchover.errors import ErrorCode
from switchover.factory import StoreFacts
from switchover.interfaces.rest.answers import JSON, POLLED, answer, polled
from switchover.interfaces.rest.bodies import read_body
from switchover.interfaces.rest.contract import PLAN_BODY, PREVIEW_BODY
from switchover.interfaces.rest.parameters import (
    Cursor,
    FullView,
    Limit,
    PlanNumber,
    Statuses,
    View,
    behind,
    executor_of,
    facade_of,
    page,
    principal_of,
    reach_of,
)
from switchover.interfaces.rest.problems import ProblemError, malformed, refused_creation, unknown
from switchover.interfaces.rest.reach import check_plan, check_plan_is_seen, check_tenant
from switchover.interfaces.rest.schemas import Creation, Export, Page, Plan, PlanInFull, Preview, Task, TaskInFull
from switchover.planfile import PlanFile, parse_plan
from switchover.reports.exporting import export_document
from switchover.reports.preview import facts_about, preview_of

router = APIRouter(tags=["plans"])

_LONGEST_KEY = 256

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=_LONGEST_KEY,
        description="The same key with the same plan gives the first answer again. It lives as long as the plan.",
        examples=["release-42"],
    ),
]


async def plan_of(request: Request) -> PlanFile:
    """
    The plan in the body: a plan document, or a bare list of configs.

    Raises:
        ProblemError: 413; 400 when it is no JSON.
        InvalidPlanError: It is JSON, and no plan.
    """
    executor = executor_of(request)
    most = executor.settings.plan_file_max_bytes
    data = await read_body(request, most)
    if not data.strip():
        raise malformed(ErrorCode.MALFORMED_REQUEST, "the body is empty; send a plan as JSON")
    plan_file = parse_plan(data, name="body", max_bytes=most)
    principal = principal_of(request)
    if principal.is_limited:
        for config in plan_file.configs:
            given: object = cast("dict[str, object]", config).get("tenantId") if isinstance(config, dict) else None
            check_tenant(principal, str(given))
    return plan_file


@router.post(
    "/plans",
    status_code=HTTPStatus.CREATED,
    response_model=Creation,
    responses={201: {"headers": {"Location": {"description": "Where the plan is.", "schema": {"type": "string"}}}}},
    openapi_extra=PLAN_BODY,
)
async def create_plan(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Create a plan with one task per tenant: all of it, or nothing."""
    if idempotency_key is not None and not idempotency_key.strip():
        raise malformed(ErrorCode.INVALID_PARAMETER, "Idempotency-Key is blank; leave it out, or give one")
    plan_file = await plan_of(request)
    result = await facade_of(request).create_switch_task(
        plan_file.configs,
        options=plan_file.options,
        metadata=plan_file.metadata,
        idempotency_key=idempotency_key,
    )
    if not result.success:
        raise refused_creation(await _as_far_as_seen(request, result, idempotency_key))
    return answer(result.to_dict(), HTTPStatus.CREATED, headers={"Location": f"/api/v1/plans/{result.plan_id}"})


async def _as_far_as_seen(request: Request, result: TaskCreationResult, key: str | None) -> TaskCreationResult:
    """Without the difference from a plan that has tenants out of the caller's reach."""
    if result.difference and key is not None and principal_of(request).is_limited:
        executor = executor_of(request)
        known = await executor.store.find_idempotency(key)
        try:
            await check_plan(executor, principal_of(request), 0 if known is None else known.plan_id)
        except ProblemError:
            return replace(result, difference=())
    return result


@router.post("/plans:preview", response_model=Preview, openapi_extra=PREVIEW_BODY)
async def preview_plan(
    request: Request,
    *,
    conflicts: Annotated[bool, Query(description="Ask the store for conflicts, holds and last known good.")] = True,
) -> Response:
    """Say what a plan would do, per tenant, without doing it; what is wrong with it is in `findings`."""
    plan_file = await plan_of(request)
    executor = executor_of(request)
    factory = executor.factory
    draft = await asyncio.to_thread(factory.read, plan_file.configs, plan_file.options, plan_file.metadata)
    facts = await facts_about(executor.store, draft) if conflicts else StoreFacts()
    findings = await asyncio.to_thread(factory.validate, draft, facts)
    return answer(preview_of(draft, facts, findings, executor.settings, known=conflicts).to_dict())


@router.get("/plans/{planId}/export", response_model=Export)
async def export_plan(request: Request, plan_id: PlanNumber) -> Response:
    """Give everything about one plan as one document: rules, tasks, configs, pre-images, events."""
    executor = executor_of(request)
    await check_plan(executor, principal_of(request), plan_id)
    plan = await executor.store.load_plan(PlanId(plan_id))
    if plan is None:
        raise unknown(executor.facade.unknown_plan(plan_id), f"plan {plan_id}")
    return StreamingResponse(export_document(executor, plan), media_type=JSON, headers={"Cache-Control": "no-store"})


@router.get("/plans", response_model=Page[PlanInFull] | Page[Plan], responses=POLLED)
async def list_plans(
    request: Request,
    *,
    limit: Limit = 100,
    cursor: Cursor = None,
    view: FullView = View.STATUS,
    before: Annotated[int | None, Query(ge=0, le=LARGEST_ID, description="Only plans with a lower id.")] = None,
    unsettled: Annotated[bool, Query(description="Only plans with tasks that are not settled.")] = False,
    idempotency_key: Annotated[
        str | None,
        Query(alias="idempotencyKey", max_length=_LONGEST_KEY, description="The plan that was created under this key."),
    ] = None,
) -> Response:
    """List plans, the newest (highest id) first."""
    store = executor_of(request).store
    if idempotency_key is not None:
        found = await store.find_idempotency(idempotency_key)
        plan = None if found is None else await store.load_plan(found.plan_id)
        return polled(request, page(await _seen(request, [] if plan is None else [plan], view), None))
    if unsettled:
        found_plans = (await store.load_state()).plans
        return polled(request, page(await _seen(request, found_plans, view), None))
    start = behind(cursor) if cursor is not None else before
    plans = await store.list_plans(before=start, limit=limit + 1)
    rest = plans[limit - 1].plan_id if len(plans) > limit else None
    return polled(request, page(await _seen(request, plans[:limit], view), rest))


async def _seen(request: Request, plans: Sequence[PlanAggregate], view: View) -> list[dict[str, object]]:
    """Those that the caller may see: with at least one tenant within reach."""
    reach, tenants = reach_of(request), principal_of(request).tenants
    return [shown_plan(plan, view) for plan in plans if await reach.sees(tenants, plan.plan_id)]


@router.get("/plans/{planId}", response_model=PlanInFull | Plan, responses=POLLED)
async def get_plan(request: Request, plan_id: PlanNumber, view: FullView = View.STATUS) -> Response:
    """Show one plan."""
    executor = executor_of(request)
    plan = await executor.store.load_plan(PlanId(plan_id))
    if plan is None:
        raise unknown(executor.facade.unknown_plan(plan_id), f"plan {plan_id}")
    await check_plan_is_seen(reach_of(request), principal_of(request), plan_id)
    return polled(request, shown_plan(plan, view))


@router.get("/plans/{planId}/tasks", response_model=Page[TaskInFull] | Page[Task], responses=POLLED)
async def list_tasks(
    request: Request,
    plan_id: PlanNumber,
    *,
    status: Statuses = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID, description="Only tasks behind this place in the plan.")] = 0,
    view: FullView = View.STATUS,
) -> Response:
    """List the tasks of a plan, in its order."""
    executor = executor_of(request)
    if await executor.store.load_plan(PlanId(plan_id)) is None:
        raise unknown(executor.facade.unknown_plan(plan_id), f"plan {plan_id}")
    await check_plan_is_seen(reach_of(request), principal_of(request), plan_id)
    place = behind(cursor)
    tasks = await executor.store.list_tasks(
        PlanId(plan_id),
        statuses=None if status is None else frozenset(status),
        after=after if place is None else place,
        limit=limit + 1,
    )
    rest = tasks[limit - 1].key.ordinal if len(tasks) > limit else None
    principal = principal_of(request)
    shown = [shown_task(task, view) for task in tasks[:limit] if principal.may_touch(task.tenant_id)]
    return polled(request, page(shown, rest))


def shown_plan(plan: PlanAggregate, view: View) -> dict[str, object]:
    """A plan's status, and in full its ``detail``."""
    shown = PlanStatusInfo.of(plan).to_dict()
    return {**shown, "detail": plan_detail(plan)} if view is View.FULL else shown


def shown_task(task: TaskAggregate, view: View) -> dict[str, object]:
    """A task's status, and in full its ``detail``."""
    shown = TaskStatusInfo.of(task).to_dict()
    return {**shown, "detail": task_detail(task)} if view is View.FULL else shown
