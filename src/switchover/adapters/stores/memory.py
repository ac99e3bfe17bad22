"""
The reference store: plain dictionaries, nothing durable, every promise of the SPI kept.

What this store answers is right by definition; the others must agree with it. A commit changes the dictionaries in
place and notes beside it how to undo each change, so that a refused batch costs what it had changed and a good one
costs nearly nothing.
"""
# ruff: noqa: D102  # what a store's methods promise is documented where it is demanded: in the SPI

import asyncio
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, assert_never

from switchover.adapters.stores.memory_access import AccessData, MemoryAccessStore
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.stage import PreImage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantDeployConfigSnapshot, TenantId
from switchover.errors import StoreClosedError, StoreConflictError
from switchover.spi import (
    AcquireLock,
    AnswerRequest,
    AppendAudit,
    BeginRun,
    Change,
    CommitResult,
    DriverInfo,
    DriverLease,
    Entry,
    EventPage,
    EventSpan,
    ExecutionStore,
    FixPrevious,
    Hold,
    KeepPreImage,
    KnownCreation,
    LiftGeneration,
    LiveTask,
    NewPlan,
    NewTask,
    NumberedEvent,
    PruneEvents,
    RecordLastKnownGood,
    ReleaseLock,
    Request,
    SetHold,
    SetLine,
    StopLine,
    StoredTask,
    StoreState,
    TenantRecord,
)

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(slots=True, eq=False)
class _Task:
    """One task and what belongs to it alone."""

    aggregate: TaskAggregate
    config: TenantDeployConfigSnapshot
    previous: TenantDeployConfigSnapshot | None = None
    events: list[Event] = field(default_factory=list[Event])
    pre_images: dict[tuple[str, str], PreImage] = field(default_factory=dict[tuple[str, str], PreImage])


@dataclass(slots=True, eq=False)
class _Plan:
    """One plan, its tasks by ordinal, the events of both by position, and its own by sequence id."""

    aggregate: PlanAggregate
    tasks: dict[int, _Task] = field(default_factory=dict[int, _Task])
    events: list[Event] = field(default_factory=list[Event])
    own_events: list[Event] = field(default_factory=list[Event])
    pruned: int = 0


@dataclass(slots=True, eq=False)
class _Tenant:
    """One tenant; ``queue`` and ``arrived`` are sorted by arrival."""

    generation: int = 0
    owner: TaskKey | None = None
    last_started: TaskKey | None = None
    hold: Hold | None = None
    last_known_good: TenantDeployConfigSnapshot | None = None
    queue: list[tuple[int, TaskKey]] = field(default_factory=list[tuple[int, TaskKey]])
    arrived: list[tuple[int, TaskKey]] = field(default_factory=list[tuple[int, TaskKey]])


@dataclass(slots=True, eq=False)
class _Undo:
    """How to take back what a batch has changed so far, last change first."""

    steps: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    def put(self, mapping: MutableMapping[_Key, _Value], key: _Key, value: _Value) -> None:
        """Set an item and note what was there."""
        if key in mapping:
            old = mapping[key]
            self.steps.append(lambda: mapping.__setitem__(key, old))
        else:
            self.steps.append(lambda: mapping.__delitem__(key))
        mapping[key] = value

    def assign(self, target: object, name: str, value: object) -> None:
        """Set an attribute and note what was there."""
        old = getattr(target, name)
        self.steps.append(lambda: setattr(target, name, old))
        setattr(target, name, value)

    def insert(self, items: list[Any], item: Any, key: Callable[[Any], Any] | None = None) -> None:  # noqa: ANN401  # any list
        """Put an item at its place in a sorted list."""
        if not items or (key(items[-1]) < key(item) if key is not None else items[-1] < item):
            items.append(item)
            self.steps.append(items.pop)
        else:
            insort(items, item, key=key)
            self.steps.append(lambda: items.remove(item))

    def remove(self, items: list[Any], item: Any) -> None:  # noqa: ANN401  # any list
        """Take an item out of a sorted list."""
        items.remove(item)
        self.steps.append(lambda: insort(items, item))

    def roll_back(self) -> None:
        """Take everything back."""
        for step in reversed(self.steps):
            step()


