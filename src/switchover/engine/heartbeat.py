"""
HeartbeatScheduler: one loop beats for every running task.

The interval is the same for all, so whoever was served last is due last: a dict in insertion order is the whole queue.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from switchover.engine.alarm import Alarm
from switchover.engine.records import TaskRecord
from switchover.spi import Clock


@dataclass(frozen=True, slots=True, eq=False)
class _Beating:
    """One run that is alive."""

    record: TaskRecord


class HeartbeatScheduler:
    """
    Calls ``beat`` for each running task, every ``interval_seconds`` from the beginning of its run.

    Args:
        beat: Decides and submits the heartbeat; must not block.
    """

    def __init__(self, *, clock: Clock, interval_seconds: float, beat: Callable[[TaskRecord], None]) -> None:
        self._clock = clock
        self._interval = interval_seconds
        self._beat = beat
        self._due: dict[_Beating, float] = {}
        self._alarm = Alarm(clock)
        self.lag_seconds = 0.0
        """How late the last heartbeat was."""

    @contextmanager
    def running(self, record: TaskRecord) -> Generator[None]:
        """Beat for the task while the context is open; the first beat comes one interval after it was opened."""
        if not self._due:
            self._alarm.ring()
        # One run of a task may end a moment after the next one has begun: each has its own place.
        beating = _Beating(record)
        self._due[beating] = self._clock.monotonic() + self._interval
        try:
            yield
        finally:
            self._due.pop(beating, None)

    def __len__(self) -> int:
        return len(self._due)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            first = next(iter(self._due.items()), None)
            now = self._clock.monotonic()
            if first is None or first[1] > now:
                await self._alarm.wait_until(None if first is None else first[1])
                continue
            beating, due = first
            del self._due[beating]
            self.lag_seconds = now - due
            # Late beats are not made up for: the next one is due an interval from now.
            self._due[beating] = now + self._interval
            self._beat(beating.record)
