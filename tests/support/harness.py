"""
A running executor under a test's control.

``open_rig`` opens an executor over a store whose commits can be counted, delayed, refused or cut off, with stages whose
steps wait, fail or succeed as the test says, per tenant and stage. A test never sleeps: it waits for facts
(``entered``, ``reaches``, ``until``), and with the manual clock ``quiet`` returns when nothing is left that could run.

::

    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")
        await rig.create("t1", "t2", plan_id=100)
        await rig.entered("t1", "B")
        await rig.facade.pause_task_by_tenant("t1")
        rig.script.release("t1", "B")
        ...

When the rig closes, it checks the whole store: numbers without gap, counters that agree with the tasks, and no lock,
slot, run or heartbeat left behind.
"""
# ruff: noqa: ANN401  # options, settings and what is behind the back door are of any type

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar, cast

from switchover import ExecutorSettings
from switchover.bootstrap import Executor, make_store, open_executor
from switchover.domain.events import Event, EventType
from switchover.domain.plan import PlanStatus
from switchover.domain.stage import TaskRuntimeContext, TaskStage
from switchover.domain.task import (
    PlanId,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantDeployConfigSnapshot,
    TenantId,
)
from switchover.dto import PlanStatusInfo, TaskCreationResult, TaskOperationResult, TaskStatusInfo
from switchover.errors import StoreConflictError
from switchover.facade import DeploymentTaskFacade
from switchover.spi import AppendAudit, CommitObserver, CommitResult, DriverLease, Entry, ExecutionStore, TenantRecord
from switchover.stages.service import CompositeServiceStage
from switchover.testing.clock import ManualClock
from switchover.testing.fakes import FaultyStore

ANY = "*"
"""Every tenant, or every stage."""

_Result = TypeVar("_Result")

_PATIENCE_SECONDS = 5.0
"""How long a fact may take; only a test that fails ever waits for so long."""


