"""
HeartbeatScheduler: one loop beats for every running task.

The interval is the same for all, so whoever was served last is due last: a dict in insertion order is the whole queue.
"""

import asyncio
from collections.abc import Callable

from switchover.engine.alarm import Alarm
from switchover.engine.records import TaskRecord
from switchover.spi import Clock


class Beating:
    """One run that is alive; the context in which it beats."""

    __slots__ = ("_scheduler", "on_its_way", "record")

    def __init__(self, scheduler: "HeartbeatScheduler", record: TaskRecord) -> None:
        self._scheduler = scheduler
        self.record = record
        self.on_its_way = False

    def __enter__(self) -> None:
        self._scheduler.begin(self)

    def __exit__(self, *exc_info: object) -> None:
        self._scheduler.end(self)

    def sent(self, durable: asyncio.Future[None]) -> None:
        """Its heartbeat is on the way to the store."""
        self.on_its_way = True
        durable.add_done_callback(self._arrived)

    def _arrived(self, _: asyncio.Future[None]) -> None:
        self.on_its_way = False


class HeartbeatScheduler:
    """
    Calls ``beat`` for each running task, every ``interval_seconds`` from the beginning of its run.

    While the last heartbeat of a run is not durable, none follows it: a store that is away for hours would otherwise
    let them pile up, and be flooded when it returns.

    Args:
        beat: Decides and submits the heartbeat, and gives what is done when it is durable; must not block.
    """

    def __init__(
        self, *, clock: Clock, interval_seconds: float, beat: Callable[[TaskRecord], asyncio.Future[None] | None]
    ) -> None:
        self._clock = clock
        self._interval = interval_seconds
        self._beat = beat
        self._due: dict[Beating, float] = {}
        self._alarm = Alarm(clock)
        self.lag_seconds = 0.0
        """How late the last heartbeat was."""

    def running(self, record: TaskRecord) -> Beating:
        """Beat for the task while the context is open; the first beat comes one interval after it was opened."""
        # One run of a task may end a moment after the next one has begun: each has its own place.
        return Beating(self, record)

    def begin(self, beating: Beating) -> None:
        """Used by the context."""
        if not self._due:
            self._alarm.ring()
        self._due[beating] = self._clock.monotonic() + self._interval

    def end(self, beating: Beating) -> None:
        """Used by the context."""
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
            if not beating.on_its_way and (durable := self._beat(beating.record)) is not None:
                beating.sent(durable)
