"""
Live events: history first, then what comes, with no gap and no duplicate between them, for any number of readers.

A *feed* is one stream of events (of a plan, of a task). While somebody reads it, one task follows the store, makes each
event's text once and keeps the newest of them at hand. A *reader* is a cursor: it takes what is at hand, and reads the
store itself while it is further back than that. So a reader that is up to date costs a wake-up and a write, and one
that is slow costs nobody anything: nothing is queued for it.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

import orjson

from switchover.bootstrap import Executor
from switchover.domain.events import Event
from switchover.domain.task import PlanId, TaskKey
from switchover.errors import StorageError
from switchover.redaction import redacted

_AT_HAND = 4_096
_PAGE = 500
_RETRY_SECONDS = 0.2

Key = TypeVar("Key")
Cursor = tuple[int, ...]
"""Rises from event to event; compared, never counted."""


class Item(NamedTuple):
    """An event, ready to be sent."""

    cursor: Cursor
    plan_id: int
    tenant_id: str | None
    frame: bytes


class Source(Protocol):
    """Where a feed's events are read."""

    async def newest(self) -> Cursor:
        """Of the last event that is durable now."""
        ...

    async def behind(self, cursor: Cursor) -> Sequence[Item]:
        """The next events in order; empty when there are none. Raises ``PrunedError`` where it knows of a gap."""
        ...

    def follows(self, cursor: Cursor, item: Item) -> bool:
        """Whether nothing was taken away between the two."""
        ...


def frame_of(event: Event, event_id: str) -> bytes:
    """The event as server-sent events write it."""
    return b"id: " + event_id.encode() + b"\ndata: " + redacted(orjson.dumps(event.to_dict())) + b"\n\n"


def _item(event: Event, number: int) -> Item:
    return Item((number,), event.plan_id, event.tenant_id, frame_of(event, str(number)))


class AllSource:
    """The events of all plans; the cursor is their number."""

    def __init__(self, executor: Executor) -> None:
        self._store = executor.store

    async def newest(self) -> Cursor:
        """As the Protocol says."""
        return ((await self._store.load_all_events(0, 0)).newest,)

    async def behind(self, cursor: Cursor) -> Sequence[Item]:
        """As the Protocol says."""
        page = await self._store.load_all_events(cursor[0], _PAGE)
        if page.pruned > cursor[0]:
            raise PrunedError((page.newest,))
        return [_item(event, number) for number, event in page.events]

    def follows(self, cursor: Cursor, item: Item) -> bool:
        """Numbers may have gaps; ``behind`` knows of what was pruned."""
        return item.cursor > cursor


class PlanSource:
    """A plan's events and its tasks'; the cursor is ``position``."""

    def __init__(self, executor: Executor, plan_id: PlanId) -> None:
        self._store = executor.store
        self._plan_id = plan_id

    async def newest(self) -> Cursor:
        """As the Protocol says."""
        plan = await self._store.load_plan(self._plan_id)
        return (0 if plan is None else plan.position,)

    async def behind(self, cursor: Cursor) -> Sequence[Item]:
        """As the Protocol says."""
        found = await self._store.load_events(self._plan_id, cursor[0], _PAGE)
        return [_item(event, event.position) for event in found]

    def follows(self, cursor: Cursor, item: Item) -> bool:
        """Positions have no gap."""
        return item.cursor[0] == cursor[0] + 1


class TaskSource:
    """A task's own events; the cursor is ``sequenceId``."""

    def __init__(self, executor: Executor, key: TaskKey) -> None:
        self._store = executor.store
        self._key = key

    async def newest(self) -> Cursor:
        """As the Protocol says."""
        found = await self._store.load_tasks([self._key])
        return (found[0].task.sequence_id if found else 0,)

    async def behind(self, cursor: Cursor) -> Sequence[Item]:
        """As the Protocol says."""
        found = await self._store.load_task_events(self._key, cursor[0], _PAGE)
        return [_item(event, event.sequence_id) for event in found]

    def follows(self, cursor: Cursor, item: Item) -> bool:
        """Sequence ids have no gap."""
        return item.cursor[0] == cursor[0] + 1


class PrunedError(Exception):
    """What a reader would have to read next is gone; ``newest`` is where it can start again."""

    def __init__(self, newest: Cursor) -> None:
        super().__init__(newest)
        self.newest = newest


