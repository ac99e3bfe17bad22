"""
The tenants that a batch touches: locks, queues and generations, by the rules of the SPI.

A relational store reads them at once, lets the entries of the batch change them here in their order, and writes what
has changed back at once: a batch of sixty-four tasks is three statements instead of two hundred.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from switchover.adapters.stores.rows import Row
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TenantId
from switchover.domain.values import new_list
from switchover.errors import StoreConflictError
from switchover.spi import AcquireLock, BeginRun, ReleaseLock

TENANT_COLUMNS = ("tenant_id", "generation", "owner_plan", "owner_ordinal", "started_plan", "started_ordinal")
"""What ``TenantChanges.tenants`` holds of each."""

QUEUE_COLUMNS = ("tenant_id", "arrival", "plan_id", "ordinal")
"""What ``TenantChanges.joined`` and ``left`` hold of each place in a queue."""

QueuePlace = tuple[int, int, int]
"""Arrival, plan id and ordinal of who waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantChanges:
    """
    What is to be written.

    Who joins and leaves a queue in one batch is in both lists, so joining comes first.
    """

    tenants: list[Row]
    joined: list[Row]
    left: list[Row]


@dataclass(slots=True, eq=False)
class _Tenant:
    tenant_id: TenantId
    generation: int = 0
    owner: TaskKey | None = None
    started: TaskKey | None = None
    queue: list[tuple[int, TaskKey]] = field(default_factory=new_list)


class TenantBook:
    """
    The tenants of one batch.

    ``granted`` holds which waiting tasks were given their tenant's lock, in order, over all that was loaded.
    """

    def __init__(self) -> None:
        self.granted: dict[TaskKey, None] = {}
        self._tenants: dict[TenantId, _Tenant] = {}
        self._changed: dict[TenantId, _Tenant] = {}
        self._joined: list[Row] = []
        self._left: list[Row] = []

    def know(self, columns: Row, waiting: Iterable[QueuePlace]) -> None:
        """
        Take up what the store holds about a tenant; one that it does not know stays unknown.

        Args:
            columns: As ``TENANT_COLUMNS`` says.
        """
        tenant_id, generation, owner_plan, owner_ordinal, started_plan, started_ordinal = columns
        tenant = self._tenants[tenant_id] = _Tenant(
            tenant_id, generation, _key(owner_plan, owner_ordinal), _key(started_plan, started_ordinal)
        )
        tenant.queue = [(arrival, TaskKey(PlanId(plan), ordinal)) for arrival, plan, ordinal in sorted(waiting)]

    def take_changes(self) -> TenantChanges:
        """What has changed; everything is forgotten."""
        changes = TenantChanges(
            tenants=[_row(tenant) for tenant in self._changed.values()], joined=self._joined, left=self._left
        )
        self._tenants.clear()
        self._changed.clear()
        self._joined = []
        self._left = []
        return changes

    def touch(self, tenant_id: TenantId) -> None:
        """Make the tenant known."""
        if tenant_id not in self._tenants:
            self._change(tenant_id)

    def arrive(self, task: TaskAggregate) -> None:
        """A new task takes the lock, or queues; conflict when it may not."""
        tenant = self._change(task.tenant_id)
        if tenant.owner is None:
            tenant.owner = task.key
            if not task.lock_held:
                self.granted[task.key] = None
        elif task.lock_held:
            raise _locked(tenant, task.key)
        else:
            tenant.queue.append((task.arrival, task.key))
            tenant.queue.sort()
            self._joined.append((task.tenant_id, task.arrival, *task.key))

    def acquire(self, change: AcquireLock) -> None:
        """As the SPI says."""
        tenant = self._change(change.tenant_id)
        if tenant.owner is None:
            tenant.owner = change.key
        elif tenant.owner != change.key:
            raise _locked(tenant, change.key)

    def release(self, change: ReleaseLock) -> None:
        """As the SPI says."""
        tenant = self._tenants.get(change.tenant_id)
        if tenant is None:
            return
        if tenant.owner == change.key:
            self._changed[tenant.tenant_id] = tenant
            self.granted.pop(change.key, None)
            tenant.owner = None
            if tenant.queue:
                arrival, heir = tenant.queue.pop(0)
                self._left.append((tenant.tenant_id, arrival, *heir))
                tenant.owner = heir
                self.granted[heir] = None
            return
        for item in tenant.queue:
            if item[1] == change.key:
                tenant.queue.remove(item)
                self._left.append((tenant.tenant_id, item[0], *item[1]))
                return

    def begin_run(self, change: BeginRun) -> None:
        """As the SPI says."""
        tenant = self._tenants.get(change.tenant_id)
        if tenant is None or tenant.owner != change.key or tenant.generation >= change.generation:
            held = "is unknown"
            if tenant is not None:
                owner = "nobody" if tenant.owner is None else f"task {tenant.owner.task_id}"
                held = f"is locked by {owner} and has generation {tenant.generation}"
            run = f"task {change.key.task_id} cannot begin generation {change.generation}"
            message = f"{run}: tenant {change.tenant_id} {held}"
            raise StoreConflictError(message)
        self._changed[tenant.tenant_id] = tenant
        tenant.generation = change.generation
        if change.first:
            tenant.started = change.key

    def lift(self, tenant_id: TenantId, generation: int) -> None:
        """Raise the generation to at least this."""
        tenant = self._change(tenant_id)
        tenant.generation = max(tenant.generation, generation)

    def _change(self, tenant_id: TenantId) -> _Tenant:
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            tenant = self._tenants[tenant_id] = _Tenant(tenant_id)
        self._changed[tenant_id] = tenant
        return tenant


def _locked(tenant: _Tenant, key: TaskKey) -> StoreConflictError:
    owner = "nobody" if tenant.owner is None else tenant.owner.task_id
    return StoreConflictError(f"tenant {tenant.tenant_id} is locked by task {owner}, so {key.task_id} cannot take it")


def _key(plan_id: int | None, ordinal: int | None) -> TaskKey | None:
    return None if plan_id is None or ordinal is None else TaskKey(PlanId(plan_id), ordinal)


def _row(tenant: _Tenant) -> Row:
    owner = tenant.owner or (None, None)
    started = tenant.started or (None, None)
    return (tenant.tenant_id, tenant.generation, *owner, *started)
