"""
What the driver keeps in memory: working copies of plans, and of the tasks that hold a slot or were touched lately.

The store is the truth and memory is a cache of it, with one difference: what was decided here and is on its way to the
store is already visible here. So a task stays resident until everything that was decided about it is durable, and
whoever needs a task asks here first.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from switchover.domain.admission import queue_class
from switchover.domain.plan import PlanAggregate, evolve_plan
from switchover.domain.stage import TaskRuntimeContext, TaskStage
from switchover.domain.task import (
    PlanId,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantDeployConfigSnapshot,
    TenantId,
)
from switchover.spi import ExecutionStore, StoredTask

NO_FAILURES: Mapping[int, str] = MappingProxyType({})
"""Of nearly every task: one object for all."""


@dataclass(slots=True, eq=False)
class TaskRecord:
    """
    A resident task.

    Attributes:
        generation: The tenant's, as of the last run.
        last_started: The tenant's task that first started last; another one than this supersedes it.
        last_known_good: The tenant's, as read with the task.
        stages: Made when the task first runs in this process.
        runtime: Of the present run.
        run: Rises with every run: a run whose number is not the record's is over, whatever the status says.
        in_flight: How many entries about the task are not durable yet.
        first_started: Index of the stage that was started for the first time in the task's life, until its run begins.
        restore_failures: Why stages could not be restored, by index, in the present rollback.
    """

    task: TaskAggregate
    config: TenantDeployConfigSnapshot
    previous: TenantDeployConfigSnapshot | None
    generation: int
    last_started: TaskKey | None
    last_known_good: TenantDeployConfigSnapshot | None
    stages: Sequence[TaskStage] | None = None
    runtime: TaskRuntimeContext | None = None
    run: int = 0
    in_flight: int = 0
    first_started: int | None = None
    restore_failures: Mapping[int, str] = field(default_factory=lambda: NO_FAILURES)

    @staticmethod
    def of(stored: StoredTask) -> "TaskRecord":
        """A working copy of what the store holds."""
        return TaskRecord(
            task=stored.task,
            config=stored.config,
            previous=stored.config.source_tenant_deploy_config or stored.previous,
            generation=stored.tenant.generation,
            last_started=stored.tenant.last_started,
            last_known_good=stored.tenant.last_known_good,
        )

    @property
    def key(self) -> TaskKey:
        """The task's identity."""
        return self.task.key

    @property
    def tenant_id(self) -> TenantId:
        """Whose switch it is."""
        return TenantId(self.task.tenant_id)

    @property
    def superseded(self) -> bool:
        """A later task of the tenant has started to run."""
        return self.task.started_at is not None and self.last_started is not None and self.last_started != self.task.key


class PlanRecord:
    """
    A plan as the driver works with it: the frozen aggregate, and the counters that every event moves.

    The counters are folded into a new frozen value once per commit (``freeze``), not once per event.
    """

    __slots__ = (
        "counts",
        "dirty",
        "idle",
        "in_flight",
        "pins",
        "plan",
        "position",
        "sequence_id",
        "started_tasks",
        "suspended",
        "touched",
        "unsettled",
    )

    def __init__(self, plan: PlanAggregate) -> None:
        self.plan = plan
        self.counts: dict[TaskStatus, int] = dict(plan.counts)
        self.unsettled = plan.unsettled
        self.idle = plan.idle
        self.touched = plan.touched
        self.sequence_id = plan.sequence_id
        self.position = plan.position
        self.started_tasks = plan.started_tasks
        self.dirty = False
        self.in_flight = 0
        self.pins = 0
        self.suspended = False
        """A request by plan is carried out in several commits: nothing starts between them."""

    @property
    def occupied_slots(self) -> int:
        """Tasks that count against maxConcurrency."""
        return self.counts.get(TaskStatus.RUNNING, 0) + self.counts.get(TaskStatus.ROLLING_BACK, 0)

    def view(self) -> PlanAggregate:
        """The plan as of now, counters included; not a committed state."""
        return self._evolve()

    def freeze(self, now: datetime) -> PlanAggregate:
        """The next version of the plan, for the commit that is being put together."""
        self.plan = self._evolve(version=self.plan.version + 1, updated_at=now)
        self.dirty = False
        return self.plan

    def _evolve(self, **changes: object) -> PlanAggregate:
        return evolve_plan(
            self.plan,
            counts={status: count for status, count in self.counts.items() if count},
            unsettled=self.unsettled,
            idle=self.idle,
            touched=self.touched,
            sequence_id=self.sequence_id,
            position=self.position,
            started_tasks=self.started_tasks,
            **changes,
        )


