"""Principals that are limited to some tenants: what they may not see, and what they may not ask for."""

from http import HTTPStatus

from switchover.access.reach import PlanReach
from switchover.bootstrap import Executor
from switchover.domain.access import Principal
from switchover.domain.task import PlanId, TaskAggregate, TaskKey
from switchover.errors import ErrorCode
from switchover.interfaces.rest.problems import ProblemError

_PAGE = 1_000


def check_tenant(principal: Principal, tenant_id: str) -> None:
    """
    The tenant is within reach.

    Raises:
        ProblemError: 403.
    """
    if not principal.may_touch(tenant_id):
        raise _out_of_reach(principal, f"tenant {tenant_id}")


def check_everyone(principal: Principal, what: str) -> None:
    """
    The principal is limited to no tenants, which this call needs.

    Raises:
        ProblemError: 403.
    """
    if principal.is_limited:
        raise _out_of_reach(principal, what)


def check_task_is_seen(principal: Principal, task: TaskAggregate) -> None:
    """
    The task's tenant is within reach. Whose it is, is not told.

    Raises:
        ProblemError: 403.
    """
    if not principal.may_touch(task.tenant_id):
        raise _out_of_reach(principal, f"task {task.key.task_id}")


async def check_task(executor: Executor, principal: Principal, task_id: str) -> None:
    """
    The task's tenant is within reach; that of a task that nobody knows is not out of it.

    Raises:
        ProblemError: 403.
    """
    key = TaskKey.parse(task_id)
    if principal.is_limited and key is not None:
        for found in await executor.store.load_tasks([key]):
            check_task_is_seen(principal, found.task)


async def check_plan(executor: Executor, principal: Principal, plan_id: int) -> None:
    """
    Every tenant of the plan is within reach; of a plan that nobody knows, none is out of it.

    Raises:
        ProblemError: 403.
    """
    if not principal.is_limited:
        return
    after = 0
    while page := await executor.store.list_tasks(PlanId(plan_id), statuses=None, after=after, limit=_PAGE):
        if not all(principal.may_touch(task.tenant_id) for task in page):
            raise _out_of_reach(principal, f"plan {plan_id}, which has other tenants, too,")
        after = page[-1].key.ordinal


async def check_plan_is_seen(reach: PlanReach, principal: Principal, plan_id: int) -> None:
    """
    At least one tenant of the plan is within reach.

    Raises:
        ProblemError: 403.
    """
    if not await reach.sees(principal.tenants, plan_id):
        raise _out_of_reach(principal, f"plan {plan_id}")


def _out_of_reach(principal: Principal, what: str) -> ProblemError:
    message = f"{principal.name} is limited to some tenants, and {what} is out of reach"
    return ProblemError(HTTPStatus.FORBIDDEN, ErrorCode.TENANT_OUT_OF_REACH, message)
