"""
TaskExecutor: one task's run, stage after stage, forward or back.

It decides nothing: what follows a stage is decided by ``Boundaries`` and durable before the next stage starts. Nothing
inside a stage can be paused or cancelled. However a run ends, its heartbeat ends with it.

A stage is carried out here, or by whoever the delegate gives it to. A worker is such an executor itself: over
boundaries that tell the driver how a stage ended instead of deciding what follows.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from switchover.dispatch import StageCarrier, StageEnd, StageOrder, order_of
from switchover.domain.stage import PreImage, StageStep, TaskRuntimeContext, TaskStage
from switchover.domain.task import FailureInfo, TenantDeployConfigSnapshot
from switchover.engine.boundaries import Work, work_of
from switchover.engine.deadlines import Deadline, DeadlineScheduler
from switchover.engine.failures import StepTimeoutError, failure_of
from switchover.engine.heartbeat import HeartbeatScheduler
from switchover.engine.patience import patiently
from switchover.engine.records import PlanRecord, TaskRecord
from switchover.errors import ErrorCode, ErrorType, StageAdriftError, StageError, StorageError, text_of
from switchover.logs import CURRENT_RUN, get_log
from switchover.spi import FOREIGN, Clock, Entry, ExecutionStore, KeepPreImage, StepServices

_log = get_log("switchover.task")

StepWatch = Callable[[TaskRuntimeContext, StageStep], AbstractContextManager[None]]
"""Gives what is open while a step runs."""

StageSource = Callable[[PlanRecord, TaskRecord], Sequence[TaskStage]]
"""Makes the stages of a task; raises StageError, or whatever a user's factory raises."""


class StageEnds(Protocol):
    """Is told how each stage ended; what it gives is done when the run may go on."""

    def stage_succeeded(self, plan: PlanRecord, record: TaskRecord, index: int) -> asyncio.Future[None]:
        """The stage is complete."""
        ...

    def stage_failed(
        self, plan: PlanRecord, record: TaskRecord, index: int, failure: FailureInfo
    ) -> asyncio.Future[None]:
        """The stage failed."""
        ...

    def stage_restored(self, plan: PlanRecord, record: TaskRecord, index: int) -> asyncio.Future[None]:
        """The previous good config of the stage is back."""
        ...

    def stage_not_restored(
        self, plan: PlanRecord, record: TaskRecord, index: int, failure: FailureInfo
    ) -> asyncio.Future[None]:
        """The stage could not be restored."""
        ...


class Submits(Protocol):
    """Takes what has to become durable."""

    def submit(
        self, entry: Entry, tasks: Sequence[TaskRecord] = (), plans: Sequence[PlanRecord] = ()
    ) -> asyncio.Future[None]:
        """Done when the entry is durable; carries the ``StorageError`` when it never will be."""
        ...


@dataclass(frozen=True, slots=True)
class Delegate:
    """
    Gives stages to somebody else.

    Attributes:
        again: Begins the stage of a run anew, under a higher generation; done when that is durable.
    """

    carrier: StageCarrier
    again: Callable[[PlanRecord, TaskRecord], asyncio.Future[None]]

    def adopts(self, record: TaskRecord) -> bool:
        """Whether the run of a task, begun under an earlier driver, is in good hands."""
        order = order_of(record.task)
        return order is not None and self.carrier.adopts(order)

    async def carry(self, record: TaskRecord, work: Work) -> StageEnd | None:
        """Wait until the stage has ended; see ``StageCarrier``."""
        task = record.task
        return await self.carrier.carry(StageOrder(task.key, task.generation, work.index, work.restoring))


_NO_IMAGES: Mapping[str, PreImage] = MappingProxyType({})


