"""
Driver: everything that one process needs while it is the one that commits.

It comes to life with a lease, reads what the store knows, picks up what an earlier driver left behind, and ends with
the lease. A process that only records requests has a driver too: one that starts no task.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from switchover.dispatch import StageCarrier
from switchover.domain.policies import Policies
from switchover.engine import garbage
from switchover.engine.boundaries import Boundaries
from switchover.engine.braking import BrakeService
from switchover.engine.checkpoints import CheckpointService
from switchover.engine.commits import GroupCommit
from switchover.engine.deadlines import DeadlineScheduler
from switchover.engine.executor import Delegate, StageSource, StepWatch, TaskExecutor
from switchover.engine.heartbeat import HeartbeatScheduler
from switchover.engine.orchestrator import PlanOrchestrator
from switchover.engine.pruning import PruneService
from switchover.engine.publisher import EventPublisher
from switchover.engine.records import PlanRecord, Residents, TaskRecord
from switchover.engine.recovery import Recovery
from switchover.engine.scheduler import TaskScheduler
from switchover.engine.state_manager import Brakes, TaskStateManager
from switchover.errors import DrivingError, StorageError
from switchover.logs import get_log
from switchover.spi import Clock, CommitResult, DriverLease, Entry, ExecutionStore, Runtime, StepServices, Vitals

_log = get_log("switchover.driver")

_DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverOptions:
    """
    How a driver behaves.

    Attributes:
        runs_tasks: False: requests are decided and recorded, no task is started or picked up.
        pause_recovered: Tasks that were RUNNING become PAUSED instead of going on.
    """

    heartbeat_seconds: float
    step_timeout_seconds: float
    runs_tasks: bool
    pause_recovered: bool


@dataclass(slots=True, eq=False)
class Driver:
    """
    Puts the engine's parts together for as long as a lease lasts.

    Args:
        runtime: Carries out runs.
        carrier: Has the stages of runs carried out elsewhere; None: they are carried out here.
        on_fatal: Called when this process may write no more.
        on_commit: Told of each commit; None when nobody watches.
        watch_step: Open while a step runs; None when nobody watches.
    """

    store: ExecutionStore
    lease: DriverLease
    clock: Clock
    policies: Policies
    services: StepServices
    stages: StageSource
    publisher: EventPublisher
    runtime: Runtime
    options: DriverOptions
    on_fatal: Callable[[StorageError], None]
    on_commit: Callable[[Sequence[Entry], float], None] | None = None
    watch_step: StepWatch | None = None
    carrier: StageCarrier | None = None
    last_arrival: int = 0
    last_plan_id: int = 0
    residents: Residents = field(init=False)
    commits: GroupCommit = field(init=False)
    manager: TaskStateManager = field(init=False)
    scheduler: TaskScheduler = field(init=False)
    orchestrator: PlanOrchestrator = field(init=False)
    brakes: BrakeService = field(init=False)
    pruner: PruneService = field(init=False)
    heartbeat: HeartbeatScheduler = field(init=False)
    _boundaries: Boundaries = field(init=False)
    _deadlines: DeadlineScheduler = field(init=False)
    _executor: TaskExecutor = field(init=False)
    _calm: bool = False
    _loops: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def __post_init__(self) -> None:
        self.residents = Residents(self.store)
        self.commits = GroupCommit(
            store=self.store,
            lease=self.lease,
            clock=self.clock,
            residents=self.residents,
            on_durable=self._durable,
            on_fatal=self.on_fatal,
            on_commit=self.on_commit,
        )
        brakes = Brakes()
        self.manager = TaskStateManager(policies=self.policies, clock=self.clock, commits=self.commits, brakes=brakes)
        self._boundaries = Boundaries(manager=self.manager, checkpoints=CheckpointService(self.policies.checkpoint))
        self.heartbeat = HeartbeatScheduler(
            clock=self.clock, interval_seconds=self.options.heartbeat_seconds, beat=self._beat
        )
        self._deadlines = DeadlineScheduler(self.clock)
        self._executor = TaskExecutor(
            boundaries=self._boundaries,
            stages=self.stages,
            services=self.services,
            store=self.store,
            commits=self.commits,
            heartbeat=self.heartbeat,
            deadlines=self._deadlines,
            step_timeout_seconds=self.options.step_timeout_seconds,
            clock=self.clock,
            on_defect=self._defect_in_run,
            watch_step=self.watch_step,
            delegate=None if self.carrier is None else Delegate(self.carrier, self._again),
        )
        self.scheduler = TaskScheduler(
            store=self.store,
            residents=self.residents,
            boundaries=self._boundaries,
            executor=self._executor,
            brakes=brakes,
            clock=self.clock,
            launch=self.runtime.launch,
            on_defect=self._defect,
        )
        self.manager.on_change = self.scheduler.wake
        self.orchestrator = PlanOrchestrator(
            store=self.store,
            residents=self.residents,
            manager=self.manager,
            boundaries=self._boundaries,
            scheduler=self.scheduler,
            clock=self.clock,
            retry_allowed=self.policies.retry.allow_retry,
            retry_delay_seconds=self.policies.retry.next_delay,
            rollback_allowed=self.policies.rollback.can_rollback,
        )
        self.brakes = BrakeService(orchestrator=self.orchestrator, stages=self.stages, services=self.services)
        self.pruner = PruneService(orchestrator=self.orchestrator, residents=self.residents)

    async def start(self) -> None:
        """Read what the store knows, and pick up the work."""
        garbage.calm()
        self._calm = True
        state = await self.store.load_state()
        self.last_arrival, self.last_plan_id = state.last_arrival, state.last_plan_id
        brakes = self.manager.brakes
        brakes.line = state.line
        brakes.holds.update(state.holds)
        for plan in state.plans:
            self.residents.plans[plan.plan_id] = PlanRecord(plan)
        self._spawn(self.commits.run())
        if self.options.runs_tasks:
            self._spawn(self.heartbeat.run())
            self._spawn(self._deadlines.run())
            self._spawn(self.scheduler.run())
            self.scheduler.driving = True
            recovery = Recovery(
                store=self.store,
                residents=self.residents,
                boundaries=self._boundaries,
                executor=self._executor,
                scheduler=self.scheduler,
                pause=self.options.pause_recovered,
            )
            await recovery.run(list(self.residents.plans.values()))
            if not brakes.line_stopped:
                # A start-line may have been recorded while nobody drove.
                await self.brakes.resume_line_held()

    async def stop(self, *, finish_stages_within_seconds: float) -> None:
        """
        Start nothing more, let running stages end, and stop.

        A task whose stage ends in time stands at its boundary; one whose stage does not is interrupted. Both go on
        with the next driver, exactly as after a crash.
        """
        await self.scheduler.stop()
        self._executor.stopping = True
        await self.runtime.finish(self.clock, finish_stages_within_seconds)
        await self.commits.drain(_DRAIN_SECONDS)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self.commits.close()
        if self._calm:
            self._calm = False
            garbage.restore()

    def vitals(self) -> Vitals:
        """How it is now."""
        plans = self.residents.plans.values()
        running = sum(plan.occupied_slots for plan in plans)
        since = self.commits.health.unavailable_since
        return Vitals(
            driving=True,
            running=running,
            waiting=sum(plan.unsettled - plan.idle for plan in plans) - running,
            live_plans=sum(1 for plan in plans if plan.unsettled),
            heartbeat_lag_seconds=self.heartbeat.lag_seconds,
            store_outage_seconds=0.0 if since is None else self.clock.monotonic() - since,
        )

    def next_plan_id(self) -> int:
        """A number that no plan has."""
        return self.last_plan_id + 1

    def note_plan(self, plan_id: int, tasks: int) -> None:
        """A plan takes its number and its places in the order of arrival."""
        self.last_plan_id = max(self.last_plan_id, plan_id)
        self.last_arrival += tasks

    def _spawn(self, loop: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(loop)
        task.add_done_callback(self._ended)
        self._loops.append(task)

    def _ended(self, loop: asyncio.Task[None]) -> None:
        if not loop.cancelled() and isinstance(error := loop.exception(), Exception):
            self._defect(error)

    def _again(self, plan: PlanRecord, record: TaskRecord) -> asyncio.Future[None]:
        return self._boundaries.recover(plan, record, pause=False)

    def _defect_in_run(self, plan: PlanRecord, record: TaskRecord, error: BaseException) -> None:
        self.scheduler.fail_run(plan, record, error)

    def _defect(self, error: Exception) -> None:
        """What nobody foresaw: better no driver, which everybody sees, than one that leaves work lying silently."""
        if isinstance(error, StorageError):
            self.commits.give_up(error)
            return
        _log.error("a defect ends the driving; what was recorded stays", exc_info=error)
        self.commits.give_up(
            DrivingError(
                f"this process stops driving, because of a defect of this program: {error!r}. What was recorded stays; "
                "start the process again, and report the error with the log"
            )
        )

    def _beat(self, record: TaskRecord) -> asyncio.Future[None] | None:
        plan = self.residents.plans.get(record.task.key.plan_id)
        if plan is None or not record.task.status.holds_slot:
            return None
        return self._boundaries.heartbeat(plan, record)

    def _durable(self, entries: Sequence[Entry], result: CommitResult) -> None:
        self.publisher.publish(event for entry in entries for event in entry.events)
        for key in result.granted:
            self.scheduler.granted(key)
        self.scheduler.durable()
