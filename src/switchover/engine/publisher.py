"""
EventPublisher: history, then live, with no gap and no duplicate between them.

A subscriber is a cursor over the store; the publisher only tells it that there is more, and keeps the newest events at
hand so that a subscriber who is up to date costs no read. A slow one falls back to the store, and slows nobody.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence

from switchover.domain.events import Event
from switchover.domain.task import PlanId
from switchover.engine.hearing import first_of, hear, heard
from switchover.engine.patience import patiently
from switchover.spi import Clock, ExecutionStore, Topic

_KEPT_EVENTS = 2048
_PAGE = 500
_POLL_SECONDS = 0.1


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
        self._recent: dict[PlanId, deque[Event]] = {}
        self._subscribers: dict[PlanId, int] = {}
        self._version = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False
        self.following = False
        """Another process writes the store: this one learns of changes by polling it."""

    def publish(self, events: Iterable[Event]) -> None:
        """Note durable events, in commit order."""
        if self._subscribers:
            for event in events:
                if event.plan_id in self._subscribers:
                    recent = self._recent[event.plan_id]
                    if recent and recent[-1].position + 1 != event.position:
                        recent.clear()  # what another process wrote in between is in the store
                    recent.append(event)
        self.notify()

    def notify(self) -> None:
        """Something was committed: whoever waits looks again."""
        self._version += 1
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

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
        return self._version + (heard(self._store, Topic.COMMITS) if self.following else 0)

    async def changed(self, seen: int) -> None:
        """Wait until something may have been committed since ``version`` was ``seen``."""
        if self.version != seen or self._closed:
            return
        if self.following:
            known = heard(self._store, Topic.COMMITS)
            await first_of(
                self._notified(),
                hear(self._store, self._clock, Topic.COMMITS, known, poll_seconds=_POLL_SECONDS),
            )
        else:
            await self._notified()

    async def _notified(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def subscribe(self, plan_id: PlanId, since: int = 0, *, follow: bool = True) -> AsyncIterator[Event]:
        """
        Events of a plan and of its tasks, in commit order, from after position ``since``.

        Args:
            follow: Wait for what is to come; otherwise end at what is durable now.
        """
        cursor = since
        self._subscribers[plan_id] = self._subscribers.get(plan_id, 0) + 1
        self._recent.setdefault(plan_id, deque(maxlen=_KEPT_EVENTS))
        try:
            while True:
                closed, seen = self._closed, self._version
                page: Sequence[Event] = self._at_hand(plan_id, cursor) or await self._read(plan_id, cursor)
                for event in page:
                    cursor = event.position
                    yield event
                if page:
                    continue
                if closed or not follow:
                    return
                await self.changed(seen)
        finally:
            self._subscribers[plan_id] -= 1
            if not self._subscribers[plan_id]:
                del self._subscribers[plan_id]
                del self._recent[plan_id]

    async def _read(self, plan_id: PlanId, cursor: int) -> Sequence[Event]:
        return await patiently(self._clock, lambda: self._store.load_events(plan_id, cursor, _PAGE))

    def _at_hand(self, plan_id: PlanId, cursor: int) -> Sequence[Event]:
        recent = self._recent[plan_id]
        if not recent or recent[0].position > cursor + 1 or recent[-1].position <= cursor:
            return ()
        # Positions have no gap, so the index follows from the position.
        first = cursor + 1 - recent[0].position
        return [recent[index] for index in range(first, min(first + _PAGE, len(recent)))]
