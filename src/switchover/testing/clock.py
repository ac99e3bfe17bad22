"""
A clock that moves only when it is told to.

Sleepers wake in the order in which they are due (those due together: in the order in which they fell asleep), and after
each one everything that it set off runs until nothing is left to run, so a test sees the same order every time.
"""

import asyncio
import heapq
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_MOST_ROUNDS = 10_000
"""Turns of the loop that ``settle`` grants; a program that is busy for longer never falls idle."""

_START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """
    Implements ``switchover.spi.Clock`` for tests.

    Args:
        start: What ``now`` says at first; aware, UTC.
    """

    def __init__(self, start: datetime = _START) -> None:
        self._wall = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        """Wall-clock time: the start and what has been advanced since, unless it was set."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds advanced since the clock was made."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until somebody has advanced the clock by this much; not at all when it is zero or less."""
        if seconds <= 0:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._count, future))
        await future

    @property
    def sleepers(self) -> int:
        """How many coroutines sleep."""
        return sum(not future.done() for _, _, future in self._sleepers)

    @property
    def next_due_seconds(self) -> float | None:
        """How far the clock must be advanced until the next sleeper wakes; None when nobody sleeps."""
        self._forget_cancelled()
        return max(0.0, self._sleepers[0][0] - self._elapsed) if self._sleepers else None

    def set_wall(self, moment: datetime) -> None:
        """Let wall-clock time jump; nobody wakes, and monotonic time does not change."""
        self._wall = moment

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its own moment, those that fall asleep on the way included."""
        end = self._elapsed + seconds
        await self.settle()
        while self._wake_one(until=end):
            await self.settle()
        self._pass(end)

    async def advance_to_next(self) -> bool:
        """Let time pass until the next sleeper has woken; False when nobody sleeps."""
        await self.settle()
        if not self._wake_one(until=None):
            return False
        await self.settle()
        return True

    async def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run ``work`` to its end, letting time pass whenever nothing else can run."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                await self.settle()
                if task.done():
                    return task.result()
                if not self._wake_one(until=None):
                    # Only a thread or a socket can move things on now, and no count of loop turns says when.
                    await asyncio.wait({task}, timeout=0.001)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def settle(self) -> None:
        """Let everything run that can run without time passing. Threads and sockets are not waited for."""
        # The queue of callbacks is the one place that knows; a loop that hides it gets a fixed number of turns.
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        for turn in range(_MOST_ROUNDS):
            await asyncio.sleep(0)
            if (not ready) if ready is not None else turn >= 100:  # noqa: PLR2004  # deeper chains than any here
                return

    def _wake_one(self, until: float | None) -> bool:
        self._forget_cancelled()
        if not self._sleepers or (until is not None and self._sleepers[0][0] > until):
            return False
        due, _, future = heapq.heappop(self._sleepers)
        self._pass(due)
        future.set_result(None)
        return True

    def _pass(self, moment: float) -> None:
        if moment > self._elapsed:
            self._wall += timedelta(seconds=moment - self._elapsed)
            self._elapsed = moment

    def _forget_cancelled(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
