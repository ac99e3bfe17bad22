"""
What became of a commit whose answer was lost: the store itself knows.

A commit may be durable although its caller was told nothing, or an error. Tried again it does not follow what the store
holds by then. Nobody else commits while the lease is ours, and every plan and task carries its version; so a store that
holds exactly the versions of the batch holds the batch, whole, because a batch is applied whole or not at all.
"""

from collections.abc import Sequence

from switchover.domain.plan import PlanAggregate
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.spi import CommitResult, DriverLease, Entry, ExecutionStore, NewPlan, ReleaseLock

_PAGE = 5_000


async def outcome_of(store: ExecutionStore, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult | None:
    """
    What ``commit`` would have answered, had its answer come; None when the batch is not in the store.

    Raises:
        StorageError: The store cannot be asked.
    """
    driver = await store.driver()
    if driver is None or driver.epoch != lease.epoch or not await _holds(store, batch):
        return None
    return CommitResult(granted=await _granted(store, batch))


async def _holds(store: ExecutionStore, batch: Sequence[Entry]) -> bool:
    """Whether the store has every plan and task as the batch leaves them."""
    plans: dict[PlanId, PlanAggregate] = {}
    tasks: dict[TaskKey, TaskAggregate] = {}
    for entry in batch:
        if entry.new_plan is not None:
            plans[entry.new_plan.plan.plan_id] = entry.new_plan.plan
        plans.update((plan.plan_id, plan) for plan in entry.plans)
        tasks.update((task.key, task) for task in entry.tasks)
    for plan_id, plan in plans.items():
        held = await store.load_plan(plan_id)
        if held is None or (held.version, held.created_at) != (plan.version, plan.created_at):
            return False
    keys = list(tasks)
    for start in range(0, len(keys), _PAGE):
        page = keys[start : start + _PAGE]
        found = {stored.task.key: stored.task.version for stored in await store.load_tasks(page)}
        if any(found.get(key) != tasks[key].version for key in page):
            return False
    return True


async def _granted(store: ExecutionStore, batch: Sequence[Entry]) -> tuple[TaskKey, ...]:
    """Tasks that own their tenant's lock since the batch: heirs of those that gave it back, and queued new ones."""
    created = [entry.new_plan for entry in batch if entry.new_plan is not None]
    tenants = [change.tenant_id for entry in batch for change in entry.changes if isinstance(change, ReleaseLock)] + [
        tenant_id for plan in created for tenant_id in _queued(plan)
    ]
    known = await store.load_tenants(list(dict.fromkeys(tenants)))
    owners = [tenant.owner for tenant in known.values() if tenant.owner is not None]
    return tuple(
        stored.task.key for stored in await store.load_tasks(owners) if stored.task.status is TaskStatus.PENDING
    )


def _queued(plan: NewPlan) -> list[TenantId]:
    return [TenantId(new.task.tenant_id) for new in plan.tasks if not new.task.lock_held]
