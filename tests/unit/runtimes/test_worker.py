"""A worker's runs: what it carries out, says, and gives back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from switchover.dispatch import Desk, GivenOrder, StageEnd, StageOrder, Told
from switchover.domain.task import PlanId, TaskKey
from switchover.runtimes.procrastinate.worker import HandedBackError, Worker
from switchover.spi import KeepPreImage
from switchover.testing.clock import ManualClock

KEY = TaskKey(PlanId(1), 1)
RUN = 5
ONE = StageOrder(KEY, 3, 0, restoring=False)
TWO = ONE._replace(stage_index=1)


class Book:
    """An order book with one run, whose reports can be held up on their way."""

    def __init__(self) -> None:
        self.given: GivenOrder | None = GivenOrder(ONE, RUN, None, None)
        self.open = asyncio.Event()
        self.open.set()
        self.reporting = asyncio.Event()
        self.alive = True
        self.numbers = 0
        self.told: Told | None = None

    def order(self, order: StageOrder | None) -> None:
        """What the driver decides, without a word."""
        given = self.given
        assert given is not None
        self.given = None if order is None else given._replace(order=order, end=None)

    async def enlist(self, name: str, version: str, concurrency: int) -> int:
        del name, version, concurrency
        self.numbers += 1
        self.alive = True
        return self.numbers

    async def beat(self, worker: int, *, stopping: bool) -> bool:
        del worker, stopping
        return self.alive

    async def leave(self, worker: int) -> None:
        del worker
        self.alive = False

    async def claim(self, worker: int, runs: Sequence[tuple[TaskKey, int]]) -> Sequence[GivenOrder]:
        given = self.given
        if given is None or given.worker not in {None, worker} or (KEY, given.run) not in runs:
            return []
        self.given = given._replace(worker=worker)
        return [self.given]

    async def mine(self, worker: int) -> Sequence[GivenOrder]:
        return [] if self.given is None or self.given.worker != worker else [self.given]

    async def report(
        self, worker: int, ends: Sequence[tuple[GivenOrder, StageEnd]], *, give_back: bool
    ) -> Sequence[StageOrder]:
        self.reporting.set()
        await self.open.wait()
        counted: list[StageOrder] = []
        for said, end in ends:
            given = self.given
            if given is not None and given.worker == worker and given.order == said.order:
                self.given = given._replace(end=end, worker=None if give_back else worker)
                counted.append(said.order)
        return counted

    async def give_back(self, worker: int, runs: Sequence[GivenOrder]) -> None:
        if self.given is not None and self.given.worker == worker and self.given.run in {given.run for given in runs}:
            self.given = self.given._replace(worker=None)

    async def keep_pre_images(
        self, worker: int, kept: Sequence[tuple[GivenOrder, KeepPreImage]]
    ) -> Sequence[StageOrder]:
        del worker
        return [given.order for given, _ in kept]

    def heard_orders(self, told: str) -> Sequence[tuple[int, StageOrder | None]]:
        return [(RUN, {"two": TWO, "over": None}[told])]

    @asynccontextmanager
    async def listen_for_orders(self, told: Told) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        self.told = told

        async def for_ever() -> None:
            await asyncio.Event().wait()

        yield for_ever


class Hands:
    """Carries out stages as soon as its gate is open."""

    def __init__(self) -> None:
        self.begun: list[StageOrder] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, order: StageOrder, desk: Desk) -> None:
        following: StageOrder | None = order
        while following is not None:
            self.begun.append(following)
            await self.gate.wait()
            following = await desk.ended(following, StageEnd())


class Scene:
    """A worker with one job."""

    def __init__(self) -> None:
        self.book = Book()
        self.hands = Hands()
        self.clock = ManualClock()
        self.worker = Worker(book=self.book, hands=self.hands, clock=self.clock, name="one", version="1", concurrency=2)

    async def begin(self) -> "asyncio.Task[None]":
        await self.worker.start()
        job = asyncio.ensure_future(self.worker.work(KEY, RUN))
        await self.clock.settle()
        return job


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    made.book.open.set()
    await made.worker.stop()


async def test_a_run_goes_from_order_to_order_until_it_is_over(scene: Scene) -> None:
    job = await scene.begin()
    assert scene.hands.begun == [ONE]
    assert scene.book.told is not None
    scene.book.order(TWO)
    scene.book.told("two")
    await scene.clock.settle()
    assert scene.hands.begun == [ONE, TWO]
    scene.book.order(None)
    await scene.clock.advance(1.0)
    await job
    assert scene.worker.carried_out == 2


async def test_a_job_whose_run_is_over_or_somebody_elses_ends_at_once(scene: Scene) -> None:
    assert scene.book.given is not None
    scene.book.given = scene.book.given._replace(worker=99)
    await (await scene.begin())
    assert scene.hands.begun == []


async def test_a_worker_that_stops_while_it_says_how_a_stage_ended_does_not_let_it_begin_again(scene: Scene) -> None:
    """The run may be given to another worker only when its end is taken down."""
    scene.book.open.clear()
    job = await scene.begin()
    assert scene.book.reporting.is_set()
    finishing = asyncio.ensure_future(scene.worker.finish(60.0))
    await scene.clock.settle()
    assert scene.book.given is not None
    assert scene.book.given.worker == scene.worker.number, "not given back yet"
    scene.book.open.set()
    await finishing
    with pytest.raises(HandedBackError):
        await job
    assert scene.book.given == GivenOrder(ONE, RUN, None, StageEnd())


async def test_a_worker_that_stops_gives_back_what_waits_and_does_not_begin_what_is_ordered_in_that_moment(
    scene: Scene,
) -> None:
    job = await scene.begin()
    assert scene.book.told is not None
    finishing = asyncio.ensure_future(scene.worker.finish(60.0))
    scene.book.order(TWO)
    await asyncio.sleep(0)
    scene.book.told("two")
    await finishing
    with pytest.raises(HandedBackError):
        await job
    assert scene.hands.begun == [ONE]
    assert scene.book.given == GivenOrder(TWO, RUN, None, None)
    with pytest.raises(HandedBackError):
        await scene.worker.work(KEY, RUN)


async def test_whoever_goes_on_with_a_run_whose_stage_has_ended_waits_for_the_next_one(scene: Scene) -> None:
    scene.book.given = GivenOrder(ONE, RUN, None, StageEnd())
    job = await scene.begin()
    assert scene.hands.begun == []
    scene.book.order(TWO)
    await scene.clock.advance(1.0)
    assert scene.hands.begun == [TWO]
    scene.book.order(None)
    await scene.clock.advance(1.0)
    await job


async def test_a_worker_that_was_taken_for_dead_lets_everything_go_and_begins_again(scene: Scene) -> None:
    scene.hands.gate.clear()
    job = await scene.begin()
    scene.book.alive = False
    await scene.clock.advance(1.0)
    await job
    assert scene.worker.number == 2
    assert scene.book.given is not None
    assert scene.book.given.end is None, "it has said nothing"


async def test_a_run_that_is_over_in_the_middle_of_a_stage_is_interrupted(scene: Scene) -> None:
    scene.hands.gate.clear()
    job = await scene.begin()
    assert scene.book.told is not None
    scene.book.told("over")
    await job
    assert scene.worker.carried_out == 0