class StoredPreImages:
    """
    The pre-images of one stage of one task: durable before ``keep`` returns.

    A store that is away delays the step that needs one. That time is not the step's, so its deadline stands still.

    Args:
        deadline: Of the step that runs; None while none does.
        none_kept: No run of the task ever began this stage, so none was kept, and the store need not be asked.
    """

    __slots__ = ("_clock", "_commits", "_deadline", "_kept", "_record", "_stage", "_store")

    def __init__(
        self,
        store: ExecutionStore,
        commits: Submits,
        clock: Clock,
        record: TaskRecord,
        stage: str,
        *,
        deadline: Deadline | None = None,
        none_kept: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._commits = commits
        self._record = record
        self._stage = stage
        self._deadline = deadline
        self._kept: Mapping[str, PreImage] | None = _NO_IMAGES if none_kept else None

    async def keep(self, key: str, value: bytes | None) -> PreImage:
        """Keep it unless one was kept before; gives the one that counts."""
        kept = await self._load()
        if key not in kept:
            image = PreImage(key=key, value=value)
            entry = Entry(changes=[KeepPreImage(self._record.task.key, self._stage, image)])
            with self._uncounted():
                await self._commits.submit(entry, (self._record,))
            self._kept = {**(self._kept or kept), key: image}
            return image
        return kept[key]

    async def get(self, key: str) -> PreImage | None:
        """The one that was kept; None when the key was never written."""
        return (await self._load()).get(key)

    async def _load(self) -> Mapping[str, PreImage]:
        if self._kept is None:
            key = self._record.task.key
            with self._uncounted():
                images = await patiently(self._clock, lambda: self._store.load_pre_images(key, self._stage))
            self._kept = {image.key: image for image in images}
        return self._kept

    def _uncounted(self) -> AbstractContextManager[None]:
        return nullcontext() if self._deadline is None else self._deadline.suspended()


@dataclass(slots=True, eq=False, kw_only=True)
class TaskExecutor:
    """
    Runs tasks that were given a slot.

    Attributes:
        stages: Where a task's stages come from.
        services: What built-in steps work with.
        step_timeout_seconds: Deadline of a step that has no own.
        on_defect: Told of an error that nobody foresaw, which has ended a task's run.
        delegate: Has the stages carried out elsewhere; None: they are carried out here.
        next_work: What a run does next.
        watch_step: Open while a step runs; None when nobody watches.
        stopping: The process is about to stop: a run ends at its next boundary, to be picked up by the next driver.
    """

    boundaries: StageEnds
    stages: StageSource
    services: StepServices
    store: ExecutionStore
    commits: Submits
    heartbeat: HeartbeatScheduler
    deadlines: DeadlineScheduler
    step_timeout_seconds: float
    clock: Clock
    on_defect: Callable[[PlanRecord, TaskRecord, BaseException], None]
    delegate: Delegate | None = None
    next_work: Callable[[TaskRecord], Work | None] = work_of
    watch_step: StepWatch | None = None
    stopping: bool = False

    def prepare(self, plan: PlanRecord, record: TaskRecord) -> None:
        """
        Give the record its stages and its runtime context, before the start is decided.

        Stages that cannot be made, or are not those that were recorded, do not stop the start: the first stage then
        fails and says why, so that the reason is durable and visible like any other.
        """
        task = record.task
        record.runtime = TaskRuntimeContext(
            plan_id=task.key.plan_id,
            task_id=task.task_id,
            tenant_id=record.tenant_id,
            generation=record.generation,
            config=record.config,
            switch_config=record.config,
            stage="",
            rolling_back=False,
            pre_images=StoredPreImages(self.store, self.commits, self.clock, record, ""),
            run_step=_not_running,
            log=_log,
            health=plan.plan.rules.health,
            services=self.services,
        )
        record.stages = self._make_stages(plan, record)

    def run(
        self, plan: PlanRecord, record: TaskRecord, number: int, started: asyncio.Future[None]
    ) -> Coroutine[Any, Any, None]:
        """
        The run of a task, until it gives its slot back, or until this process may write no more.

        A task may be paused and resumed again before this run has noticed that it is over: then another run has the
        task, and this one must not touch it (lesson 1). That is what ``number`` is for.

        Args:
            number: Of this run; the record's own moves on with the next one.
            started: The commit that began the run; nothing happens before it is durable.
        """
        return _Run(self, plan, record, number).whole(started)

    def _make_stages(self, plan: PlanRecord, record: TaskRecord) -> Sequence[TaskStage]:
        try:
            stages = tuple(self.stages(plan, record))
            names = tuple(stage.name for stage in stages)
            known = names == record.task.stage_names
        except FOREIGN as error:  # a user's factory may raise anything
            text = text_of(error)
            _log.about(record.task).warning("the stages cannot be made", error=text)
            return _Broken.all(record, f"the stages cannot be made: {text}")
        if not known:
            recorded = ", ".join(record.task.stage_names)
            return _Broken.all(
                record,
                f"the stages are now {', '.join(map(str, names)) or 'none'}, but the task was created with {recorded}; "
                "start the process with the catalogue or stage factory that the plan was created with, and retry",
            )
        return stages

    def seconds_for(self, step: StageStep, context: TaskRuntimeContext) -> float:
        """The step's own deadline, or the one of the settings."""
        own = getattr(step, "deadline_seconds", None)
        return self.step_timeout_seconds if own is None else float(own(context))


_ENDS_A_RUN = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)