# --- steps that do what the test says -------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a step runs: forward, or while its stage is restored."""

    tenant_id: str
    stage: str
    restoring: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One execution of a scripted step, and what it was given."""

    place: Place
    task_id: str
    generation: int
    unit: int

    @property
    def text(self) -> str:
        """``t1 A``, or ``t1 -A`` while A is restored."""
        return f"{self.place.tenant_id} {'-' if self.place.restoring else ''}{self.place.stage}"


@dataclass(slots=True)
class _Fault:
    error: Exception
    left: int | None


class Script:
    """What the steps of every tenant do; they succeed unless told otherwise."""

    def __init__(self, stages: Sequence[str]) -> None:
        self.stages = tuple(stages)
        self.stages_of: dict[str, tuple[str, ...]] = {}
        self.calls: list[Call] = []
        self.held: dict[str, int] = {}
        """The generation that the targets of a tenant hold."""
        self.inside: Counter[Place] = Counter()
        self.most_inside = 0
        self.poison = ""
        """The tenant for whom the factory raises what nobody foresees."""
        self._gates: dict[Place, asyncio.Event] = {}
        self._faults: dict[Place, _Fault] = {}
        self._watchers: list[asyncio.Future[None]] = []

    def block(self, tenant_id: str, stage: str = ANY, *, restoring: bool = False) -> None:
        """From now on steps wait there until they are released."""
        self._gates[Place(tenant_id, stage, restoring)] = asyncio.Event()

    def release(self, tenant_id: str, stage: str = ANY, *, restoring: bool = False) -> None:
        """Let those that wait there go on, and those to come pass."""
        self._gates.pop(Place(tenant_id, stage, restoring)).set()

    def release_all(self) -> None:
        """No step waits any more."""
        gates, self._gates = self._gates, {}
        for gate in gates.values():
            gate.set()

    def fail(
        self,
        tenant_id: str,
        stage: str = ANY,
        *,
        restoring: bool = False,
        times: int | None = None,
        error: Exception | None = None,
    ) -> None:
        """Steps fail there, so often or until they are healed."""
        fault = _Fault(RuntimeError("broken on purpose") if error is None else error, times)
        self._faults[Place(tenant_id, stage, restoring)] = fault

    def heal(self, tenant_id: str, stage: str = ANY, *, restoring: bool = False) -> None:
        """Steps succeed there again."""
        del self._faults[Place(tenant_id, stage, restoring)]

    def done(self, tenant_id: str | None = None) -> list[str]:
        """What was executed, in order: ``t1 A``, and ``t1 -A`` for restoring A."""
        return [call.text for call in self.calls if tenant_id in {None, call.place.tenant_id}]

    def generations(self, tenant_id: str) -> list[int]:
        """The generation of each execution for the tenant."""
        return [call.generation for call in self.calls if call.place.tenant_id == tenant_id]

    def factory(self, config: Any) -> Sequence[TaskStage]:
        """Give ``open_executor`` this as its ``stage_factory``."""
        if config.tenant_id == self.poison:
            raise asyncio.CancelledError
        names = self.stages_of.get(config.tenant_id, self.stages)
        return [CompositeServiceStage(name, [_ScriptedStep(self)]) for name in names]

    async def moved(self) -> None:
        """Wait until some step begins or ends."""
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.append(watcher)
        await watcher

    async def perform(self, context: TaskRuntimeContext) -> None:
        """What every scripted step does."""
        place = Place(context.tenant_id, context.stage, context.rolling_back)
        call = Call(
            place=place, task_id=context.task_id, generation=context.generation, unit=context.config.deploy_unit_id
        )
        self.calls.append(call)
        self.inside[place] += 1
        self.most_inside = max(self.most_inside, sum(self.inside.values()))
        self._notify()
        try:
            while (gate := self._found(self._gates, place)) is not None:
                await gate.wait()
            fault = self._found(self._faults, place)
            if fault is not None and fault.left != 0:
                fault.left = None if fault.left is None else fault.left - 1
                raise fault.error
        finally:
            self.inside[place] -= 1
            self._notify()

    def _notify(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    @staticmethod
    def _found(table: Mapping[Place, Any], place: Place) -> Any:
        for key in (place, place._replace(stage=ANY), place._replace(tenant_id=ANY), Place(ANY, ANY, place.restoring)):
            if key in table:
                return table[key]
        return None


@dataclass(frozen=True, slots=True)
class _ScriptedStep:
    script: Script
    name: str = "switch"

    async def execute(self, context: TaskRuntimeContext) -> None:
        await self.script.perform(context)

    async def held_generation(self, config: TenantDeployConfigSnapshot, services: object = None) -> int:
        return self.script.held.get(config.tenant_id, 0)


# --- a store that can be away or cut off -----------------------------------------------------------------------------


def _changes_something(entry: Entry) -> bool:
    more = any(not isinstance(change, AppendAudit) for change in entry.changes)
    return more or bool(entry.new_plan or entry.plans or entry.tasks or entry.events)


class FragileStore(FaultyStore):
    """
    A ``FaultyStore`` that remembers what was committed, holds commits back, and can lose its power.

    Attributes:
        entries: Every entry that was committed, in order.
        busy: Calls that the store inside has not answered.
        changing: How many of the attempts would have changed more than the audit log.
        cut_off_after: After so many commits no other succeeds.
        after_commit: Called when a commit is durable and nobody has been told; may look at the store.
    """

    def __init__(self, inner: ExecutionStore) -> None:
        super().__init__(inner=inner)
        self.after = lambda number, batch: self.entries.extend(batch)
        self.entries: list[Entry] = []
        self.busy = 0
        self.changing = 0
        self.cut_off_after: int | None = None
        self.after_commit: Callable[[], Awaitable[None]] | None = None
        self._gate: asyncio.Event | None = None

    def hold(self) -> None:
        """Commits wait until ``let_go``."""
        self._gate = asyncio.Event()

    def let_go(self) -> None:
        """Commits go on."""
        if self._gate is not None:
            self._gate.set()
        self._gate = None

    def cut_off(self) -> None:
        """The power fails: no commit succeeds any more."""
        self.cut_off_after = self.commits

    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        self.changing += any(map(_changes_something, batch))
        while self._gate is not None:
            await self._gate.wait()
        if self.cut_off_after is not None and self.commits >= self.cut_off_after:
            message = "the power failed"
            raise StoreConflictError(message)
        result = await super().commit(lease, batch)
        if self.after_commit is not None:
            await self.after_commit()
        return result

    async def _carry_out(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        self.busy += 1
        try:
            return await super()._carry_out(work)
        finally:
            self.busy -= 1


# --- the rig ---------------------------------------------------------------------------------------------------------


def config_of(tenant_id: str, *, unit: int = 2, source_unit: int | None = 1) -> dict[str, Any]:
    """A config from one unit to another; without a previous good config when ``source_unit`` is None."""
    config: dict[str, Any] = {"tenantId": tenant_id, "deployUnitId": unit, "deployUnitVersion": unit}
    if source_unit is not None:
        config["sourceTenantDeployConfig"] = config_of(tenant_id, unit=source_unit, source_unit=None)
    return config


def text_of(event: Event) -> str:
    """``TaskStageStarted(A)``: the type, and the stage where the event has one."""
    stage = event.data.get("stage")
    return str(event.type) if stage is None else f"{event.type}({stage})"


@dataclass(slots=True, eq=False)
class Rig:
    """See the module."""

    script: Script
    store: FragileStore
    clock: ManualClock | None
    url: str
    settings: dict[str, Any]
    policies: Sequence[object]
    mode: Literal["drive", "record"] = "drive"
    observers: Sequence[CommitObserver] = ()
    _executor: Executor | None = None
    _life: AsyncExitStack = field(default_factory=AsyncExitStack)

    # Life

    @property
    def executor(self) -> Executor:
        """The running executor."""
        assert self._executor is not None
        return self._executor

    @property
    def facade(self) -> DeploymentTaskFacade:
        """What callers ask."""
        return self.executor.facade

    @property
    def driver(self) -> Any:
        """The engine inside; for looking through the back door."""
        driver = self.executor._driver
        assert driver is not None
        return driver

    async def start(self) -> None:
        """Open the executor."""
        self.store.cut_off_after = None
        self._life = AsyncExitStack()
        self._executor = await self._life.enter_async_context(
            open_executor(
                self.url,
                settings=ExecutorSettings(**self.settings),
                stage_factory=self.script.factory,
                policies=self.policies,
                clock=self.clock,
                grace_seconds=0,
                mode=self.mode,
                store=self.store,
                observers=self.observers,
            )
        )

    async def stop(self) -> None:
        """Leave the executor as its user would, without waiting for stages to end."""
        if self._executor is not None:
            self._executor = None
            await self._life.aclose()

    async def crash(self) -> None:
        """The process dies: what is not committed by now never will be."""
        self.store.cut_off()
        self.store.let_go()
        await self.stop()

    async def restart(self, *, crash: bool = True, **settings: Any) -> None:
        """Die, or stop in peace, and start again; with other settings where they are given."""
        if self._executor is not None:
            await (self.crash() if crash else self.stop())
        self.settings.update(settings)
        if self.url != "memory://":
            self.store.inner = make_store(self.url)
        await self.start()

    # Asking

    async def create(self, *tenants: str, plan_id: int = 100, source_unit: int | None = 1, **options: Any) -> None:
        """Create a plan, which must succeed."""
        result = await self.try_create(*tenants, plan_id=plan_id, source_unit=source_unit, **options)
        assert result.success, result.message

    async def try_create(
        self,
        *tenants: str,
        plan_id: int | None = 100,
        source_unit: int | None = 1,
        unit: int = 2,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> TaskCreationResult:
        """Create a plan; options by their Python names."""
        if plan_id is not None:
            options["plan_id"] = plan_id
        configs = [config_of(tenant_id, unit=unit, source_unit=source_unit) for tenant_id in tenants]
        return await self.facade.create_switch_task(configs, options=options, idempotency_key=idempotency_key)

    async def ask(self, verb: str, tenant_id: str, *, from_checkpoint: bool = True) -> TaskOperationResult:
        """A verb by tenant."""
        facade = self.facade
        if verb == "retry":
            return await facade.retry_task_by_tenant(tenant_id, from_checkpoint)
        method = getattr(facade, f"{verb}_task_by_tenant")
        return cast("TaskOperationResult", await method(tenant_id))

    async def ask_plan(self, verb: str, plan_id: int = 100, *, from_checkpoint: bool = True) -> TaskOperationResult:
        """A verb by plan."""
        facade = self.facade
        if verb == "retry":
            return await facade.retry_task_by_plan(plan_id, from_checkpoint)
        method = getattr(facade, f"{verb}_task_by_plan")
        return cast("TaskOperationResult", await method(plan_id))

    async def do(self, verb: str, tenant_id: str, *, from_checkpoint: bool = True) -> TaskOperationResult:
        """A verb by tenant that must be accepted."""
        result = await self.ask(verb, tenant_id, from_checkpoint=from_checkpoint)
        assert result.success, result.message
        return result

    async def do_plan(self, verb: str, plan_id: int = 100, *, from_checkpoint: bool = True) -> TaskOperationResult:
        """A verb by plan that must be accepted."""
        result = await self.ask_plan(verb, plan_id, from_checkpoint=from_checkpoint)
        assert result.success, result.message
        return result

    # Looking

    async def task(self, tenant_id: str) -> TaskStatusInfo:
        """What a query says about the tenant's task."""
        return await self.facade.query_task_status_by_tenant(tenant_id)

    async def status(self, tenant_id: str) -> TaskStatus | None:
        """Where the tenant's task stands."""
        return (await self.task(tenant_id)).status

    async def statuses(self, plan_id: int = 100) -> list[str]:
        """Where each task of the plan stands, in plan order."""
        return [str(task.status) for task in await self.facade.list_tasks(plan_id)]

    async def plan(self, plan_id: int = 100) -> PlanStatusInfo:
        """What a query says about the plan."""
        return await self.facade.query_plan_status(plan_id)

    async def aggregate(self, task_id: str) -> TaskAggregate:
        """The task as the store has it."""
        key = TaskKey.parse(task_id)
        assert key is not None
        return (await self.store.inner.load_tasks([key]))[0].task

    async def tenant(self, tenant_id: str) -> TenantRecord:
        """The tenant as the store has it."""
        return (await self.store.inner.load_tenants([TenantId(tenant_id)]))[TenantId(tenant_id)]

    async def events(self, plan_id: int = 100) -> Sequence[Event]:
        """Every durable event of the plan and its tasks, in order."""
        return await self.store.inner.load_events(PlanId(plan_id), 0, 1_000_000)

    async def story(self, tenant_id: str, plan_id: int = 100, *, after: str | None = None) -> list[str]:
        """The events of the tenant's task in the plan; only those after the last ``after`` when that is given."""
        texts = [text_of(event) for event in await self.events(plan_id) if event.tenant_id == tenant_id]
        return _after(texts, after)

    async def plan_story(self, plan_id: int = 100, *, after: str | None = None) -> list[str]:
        """The events of the plan itself."""
        return _after([str(event.type) for event in await self.events(plan_id) if event.key is None], after)

    async def whole_story(self, plan_id: int = 100, *, after_position: int = 0) -> list[str]:
        """Events of plan and tasks: ``PlanStarted``, ``t1 TaskStarted`` ..."""
        return [
            text_of(event) if event.key is None else f"{event.tenant_id} {text_of(event)}"
            for event in await self.events(plan_id)
            if event.position > after_position
        ]

    async def last(self, kind: EventType, plan_id: int = 100) -> Event:
        """The newest event of a type."""
        return [event for event in await self.events(plan_id) if event.type is kind][-1]

    # Waiting for facts

    async def quiet(self) -> None:
        """Everything that can happen without time passing has happened (manual clock only)."""
        assert self.clock is not None, "only a manual clock knows when nothing is left to run"
        await self.clock.settle()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while self.store.busy:
                await asyncio.sleep(0.0005)  # a thread or a server answers
                await self.clock.settle()

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until a condition on durable state holds."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    seen = self.executor.version
                    if self.clock is not None:
                        await self.clock.settle()
                    if await condition():
                        return
                    await self.executor.changed(seen)
        except TimeoutError:
            plans = await self.facade.list_plans()
            known = {plan.plan_id: await self.statuses(plan.plan_id or 0) for plan in plans}
            message = f"{what} did not come true; tasks: {known}; executed: {self.script.done()}"
            raise AssertionError(message) from None

    async def reaches(self, tenant_id: str, status: TaskStatus) -> None:
        """Wait until the tenant's task has this status."""

        async def reached() -> bool:
            return await self.status(tenant_id) is status

        await self.until(reached, f"{tenant_id} {status}")

    async def plan_reaches(self, status: PlanStatus, plan_id: int = 100) -> None:
        """Wait until the plan has this status."""

        async def reached() -> bool:
            return (await self.plan(plan_id)).status is status

        await self.until(reached, f"plan {plan_id} {status}")

    async def settles(self, plan_id: int = 100) -> PlanStatus:
        """Wait until the plan is settled; gives its status."""
        settled: list[PlanStatus] = []

        async def reached() -> bool:
            status = (await self.plan(plan_id)).status
            if status is not None and status.is_settled:
                settled.append(status)
            return bool(settled)

        await self.until(reached, f"plan {plan_id} settled")
        return settled[0]

    async def entered(self, tenant_id: str, stage: str, *, restoring: bool = False) -> None:
        """Wait until a step of this place is being executed."""
        place = Place(tenant_id, stage, restoring)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not self.script.inside[place]:
                    await self.script.moved()
        except TimeoutError:
            message = f"{place} was not entered; executed: {self.script.done()}"
            raise AssertionError(message) from None

    # Judging

    async def assert_sound(self) -> None:
        """The whole store is consistent, and nobody holds what he should have given back."""
        assert list(await self.store.inner.check()) == []
        pruned = (await self.store.load_all_events(0, 0)).pruned > 0
        for plan in await self.facade.list_plans(limit=1_000):
            assert plan.plan_id is not None
            _assert_numbered(await self.events(plan.plan_id), pruned=pruned)
        if self._executor is None or self.executor._driver is None or self.executor.driver_failure is not None:
            return
        if self.clock is not None:
            await self.clock.settle()
        with suppress(TimeoutError):  # a store with threads may be in the middle of the last answers
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while self._running() != (self._beating(), len(self.driver.runtime)):  # noqa: ASYNC110  # threads set no event
                    await asyncio.sleep(0.01)
        assert (self._beating(), len(self.driver.runtime)) == self._running()

    def _running(self) -> tuple[set[str], int]:
        records = self.driver.residents.tasks.values()
        running = {record.task.task_id for record in records if record.task.status.holds_slot}
        return running, len(running)

    def _beating(self) -> set[str]:
        return {beating.record.task.task_id for beating in self.driver.heartbeat._due}