def _position(event: Event) -> int:
    return event.position


def _sequence(event: Event) -> int:
    return event.sequence_id


def _number(numbered: NumberedEvent) -> int:
    return numbered.number


@dataclass(slots=True, eq=False)
class _Data:
    """Everything that is kept."""

    plans: dict[PlanId, _Plan] = field(default_factory=dict[PlanId, _Plan])
    tenants: dict[TenantId, _Tenant] = field(default_factory=dict[TenantId, _Tenant])
    log: list[NumberedEvent] = field(default_factory=list[NumberedEvent])
    numbers: int = 0
    pruned: int = 0
    idempotency: dict[str, KnownCreation] = field(default_factory=dict[str, KnownCreation])
    requests: dict[int, Request] = field(default_factory=dict[int, Request])
    access: AccessData = field(default_factory=AccessData)
    line: StopLine | None = None
    last_arrival: int = 0
    driver: DriverInfo | None = None
    holder: "MemoryExecutionStore | None" = None
    token: int = 0


class MemoryExecutionStore(ExecutionStore):
    """
    Keeps everything in this object, for as long as it exists; closing and opening again finds the same data.

    Args:
        beside: Another store whose data this one shares: what a second process is to a store on disk.
        now: Wall-clock time for ``submitted_at`` and ``since``; aware, UTC.
    """

    def __init__(
        self, *, beside: "MemoryExecutionStore | None" = None, now: Callable[[], datetime] | None = None
    ) -> None:
        self._data: _Data = _Data() if beside is None else beside._data  # noqa: SLF001  # one class
        self._now = now or (lambda: datetime.now(UTC))
        self._is_open = False
        self._access = MemoryAccessStore(self._data.access, self._check_open)

    async def open(self) -> None:
        self._is_open = True

    async def aclose(self) -> None:
        self._is_open = False
        self._stop_driving()

    @property
    def access(self) -> MemoryAccessStore:
        return self._access

    # Driving

    async def acquire_driver(self, owner: str) -> DriverLease | None:
        self._check_open()
        data = self._data
        if data.holder is not None:
            return None
        epoch = 1 if data.driver is None else data.driver.epoch + 1
        data.driver = DriverInfo(owner=owner, epoch=epoch, since=self._now(), alive=True)
        data.holder = self
        self._data.token += 1
        return DriverLease(owner=owner, epoch=epoch)

    async def release_driver(self, lease: DriverLease) -> None:
        self._check_open()
        if self._data.driver is not None and self._data.driver.epoch == lease.epoch:
            self._stop_driving()

    async def driver(self) -> DriverInfo | None:
        self._check_open()
        return self._data.driver

    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        self._check_open()
        # A store that needs time is the normal case: callers must meet others that run meanwhile, here too.
        await asyncio.sleep(0)
        self._check_open()
        driver = self._data.driver
        if self._data.holder is not self or driver is None or driver.epoch != lease.epoch:
            held = "nobody" if driver is None or not driver.alive else f"epoch {driver.epoch} ({driver.owner})"
            message = (
                f"the driver's lease of {lease.owner} with epoch {lease.epoch} is over: {held} drives; stop writing"
            )
            raise StoreConflictError(message)
        undo = _Undo()
        granted: dict[TaskKey, TenantId] = {}
        last_arrival = self._data.last_arrival
        try:
            for entry in batch:
                self._apply(entry, undo, granted)
            for change in (change for entry in batch for change in entry.changes):
                if isinstance(change, PruneEvents):
                    self._prune(change, undo)
        except BaseException:
            undo.roll_back()
            self._data.last_arrival = last_arrival
            raise
        self._data.token += 1
        return CommitResult(
            granted=tuple(key for key, tenant_id in granted.items() if self._data.tenants[tenant_id].owner == key)
        )

    def _apply(self, entry: Entry, undo: _Undo, granted: dict[TaskKey, TenantId]) -> None:
        if entry.new_plan is not None:
            self._insert_plan(entry.new_plan, undo, granted)
        for plan in entry.plans:
            record = self._plan(plan.plan_id)
            _check_version(f"plan {plan.plan_id}", record.aggregate.version, plan.version)
            undo.assign(record, "aggregate", plan)
        for task in entry.tasks:
            kept = self._task(task.key)
            _check_version(f"task {task.task_id}", kept.aggregate.version, task.version)
            undo.assign(kept, "aggregate", task)
        for event in entry.events:
            self._insert_event(event, undo)
        for change in entry.changes:
            self._change(change, undo, granted)

    def _insert_plan(self, new: NewPlan, undo: _Undo, granted: dict[TaskKey, TenantId]) -> None:
        plan_id = new.plan.plan_id
        if plan_id in self._data.plans:
            message = f"plan {plan_id} exists already; take another id"
            raise StoreConflictError(message)
        if new.idempotency_key is not None:
            if new.idempotency_key in self._data.idempotency:
                message = "the idempotency key was used before; read the plan that it created"
                raise StoreConflictError(message)
            undo.put(
                self._data.idempotency, new.idempotency_key, KnownCreation(plan_id, new.content_digest, new.findings)
            )
        record = _Plan(new.plan)
        undo.put(self._data.plans, plan_id, record)
        for new_task in new.tasks:
            self._insert_task(record, new_task, undo, granted)

    def _insert_task(self, plan: _Plan, new: NewTask, undo: _Undo, granted: dict[TaskKey, TenantId]) -> None:
        task = new.task
        key = task.key
        if key.plan_id != plan.aggregate.plan_id or key.ordinal in plan.tasks:
            message = f"task {key.task_id} does not belong into plan {plan.aggregate.plan_id}, or is in it twice"
            raise StoreConflictError(message)
        plan.tasks[key.ordinal] = _Task(task, new.config)
        self._data.last_arrival = max(self._data.last_arrival, task.arrival)
        tenant = self._tenant(task.tenant_id, undo)
        undo.insert(tenant.arrived, (task.arrival, key))
        if tenant.owner is None:
            undo.assign(tenant, "owner", key)
            if not task.lock_held:
                granted[key] = task.tenant_id
        elif task.lock_held:
            message = (
                f"tenant {task.tenant_id} is locked by task {tenant.owner.task_id}, so {key.task_id} cannot take it"
            )
            raise StoreConflictError(message)
        else:
            undo.insert(tenant.queue, (task.arrival, key))
        for event in new.events:
            self._insert_event(event, undo)

    def _insert_event(self, event: Event, undo: _Undo) -> None:
        plan = self._plan(event.plan_id)
        if _holds(plan.events, event.position, _position):
            message = f"plan {event.plan_id} has an event at position {event.position} already"
            raise StoreConflictError(message)
        own = plan.own_events if event.key is None else self._task(event.key).events
        if _holds(own, event.sequence_id, _sequence):
            message = f"event {event.event_id} exists already"
            raise StoreConflictError(message)
        undo.insert(own, event, _sequence)
        undo.insert(plan.events, event, _position)
        undo.assign(self._data, "numbers", self._data.numbers + 1)
        undo.insert(self._data.log, NumberedEvent(self._data.numbers, event), _number)

    def _change(  # noqa: C901, PLR0912  # one case for each kind of change
        self, change: Change, undo: _Undo, granted: dict[TaskKey, TenantId]
    ) -> None:
        match change:
            case AcquireLock():
                self._acquire(change, undo)
            case ReleaseLock():
                self._release(change, undo, granted)
            case BeginRun():
                self._begin_run(change, undo)
            case LiftGeneration():
                tenant = self._tenant(change.tenant_id, undo)
                undo.assign(tenant, "generation", max(tenant.generation, change.generation))
            case RecordLastKnownGood():
                undo.assign(self._tenant(change.tenant_id, undo), "last_known_good", change.config)
            case SetHold():
                undo.assign(self._tenant(change.tenant_id, undo), "hold", change.hold)
            case FixPrevious():
                task = self._task(change.key)
                if task.previous is None:
                    undo.assign(task, "previous", change.config)
            case KeepPreImage():
                task = self._task(change.key)
                place = (change.stage, change.pre_image.key)
                if place not in task.pre_images:
                    undo.put(task.pre_images, place, change.pre_image)
            case SetLine():
                undo.assign(self._data, "line", change.line)
            case AnswerRequest():
                request = self._data.requests.get(change.request_id)
                if request is not None and request.answer is None:
                    undo.put(self._data.requests, change.request_id, replace(request, answer=change.answer))
            case PruneEvents():
                pass  # when all else is done
            case AppendAudit():
                undo.steps.append(self._data.access.append(change.entry))
            case _:
                assert_never(change)

    def _acquire(self, change: AcquireLock, undo: _Undo) -> None:
        self._task(change.key)
        tenant = self._tenant(change.tenant_id, undo)
        if tenant.owner is None:
            undo.assign(tenant, "owner", change.key)
        elif tenant.owner != change.key:
            owner = tenant.owner.task_id
            message = f"tenant {change.tenant_id} is locked by task {owner}, so {change.key.task_id} cannot take it"
            raise StoreConflictError(message)

    def _release(self, change: ReleaseLock, undo: _Undo, granted: dict[TaskKey, TenantId]) -> None:
        tenant = self._data.tenants.get(change.tenant_id)
        if tenant is None:
            return
        if tenant.owner == change.key:
            heir: TaskKey | None = None
            if tenant.queue:
                first = tenant.queue[0]
                undo.remove(tenant.queue, first)
                heir = first[1]
                granted[heir] = change.tenant_id
            undo.assign(tenant, "owner", heir)
        else:
            for item in tenant.queue:
                if item[1] == change.key:
                    undo.remove(tenant.queue, item)
                    break

    def _begin_run(self, change: BeginRun, undo: _Undo) -> None:
        tenant = self._data.tenants.get(change.tenant_id)
        if tenant is None or tenant.owner != change.key or tenant.generation >= change.generation:
            held = "is unknown"
            if tenant is not None:
                owner = "nobody" if tenant.owner is None else f"task {tenant.owner.task_id}"
                held = f"is locked by {owner} and has generation {tenant.generation}"
            run = f"task {change.key.task_id} cannot begin generation {change.generation}"
            message = f"{run}: tenant {change.tenant_id} {held}"
            raise StoreConflictError(message)
        undo.assign(tenant, "generation", change.generation)
        if change.first:
            undo.assign(tenant, "last_started", change.key)

    def _prune(self, change: PruneEvents, undo: _Undo) -> None:
        plan = self._plan(change.plan_id)
        through = min(change.through, plan.events[-1].position - 1) if plan.events else 0
        gone = bisect_right(plan.events, through, key=_position)
        if not gone:
            return
        undo.assign(plan, "pruned", through)
        undo.assign(plan, "events", plan.events[gone:])
        undo.assign(plan, "own_events", [event for event in plan.own_events if event.position > through])
        for task in plan.tasks.values():
            if task.events and task.events[0].position <= through:
                undo.assign(task, "events", [event for event in task.events if event.position > through])
        data = self._data
        last = max(
            (n for n, event in data.log if event.plan_id == change.plan_id and event.position <= through), default=0
        )
        if last > data.pruned:
            undo.assign(data, "pruned", last)
            undo.assign(data, "log", data.log[bisect_right(data.log, last, key=_number) :])

    # Requests of other processes

    async def put_request(self, verb: str, payload: bytes) -> int:
        self._check_open()
        request_id = len(self._data.requests) + 1
        self._data.requests[request_id] = Request(
            request_id=request_id, verb=verb, payload=payload, submitted_at=self._now()
        )
        self._data.token += 1
        return request_id

    async def open_requests(self, after: int, limit: int) -> Sequence[Request]:
        self._check_open()
        waiting = (r for r in self._data.requests.values() if r.answer is None and r.request_id > after)
        return _first(waiting, limit)

    async def load_request(self, request_id: int) -> Request | None:
        self._check_open()
        return self._data.requests.get(request_id)

    # Reading

    async def load_state(self) -> StoreState:
        self._check_open()
        return StoreState(
            plans=tuple(
                self._data.plans[i].aggregate
                for i in sorted(self._data.plans)
                if self._data.plans[i].aggregate.unsettled
            ),
            line=self._data.line,
            holds=self._holds(),
            last_arrival=self._data.last_arrival,
            last_plan_id=max(self._data.plans, default=0),
        )

    async def load_live(self, plan_id: PlanId, after: int, limit: int) -> Sequence[LiveTask]:
        self._check_open()
        return _first((_live(task) for task in self._ordered(plan_id, after) if task.is_live), limit)

    async def load_tasks(self, keys: Sequence[TaskKey]) -> Sequence[StoredTask]:
        self._check_open()
        found: list[StoredTask] = []
        for key in keys:
            plan = self._data.plans.get(key.plan_id)
            task = None if plan is None else plan.tasks.get(key.ordinal)
            if task is not None:
                aggregate = self._seen(task.aggregate)
                found.append(
                    StoredTask(
                        task=aggregate,
                        config=task.config,
                        previous=task.previous,
                        tenant=self._record(aggregate.tenant_id),
                    )
                )
        return found

    async def load_plan(self, plan_id: PlanId) -> PlanAggregate | None:
        self._check_open()
        plan = self._data.plans.get(plan_id)
        return None if plan is None else plan.aggregate

    async def list_plans(self, *, before: int | None, limit: int) -> Sequence[PlanAggregate]:
        self._check_open()
        ids = sorted((i for i in self._data.plans if before is None or i < before), reverse=True)
        return [self._data.plans[plan_id].aggregate for plan_id in ids[: max(limit, 0)]]

    async def list_tasks(
        self, plan_id: PlanId, *, statuses: frozenset[TaskStatus] | None, after: int, limit: int
    ) -> Sequence[TaskAggregate]:
        self._check_open()
        tasks = self._ordered(plan_id, after)
        return _first((task for task in tasks if statuses is None or task.status in statuses), limit)

    async def load_tenants(self, tenant_ids: Sequence[TenantId]) -> Mapping[TenantId, TenantRecord]:
        self._check_open()
        return {tenant_id: self._record(tenant_id) for tenant_id in tenant_ids if tenant_id in self._data.tenants}

    async def list_holds(self) -> Mapping[TenantId, Hold]:
        self._check_open()
        return self._holds()

    async def load_line(self) -> StopLine | None:
        self._check_open()
        return self._data.line

    async def tenant_history(self, tenant_id: TenantId, limit: int) -> Sequence[TaskAggregate]:
        self._check_open()
        tenant = self._data.tenants.get(tenant_id)
        if tenant is None:
            return []
        return _first((self._seen(self._task(key).aggregate) for _, key in reversed(tenant.arrived)), limit)

    async def load_events(self, plan_id: PlanId, after: int, limit: int) -> Sequence[Event]:
        self._check_open()
        plan = self._data.plans.get(plan_id)
        return [] if plan is None else _page(plan.events, after, limit, _position)

    async def load_task_events(self, key: TaskKey, after: int, limit: int) -> Sequence[Event]:
        self._check_open()
        plan = self._data.plans.get(key.plan_id)
        task = None if plan is None else plan.tasks.get(key.ordinal)
        return [] if task is None else _page(task.events, after, limit, _sequence)

    async def load_all_events(self, after: int, limit: int) -> EventPage:
        self._check_open()
        data = self._data
        start = bisect_right(data.log, after, key=_number)
        return EventPage(events=data.log[start : start + max(limit, 0)], newest=data.numbers, pruned=data.pruned)

    async def load_event_spans(self, *, ended_before: datetime, limit: int) -> Sequence[EventSpan]:
        self._check_open()
        ended = sorted(
            (plan.aggregate.ended_at, plan_id)
            for plan_id, plan in self._data.plans.items()
            if plan.aggregate.ended_at is not None
            and plan.aggregate.ended_at < ended_before
            and not plan.aggregate.unsettled
            and len(plan.events) > 1
        )
        plans = [self._data.plans[plan_id] for _, plan_id in ended[: max(limit, 0)]]
        return [EventSpan(plan.aggregate.plan_id, plan.events[0].position, plan.events[-1].position) for plan in plans]

    async def load_pre_images(self, key: TaskKey, stage: str) -> Sequence[PreImage]:
        self._check_open()
        plan = self._data.plans.get(key.plan_id)
        task = None if plan is None else plan.tasks.get(key.ordinal)
        return [] if task is None else [image for place, image in task.pre_images.items() if place[0] == stage]

    async def find_idempotency(self, idempotency_key: str) -> KnownCreation | None:
        self._check_open()
        return self._data.idempotency.get(idempotency_key)

    async def change_token(self) -> int:
        self._check_open()
        return self._data.token

    async def check(self) -> Sequence[str]:
        self._check_open()
        problems: list[str] = []
        for plan in self._data.plans.values():
            problems.extend(_plan_problems(plan))
        for tenant_id, tenant in self._data.tenants.items():
            problems.extend(self._tenant_problems(tenant_id, tenant))
        return problems

    # Inside

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreClosedError("the memory store is not open; call open() before any other method")

    def _stop_driving(self) -> None:
        data = self._data
        if data.holder is self and data.driver is not None:
            data.driver = replace(data.driver, alive=False)
            data.holder = None
            data.token += 1

    def _plan(self, plan_id: PlanId) -> _Plan:
        plan = self._data.plans.get(plan_id)
        if plan is None:
            message = f"plan {plan_id} is not in the store"
            raise StoreConflictError(message)
        return plan

    def _task(self, key: TaskKey) -> _Task:
        plan = self._data.plans.get(key.plan_id)
        task = None if plan is None else plan.tasks.get(key.ordinal)
        if task is None:
            message = f"task {key.task_id} is not in the store"
            raise StoreConflictError(message)
        return task

    def _tenant(self, tenant_id: TenantId, undo: _Undo) -> _Tenant:
        tenant = self._data.tenants.get(tenant_id)
        if tenant is None:
            tenant = _Tenant()
            undo.put(self._data.tenants, tenant_id, tenant)
        return tenant

    def _record(self, tenant_id: TenantId) -> TenantRecord:
        tenant = self._data.tenants[tenant_id]
        return TenantRecord(
            tenant_id=tenant_id,
            generation=tenant.generation,
            owner=tenant.owner,
            newest=tenant.arrived[-1][1] if tenant.arrived else None,
            last_started=tenant.last_started,
            waiting=len(tenant.queue),
            hold=tenant.hold,
            last_known_good=tenant.last_known_good,
        )

    def _seen(self, task: TaskAggregate) -> TaskAggregate:
        """The task with the lock as the tenant has it."""
        owns = self._data.tenants[task.tenant_id].owner == task.key
        return task if task.lock_held == owns else replace(task, lock_held=owns)

    def _ordered(self, plan_id: PlanId, after: int) -> Iterator[TaskAggregate]:
        plan = self._data.plans.get(plan_id)
        if plan is not None:
            for ordinal in sorted(plan.tasks):
                if ordinal > after:
                    yield self._seen(plan.tasks[ordinal].aggregate)

    def _holds(self) -> dict[TenantId, Hold]:
        return {i: tenant.hold for i, tenant in sorted(self._data.tenants.items()) if tenant.hold is not None}

    def _tenant_problems(self, tenant_id: TenantId, tenant: _Tenant) -> Iterator[str]:
        if tenant.queue and tenant.owner is None:
            yield f"tenant {tenant_id}: {len(tenant.queue)} tasks wait for a lock that nobody owns"
        waiting = {key for _, key in tenant.queue}
        for _, key in tenant.arrived:
            live = self._task(key).aggregate.is_live
            if live and key != tenant.owner and key not in waiting:
                yield f"tenant {tenant_id}: task {key.task_id} is live, and neither owns the lock nor waits for it"
            if not live and (key == tenant.owner or key in waiting):
                yield f"tenant {tenant_id}: task {key.task_id} is settled, and still owns the lock or waits for it"


