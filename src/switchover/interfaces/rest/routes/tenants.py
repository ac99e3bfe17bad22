"""Tenants, holds, the line and the workers: how they stand."""

import shlex

from fastapi import APIRouter, Request
from starlette.responses import Response

from switchover.domain.task import TenantId, wire_timestamp
from switchover.interfaces.rest.answers import POLLED, answer, polled
from switchover.interfaces.rest.parameters import FullView, Limit, TenantText, View, executor_of, page, principal_of
from switchover.interfaces.rest.problems import unknown
from switchover.interfaces.rest.reach import check_everyone, check_tenant
from switchover.interfaces.rest.routes.plans import shown_task
from switchover.interfaces.rest.schemas import Check, HeldTenant, Line, Page, Task, TaskInFull, Tenant, Worker
from switchover.reports.checkup import checks_of
from switchover.spi import ServedStore

router = APIRouter(tags=["tenants"])


@router.get("/tenants/{tenantId}", response_model=Tenant, responses=POLLED)
async def get_tenant(request: Request, tenant_id: TenantText) -> Response:
    """Show a tenant: lock, queue, hold, generation, last known good, newest task."""
    check_tenant(principal_of(request), tenant_id)
    info = await executor_of(request).facade.query_tenant(tenant_id)
    if not info.found:
        raise unknown(info.failure_info, f"tenant {tenant_id!r}")
    return polled(request, info.to_dict())


@router.get("/tenants/{tenantId}/tasks", response_model=Page[TaskInFull] | Page[Task], responses=POLLED)
async def tenant_history(
    request: Request, tenant_id: TenantText, *, limit: Limit = 100, view: FullView = View.STATUS
) -> Response:
    """List the tenant's tasks, the newest first."""
    check_tenant(principal_of(request), tenant_id)
    executor = executor_of(request)
    tasks = await executor.store.tenant_history(TenantId(tenant_id), limit)
    if not tasks:
        info = await executor.facade.query_tenant(tenant_id)
        if not info.found:
            raise unknown(info.failure_info, f"tenant {tenant_id!r}")
    return polled(request, page([shown_task(task, view) for task in tasks], None))


@router.get("/holds", response_model=Page[HeldTenant], responses=POLLED)
async def list_holds(request: Request) -> Response:
    """List every tenant on hold, and why."""
    principal = principal_of(request)
    holds = await executor_of(request).facade.list_holds()
    items = [
        {"tenantId": tenant, "reason": hold.reason, "since": wire_timestamp(hold.since)}
        for tenant, hold in sorted(holds.items())
        if principal.may_touch(tenant)
    ]
    return polled(request, page(items, None))


@router.get("/line", response_model=Line, responses=POLLED)
async def get_line(request: Request) -> Response:
    """Say whether the line runs, and who drives the store."""
    executor = executor_of(request)
    line = await executor.facade.query_line()
    driver = await executor.driver()
    return polled(
        request,
        {
            "stopped": line is not None,
            "reason": None if line is None else line.reason,
            "since": None if line is None else wire_timestamp(line.since),
            "driver": None
            if driver is None
            else {
                "owner": driver.owner,
                "epoch": driver.epoch,
                "since": wire_timestamp(driver.since),
                "alive": driver.alive,
            },
        },
    )


@router.get("/workers", response_model=Page[Worker], responses=POLLED)
async def list_workers(request: Request) -> Response:
    """List the workers that carry out stages, and how many tasks each of them has."""
    workers = await executor_of(request).workers()
    return polled(request, page([info.to_dict() for info in workers], None))


@router.get("/checks", response_model=Page[Check])
async def get_checks(request: Request) -> Response:
    """Examine the store and its surroundings, and say what is wrong and what to do. May take long."""
    check_everyone(principal_of(request), "the store, which has every tenant's work,")
    executor = executor_of(request)
    store = executor.store
    place = store.place if isinstance(store, ServedStore) else str(getattr(store, "path", "the store"))
    checks = await checks_of(executor, _Commands(), place)
    return answer(page([check.to_dict() for check in checks], None))


class _Commands:
    def command(self, *words: str) -> str:
        """Without a place: whoever asks knows the server's address."""
        return shlex.join(["switchover", *words])
