"""
What there is to see of a plan or a task at one moment.

The plan's own record is read at every look; it is one row, whatever the plan's size. The tasks that need attention are
read in single pages, and less often the longer that takes, so that looking costs a small share of the time whether the
plan has ten tasks or a hundred thousand.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from switchover.domain.plan import PlanAggregate, PlanStatus
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus
from switchover.interfaces.cli.exit_codes import ExitCode, of_plan, of_task
from switchover.interfaces.pace import Pace

if TYPE_CHECKING:
    from switchover.bootstrap import StoreOutage
    from switchover.engine.explain import Explanation
    from switchover.interfaces.cli.service import Service
    from switchover.spi import DriverInfo, StopLine

MOST_FAILURES = 50
_MOST_RUNNING = 64
_MOST_PAUSED = 20
_DETAILS_SHARE = 20
"""Reading the tasks may take one part in so many of the time."""

FAILURES = frozenset({TaskStatus.FAILED, TaskStatus.ROLLBACK_FAILED})
_OCCUPIED = frozenset({TaskStatus.RUNNING, TaskStatus.ROLLING_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What surrounds the work: who drives, whether the line stands still, and since when the store is away."""

    driver: "DriverInfo | None"
    driving: bool
    takes_over: bool = False
    line: "StopLine | None"
    now: float
    outage: "StoreOutage | None" = None

    @property
    def nobody_drives(self) -> bool:
        """Nothing will happen until some other process drives the store."""
        return self.driver_is_gone and not self.takes_over

    @property
    def driver_is_gone(self) -> bool:
        """Nobody drives at this moment."""
        return not self.driving and (self.driver is None or not self.driver.alive)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLook:
    """
    One look at a plan.

    Attributes:
        running: Those that run or are rolled back, the longest first.
        waits: Why the first waiting task waits; None while something runs.
        rate: Tasks settled per second of late; None while that says nothing.
        seconds_left: At that rate.
    """

    plan: PlanAggregate
    around: Around
    failed: Sequence[TaskAggregate] = ()
    running: Sequence[TaskAggregate] = ()
    paused: Sequence[TaskAggregate] = ()
    waits: "Explanation | None" = None
    rate: float | None = None
    seconds_left: float | None = None
    seconds: float = 0.0

    @property
    def at_rest(self) -> bool:
        """Settled, paused, or everything that is unsettled is paused or held."""
        plan = self.plan
        return plan.status.is_settled or plan.status is PlanStatus.PAUSED or plan.unsettled == plan.idle

    @property
    def code(self) -> ExitCode:
        """What a process ends with that ends now."""
        return of_plan(self.plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLook:
    """One look at a task; ``waits`` says why nothing happens."""

    task: TaskAggregate
    around: Around
    waits: "Explanation | None" = None

    @property
    def at_rest(self) -> bool:
        """Settled with nothing pending, paused or held."""
        return not self.task.is_live or self.task.is_idle

    @property
    def code(self) -> ExitCode:
        """What a process ends with that ends now."""
        return of_task(self.task)


Look = PlanLook | TaskLook


class Subject(Protocol):
    """What is looked at."""

    @property
    def name(self) -> str:
        """As in a sentence: ``plan 100``."""
        ...

    async def look(self) -> Look:
        """See how it stands."""
        ...


@dataclass(slots=True)
class _Details:
    failed: Sequence[TaskAggregate] = ()
    running: Sequence[TaskAggregate] = ()
    paused: Sequence[TaskAggregate] = ()
    waits: "Explanation | None" = None


@dataclass(slots=True)
class PlanSubject:
    """A plan; it must exist."""

    executor: "Service"
    plan_id: PlanId
    _details: _Details = field(default_factory=_Details)
    _details_due: float = 0.0
    _pace: Pace = field(default_factory=Pace)
    _began: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """As in a sentence."""
        return f"plan {self.plan_id}"

    async def look(self) -> PlanLook:
        """See how it stands."""
        around = await _around(self.executor)
        plan = await self.executor.store.load_plan(self.plan_id)
        if plan is None:
            raise LookupError(self.name)
        resting = PlanLook(plan=plan, around=around).at_rest
        if resting or around.now >= self._details_due:
            await self._read_details(plan, around)
        rate = self._pace.note(around.now, plan.total - plan.unsettled)
        moving = plan.unsettled - plan.idle
        return PlanLook(
            plan=plan,
            around=around,
            failed=self._details.failed,
            running=self._details.running,
            paused=self._details.paused,
            waits=self._details.waits,
            rate=rate,
            seconds_left=moving / rate if rate else None,
            seconds=around.now - self._began,
        )

    async def _read_details(self, plan: PlanAggregate, around: Around) -> None:
        began = time.monotonic()
        failed = await self._tasks(plan, FAILURES, MOST_FAILURES)
        running = await self._tasks(plan, _OCCUPIED, _MOST_RUNNING)
        paused = await self._tasks(plan, frozenset({TaskStatus.PAUSED}), _MOST_PAUSED)
        waits = None
        if not plan.occupied_slots and plan.unsettled > plan.idle and not around.nobody_drives:
            waits = await self._first_waiting(plan)
        self._details = _Details(
            failed=failed,
            running=sorted(running, key=lambda task: task.updated_at),
            paused=paused,
            waits=waits,
        )
        ended = time.monotonic()
        self._details_due = ended + (ended - began) * _DETAILS_SHARE

    async def _tasks(self, plan: PlanAggregate, statuses: frozenset[TaskStatus], limit: int) -> Sequence[TaskAggregate]:
        if not any(plan.count(status) for status in statuses):
            return ()
        return await self.executor.store.list_tasks(self.plan_id, statuses=statuses, after=0, limit=limit)

    async def _first_waiting(self, plan: PlanAggregate) -> "Explanation | None":
        waiting = await self._tasks(plan, frozenset({TaskStatus.PENDING, TaskStatus.RESUMING, TaskStatus.PAUSED}), 1)
        return await self.executor.facade.explain_task(waiting[0].task_id) if waiting else None


@dataclass(slots=True)
class TaskSubject:
    """A task; it must exist."""

    executor: "Service"
    key: TaskKey

    @property
    def name(self) -> str:
        """As in a sentence."""
        return f"task {self.key.task_id}"

    async def look(self) -> TaskLook:
        """See how it stands."""
        around = await _around(self.executor)
        found = await self.executor.store.load_tasks([self.key])
        if not found:
            raise LookupError(self.name)
        task = found[0].task
        waits = None
        if task.is_live and not task.status.holds_slot:
            waits = await self.executor.facade.explain_task(task.task_id)
        return TaskLook(task=task, around=around, waits=waits)


async def _around(executor: "Service") -> Around:
    return Around(
        driver=await executor.driver(),
        driving=executor.driving,
        takes_over=executor.takes_over,
        line=await executor.store.load_line(),
        now=time.monotonic(),
        outage=executor.store_outage,
    )