def _check_version(name: str, stored: int, written: int) -> None:
    if written != stored + 1:
        message = f"{name} has version {stored} in the store, so version {written} does not follow: somebody else wrote"
        raise StoreConflictError(message)


def _holds(events: list[Event], number: int, key: Callable[[Event], int]) -> bool:
    if not events or key(events[-1]) < number:
        return False
    index = bisect_right(events, number, key=key)
    return index > 0 and key(events[index - 1]) == number


def _page(events: list[Event], after: int, limit: int, key: Callable[[Event], int]) -> Sequence[Event]:
    start = bisect_right(events, after, key=key)
    return events[start : start + max(limit, 0)]


def _first(items: Iterator[_Value], limit: int) -> list[_Value]:
    return [item for _, item in zip(range(limit), items, strict=False)]


def _live(task: TaskAggregate) -> LiveTask:
    return LiveTask(
        ordinal=task.key.ordinal,
        status=task.status,
        pending_operation=task.pending_operation,
        held=task.held,
        line_held=task.line_held,
        own_request=task.own_request,
        lock_held=task.lock_held,
        started_order=task.started_order,
    )


def _plan_problems(plan: _Plan) -> Iterator[str]:
    aggregate = plan.aggregate
    name = f"plan {aggregate.plan_id}"
    tasks = [task.aggregate for task in plan.tasks.values()]
    if len(tasks) != aggregate.total:
        yield f"{name}: {len(tasks)} tasks are stored, its total says {aggregate.total}"
    live = sum(task.is_live for task in tasks)
    if live != aggregate.unsettled:
        yield f"{name}: {live} tasks are live, it says {aggregate.unsettled}"
    for status in TaskStatus:
        number = sum(task.status is status for task in tasks)
        if number != aggregate.count(status):
            yield f"{name}: {number} tasks are {status}, it says {aggregate.count(status)}"
    cut = plan.pruned > 0
    positions = [event.position for event in plan.events]
    yield from _gaps(f"{name}: positions", positions, plan.pruned + 1, aggregate.position)
    own = [event.sequence_id for event in plan.own_events]
    yield from _gaps(f"{name}: sequence ids", own, _start(own, aggregate.sequence_id, cut=cut), aggregate.sequence_id)
    for task in plan.tasks.values():
        numbers, last = [event.sequence_id for event in task.events], task.aggregate.sequence_id
        first = _start(numbers, last, cut=cut)
        yield from _gaps(f"task {task.aggregate.task_id}: sequence ids", numbers, first, last)


def _start(numbers: Sequence[int], last: int, *, cut: bool) -> int:
    """Where the numbers should begin: what was pruned of a plan is nothing whole of its tasks."""
    if not cut:
        return 1
    return numbers[0] if numbers else last + 1


def _gaps(name: str, numbers: Sequence[int], first: int, last: int) -> Iterator[str]:
    if len(numbers) != last - first + 1 or (numbers and (numbers[0] != first or numbers[-1] != last)):
        span = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
        yield f"{name} of the {len(numbers)} stored events run from {span}, and should run from {first} to {last}"
