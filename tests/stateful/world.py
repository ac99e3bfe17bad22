"""
An engine under control: its clock, its steps, its store and its death are in the hands of a test.

Each world has an event loop of its own. A step that runs stands at a gate until the test opens it, lets it fail, or
lets time pass until its deadline. The process can end gracefully or die between any two turns of the loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, TypeVar, cast

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.bootstrap import Executor
from switchover.config import ExecutorSettings
from switchover.domain.events import Event
from switchover.domain.policies import Policies
from switchover.domain.stage import StageStep, TaskRuntimeContext, TaskStage
from switchover.domain.task import PlanId, StageMark, TaskKey, TaskStatus, TaskView, TenantId
from switchover.dto import TenantDeployConfig
from switchover.errors import StepError, StoreUnavailableError
from switchover.spi import ExecutionStore, HealthCheckClient, StepServices, TargetProvider
from switchover.stages.catalogue import StageCatalogue
from switchover.stages.service import CompositeServiceStage
from switchover.testing.clock import ManualClock
from tests.stateful.grammar import PlanGrammar
from tests.stateful.oracle import Picture
from tests.stateful.wire import Wire

Result = TypeVar("Result")

STEP_TIMEOUT_SECONDS = 30.0
HEARTBEAT_SECONDS = 10.0
_PATIENCE = 200


@dataclass(slots=True, eq=False)
class Gate:
    """A step that runs, and what the test decides about it."""

    key: TaskKey
    tenant_id: str
    stage: str
    rolling_back: bool
    generation: int
    decision: asyncio.Future[bool]


@dataclass(frozen=True, slots=True)
class GatedStep:
    """Keeps a pre-image, as a step that writes would, and then waits for the test."""

    world: "World"
    name: str = "gate"

    async def execute(self, context: TaskRuntimeContext) -> None:
        await self.world.stand_at_gate(context)


class SkipMarked:
    """Skips stages whose name says so."""

    def should_skip(self, task: TaskView, context: TaskRuntimeContext, stage: TaskStage) -> bool:
        return stage.name.startswith("skip")


@dataclass(slots=True, eq=False)
class World:
    """
    One store over all its processes' lives, and the engine that drives it now.

    Args:
        open_store: Opens the store again, as a new process would.
        recovery: The setting: what becomes of tasks that were RUNNING.
    """

    open_store: Callable[[ExecutionStore | None], Awaitable[ExecutionStore]]
    recovery: str = "continue"
    clock: ManualClock = field(default_factory=ManualClock)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    gates: dict[TaskKey, Gate] = field(default_factory=dict[TaskKey, Gate])
    violations: list[str] = field(default_factory=list[str])
    loop_errors: list[str] = field(default_factory=list[str])
    grammars: dict[PlanId, PlanGrammar] = field(default_factory=dict[PlanId, PlanGrammar])
    events: dict[PlanId, list[Event]] = field(default_factory=dict[PlanId, list[Event]])
    followed: dict[PlanId, list[Event]] = field(default_factory=dict[PlanId, list[Event]])
    versions: dict[PlanId, tuple[int, int | None]] = field(default_factory=dict[PlanId, tuple[int, int | None]])
    highest_write: dict[str, int] = field(default_factory=dict[str, int])
    followers: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    lives: int = 0
    wires: list[Wire] = field(default_factory=list[Wire])
    inner: ExecutionStore = field(init=False)
    wire: Wire = field(init=False)
    executor: Executor = field(init=False)

    # Life

    def start(self) -> None:
        """Open the store for the first time and drive it."""
        self.loop.set_exception_handler(self._loop_error)
        self.loop.run_until_complete(self._open(None))
        self.settle()

    async def _open(self, before: ExecutionStore | None) -> None:
        self.inner = await self.open_store(before)
        self.lives += 1
        self.executor = self.second_executor()
        self.wire = self.wires[-1]
        await self.executor.start()
        for plan_id in self.followed:
            self._follow(plan_id)

    def second_executor(self) -> Executor:
        """Another executor over the same store, with a wire of its own; not started."""
        wire = Wire(self.inner)
        self.wires.append(wire)
        return Executor(
            store=wire.as_store(),
            settings=ExecutorSettings(
                step_timeout_seconds=STEP_TIMEOUT_SECONDS,
                task_progress_interval_seconds=HEARTBEAT_SECONDS,
                recovery=cast("Any", self.recovery),
            ),
            clock=self.clock,
            policies=Policies.of([SkipMarked()]),
            services=StepServices(
                targets=cast("TargetProvider", None),
                health_client=cast("HealthCheckClient", None),
                clock=self.clock,
            ),
            catalogue=StageCatalogue(),
            stage_factory=self._stages,
            mode="drive",
        )

    def _stages(self, config: TenantDeployConfig) -> Sequence[TaskStage]:
        names = str(config.deploy_unit_name).split(",")
        steps: Sequence[StageStep] = (GatedStep(self),)
        return [CompositeServiceStage(name, steps) for name in names]

    def _follow(self, plan_id: PlanId) -> None:
        """Subscribe to a plan's events, from where the subscriber of the last life ended."""
        seen, executor = self.followed[plan_id], self.executor

        async def follow() -> None:
            while not self.wire.cut:
                try:
                    async for event in executor.events(plan_id, since=len(seen)):
                        seen.append(event)
                except StoreUnavailableError:
                    await self.clock.sleep(1)
                else:
                    return

        self.followers.add(follower := self.loop.create_task(follow()))
        follower.add_done_callback(self.followers.discard)

    def restart(self, *, patient: bool = False, ok: bool = True) -> None:
        """
        End gracefully and start again.

        Args:
            patient: Stages that run may end; they do, and ``ok`` says how.
        """

        async def body() -> None:
            seconds = 5.0 if patient else 0.0
            ending = asyncio.ensure_future(self.executor.stop(finish_stages_within_seconds=seconds))
            if patient:
                await self.clock.settle()
                for key in list(self.gates):
                    self.open_gate(key, ok=ok)
            while not ending.done():
                await self._settle()
                await self.clock.advance(0.5)
            await ending
            self.wire.cut = True
            await self._bury()
            await self._open(self.inner)

        self.loop.run_until_complete(body())
        self.settle()

    def crash(self, turns: int = 0) -> None:
        """Die after some turns of the loop, and start again."""

        async def body() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await self._die()
            await self._open(self.inner)

        self.loop.run_until_complete(body())
        self.settle()

    async def _die(self) -> None:
        wire = self.wire
        wire.cut = True
        await self._bury()
        if wire.lease is not None:
            # The operating system lets go of what the process held.
            await self.inner.release_driver(wire.lease)

    async def _bury(self) -> None:
        me = asyncio.current_task()
        for _ in range(_PATIENCE):
            others = [task for task in asyncio.all_tasks() if task is not me and not _is_of_a_store(task)]
            if not others:
                break
            for task in others:
                task.cancel()
            await asyncio.sleep(0)
        self.wires.clear()
        while self.wire.busy:  # noqa: ASYNC110  # threads of the store, which know no event
            await asyncio.sleep(0.0005)
        self.gates.clear()

    def close(self) -> None:
        """End the world and its loop."""

        async def body() -> None:
            await self._die()
            await self.inner.aclose()

        self.loop.run_until_complete(body())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def _loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.loop_errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    # Time

    def settle(self) -> None:
        """Let everything run that can run without time passing."""
        self.loop.run_until_complete(self._settle())

    async def _settle(self) -> None:
        while True:
            await self.clock.settle()
            if any(wire.busy for wire in self.wires):
                await asyncio.sleep(0.0002)
            elif any(wire.failed for wire in self.wires):
                # Whoever met the store away tries again after a while.
                for wire in self.wires:
                    wire.failed = 0
                await self.clock.advance(2.5)
            else:
                return

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps that a store can follow."""

        async def body() -> None:
            left = seconds
            while left > 0:
                await self._settle()
                due = self.clock.next_due_seconds
                step = left if due is None else min(left, max(due, 0.001))
                await self.clock.advance(step)
                left -= step
            await self._settle()

        self.loop.run_until_complete(body())

    # Doing

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Carry out a request, and let everything follow that follows from it."""
        return self.loop.run_until_complete(self._do(work))

    async def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        task = asyncio.ensure_future(work)
        for _ in range(_PATIENCE):
            await self._settle()
            if task.done():
                return task.result()
            await self.clock.advance(0.5)
        task.cancel()
        message = "a request was not answered"
        raise AssertionError(message)

    def look(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Read from the store; no time passes, however long that takes."""
        return self.loop.run_until_complete(work)

    def do_and_crash(self, work: Coroutine[Any, Any, Result], turns: int) -> Result | None:
        """Begin a request and die some turns later; gives the answer when there was one."""

        async def body() -> Result | None:
            task = asyncio.ensure_future(work)
            for _ in range(turns):
                await asyncio.sleep(0)
            answered = task.result() if task.done() and task.exception() is None else None
            await self._die()
            await asyncio.gather(task, return_exceptions=True)
            await self._open(self.inner)
            return answered

        answer = self.loop.run_until_complete(body())
        self.settle()
        return answer

    # Gates

    async def stand_at_gate(self, context: TaskRuntimeContext) -> None:
        """What a step does: note that it runs, keep a pre-image, and wait for the test."""
        key = TaskKey.parse(context.task_id)
        assert key is not None
        life = self.lives
        self.wire.busy += 1
        try:
            await self._examine(key, context)
        finally:
            self.wire.busy -= 1
        await context.pre_images.keep("value", context.stage.encode())
        if life != self.lives:
            return
        written = self.highest_write.get(context.tenant_id, 0)
        if context.generation < written:
            self.violations.append(f"{context.task_id} writes generation {context.generation} over {written}")
        self.highest_write[context.tenant_id] = context.generation
        for other in self.gates.values():
            if other.tenant_id == context.tenant_id:
                self.violations.append(
                    f"tenant {context.tenant_id}: {context.task_id} and {other.key.task_id} run at once"
                )
        gate = Gate(
            key=key,
            tenant_id=context.tenant_id,
            stage=context.stage,
            rolling_back=context.rolling_back,
            generation=context.generation,
            decision=asyncio.get_running_loop().create_future(),
        )
        self.gates[key] = gate
        try:
            if not await gate.decision:
                message = f"stage {context.stage} fails because the test says so"
                raise StepError(message)
        finally:
            if self.gates.get(key) is gate:
                del self.gates[key]

    async def _examine(self, key: TaskKey, context: TaskRuntimeContext) -> None:
        """A stage runs only after the commit that begins it, under the tenant's lock and generation, and only once."""
        stored = (await self.inner.load_tasks([key]))[0]
        task, tenant = stored.task, stored.tenant
        index = task.stage_names.index(context.stage)
        mark = StageMark(task.marks[index])
        expected = TaskStatus.ROLLING_BACK if context.rolling_back else TaskStatus.RUNNING
        facts = {
            f"it is {expected}": task.status is expected,
            "it owns the lock": tenant.owner == key,
            "it runs under the tenant's generation": tenant.generation == context.generation == task.generation,
            "the stage is announced": bool(mark & StageMark.STARTED),
            "the stage is not complete yet": context.rolling_back or not mark & StageMark.COMPLETED,
            "the stage is not restored yet": not mark & StageMark.RESTORED,
            "the stages before are complete": context.rolling_back
            or all(earlier & StageMark.COMPLETED for earlier in task.marks[:index]),
        }
        for fact, holds in facts.items():
            if not holds:
                self.violations.append(f"stage {context.stage} of {context.task_id} runs, but not: {fact}: {stored}")

    def open_gate(self, key: TaskKey, *, ok: bool) -> None:
        """Let a step end."""
        self.gates.pop(key).decision.set_result(ok)

    # Looking

    def picture(self) -> Picture:
        """Everything that the store holds."""
        return self.loop.run_until_complete(self._picture())

    async def _picture(self) -> Picture:
        store = self.inner
        plans = {plan.plan_id: plan for plan in await store.list_plans(before=None, limit=1_000)}
        tasks: dict[TaskKey, Any] = {}
        for plan_id in plans:
            for task in await store.list_tasks(plan_id, statuses=None, after=0, limit=1_000):
                tasks[task.key] = task
        names = sorted({TenantId(task.tenant_id) for task in tasks.values()})
        return Picture(
            plans=plans,
            tasks=tasks,
            tenants=dict(await store.load_tenants(names)),
            holds=dict(await store.list_holds()),
            line=await store.load_line(),
        )

    def read_events(self) -> None:
        """Read the events that are new, and see that their order is legal."""

        async def body() -> None:
            for plan_id, grammar in self.grammars.items():
                while page := await self.inner.load_events(plan_id, grammar.position, 500):
                    for event in page:
                        self.events[plan_id].append(event)
                        grammar.read(event)
                grammar.rest()

        self.loop.run_until_complete(body())

    def note_plan(
        self, plan_id: PlanId, stages: Sequence[str], total: int, *, version: int = 42, source: int | None = None
    ) -> None:
        """A plan was created: follow its events."""
        self.versions[plan_id] = (version, source)
        self.followed[plan_id] = []
        self._follow(plan_id)
        self.settle()
        self.events[plan_id] = []
        self.grammars[plan_id] = PlanGrammar(plan_id, total, dict.fromkeys(range(1, total + 1), stages))

    def problems(self) -> Sequence[str]:
        """What the store's own check says."""
        return self.loop.run_until_complete(_await(self.inner.check()))


async def _await(work: Awaitable[Result]) -> Result:
    return await work


def _is_of_a_store(task: asyncio.Task[Any]) -> bool:
    """A call that a server is at, or a connection's own task: not the engine's, so it does not die with it."""
    code: CodeType | None = getattr(task.get_coro(), "cr_code", None)
    return code is not None and any(name in code.co_filename for name in ("asyncpg", "adapters/stores"))


async def memory_store(before: ExecutionStore | None) -> ExecutionStore:
    """The reference store; a new process finds the same object."""
    store = before or MemoryExecutionStore()
    await store.open()
    return store
