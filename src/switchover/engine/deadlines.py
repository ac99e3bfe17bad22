"""
Deadlines of steps: one loop watches all of them.

Each running task has one ``Deadline`` object that it arms for each step. The heap holds at most one entry per task;
when an entry comes due and the deadline was moved meanwhile, it goes back with its new moment. So arming costs
nothing in the common case, and the heap does not grow with the number of steps.
"""

import asyncio
import heapq
from contextlib import suppress
from itertools import count

from switchover.engine.alarm import Alarm
from switchover.spi import Clock


class Deadline:
    """The deadline of whatever one running task does now. Belongs to the asyncio task that made it."""

    __slots__ = ("_scheduler", "_task", "due", "expired", "queued")

    def __init__(self, scheduler: "DeadlineScheduler") -> None:
        self._scheduler = scheduler
        self._task = asyncio.current_task()
        self.due: float | None = None
        self.queued: float | None = None
        self.expired = False

    def arm(self, seconds: float) -> None:
        """Interrupt the owner ``seconds`` from now, unless disarmed before."""
        self.expired = False
        self._scheduler.arm(self, seconds)

    def expire(self) -> None:
        """Interrupt the owner."""
        self.due = None
        self.expired = True
        if self._task is not None:
            self._task.cancel()

    async def settle(self) -> bool:
        """
        Whether this deadline interrupted the owner; call it once after each armed stretch, however that ended.

        A cancellation that this deadline asked for is taken back, also when it has not been delivered yet; one that
        somebody else asked for goes on.
        """
        self.due = None
        if not self.expired:
            return False
        task = self._task
        if task is not None and task.uncancel() > 0:
            raise asyncio.CancelledError
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return True


class DeadlineScheduler:
    """Watches deadlines. Seconds are the clock's monotonic ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarm = Alarm(clock)
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = count()

    def arm(self, deadline: Deadline, seconds: float) -> None:
        """Set the moment; wakes the loop only when it is the earliest one and not queued yet."""
        deadline.due = self._clock.monotonic() + seconds
        # When its entry lies later than the new moment, a second entry is cheaper than moving the first.
        if deadline.queued is None or deadline.due < deadline.queued:
            self._push(deadline, deadline.due)

    def _push(self, deadline: Deadline, due: float) -> None:
        earliest = not self._heap or due < self._heap[0][0]
        deadline.queued = due
        heapq.heappush(self._heap, (due, next(self._numbers), deadline))
        if earliest:
            self._alarm.ring()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                _, _, deadline = heapq.heappop(self._heap)
                deadline.queued = None
                if deadline.due is None:
                    continue
                if deadline.due <= now:
                    deadline.expire()
                else:
                    self._push(deadline, deadline.due)
            await self._alarm.wait_until(self._heap[0][0] if self._heap else None)
