"""
EventPublisher: history, then live, with no gap and no duplicate between them.

A subscriber is a cursor over the store; the publisher only tells it that there is more, and keeps the newest events at
hand so that a subscriber who is up to date costs no read. A slow one falls back to the store, and slows nobody. Who
follows a plan is woken when that plan has events, and not by every commit.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial

from switchover.domain.events import Event
from switchover.domain.task import PlanId
from switchover.engine.hearing import first_of, hear, heard
from switchover.engine.patience import patiently
from switchover.errors import EventsPrunedError
from switchover.spi import Clock, ExecutionStore, NumberedEvent, Topic

_KEPT_EVENTS = 2048
_PAGE = 500
_POLL_SECONDS = 0.1


class _Signal:
    """Rises, and wakes whoever waits for it to rise."""

    __slots__ = ("_waiters", "version")

    def __init__(self) -> None:
        self.version = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def rise(self) -> None:
        self.version += 1
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def risen(self, seen: int) -> None:
        """Return when the version is not the one that was ``seen``."""
        if self.version == seen:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)


class _Channel:
    """
    What the subscribers of one plan share.

    Attributes:
        recent: The newest events, without a gap; while there is one, nothing newer is durable.
        signal: Rises when there may be something new.
    """

    __slots__ = ("recent", "signal", "subscribers")

    def __init__(self) -> None:
        self.recent: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self.signal = _Signal()
        self.subscribers = 0

    def add(self, event: Event) -> None:
        recent = self.recent
        if recent and recent[-1].position + 1 != event.position:
            recent.clear()  # what another process wrote in between is in the store
        recent.append(event)

    def look_again(self) -> None:
        """Something may be in the store that nobody added here."""
        self.recent.clear()
        self.signal.rise()

    def after(self, cursor: int) -> Sequence[Event] | None:
        """What follows; None when only the store knows."""
        recent = self.recent
        if not recent or recent[0].position > cursor + 1:
            return None
        # Positions have no gap, so the index follows from the position.
        first = cursor + 1 - recent[0].position
        return [recent[index] for index in range(first, min(first + _PAGE, len(recent)))]


class EventPublisher:
    """
    Tells subscribers about durable events.

    Args:
        store: Where history is read.
        clock: For polling, while another process writes.
    """

    def __init__(self, store: ExecutionStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._channels: dict[PlanId, _Channel] = {}
        self._signal = _Signal()
        self._closed = False
        self._following = False
        self._heard = 0
        """What the store had heard of when following ended: a version never goes back."""

    @property
    def following(self) -> bool:
        """Another process writes the store: this one learns of changes by polling it."""
        return self._following

    @following.setter
    def following(self, following: bool) -> None:
        self._heard = heard(self._store, Topic.COMMITS)
        self._following = following
        self.notify()

    def publish(self, events: Iterable[Event]) -> None:
        """Note durable events, in commit order."""
        if self._channels:
            told: dict[PlanId, _Channel] = {}
            for event in events:
                channel = self._channels.get(event.plan_id)
                if channel is not None:
                    channel.add(event)
                    told[event.plan_id] = channel
            for channel in told.values():
                channel.signal.rise()
        self._signal.rise()

    def notify(self) -> None:
        """Something may be different that no event told of: whoever waits looks again, in the store."""
        for channel in self._channels.values():
            channel.look_again()
        self._signal.rise()

    def close(self) -> None:
        """End every subscription once it has given what is durable."""
        self._closed = True
        self.notify()

    @property
    def closed(self) -> bool:
        """Nothing will be told any more."""
        return self._closed

    @property
    def version(self) -> int:
        """Rises with every notification; take it before reading, and wait for a change of it after."""
        return self._seen(self._signal)

    async def changed(self, seen: int) -> None:
        """Wait until something may have been committed since ``version`` was ``seen``."""
        await self._risen(self._signal, seen)

    async def subscribe(self, plan_id: PlanId, since: int = 0, *, follow: bool = True) -> AsyncIterator[Event]:
        """
        Events of a plan and of its tasks, in commit order, from after position ``since``.

        Args:
            follow: Wait for what is to come; otherwise end at what is durable now.

        Raises:
            EventsPrunedError: What comes next is no longer kept.
        """
        cursor = since
        channel = self._channels.setdefault(plan_id, _Channel())
        channel.subscribers += 1
        try:
            while True:
                closed, seen = self._closed, self._seen(channel.signal)
                page = channel.after(cursor)
                if page is None:
                    page = await self._read(plan_id, cursor)
                for event in page:
                    cursor = event.position
                    yield event
                if page:
                    continue
                if closed or not follow:
                    return
                await self._risen(channel.signal, seen)
        finally:
            channel.subscribers -= 1
            if not channel.subscribers:
                del self._channels[plan_id]

    async def subscribe_to_all(self, since: int = 0, *, follow: bool = True) -> AsyncIterator[NumberedEvent]:
        """
        Events of all plans, in commit order, from after the number ``since``.

        Args:
            follow: As for one plan.

        Raises:
            EventsPrunedError: Something that comes next is no longer kept.
        """
        cursor = since
        while True:
            closed, seen = self._closed, self.version
            page = await patiently(self._clock, partial(self._store.load_all_events, cursor, _PAGE))
            if page.pruned > cursor:
                raise EventsPrunedError(cursor, kept_since=page.pruned, newest=page.newest)
            for numbered in page.events:
                cursor = numbered.number
                yield numbered
            if page.events:
                continue
            if closed or not follow:
                return
            await self.changed(seen)

    async def _read(self, plan_id: PlanId, cursor: int) -> Sequence[Event]:
        found = await patiently(self._clock, lambda: self._store.load_events(plan_id, cursor, _PAGE))
        if found and found[0].position != cursor + 1:
            plan = await patiently(self._clock, lambda: self._store.load_plan(plan_id))
            newest = found[-1].position if plan is None else plan.position
            raise EventsPrunedError(cursor, kept_since=found[0].position - 1, newest=newest)
        return found

    def _seen(self, signal: _Signal) -> int:
        return signal.version + (heard(self._store, Topic.COMMITS) if self._following else self._heard)

    async def _risen(self, signal: _Signal, seen: int) -> None:
        if self._closed or self._seen(signal) != seen:
            return
        if self._following:
            known = heard(self._store, Topic.COMMITS)
            await first_of(
                signal.risen(signal.version),
                hear(self._store, self._clock, Topic.COMMITS, known, poll_seconds=_POLL_SECONDS),
            )
        else:
            await signal.risen(signal.version)