class Feed:
    """One stream of events, followed while it has readers."""

    def __init__(self, executor: Executor, source: Source) -> None:
        self.source = source
        self._executor = executor
        self._at_hand: deque[Item] = deque(maxlen=_AT_HAND)
        self._floor: Cursor = ()
        self.newest: Cursor = ()
        self._waiters: set[asyncio.Future[None]] = set()
        self._follower: asyncio.Task[None] | None = None
        self.readers = 0

    async def open(self) -> None:
        """Begin to follow; the first reader waits for that."""
        self.newest = self._floor = await self.source.newest()
        self._follower = asyncio.ensure_future(self._follow())

    async def aclose(self) -> None:
        """Follow no more."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)

    async def behind(self, cursor: Cursor) -> Sequence[Item]:
        """
        What comes after the cursor, as far as it is durable; empty at the live edge.

        Raises:
            PrunedError: The next ones are gone.
        """
        if cursor >= self.newest:
            return ()
        if cursor >= self._floor:
            return list(self._at_hand)[bisect_right(self._at_hand, cursor, key=_cursor_of) :]
        found = await self.source.behind(cursor)
        if not found or not self.source.follows(cursor, found[0]):
            raise PrunedError(self.newest)
        return found

    def wait(self) -> "asyncio.Future[None]":
        """Something may be new; whoever waits looks again."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        waiter.add_done_callback(self._waiters.discard)
        return waiter

    def wake(self) -> None:
        """Let every reader look."""
        for waiter in list(self._waiters):
            if not waiter.done():
                waiter.set_result(None)

    async def _follow(self) -> None:
        executor = self._executor
        while True:
            seen = executor.version
            try:
                found = await self.source.behind(self.newest)
            except StorageError:
                await asyncio.sleep(_RETRY_SECONDS)  # it may come back; readers keep what they have
                continue
            except PrunedError as error:
                self._start_again(error.newest)
                continue
            if not found:
                await executor.changed(seen)
                continue
            if not self.source.follows(self.newest, found[0]):
                self._start_again(found[-1].cursor)
                continue
            for item in found:
                if len(self._at_hand) == _AT_HAND:
                    self._floor = self._at_hand[0].cursor
                self._at_hand.append(item)
            self.newest = found[-1].cursor
            self.wake()

    def _start_again(self, newest: Cursor) -> None:
        """What came next is gone: whoever has not read so far finds that out from the store."""
        self._at_hand.clear()
        self._floor = self.newest = newest
        self.wake()


def _cursor_of(item: Item) -> Cursor:
    return item.cursor


class Streams:
    """
    All feeds that are read, and their end.

    Args:
        ping_seconds: A reader that has nothing to get is told this often that the connection lives.
    """

    def __init__(self, executor: Executor, *, ping_seconds: float = 15.0) -> None:
        self._executor = executor
        self._ping_seconds = ping_seconds
        self._feeds: dict[object, Feed] = {}
        self._opening: dict[object, asyncio.Task[None]] = {}
        self._pinger: asyncio.Task[None] | None = None
        self.closing = False
        self.beat = 0

    @property
    def readers(self) -> int:
        """How many read at this moment."""
        return sum(feed.readers for feed in self._feeds.values())

    def close(self) -> None:
        """End every stream, at once."""
        self.closing = True
        for feed in self._feeds.values():
            feed.wake()

    async def read(
        self, key: object, source: Callable[[], Source], since: Cursor
    ) -> AsyncGenerator[Sequence[Item] | None]:
        """
        Batches of events behind ``since``, for ever; None says that nothing came for a while.

        Ends when the streams are closed.

        Raises:
            PrunedError: As ``Feed.behind``.
        """
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(self._executor, source())
            self._opening[key] = asyncio.ensure_future(feed.open())
        feed.readers += 1
        try:
            await asyncio.shield(self._opening[key])
            self._start_pinging()
            cursor, beat = since, self.beat
            while not self.closing:
                found = await feed.behind(cursor)
                if found:
                    cursor, beat = found[-1].cursor, self.beat
                    yield found
                    continue
                waiter = feed.wait()
                if cursor < feed.newest or self.closing:
                    waiter.cancel()
                    continue
                await waiter
                if self.beat != beat:
                    beat = self.beat
                    yield None
        finally:
            feed.readers -= 1
            if not feed.readers and self._feeds.get(key) is feed:
                del self._feeds[key], self._opening[key]
                await _quietly(feed.aclose)

    def _start_pinging(self) -> None:
        if self._pinger is None or self._pinger.done():
            self._pinger = asyncio.ensure_future(self._ping())

    async def _ping(self) -> None:
        while self._feeds and not self.closing:
            await asyncio.sleep(self._ping_seconds)
            self.beat += 1
            for feed in self._feeds.values():
                feed.wake()

    async def aclose(self) -> None:
        """Leave nothing behind."""
        self.close()
        if self._pinger is not None:
            self._pinger.cancel()
            await asyncio.gather(self._pinger, return_exceptions=True)
        for feed in list(self._feeds.values()):
            await feed.aclose()


async def _quietly(work: Callable[[], Awaitable[None]]) -> None:
    with suppress(StorageError):
        await work()
