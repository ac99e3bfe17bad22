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

    __slots__ = ("_scheduler", "record", "sent_at")

    def __init__(self, scheduler: "HeartbeatScheduler", record: TaskRecord) -> None:
        self._scheduler = scheduler
        self.record = record
        self.sent_at: float | None = None
        """When the heartbeat was submitted that is on its way to the store; None when none is."""

    def __enter__(self) -> None:
        self._scheduler.begin(self)

    def __exit__(self, *exc_info: object) -> None:
        self._scheduler.end(self)

    def sent(self, durable: asyncio.Future[None], now: float) -> None:
        """Its heartbeat is on the way to the store."""
        self.sent_at = now
        durable.add_done_callback(self._arrived)

    def _arrived(self, _: asyncio.Future[None]) -> None:
        self.sent_at = None


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
        self._last_lag_seconds = 0.0

    @property
    def lag_seconds(self) -> float:
        """
        How late heartbeats are: the last one, one that is due, or one that has waited for the store; the worst of them.

        Looks at all runs, so it is for whoever asks now and then.
        """
        if not self._due:
            return 0.0
        now = self._clock.monotonic()
        sent = min((beating.sent_at for beating in self._due if beating.sent_at is not None), default=now)
        return max(self._last_lag_seconds, now - next(iter(self._due.values())), now - sent)

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
            self._last_lag_seconds = now - due
            # Late beats are not made up for: the next one is due an interval from now.
            self._due[beating] = now + self._interval
            if beating.sent_at is None and (durable := self._beat(beating.record)) is not None:
                beating.sent(durable, now)
