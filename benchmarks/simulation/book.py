"""
The database of the simulation: the reference store, and orders and workers beside it.

What a commit makes of orders follows from the tasks in it, as with PostgreSQL, and whatever a worker says is refused
unless its claim covers it. A commit and a statement take the time that they are told to.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.dispatch import GivenOrder, StageEnd, StageOrder, Told, WorkerInfo, order_of
from switchover.domain.task import TaskAggregate, TaskKey, TaskStatus
from switchover.spi import Clock, CommitResult, DriverLease, Entry, KeepPreImage


class Job(NamedTuple):
    """A hint that a run waits for a worker."""

    key: TaskKey
    run: int


@dataclass(slots=True)
class Tally:
    """What was seen at every commit."""

    most_running: int = 0
    commits: int = 0
    begun_again: int = 0
    active: set[TaskKey] = field(default_factory=set[TaskKey])

    def note(self, task: TaskAggregate) -> None:
        """A task as a commit leaves it."""
        if task.status in (TaskStatus.RUNNING, TaskStatus.ROLLING_BACK):
            self.active.add(task.key)
        else:
            self.active.discard(task.key)
        self.most_running = max(self.most_running, len(self.active))


class SimulatedBook:
    """Both sides of orders (``switchover.dispatch``)."""

    def __init__(self, clock: Clock, statement_seconds: float) -> None:
        self.jobs: deque[Job] = deque()
        self.wake_fleet: Callable[[], None] = lambda: None
        self.tally = Tally()
        self._clock = clock
        self._statement_seconds = statement_seconds
        self._orders: dict[TaskKey, GivenOrder] = {}
        self._of_worker: dict[int, dict[int, TaskKey]] = {}
        self._workers: dict[int, WorkerInfo] = {}
        self._runs = 0
        self._numbers = 0
        self._hears_ends: Told | None = None
        self._hear_orders: dict[Told, None] = {}

    async def prepare(self) -> None:
        """Nothing is needed."""

    # What commits do

    def follow(self, batch: Sequence[Entry]) -> None:
        """Orders as the state of the tasks asks for."""
        words: list[str] = []
        self.tally.commits += 1
        for task in {task.key: task for entry in batch for task in entry.tasks}.values():
            self.tally.note(task)
            order, known = order_of(task), self._orders.get(task.key)
            if order is None:
                if known is not None:
                    self._drop(known)
                    words.append(f"{known.run}")
            elif known is None or known.order.generation != order.generation:
                if known is not None:
                    self._drop(known)
                    words.append(f"{known.run}")
                    self.tally.begun_again += 1
                self._runs += 1
                self._orders[order.key] = GivenOrder(order, self._runs, None, None)
                self.jobs.append(Job(order.key, self._runs))
            elif known.order != order:
                self._orders[order.key] = known._replace(order=order, end=None)
                words.append(_word(known.run, order))
        self._tell_workers(words)
        self.wake_fleet()

    # The driver's side

    def work_alone(self, *, alone: bool) -> None:
        """There are always workers here."""

    def stays_here(self, order: StageOrder) -> bool:
        """Never."""
        del order
        return False

    async def orders(self) -> Sequence[GivenOrder]:
        """All that stand."""
        await self._statement()
        return list(self._orders.values())

    async def ends(self) -> Sequence[tuple[StageOrder, StageEnd]]:
        """Those that have ended."""
        await self._statement()
        return [(given.order, given.end) for given in self._orders.values() if given.end is not None]

    def heard_ends(self, told: str) -> Sequence[tuple[StageOrder, StageEnd]] | None:
        """Runs whose stages have ended well."""
        keys = (TaskKey.parse(word) for word in told.split())
        given = [self._orders[key] for key in keys if key is not None and key in self._orders]
        return [(one.order, one.end) for one in given if one.end is not None]

    async def adrift(self) -> Sequence[StageOrder]:
        """Claimed by workers that are no more."""
        await self._statement()
        gone = [worker for worker in self._of_worker if worker not in self._workers]
        keys = [key for worker in gone for key in self._of_worker[worker].values()]
        return [self._orders[key].order for key in keys if self._orders[key].end is None]

    async def unclaimed(self) -> Sequence[StageOrder]:
        """Taken by nobody."""
        await self._statement()
        return [given.order for given in self._orders.values() if given.worker is None]

    async def claim_here(self, order: StageOrder) -> bool:
        """The driver carries out nothing here."""
        del order
        return False

    async def workers(self) -> Sequence[WorkerInfo]:
        """All that are known."""
        await self._statement()
        return list(self._workers.values())

    async def bury(self, worker: int, heartbeats: int) -> bool:
        """Forget one, unless it lives."""
        await self._statement()
        known = self._workers.get(worker)
        if known is None or known.heartbeats != heartbeats:
            return False
        del self._workers[worker]
        return True

    async def reconcile(self) -> int:
        """No job gets lost here."""
        return 0

    @asynccontextmanager
    async def listen_for_ends(self, told: Told) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
        """The driver's ear; the newest one counts."""
        self._hears_ends = told
        yield asyncio.Event().wait  # type: ignore[misc]  # what it gives is not looked at

    # The worker's side

    async def enlist(self, name: str, version: str, concurrency: int) -> int:
        """Become known."""
        await self._statement()
        self._numbers += 1
        now = self._clock.now()
        self._workers[self._numbers] = WorkerInfo(
            worker=self._numbers,
            name=name,
            version=version,
            concurrency=concurrency,
            tasks=0,
            since=now,
            last_heartbeat=now,
            heartbeats=1,
            stopping=False,
        )
        return self._numbers

    async def beat(self, worker: int, *, stopping: bool) -> bool:
        """Be alive."""
        await self._statement()
        known = self._workers.get(worker)
        if known is None:
            return False
        self._workers[worker] = WorkerInfo(
            worker=worker,
            name=known.name,
            version=known.version,
            concurrency=known.concurrency,
            tasks=len(self._of_worker.get(worker, ())),
            since=known.since,
            last_heartbeat=self._clock.now(),
            heartbeats=known.heartbeats + 1,
            stopping=stopping,
        )
        return True

    async def leave(self, worker: int) -> None:
        """Be known no more."""
        await self._statement()
        self._workers.pop(worker, None)

    async def claim(self, worker: int, runs: Sequence[tuple[TaskKey, int]]) -> Sequence[GivenOrder]:
        """Take runs that are nobody's."""
        await self._statement()
        taken: list[GivenOrder] = []
        for key, run in runs if worker in self._workers else ():
            given = self._orders.get(key)
            if given is not None and given.run == run and given.worker in (None, worker):
                given = self._orders[key] = given._replace(worker=worker)
                self._of_worker.setdefault(worker, {})[run] = key
                taken.append(given)
        return taken

    async def mine(self, worker: int) -> Sequence[GivenOrder]:
        """All that the worker has."""
        await self._statement()
        return [self._orders[key] for key in self._of_worker.get(worker, {}).values()]

    async def report(
        self, worker: int, ends: Sequence[tuple[GivenOrder, StageEnd]], *, give_back: bool
    ) -> Sequence[StageOrder]:
        """Say how stages ended, as far as the worker's claims go."""
        await self._statement()
        counted: list[StageOrder] = []
        for given, end in ends:
            known = self._orders.get(given.order.key)
            if known is None or known.run != given.run or known.worker != worker or known.order != given.order:
                continue
            if give_back:
                self._of_worker[worker].pop(given.run, None)
            self._orders[given.order.key] = known._replace(end=end, worker=None if give_back else worker)
            counted.append(given.order)
        if counted and self._hears_ends is not None:
            self._hears_ends(" ".join(order.key.task_id for order in counted))
        return counted

    async def give_back(self, worker: int, runs: Sequence[GivenOrder]) -> None:
        """Let runs go."""
        await self._statement()
        for given in runs:
            key = self._of_worker.get(worker, {}).pop(given.run, None)
            if key is not None:
                self._orders[key] = self._orders[key]._replace(worker=None)

    async def keep_pre_images(
        self, worker: int, kept: Sequence[tuple[GivenOrder, KeepPreImage]]
    ) -> Sequence[StageOrder]:
        """The stages of the simulation have no targets."""
        del worker, kept
        return []

    def heard_orders(self, told: str) -> Sequence[tuple[int, StageOrder | None]]:
        """Runs, and the orders that they have now."""
        heard: list[tuple[int, StageOrder | None]] = []
        for word in told.split():
            run, _, task = word.partition(":")
            key = TaskKey.parse(task) if task else None
            given = None if key is None else self._orders.get(key)
            heard.append((int(run), given.order if given is not None and given.run == int(run) else None))
        return heard

    @asynccontextmanager
    async def listen_for_orders(self, told: Told) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
        """A worker's ear."""
        self._hear_orders[told] = None
        try:
            yield asyncio.Event().wait  # type: ignore[misc]  # what it gives is not looked at
        finally:
            del self._hear_orders[told]

    # Inside

    def _drop(self, known: GivenOrder) -> None:
        del self._orders[known.order.key]
        if known.worker is not None:
            self._of_worker[known.worker].pop(known.run, None)

    def _tell_workers(self, words: Sequence[str]) -> None:
        if words:
            told = " ".join(words)
            for hear in list(self._hear_orders):
                hear(told)

    async def _statement(self) -> None:
        await self._clock.sleep(self._statement_seconds)


def _word(run: int, order: StageOrder) -> str:
    return f"{run}:{order.key.task_id}"


class SimulatedStore(MemoryExecutionStore):
    """The reference store of one driver process, which commits in simulated time and gives orders."""

    def __init__(
        self, book: SimulatedBook, clock: Clock, commit_seconds: float, *, beside: "SimulatedStore | None"
    ) -> None:
        super().__init__(beside=beside, now=clock.now)
        self.dispatch = book
        self._clock = clock
        self._commit_seconds = commit_seconds

    def give_orders(self, *, wanted: bool) -> None:
        """Always."""
        del wanted

    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        """As the reference does, and its consequences for orders with it."""
        await self._clock.sleep(self._commit_seconds)
        result = await super().commit(lease, batch)
        self.dispatch.follow(batch)
        return result

    def cut_off(self) -> None:
        """The process is gone from one instant to the next; its lease stays until it is found out."""
        self._is_open = False

    def lose_lease(self) -> None:
        """The others find out."""
        self._stop_driving()
