"""
The scene of a schedule: processes over one store, steps at gates, a target with a fence, and requests on their way.

Nothing in here decides what happens next; ``explorer`` does.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.bootstrap import Executor
from switchover.config import ExecutorSettings
from switchover.domain.policies import Policies
from switchover.domain.stage import StageStep, TaskRuntimeContext, TaskStage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.dto import TenantDeployConfig
from switchover.errors import StepError, StorageError
from switchover.spi import Entry, HealthCheckClient, StepServices, TargetProvider
from switchover.stages.catalogue import StageCatalogue
from switchover.stages.service import CompositeServiceStage
from tests.schedules.loop import Process, Result, SeededLoop, VirtualClock, immediately
from tests.schedules.watcher import ViolationError, Watcher, demand
from tests.schedules.wire import SharedStore
from tests.stateful.grammar import IllegalOrderError, PlanGrammar
from tests.stateful.oracle import Picture
from tests.stateful.world import SkipMarked

STEP_TIMEOUT_SECONDS = 30.0

FAILURES = (ViolationError, IllegalOrderError, AssertionError)
"""How judges tell of a violation."""

_SETTINGS = {
    recovery: ExecutorSettings(
        step_timeout_seconds=STEP_TIMEOUT_SECONDS,
        task_progress_interval_seconds=10.0,
        recovery=cast("Any", recovery),
    )
    for recovery in ("continue", "pause")
}
_POLICIES = Policies.of([SkipMarked()])
_CATALOGUE = StageCatalogue()


@dataclass(slots=True, eq=False)
class Gate:
    """A step that runs in some process, and what the schedule decides about it."""

    process: Process
    key: TaskKey
    tenant_id: str
    stage: str
    generation: int
    decision: asyncio.Future[bool]


@dataclass(slots=True, eq=False)
class Request:
    """
    One request on its way.

    Attributes:
        target: A tenant's name, a plan's id, or None for the line.
        alone: Nothing else has happened since it was asked.
    """

    verb: str
    target: str | int | None
    process: Process
    answer: asyncio.Task[Any]
    alone: bool = True


@dataclass(slots=True, eq=False)
class Member:
    """
    A process with its view of the store and its executor.

    Attributes:
        robbed: Its lease ended while it was frozen.
    """

    process: Process
    store: SharedStore
    executor: Executor
    robbed: bool = False


@dataclass(frozen=True, slots=True)
class GatedStep:
    """Keeps a pre-image, writes to the target under its generation, and then stands at a gate."""

    scene: "Scene"
    process: Process
    name: str = "gate"

    async def execute(self, context: TaskRuntimeContext) -> None:
        await context.pre_images.keep("value", b"before")
        await self.scene.write(self.process, context)
        await self.scene.stand(self.process, context)


@dataclass(slots=True, eq=False)
class Scene:
    """
    Everything that a schedule acts on.

    Attributes:
        fence: The highest generation that the target holds, by tenant.
        stale: Writes of older generations, each refused by the target.
    """

    recovery: str = "continue"
    loop: SeededLoop = field(default_factory=SeededLoop)
    clock: VirtualClock = field(init=False)
    inner: MemoryExecutionStore = field(init=False)
    watcher: Watcher = field(init=False)
    members: list[Member] = field(default_factory=list[Member])
    standing: list[Gate] = field(default_factory=list[Gate])
    requests: list[Request] = field(default_factory=list[Request])
    lost: list[Request] = field(default_factory=list[Request])
    fence: dict[str, int] = field(default_factory=dict[str, int])
    stale: int = 0
    failure: Exception | None = None
    violations: list[str] = field(default_factory=list[str])
    trace: list[str] = field(default_factory=list[str])
    _names: int = 0

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.loop)
        self.inner = MemoryExecutionStore(now=self.clock.now)
        immediately(self.inner.open())
        self.watcher = Watcher(self.inner, asked=self.is_asked, line_moves=self.line_moves)

    # Processes

    def start_process(self) -> Member:
        """A new process opens the store; it drives, or waits for its turn."""
        self._names += 1
        process = Process(f"p{self._names}")
        inner = MemoryExecutionStore(beside=self.inner, now=self.clock.now)
        immediately(inner.open())
        store = SharedStore(loop=self.loop, process=process, inner=inner, committed=self._committed)
        executor = Executor(
            store=store.as_store(),
            settings=_SETTINGS[self.recovery],
            clock=self.clock,
            policies=_POLICIES,
            services=StepServices(
                targets=cast("TargetProvider", None),
                health_client=cast("HealthCheckClient", None),
                clock=self.clock,
            ),
            catalogue=_CATALOGUE,
            stage_factory=lambda config: self._stages(process, config),
            mode="drive",
        )
        member = Member(process, store, executor)
        self.members.append(member)
        self.loop.spawn(process, executor.start())
        return member

    def _committed(self, batch: Sequence[Entry]) -> None:
        """Nothing may be raised into the engine, which would take it for a failure of the store."""
        try:
            self.watcher.committed(batch)
        except FAILURES as error:
            self.failure = self.failure or error

    def _stages(self, process: Process, config: TenantDeployConfig) -> Sequence[TaskStage]:
        steps: Sequence[StageStep] = (GatedStep(self, process),)
        return [CompositeServiceStage(name, steps) for name in str(config.deploy_unit_name).split(",")]

    def kill(self, member: Member) -> None:
        """SIGKILL: the operating system lets go of the lease, and nothing else is tidied up."""
        member.store.cut = True
        self.members.remove(member)
        self.loop.end(member.process)
        self.standing = [gate for gate in self.standing if gate.process is not member.process]
        self.nothing_is_alone()
        self.lost += [request for request in self.requests if request.process is member.process]
        self.requests = [request for request in self.requests if request.process is not member.process]
        self.let_go(member)

    def let_go(self, member: Member) -> None:
        """The lease ends, whatever the process believes; it may still run."""
        member.robbed = True
        if member.store.lease is not None:
            immediately(member.store.inner.release_driver(member.store.lease))

    # Steps

    async def write(self, process: Process, context: TaskRuntimeContext) -> None:
        """One write to the target: what is older than what it holds is refused."""
        await self.loop.point(process)
        if context.generation < self.fence.get(context.tenant_id, 0):
            self.stale += 1
            message = "STALE_GENERATION (the target holds a newer one)"
            raise StepError(message)
        self.fence[context.tenant_id] = context.generation
        if self._holds_the_lease(process):
            self._examine_write(context)

    def _holds_the_lease(self, process: Process) -> bool:
        return any(
            member.process is process and self.inner._data.holder is member.store.inner for member in self.members
        )

    def _examine_write(self, context: TaskRuntimeContext) -> None:
        """What the driver writes belongs to a run that is durable, owns the lock and is the newest."""
        key = TaskKey.parse(context.task_id)
        assert key is not None
        stored = immediately(self.inner.load_tasks([key]))[0]
        expected = TaskStatus.ROLLING_BACK if context.rolling_back else TaskStatus.RUNNING
        facts = {
            f"it is {expected}": stored.task.status is expected,
            "it owns the lock": stored.tenant.owner == key,
            "its generation is the tenant's": stored.tenant.generation == context.generation == stored.task.generation,
            "its stage is the current one": stored.task.current_stage == context.stage,
        }
        wrong = [fact for fact, holds in facts.items() if not holds]
        if wrong:
            self.violations.append(f"{context.task_id} writes {context.stage}, but not: {wrong}: {stored}")

    async def stand(self, process: Process, context: TaskRuntimeContext) -> None:
        """Wait for the schedule."""
        key = TaskKey.parse(context.task_id)
        assert key is not None
        for other in self.standing:
            if other.tenant_id == context.tenant_id and other.process is process:
                self.violations.append(f"{context.task_id} and {other.key.task_id} of one tenant run at once")
        gate = Gate(
            process=process,
            key=key,
            tenant_id=context.tenant_id,
            stage=context.stage,
            generation=context.generation,
            decision=self.loop.create_future(),
        )
        self.standing.append(gate)
        try:
            if not await gate.decision:
                message = f"stage {context.stage} fails because the schedule says so"
                raise StepError(message)
        finally:
            if gate in self.standing:
                self.standing.remove(gate)

    def open_gate(self, gate: Gate, *, ok: bool) -> None:
        """Let a step end."""
        self.standing.remove(gate)
        if not gate.decision.done():  # its deadline may have come first
            gate.decision.set_result(ok)
        self.nothing_is_alone()

    # Requests

    def ask(self, verb: str, target: str | int | None, member: Member, work: Coroutine[Any, Any, Any]) -> Request:
        """Begin a request in a process."""
        request = Request(verb, target, member.process, self.loop.spawn(member.process, work))
        if self.requests or self.lost:
            self.nothing_is_alone()
            request.alone = False
        self.requests.append(request)
        return request

    def nothing_is_alone(self) -> None:
        """Something happens while requests are on their way."""
        for request in self.requests:
            request.alone = False

    def take_answers(self) -> list[Request]:
        """Requests that were answered since the last look; broken infrastructure is no answer."""
        done = [request for request in self.requests if request.answer.done()]
        if done:
            self.requests = [request for request in self.requests if not request.answer.done()]
        answered = []
        for request in done:
            demand(not request.answer.cancelled(), "somebody else cancelled a request", request.verb)
            error = request.answer.exception()
            demand(error is None or isinstance(error, StorageError), "a request raised", request.verb, repr(error))
            if error is None:
                answered.append(request)
            else:
                self.lost.append(request)
        return answered

    def is_asked(self, task: TaskAggregate) -> bool:
        """Whether somebody's request about the task may be on its way, or may have died on its way."""
        targets = (task.tenant_id, task.plan_id, None)
        return any(request.target in targets for request in (*self.requests, *self.lost))

    def line_moves(self) -> bool:
        """Whether a request about the line may be on its way."""
        return any(request.target is None for request in (*self.requests, *self.lost))

    # Looking: what `tests.stateful.invariants.examine` asks of a world

    @property
    def executor(self) -> Executor:
        """The executor of the process that drives, else of any."""
        return next((m.executor for m in self.members if m.executor.driving), self.members[0].executor)

    @property
    def gates(self) -> dict[TaskKey, Gate]:
        """Where the tasks of the process that drives stand."""
        driving = {member.process.name for member in self.members if member.executor.driving}
        return {gate.key: gate for gate in self.standing if gate.process.name in driving}

    @property
    def loop_errors(self) -> list[str]:
        return self.loop.errors

    @property
    def grammars(self) -> dict[PlanId, PlanGrammar]:
        return self.watcher.grammars

    @property
    def events(self) -> dict[PlanId, list[Any]]:
        return self.watcher.events

    @property
    def followed(self) -> dict[PlanId, list[Any]]:
        """What ``read_events`` has compared with the store."""
        return self.watcher.events

    @property
    def versions(self) -> dict[PlanId, tuple[int, int | None]]:
        """The version that each plan switches to, and the one that it names as its source."""
        found: dict[PlanId, tuple[int, int | None]] = {}
        for plan_id, plan in self.inner._data.plans.items():
            config = plan.tasks[1].config
            source = config.source_tenant_deploy_config
            found[plan_id] = (config.deploy_unit_version, None if source is None else source.deploy_unit_version)
        return found

    def look(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Read from the store."""
        return immediately(work)

    def read_events(self) -> None:
        """What is stored is what was seen at the commits."""
        for plan_id, seen in self.events.items():
            demand(
                list(immediately(self.inner.load_events(plan_id, 0, 100_000))) == seen, "stored events differ", plan_id
            )

    def picture(self) -> Picture:
        """Everything that the store holds."""
        inner = self.inner
        tasks = {
            task.key: task
            for plan_id in inner._data.plans
            for task in immediately(inner.list_tasks(plan_id, statuses=None, after=0, limit=1_000))
        }
        names = sorted({TenantId(task.tenant_id) for task in tasks.values()})
        return Picture(
            plans={plan_id: plan.aggregate for plan_id, plan in inner._data.plans.items()},
            tasks=tasks,
            tenants=dict(immediately(inner.load_tenants(names))),
            holds=dict(immediately(inner.list_holds())),
            line=immediately(inner.load_line()),
        )

    def problems(self) -> Sequence[str]:
        """What the store's own check says."""
        return immediately(self.inner.check())
