"""The driver's side of stages at workers: whom it takes for dead, and what it adopts, hears and takes upon itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from switchover.dispatch import GivenOrder, StageEnd, StageOrder, Told, WorkerInfo
from switchover.domain.task import PlanId, TaskKey
from switchover.errors import StageAdriftError, StoreClosedError, StoreUnavailableError
from switchover.runtimes.procrastinate.carrier import WorkerCarrier
from switchover.testing.clock import ManualClock

ORDER = StageOrder(TaskKey(PlanId(1), 1), 3, 0, restoring=False)
ANOTHER = ORDER._replace(key=TaskKey(PlanId(1), 2))
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_WORKER = WorkerInfo(
    worker=1,
    name="one",
    version="1",
    concurrency=4,
    tasks=0,
    since=_MOMENT,
    last_heartbeat=_MOMENT,
    heartbeats=1,
    stopping=False,
)


class Book:
    """An order book in memory, which the test writes."""

    def __init__(self) -> None:
        self.given: dict[StageOrder, GivenOrder] = {}
        self.known: dict[int, WorkerInfo] = {}
        self.away = False
        self._alone = False
        self.told: Told | None = None
        self.repairs = 0

    def give(self, order: StageOrder, worker: int | None = None, end: StageEnd | None = None) -> None:
        self.given[order] = GivenOrder(order, 1, worker, end)

    def beat(self, worker: int) -> None:
        known = self.known.setdefault(worker, replace(_WORKER, worker=worker))
        self.known[worker] = replace(known, heartbeats=known.heartbeats + 1)

    def _look(self) -> None:
        if self.away:
            message = "away"
            raise StoreUnavailableError(message)

    def work_alone(self, *, alone: bool) -> None:
        self._alone = alone

    def is_alone(self) -> bool:
        return self._alone

    def stays_here(self, order: StageOrder) -> bool:
        return order in self.given and self.given[order].worker == 0

    async def orders(self) -> Sequence[GivenOrder]:
        self._look()
        return list(self.given.values())

    async def order(self, key: TaskKey) -> GivenOrder | None:
        return next((given for given in self.given.values() if given.order.key == key), None)

    async def ends(self) -> Sequence[tuple[StageOrder, StageEnd]]:
        self._look()
        return [(given.order, given.end) for given in self.given.values() if given.end is not None]

    def heard_ends(self, told: str) -> Sequence[tuple[StageOrder, StageEnd]] | None:
        return None if told == "look" else [(ORDER, StageEnd())]

    async def adrift(self) -> Sequence[StageOrder]:
        self._look()
        return [order for order, given in self.given.items() if given.worker and given.worker not in self.known]

    async def unclaimed(self) -> Sequence[StageOrder]:
        return [order for order, given in self.given.items() if given.worker is None]

    async def unattended(self) -> int:
        return 0 if self.known else len(await self.unclaimed())

    async def claim_here(self, order: StageOrder) -> bool:
        if self.given[order].worker is not None:
            return False
        self.give(order, 0)
        return True

    async def workers(self) -> Sequence[WorkerInfo]:
        self._look()
        return list(self.known.values())

    async def bury(self, worker: int, heartbeats: int) -> bool:
        if self.known[worker].heartbeats != heartbeats:
            return False
        del self.known[worker]
        return True

    async def reconcile(self) -> int:
        self._look()
        self.repairs += 1
        return 0

    @asynccontextmanager
    async def listen_for_ends(self, told: Told) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        self._look()
        self.told = told

        async def for_ever() -> None:
            await asyncio.Event().wait()

        yield for_ever


class ClockOfTheFrozen(ManualClock):
    """Its process has stood still for a while, and its sleepers with it; time has not."""

    frozen_seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.frozen_seconds


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@asynccontextmanager
async def carrying(book: Book, clock: ManualClock, *, alone: bool = False) -> AsyncIterator[WorkerCarrier]:
    carrier = WorkerCarrier(book=book, clock=clock, dead_seconds=4.0, alone=alone)
    await carrier.start()
    await clock.settle()
    try:
        yield carrier
    finally:
        await carrier.aclose()


async def test_a_worker_whose_heartbeats_stay_away_is_dead_and_what_it_had_is_adrift(
    book: Book, clock: ManualClock
) -> None:
    book.beat(1)
    book.beat(2)
    async with carrying(book, clock) as carrier:
        book.give(ORDER, 1)
        book.give(ANOTHER, 2)
        lost = asyncio.ensure_future(carrier.carry(ORDER))
        kept = asyncio.ensure_future(carrier.carry(ANOTHER))
        for _ in range(7):
            book.beat(2)
            await clock.advance(0.5)
        assert not lost.done(), "not yet"
        book.beat(2)
        await clock.advance(1.0)
        with pytest.raises(StageAdriftError):
            await lost
        assert not kept.done()
        assert set(book.known) == {2}
        assert carrier.workers == 1
        kept.cancel()


async def test_nobody_dies_while_the_database_is_away(book: Book, clock: ManualClock) -> None:
    """Lesson 9, the other way round: silence that nobody could have heard through is none."""
    book.beat(1)
    async with carrying(book, clock) as carrier:
        book.give(ORDER, 1)
        waiting = asyncio.ensure_future(carrier.carry(ORDER))
        await clock.advance(3.0)
        book.away = True
        await clock.advance(600.0)
        book.away = False
        await clock.advance(0.5)
        assert not waiting.done()
        book.beat(1)
        await clock.advance(3.5)
        assert not waiting.done()
        assert set(book.known) == {1}
        waiting.cancel()


async def test_a_driver_that_was_frozen_itself_takes_nobody_for_dead_because_of_that(
    book: Book,
) -> None:
    book.beat(1)
    clock = ClockOfTheFrozen()
    async with carrying(book, clock):
        clock.frozen_seconds = 60.0
        await clock.advance(0.25)
        assert set(book.known) == {1}


async def test_what_was_told_counts_at_once_and_what_was_not_told_is_found(book: Book, clock: ManualClock) -> None:
    book.beat(1)
    async with carrying(book, clock) as carrier:
        assert book.told is not None
        book.told("an end")
        assert await carrier.carry(ORDER) == StageEnd(), "told before anybody waited for it"
        book.give(ANOTHER, 1)
        waiting = asyncio.ensure_future(carrier.carry(ANOTHER))
        await clock.settle()
        book.give(ANOTHER, 1, StageEnd())
        book.told("look")
        await clock.settle()
        assert await waiting == StageEnd()
        again = asyncio.ensure_future(carrier.carry(ANOTHER))
        for _ in range(3):
            book.beat(1)
            await clock.advance(0.5)
        assert await again == StageEnd(), "without a word"


async def test_a_new_driver_adopts_what_is_in_good_hands(book: Book, clock: ManualClock) -> None:
    book.beat(1)
    book.give(ORDER, 1)
    book.give(ANOTHER, 9)
    ended = ORDER._replace(key=TaskKey(PlanId(1), 3))
    book.give(ended, 9, StageEnd())
    unclaimed = ORDER._replace(key=TaskKey(PlanId(1), 4))
    book.give(unclaimed)
    here = ORDER._replace(key=TaskKey(PlanId(1), 5))
    book.give(here, 0)
    async with carrying(book, clock) as carrier:
        assert carrier.adopts(ORDER)
        assert carrier.adopts(ended)
        assert carrier.adopts(unclaimed)
        assert not carrier.adopts(ANOTHER), "nobody knows its worker"
        assert not carrier.adopts(here), "the last driver's own"
        assert not carrier.adopts(ORDER._replace(stage_index=1)), "not the stage that was ordered"
        assert await carrier.carry(ended) == StageEnd()


async def test_whoever_may_carries_out_itself_what_nobody_has_while_there_is_no_worker(
    book: Book, clock: ManualClock
) -> None:
    async with carrying(book, clock, alone=True) as carrier:
        assert book.is_alone()
        book.give(ORDER)
        assert await carrier.carry(ORDER) is None
        assert await carrier.carry(ORDER) is None, "it stays here"
        book.beat(1)
        await clock.advance(0.5)
        assert not book.is_alone()
        book.give(ANOTHER)
        waiting = asyncio.ensure_future(carrier.carry(ANOTHER))
        await clock.advance(2.0)
        assert not waiting.done(), "there is a worker"
        del book.known[1]
        await clock.advance(0.5)
        assert await waiting is None


async def test_the_end_of_the_driving_ends_the_waiting_and_leaves_the_order(book: Book, clock: ManualClock) -> None:
    async with carrying(book, clock) as carrier:
        book.give(ORDER)
        waiting = asyncio.ensure_future(carrier.carry(ORDER))
        await clock.settle()
    with pytest.raises(StoreClosedError):
        await waiting
    with pytest.raises(StoreClosedError):
        await carrier.carry(ANOTHER)
    assert ORDER in book.given
