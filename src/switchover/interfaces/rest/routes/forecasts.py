"""What a request would do, before anybody asks for it."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from switchover.domain.task import Operation, TenantId
from switchover.interfaces.rest.answers import answer
from switchover.interfaces.rest.parameters import PlanNumber, TenantText, executor_of, principal_of
from switchover.interfaces.rest.problems import unknown
from switchover.interfaces.rest.reach import check_plan, check_tenant
from switchover.interfaces.rest.schemas import Forecast

router = APIRouter(tags=["forecasts"])


class Origin(StrEnum):
    """Where a retry would begin."""

    CHECKPOINT = "checkpoint"
    SCRATCH = "scratch"


Verb = Annotated[Operation, Query(alias="verb", description="What would be asked for.")]
From = Annotated[Origin, Query(alias="from", description="Where a retry would begin.")]


@router.get("/plans/{planId}/forecast", response_model=Forecast)
async def forecast_plan(
    request: Request, plan_id: PlanNumber, verb: Verb, origin: From = Origin.CHECKPOINT
) -> Response:
    """Say what a request by plan would do, and to how many tasks, without doing it."""
    executor = executor_of(request)
    await check_plan(executor, principal_of(request), plan_id)
    forecast = await executor.forecast_plan(plan_id, verb, from_checkpoint=origin is Origin.CHECKPOINT)
    if not forecast.found:
        raise unknown(executor.facade.unknown_plan(plan_id), f"plan {plan_id}")
    return answer(forecast.to_dict())


@router.get("/tenants/{tenantId}/forecast", response_model=Forecast)
async def forecast_tenant(
    request: Request, tenant_id: TenantText, verb: Verb, origin: From = Origin.CHECKPOINT
) -> Response:
    """Say what a request by tenant would do, without doing it."""
    check_tenant(principal_of(request), tenant_id)
    executor = executor_of(request)
    wanted = TenantId(tenant_id)
    forecast = await executor.forecast_tenant(wanted, verb, from_checkpoint=origin is Origin.CHECKPOINT)
    if not forecast.found:
        raise unknown((await executor.facade.query_tenant(tenant_id)).failure_info, f"tenant {tenant_id!r}")
    return answer(forecast.to_dict())
