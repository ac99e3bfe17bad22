"""
TaskScheduler: gives free slots to waiting tasks.

Deciding and starting happen without an await: ``admit`` (domain) says who may start, the start is decided and
submitted, and a runtime carries the run out. Only loading the next tasks from the store waits, and then the decision
is made anew.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextvars import copy_context
from datetime import datetime
from typing import Any, NamedTuple

from switchover.domain.admission import (
    Candidate,
    QueueClass,
    WaitReason,
    admit,
    blocks_followers,
    queue_class,
)
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TenantId
from switchover.engine.alarm import Alarm
from switchover.engine.boundaries import Boundaries
from switchover.engine.executor import TaskExecutor
from switchover.engine.queue import Place, PlanQueue
from switchover.engine.records import PlanRecord, Residents, TaskRecord
from switchover.engine.state_manager import Brakes
from switchover.errors import StorageError
from switchover.logs import get_log
from switchover.spi import Clock, ExecutionStore, LiveTask

_log = get_log("switchover.scheduler")

Launch = Callable[[TaskKey, Coroutine[Any, Any, None]], None]
"""Carries out a run: what a runtime offers."""

_PAGE = 5_000
_LEAST_REACH = 32
_MOST_REACH = 512
_READ_AGAIN_SECONDS = 0.5
_MOST_STARTS = 64
"""In one turn of the loop: while the first of a thousand are made durable, the next ones are decided."""


class _Delay(NamedTuple):
    """A retry that waits: until ``due`` on the monotonic clock, which is ``not_before`` on the wall."""

    due: float
    not_before: datetime
    place: Place


class TaskScheduler:
    """
    The queues of all plans that are driven here.

    Args:
        launch: Takes a run and carries it out.
        on_defect: Told of an error that nobody foresaw, after which nothing may be decided any more.
    """

    def __init__(
        self,
        *,
        store: ExecutionStore,
        residents: Residents,
        boundaries: Boundaries,
        executor: TaskExecutor,
        brakes: Brakes,
        clock: Clock,
        launch: Launch,
        on_defect: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._residents = residents
        self._boundaries = boundaries
        self._executor = executor
        self._brakes = brakes
        self._clock = clock
        self._launch = launch
        self._on_defect = on_defect
        self._queues: dict[PlanId, PlanQueue] = {}
        self._woken: dict[PlanId, None] = {}
        self._loading: set[PlanId] = set()
        self._blocked: dict[TenantId, dict[TaskKey, Place]] = {}
        self._delayed: dict[TaskKey, _Delay] = {}
        self._waited_until: dict[TaskKey, datetime] = {}
        self._outdated: set[TaskKey] = set()
        self._alarm = Alarm(clock)
        # What is decided and read here is about all tasks, and not about the run that gave the reason for it.
        self._context = copy_context()
        self._loads: set[asyncio.Task[None]] = set()
        self.driving = False
        """Whether tasks are started at all; a process that only records requests starts none."""

    # Who waits

    async def adopt_plan(self, plan: PlanRecord) -> None:
        """Queue every waiting task of a plan that is in the store."""
        after = 0
        while page := await self._store.load_live(plan.plan.plan_id, after, _PAGE):
            for live in page:
                self._push(plan, _place_of_live(live))
            after = page[-1].ordinal
        self.wake(plan)

    def enqueue_new(self, plan: PlanRecord, ordinals: range) -> None:
        """Queue the tasks of a plan that has just been created."""
        queue = self._queue(plan)
        for ordinal in ordinals:
            queue.push(Place(QueueClass.PENDING, ordinal, ordinal))
        self.wake(plan)

    def enqueue(self, plan: PlanRecord, record: TaskRecord) -> None:
        """Queue a task that waits for a slot since just now; without effect when it does not."""
        place = _place_of(record.task)
        if place is not None:
            self._push(plan, place)
            self.wake(plan)

    def granted(self, key: TaskKey) -> None:
        """A waiting task owns its tenant's lock now."""
        plan = self._residents.plans.get(key.plan_id)
        if not self._residents.invalidate(key):
            self._outdated.add(key)
        elif plan is not None:
            self._push(plan, Place(QueueClass.PENDING, key.ordinal, key.ordinal))
            self.wake(plan)

    def durable(self) -> None:
        """A commit is done: tasks that were granted a lock while something about them was on its way are read again."""
        if self._outdated:
            outdated, self._outdated = self._outdated, set()
            for key in outdated:
                self.granted(key)

    def released_hold(self, tenant_id: TenantId) -> None:
        """A tenant's hold was lifted."""
        for key, place in self._blocked.pop(tenant_id, {}).items():
            plan = self._residents.plans.get(key.plan_id)
            if plan is not None:
                self._push(plan, place)
                self.wake(plan)

    def wake_all(self) -> None:
        """Something that concerns every plan has changed."""
        for plan_id in self._queues:
            plan = self._residents.plans.get(plan_id)
            if plan is not None:
                self.wake(plan)

    def wake(self, plan: PlanRecord) -> None:
        """Decide about a plan soon: several reasons in one turn of the loop are one decision."""
        if self.driving and plan.plan.plan_id in self._queues:
            if not self._woken:
                asyncio.get_running_loop().call_soon(self._dispatch_woken, context=self._context)
            self._woken[plan.plan.plan_id] = None

    async def run(self) -> None:
        """Start delayed retries when they are due, until cancelled."""
        while True:
            now = self._clock.monotonic()
            for key, delay in list(self._delayed.items()):
                if delay.due <= now:
                    del self._delayed[key]
                    plan = self._residents.plans.get(key.plan_id)
                    if plan is not None:
                        self._waited_until[key] = delay.not_before
                        self._push(plan, delay.place)
                        self.wake(plan)
            await self._alarm.wait_until(min((delay.due for delay in self._delayed.values()), default=None))

    async def stop(self) -> None:
        """Start nothing more."""
        self.driving = False
        for load in list(self._loads):
            load.cancel()
        await asyncio.gather(*self._loads, return_exceptions=True)

    # Who starts

    def _dispatch_woken(self) -> None:
        woken, self._woken = self._woken, {}
        for plan_id in woken:
            plan = self._residents.plans.get(plan_id)
            if plan is not None and self.driving:
                try:
                    self._dispatch(plan)
                except Exception as error:  # noqa: BLE001  # told to whoever stops the driving
                    self._on_defect(error)

    def _dispatch(self, plan: PlanRecord) -> None:
        """One decision about one plan: who starts now."""
        queue = self._queues[plan.plan.plan_id]
        if plan.suspended:
            return
        if plan.unsettled == 0:
            del self._queues[plan.plan.plan_id]
            return
        queue.fill()
        free = min(plan.plan.rules.max_concurrency - plan.occupied_slots, _MOST_STARTS)
        looked_at: dict[int, Place] = {}
        stale: list[Place] = []
        admission = admit(
            plan.plan,
            self._candidates(plan, queue, looked_at, stale),
            line_stopped=self._brakes.line_stopped,
            free_slots=free,
        )
        taken = stale
        for ordinal, reason in admission.waits.items():
            if self._park(plan, looked_at[ordinal], reason):
                taken.append(looked_at[ordinal])
        taken.extend(looked_at[ordinal] for ordinal in admission.starts)
        queue.remove(taken)
        for ordinal in admission.starts:
            self._start(plan, self._residents.tasks[TaskKey(plan.plan.plan_id, ordinal)])
        queue.fill()
        self._load_near(plan, queue)
        if len(admission.starts) == _MOST_STARTS:
            self.wake(plan)

    def _candidates(
        self, plan: PlanRecord, queue: PlanQueue, looked_at: dict[int, Place], stale: list[Place]
    ) -> Iterator[Candidate]:
        """Waiting tasks in order, as far as they are loaded; what does not wait any more is noted as stale."""
        plan_id, tasks = plan.plan.plan_id, self._residents.tasks
        plan_starts, line_stopped = plan.plan.starts_tasks, self._brakes.line_stopped
        for place in queue.near:
            if line_stopped and place.queue is not QueueClass.ROLLBACK:
                return
            if not plan_starts and not place.own_request:
                continue
            record = tasks.get(TaskKey(plan_id, place.ordinal))
            if record is None:
                return
            task = record.task
            if queue_class(task) is not place.queue or place.ordinal in looked_at:
                stale.append(place)
                continue
            looked_at[place.ordinal] = place
            yield Candidate(
                ordinal=place.ordinal,
                queue=place.queue,
                own_request=place.own_request or task.own_request,
                held=task.held,
                lock_held=task.lock_held,
                on_hold=task.tenant_id in self._brakes.holds,
                delayed=self._is_delayed(task),
            )

    def _park(self, plan: PlanRecord, place: Place, reason: WaitReason) -> bool:
        """Put a task that cannot start aside until its reason is gone; False leaves it where it is."""
        key = TaskKey(plan.plan.plan_id, place.ordinal)
        record = self._residents.tasks[key]
        candidate = Candidate(place.ordinal, place.queue)
        if reason is WaitReason.TENANT_HOLD:
            self._blocked.setdefault(record.tenant_id, {})[key] = place
        if plan.plan.rules.max_concurrency == 1 and blocks_followers(candidate, reason):
            return False
        if reason in {WaitReason.PLAN_PAUSED, WaitReason.LINE_STOPPED}:
            return False
        if reason is WaitReason.RETRY_DELAY and (moment := record.task.not_before) is not None:
            seconds = (moment - self._clock.now()).total_seconds()
            self._delayed[key] = _Delay(self._clock.monotonic() + seconds, moment, place)
            self._alarm.ring()
        self._residents.release(record)
        return True

    def _is_delayed(self, task: TaskAggregate) -> bool:
        """What has been waited for once is over, even if somebody sets the clock back meanwhile."""
        moment = task.not_before
        if moment is None or self._waited_until.get(task.key) == moment:
            return False
        return self._clock.now() < moment

    def _start(self, plan: PlanRecord, record: TaskRecord) -> None:
        self._waited_until.pop(record.task.key, None)
        self._executor.prepare(plan, record)
        try:
            started = self._boundaries.start(plan, record)
        except Exception as error:  # noqa: BLE001  # recorded here, and the task's failure
            _log.exception("a start met what it does not foresee", task_id=record.task.task_id)
            started = self._boundaries.start_failed(plan, record, error)
        if started is not None:
            self.launch(plan, record, started)

    def launch(self, plan: PlanRecord, record: TaskRecord, started: asyncio.Future[None]) -> None:
        """Hand a run to the runtime."""
        record.run += 1
        self._launch(record.task.key, self._executor.run(plan, record, record.run, started))

    def fail_run(self, plan: PlanRecord, record: TaskRecord, error: BaseException) -> None:
        """The stage that a run stands in fails with a defect: a task must not stay RUNNING that nobody runs."""
        try:
            durable = self._boundaries.run_failed(plan, record, error)
            if record.task.status.holds_slot:
                self.launch(plan, record, durable)
        except Exception as again:  # noqa: BLE001  # told to whoever stops the driving
            self._on_defect(again)

    # Loading

    def _load_near(self, plan: PlanRecord, queue: PlanQueue) -> None:
        plan_id = plan.plan.plan_id
        if plan_id in self._loading or not queue.near:
            return
        tasks = self._residents.tasks
        wanted = queue.near if plan.plan.starts_tasks else [place for place in queue.near if place.own_request]
        if not wanted:
            return
        # Half a reach ahead is early enough, and halves the number of reads. A plain tuple equals a key, and takes a
        # tenth of the time to make.
        if all((plan_id, wanted[index].ordinal) in tasks for index in (0, len(wanted) // 2)):
            return
        missing = [TaskKey(plan_id, place.ordinal) for place in wanted if (plan_id, place.ordinal) not in tasks]
        self._loading.add(plan_id)
        load = asyncio.get_running_loop().create_task(self._load(plan, missing), context=self._context.copy())
        self._loads.add(load)
        load.add_done_callback(self._loads.discard)

    async def _load(self, plan: PlanRecord, keys: list[TaskKey]) -> None:
        residents = self._residents
        try:
            await residents.load(keys)
            gone = {key.ordinal for key in keys if key not in residents.tasks}
            if gone:
                queue = self._queue(plan)
                queue.remove([place for place in queue.near if place.ordinal in gone])
        except StorageError as error:
            _log.warning("the next tasks cannot be read; trying again", error=str(error))
            await self._clock.sleep(_READ_AGAIN_SECONDS)
        except Exception as error:  # noqa: BLE001  # told to whoever stops the driving
            self._on_defect(error)
        finally:
            self._loading.discard(plan.plan.plan_id)
        self.wake(plan)

    # Inside

    def _queue(self, plan: PlanRecord) -> PlanQueue:
        queue = self._queues.get(plan.plan.plan_id)
        if queue is None:
            reach = max(_LEAST_REACH, min(_MOST_REACH, 4 * plan.plan.rules.max_concurrency))
            queue = self._queues[plan.plan.plan_id] = PlanQueue(reach)
        return queue

    def _push(self, plan: PlanRecord, place: Place | None) -> None:
        if place is not None and self.driving:
            self._queue(plan).push(place)


def _place_of(task: TaskAggregate) -> Place | None:
    return _place(queue_class(task), task.key.ordinal, task.started_order, own_request=task.own_request)


def _place_of_live(live: LiveTask) -> Place | None:
    return _place(queue_class(live), live.ordinal, live.started_order, own_request=live.own_request)


def _place(queue: QueueClass | None, ordinal: int, started_order: int, *, own_request: bool) -> Place | None:
    if queue is None:
        return None
    # Rollbacks: last started first. Everything else: the order of the plan.
    rank = -started_order if queue is QueueClass.ROLLBACK else ordinal
    return Place(queue, rank, ordinal, own_request)