def _after(texts: list[str], after: str | None) -> list[str]:
    if after is None:
        return texts
    last = len(texts) - 1 - texts[::-1].index(after)
    return texts[last + 1 :]


def _assert_numbered(events: Sequence[Event], *, pruned: bool) -> None:
    """Positions and sequence ids run from 1 (or behind what was pruned) without gap or duplicate; each says whose."""
    first = events[0].position if pruned and events else 1
    assert [event.position for event in events] == list(range(first, first + len(events)))
    numbers: dict[str | None, int] = {}
    for event in events:
        before = event.sequence_id - 1 if first > 1 else 0
        assert event.sequence_id == numbers.get(event.task_id, before) + 1, event
        numbers[event.task_id] = event.sequence_id
        assert event.plan_id
        assert (event.key is None) == event.type.startswith("Plan"), event
        assert (event.key is None) == (event.tenant_id is None), event
        assert 0 <= event.completed <= event.total, event


@asynccontextmanager
async def open_rig(
    *stages: str,
    url: str = "memory://",
    manual_clock: bool = True,
    policies: Sequence[object] = (),
    mode: Literal["drive", "record"] = "drive",
    judged: bool = True,
    observers: Sequence[CommitObserver] = (),
    **settings: Any,
) -> AsyncIterator[Rig]:
    """
    Open a rig.

    Args:
        stages: Names of the stages of every task; A and B when none is given.
        url: ``memory://``, or another store, whose threads or server ``quiet`` waits for.
        judged: Check the store and the engine when the block ends without an error.
        observers: Told of every commit.
        settings: Of ``ExecutorSettings``.
    """
    clock = ManualClock() if manual_clock else None
    rig = Rig(
        script=Script(stages or ("A", "B")),
        store=FragileStore(make_store(url)),
        clock=clock,
        url=url,
        settings=settings,
        policies=policies,
        mode=mode,
        observers=observers,
    )
    await rig.start()
    try:
        yield rig
        if judged and rig._executor is not None:
            await rig.assert_sound()
    finally:
        rig.store.cut_off()  # whatever the test left undone must not keep it from ending
        rig.store.let_go()
        await rig.stop()


__all__ = [
    "ANY",
    "Call",
    "FragileStore",
    "Place",
    "Rig",
    "Script",
    "config_of",
    "open_rig",
    "text_of",
]
