"""
StageHands: carries out stages for a driver that is somewhere else.

It is the driver's own ``TaskExecutor``, over other boundaries: where the driver decides what follows a stage, a worker
tells how the stage ended and waits for what the driver has decided. Everything that a step sees is the same.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from switchover.dispatch import Desk, StageEnd, StageOrder
from switchover.domain.task import FailureInfo, PlanId, StageMark, TaskAggregate, evolve_task
from switchover.domain.values import new_dict
from switchover.engine.boundaries import Work
from switchover.engine.deadlines import DeadlineScheduler
from switchover.engine.executor import StageSource, StepWatch, TaskExecutor
from switchover.engine.failures import defect_of
from switchover.engine.heartbeat import HeartbeatScheduler
from switchover.engine.patience import patiently
from switchover.engine.records import PlanRecord, TaskRecord
from switchover.errors import StoreConflictError
from switchover.spi import Clock, Entry, ExecutionStore, KeepPreImage, StepServices

_PLANS = 64


@dataclass(slots=True, eq=False, kw_only=True)
class StageHands:
    """
    Carries out the stages of runs; see ``switchover.dispatch.Hands``.

    Args:
        stages: As the driver's: the worker has to be started with the same catalogue or stage factory.
        watch: Gives what is open while a step of a task runs; None when nobody watches.
    """

    store: ExecutionStore
    clock: Clock
    stages: StageSource
    services: StepServices
    step_timeout_seconds: float
    watch: Callable[[TaskAggregate], StepWatch] | None = None
    _deadlines: DeadlineScheduler = field(init=False)
    _heartbeat: HeartbeatScheduler = field(init=False)
    _plans: dict[PlanId, PlanRecord] = field(default_factory=new_dict)

    def __post_init__(self) -> None:
        self._deadlines = DeadlineScheduler(self.clock)
        # The driver beats for every task; here it is only asked to.
        self._heartbeat = HeartbeatScheduler(clock=self.clock, interval_seconds=1.0, beat=lambda _: None)

    async def watch_deadlines(self) -> None:
        """Interrupt steps that overrun theirs, until cancelled."""
        await self._deadlines.run()

    async def run(self, order: StageOrder, desk: Desk) -> None:
        """Carry out stage after stage, as the desk says."""
        found = await patiently(self.clock, lambda: self.store.load_tasks([order.key]))
        plan = await self._plan(order.key.plan_id)
        if not found or plan is None or found[0].task.generation != order.generation:
            return  # it was given out again meanwhile, or is gone
        record = TaskRecord.of(found[0])
        post = _Post(order, desk)
        executor = TaskExecutor(
            boundaries=post,
            stages=self.stages,
            services=self.services,
            store=self.store,
            commits=post,
            heartbeat=self._heartbeat,
            deadlines=self._deadlines,
            step_timeout_seconds=self.step_timeout_seconds,
            clock=self.clock,
            on_defect=post.note_defect,
            next_work=post.next_work,
            watch_step=None if self.watch is None else self.watch(record.task),
        )
        executor.prepare(plan, record)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        begun.set_result(None)
        while True:
            await executor.run(plan, record, record.run, begun)
            if post.defect is None or post.order is None:
                return
            error, post.defect = post.defect, None
            stage = record.task.stage_names[post.order.stage_index]
            failure = defect_of(error, task=record.task, stage=stage, now=self.clock.now())
            await post.tell(record, StageEnd(failure))

    async def _plan(self, plan_id: PlanId) -> PlanRecord | None:
        """What a run needs to know of a plan never changes, so it is read once."""
        plan = self._plans.get(plan_id)
        if plan is None:
            found = await patiently(self.clock, lambda: self.store.load_plan(plan_id))
            if found is None:
                return None
            while len(self._plans) >= _PLANS:
                del self._plans[next(iter(self._plans))]
            plan = self._plans[plan_id] = PlanRecord(found)
        return plan


class _Post:
    """One run here: its present order, and the way to whoever decides."""

    def __init__(self, order: StageOrder, desk: Desk) -> None:
        self.order: StageOrder | None = order
        self.defect: BaseException | None = None
        self._desk = desk

    def next_work(self, _: TaskRecord) -> Work | None:
        """What the order says."""
        return None if self.order is None else Work(self.order.stage_index, self.order.restoring)

    def note_defect(self, _plan: PlanRecord, _record: TaskRecord, error: BaseException) -> None:
        """The run met what it does not foresee."""
        self.defect = error

    def stage_succeeded(self, plan: PlanRecord, record: TaskRecord, index: int) -> asyncio.Future[None]:
        """See ``StageEnds``."""
        del plan, index
        return asyncio.ensure_future(self.tell(record, StageEnd()))

    def stage_failed(
        self, plan: PlanRecord, record: TaskRecord, index: int, failure: FailureInfo
    ) -> asyncio.Future[None]:
        """See ``StageEnds``."""
        del plan, index
        return asyncio.ensure_future(self.tell(record, StageEnd(failure)))

    stage_restored = stage_succeeded
    stage_not_restored = stage_failed

    async def tell(self, record: TaskRecord, end: StageEnd) -> None:
        """Say how the stage ended, and wait for what the driver makes of it."""
        order = self.order
        if order is None:
            return
        if end.failure is None:
            mark = StageMark.RESTORED if order.restoring else StageMark.COMPLETED
            marks = list(record.task.marks)
            marks[order.stage_index] |= int(mark)
            record.task = evolve_task(record.task, marks=tuple(marks))
        self.order = None
        self.order = await self._desk.ended(order, end)

    def submit(
        self, entry: Entry, tasks: Sequence[TaskRecord] = (), plans: Sequence[PlanRecord] = ()
    ) -> asyncio.Future[None]:
        """A step keeps what its target held: all that a worker ever writes beside how a stage ended."""
        del tasks, plans
        return asyncio.ensure_future(self._keep(entry))

    async def _keep(self, entry: Entry) -> None:
        for change in entry.changes:
            if self.order is None or not isinstance(change, KeepPreImage):
                message = "nothing of this run can be kept any more: its stage was given to somebody else"
                raise StoreConflictError(message)
            await self._desk.keep(self.order, change)
