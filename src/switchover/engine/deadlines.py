"""
Deadlines of steps: one loop watches all of them.

Each running task has one ``Deadline`` object that it arms for each step. The heap holds at most one entry per deadline;
when an entry comes due and the deadline was moved meanwhile, it goes back with its new moment. So arming costs
nothing in the common case, and the heap does not grow with the number of steps. A run that ends leaves its deadline,
and with it the entry in the heap, to the next one: a minute's worth of ended runs would be a lot of memory.
"""

import asyncio
import heapq
from collections.abc import Generator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

from switchover.engine.alarm import Alarm
from switchover.spi import Clock


class Deadline:
    """The deadline of whatever one running task does now. Belongs to the asyncio task that took it."""

    __slots__ = ("_scheduler", "due", "expired", "owner", "queued")

    def __init__(self, scheduler: "DeadlineScheduler") -> None:
        self._scheduler = scheduler
        self.owner: asyncio.Task[Any] | None = None
        self.due: float | None = None
        self.queued: float | None = None
        self.expired = False

    def arm(self, seconds: float) -> None:
        """Interrupt the owner ``seconds`` from now, unless disarmed before."""
        self.expired = False
        self._scheduler.arm(self, seconds)

    @contextmanager
    def suspended(self) -> Generator[None]:
        """What the owner waits for in here does not count: it gets the time that was left when it goes on."""
        left = self._scheduler.seconds_left(self)
        self.due = None
        try:
            yield
        finally:
            if left is not None:
                self._scheduler.arm(self, left)

    def expire(self) -> None:
        """Interrupt the owner."""
        self.due = None
        self.expired = True
        if self.owner is not None:
            self.owner.cancel()

    async def settle(self) -> bool:
        """
        Whether this deadline interrupted the owner; call it once after each armed stretch, however that ended.

        A cancellation that this deadline asked for is taken back, also when it has not been delivered yet; one that
        somebody else asked for goes on.
        """
        self.due = None
        if not self.expired:
            return False
        if self.owner is not None and self.owner.uncancel() > 0:
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
        self._spare: list[Deadline] = []

    def take(self) -> Deadline:
        """A deadline for the asyncio task that asks; ``give_back`` it when the task ends."""
        deadline = self._spare.pop() if self._spare else Deadline(self)
        deadline.owner = asyncio.current_task()
        return deadline

    def give_back(self, deadline: Deadline) -> None:
        """Nobody arms it any more."""
        deadline.owner = deadline.due = None
        self._spare.append(deadline)

    def seconds_left(self, deadline: Deadline) -> float | None:
        """Until the deadline is due; None when it is not armed."""
        return None if deadline.due is None else deadline.due - self._clock.monotonic()

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