class Residents:
    """The resident plans and tasks. Loading is shared: who asks twice at once gets one record."""

    def __init__(self, store: ExecutionStore) -> None:
        self._store = store
        self.plans: dict[PlanId, PlanRecord] = {}
        self.tasks: dict[TaskKey, TaskRecord] = {}
        self._loading: dict[TaskKey, asyncio.Future[None]] = {}
        self._outdated: set[TaskKey] = set()
        self._loading_plans: dict[PlanId, asyncio.Future[None]] = {}

    async def plan(self, plan_id: PlanId) -> PlanRecord | None:
        """The plan, loaded when it is not resident; None when nobody knows it."""
        while (record := self.plans.get(plan_id)) is None:
            waiting = self._loading_plans.get(plan_id)
            if waiting is not None:
                await asyncio.shield(waiting)
                continue
            done = asyncio.get_running_loop().create_future()
            self._loading_plans[plan_id] = done
            try:
                plan = await self._store.load_plan(plan_id)
            finally:
                del self._loading_plans[plan_id]
                done.set_result(None)
            if plan is None:
                return None
            self.plans.setdefault(plan_id, PlanRecord(plan))
        return record

    async def task(self, key: TaskKey) -> TaskRecord | None:
        """The task, loaded when it is not resident; None when nobody knows it."""
        await self.load([key])
        return self.tasks.get(key)

    async def load(self, keys: Sequence[TaskKey]) -> None:
        """
        Make tasks resident, those that exist.

        A task that becomes resident while the store reads is left as it is: what is resident is newer.
        """
        unknown: set[TaskKey] = set()
        while True:
            # A task may be asked for twice at once: queued by its plan, and once more on its own request.
            missing = [key for key in dict.fromkeys(keys) if key not in self.tasks and key not in unknown]
            if not missing:
                return
            waiting = next((self._loading[key] for key in missing if key in self._loading), None)
            if waiting is not None:
                await asyncio.shield(waiting)
                continue
            done = asyncio.get_running_loop().create_future()
            self._loading.update(dict.fromkeys(missing, done))
            try:
                found = await self._store.load_tasks(missing)
            finally:
                for key in missing:
                    del self._loading[key]
                done.set_result(None)
            outdated = self._outdated.intersection(missing)
            self._outdated.difference_update(outdated)
            for stored in found:
                if stored.task.key not in outdated:
                    self.tasks.setdefault(stored.task.key, TaskRecord.of(stored))
            # What was resident may have become out of date meanwhile, so look again.
            unknown.update(missing)
            unknown.difference_update(stored.task.key for stored in found)

    def invalidate(self, key: TaskKey) -> bool:
        """
        The store changed a waiting task by itself (it owns its lock now): what was read before is out of date.

        Returns:
            False when something about the task is on its way, so that it has to be read again later.
        """
        if key in self._loading:
            self._outdated.add(key)
        record = self.tasks.get(key)
        if record is None or record.task.status.holds_slot:
            return True
        if record.in_flight:
            record.task = replace(record.task, lock_held=True)
            return False
        del self.tasks[key]
        return True

    def of_plan(self, plan_id: PlanId) -> Iterator[TaskRecord]:
        """Resident tasks of one plan."""
        return (record for record in list(self.tasks.values()) if record.task.key.plan_id == plan_id)

    def release(self, record: TaskRecord) -> None:
        """Forget a task that holds no slot and about which nothing is on its way; otherwise keep it."""
        if record.in_flight or record.task.status.holds_slot:
            return
        plan = self.plans.get(record.task.key.plan_id)
        if plan is not None and plan.pins:
            return
        if self.tasks.get(record.task.key) is record:
            del self.tasks[record.task.key]

    def release_plan(self, plan: PlanRecord) -> None:
        """Forget a settled plan about which nothing is on its way."""
        if plan.plan.status.is_settled and not plan.in_flight and not plan.pins and not plan.dirty:
            self.plans.pop(plan.plan.plan_id, None)

    def pin(self, plan: PlanRecord) -> "Pin":
        """While pinned, no task of the plan is forgotten: what is not resident is as the store has it."""
        return Pin(self, plan)


class Pin:
    """Keeps a plan's touched tasks resident while somebody reads the rest from the store."""

    def __init__(self, residents: Residents, plan: PlanRecord) -> None:
        self._residents = residents
        self._plan = plan

    def __enter__(self) -> None:
        self._plan.pins += 1

    def __exit__(self, *exc_info: object) -> None:
        self._plan.pins -= 1
        if not self._plan.pins:
            for record in self._residents.of_plan(self._plan.plan.plan_id):
                if queue_class(record.task) is None or record.task.held:
                    self._residents.release(record)
            self._residents.release_plan(self._plan)