async def _not_running(step: StageStep) -> None:
    msg = f"step {step.name} was run outside a stage"
    raise StageError(msg)


class _Run:
    """One run of one task: its deadline, and where it is."""

    __slots__ = ("_deadline", "_executor", "_number", "_plan", "_record")

    def __init__(self, executor: TaskExecutor, plan: PlanRecord, record: TaskRecord, number: int) -> None:
        self._executor = executor
        self._plan = plan
        self._record = record
        self._number = number
        self._deadline: Deadline

    async def whole(self, started: asyncio.Future[None]) -> None:  # noqa: C901, PLR0912, PLR0915  # one, see below
        """
        From its start to its end.

        This is one coroutine and not a nest of them, because there are as many as there are running tasks, and each
        level costs memory while a step waits, and time whenever it goes on.
        """
        executor, record = self._executor, self._record
        CURRENT_RUN.set(record.runtime)
        deadline = self._deadline = executor.deadlines.take()
        try:
            await started
            del started
            while (work := self._next()) is not None:
                # A rollback that begins at a boundary is a run of its own: its first heartbeat comes an interval later.
                generation, delegate = record.task.generation, executor.delegate
                with executor.heartbeat.running(record):
                    while work is not None and record.task.generation == generation:
                        stage, context = self._enter(work)
                        failure: FailureInfo | None = None
                        try:
                            end = None if delegate is None else await delegate.carry(record, work)
                            if end is not None:
                                failure = end.failure
                            else:
                                delegate = None  # a run whose stages are carried out here stays here
                                if work.restoring:
                                    await stage.rollback.rollback(record.task, context)
                                else:
                                    for step in stage.steps:
                                        await context.run_step(step)
                        except StorageError:
                            raise
                        except StageAdriftError:
                            if delegate is None:
                                raise
                            await delegate.again(self._plan, record)
                            break
                        except asyncio.CancelledError:
                            if _is_cancelled():
                                raise
                            # Nobody ended the run: a library cancelled what the step waited for, a failure like others.
                            error = StageError("it was cancelled by what it waited for", code=ErrorCode.STEP_FAILED)
                            failure = self._failure(error, stage)
                        except Exception as error:  # noqa: BLE001  # the stage loop: whatever a step raises fails the stage
                            failure = self._failure(error, stage)
                        await self._conclude(work, failure)
                        work = self._next()
        except StorageError as error:
            _log.warning("a run ends here, the store has it as it was", error=str(error))
        except _ENDS_A_RUN:
            raise
        except BaseException as error:  # noqa: BLE001  # recorded here, and the task's failure
            _log.exception("a run met what it does not foresee")
            if record.run == self._number:
                executor.on_defect(self._plan, record, error)
        finally:
            executor.deadlines.give_back(deadline)

    def _next(self) -> Work | None:
        """What the run does next; None when it is over."""
        record = self._record
        executor = self._executor
        return executor.next_work(record) if record.run == self._number and not executor.stopping else None

    def _enter(self, work: Work) -> tuple[TaskStage, TaskRuntimeContext]:
        """Make the context that of the stage."""
        executor, record = self._executor, self._record
        stages, context = record.stages, record.runtime
        assert stages is not None  # noqa: S101  # prepare() came first
        assert context is not None  # noqa: S101  # prepare() came first
        stage = stages[work.index]
        context.stage = stage.name
        context.step = ""
        context.run_step = self._run_step if executor.watch_step is None else self._watched_step
        context.generation = record.task.generation
        context.rolling_back = work.restoring
        context.config = self._config(work)
        context.pre_images = StoredPreImages(
            executor.store,
            executor.commits,
            executor.clock,
            record,
            stage.name,
            deadline=self._deadline,
            none_kept=record.first_started == work.index and not work.restoring,
        )
        record.first_started = None
        return stage, context

    def _failure(self, error: Exception, stage: TaskStage) -> FailureInfo:
        record, now = self._record, self._executor.clock.now()
        step = None if record.runtime is None else record.runtime.step or None
        return failure_of(error, task=record.task, stage=stage.name, step=step, now=now)

    def _conclude(self, work: Work, failure: FailureInfo | None) -> asyncio.Future[None]:
        """Decide what follows; done when that is durable."""
        plan, record, boundaries = self._plan, self._record, self._executor.boundaries
        if work.restoring:
            if failure is None:
                return boundaries.stage_restored(plan, record, work.index)
            return boundaries.stage_not_restored(plan, record, work.index, failure)
        if failure is None:
            return boundaries.stage_succeeded(plan, record, work.index)
        return boundaries.stage_failed(plan, record, work.index, failure)

    def _config(self, work: Work) -> TenantDeployConfigSnapshot:
        previous = self._record.previous
        return previous if work.restoring and previous is not None else self._record.config

    async def _watched_step(self, step: StageStep) -> None:
        watch, context = self._executor.watch_step, self._record.runtime
        assert watch is not None  # noqa: S101  # see _enter
        assert context is not None  # noqa: S101  # prepare() came first
        with watch(context, step):
            await self._run_step(step)

    async def _run_step(self, step: StageStep) -> None:
        """One step under its deadline."""
        executor, deadline = self._executor, self._deadline
        context = self._record.runtime
        assert context is not None  # noqa: S101  # prepare() came first
        context.step = step.name
        seconds = executor.seconds_for(step, context)
        deadline.arm(seconds)
        try:
            await step.execute(context)
        except asyncio.CancelledError:
            if not await deadline.settle():
                raise
            raise _overrun(step, seconds) from None
        except Exception:
            if deadline.expired:
                await deadline.settle()
            raise
        finally:
            deadline.due = None
        if deadline.expired and await deadline.settle():
            raise _overrun(step, seconds)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _overrun(step: StageStep, seconds: float) -> StepTimeoutError:
    return StepTimeoutError(
        f"step {step.name} did not end within its deadline of {seconds:g} s; find out what it waits for, then retry",
        error_type=ErrorType.TIMEOUT_ERROR,
    )


@dataclass(frozen=True, slots=True)
class _Broken:
    """A stage that stands for one that could not be made: it fails, and says why."""

    name: str
    reason: str

    @staticmethod
    def all(record: TaskRecord, reason: str) -> tuple["_Broken", ...]:
        return tuple(_Broken(name, reason) for name in record.task.stage_names)

    @property
    def steps(self) -> tuple[StageStep, ...]:
        return (_BrokenStep(self.reason),)

    @property
    def rollback(self) -> "_BrokenRollback":
        return _BrokenRollback(self.reason)


@dataclass(frozen=True, slots=True)
class _BrokenStep:
    reason: str
    name: str = "stages"

    async def execute(self, context: TaskRuntimeContext) -> None:
        del context
        raise StageError(self.reason, code=ErrorCode.INVALID_STAGES)


@dataclass(frozen=True, slots=True)
class _BrokenRollback:
    reason: str

    async def rollback(self, task: object, context: TaskRuntimeContext) -> None:
        del task, context
        raise StageError(self.reason, code=ErrorCode.INVALID_STAGES)
