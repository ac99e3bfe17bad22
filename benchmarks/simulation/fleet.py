"""The workers of the simulation: real ones, to which a simulated queue brings jobs, and which can die."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from benchmarks.simulation.book import Job, SimulatedBook
from switchover import __version__
from switchover.dispatch import Desk, StageEnd, StageOrder
from switchover.runtimes.procrastinate.worker import HandedBackError, Worker
from switchover.spi import Clock


@dataclass(slots=True)
class Hands:
    """Stages that only take their time; it differs from stage to stage, and is the same in every run of the program."""

    clock: Clock
    mean_seconds: float
    begun: dict[StageOrder, float] = field(default_factory=dict[StageOrder, float])
    carried_out: int = 0
    worked_seconds: float = 0.0

    async def run(self, order: StageOrder, desk: Desk) -> None:
        """Stage after stage, as the driver says."""
        following: StageOrder | None = order
        while following is not None:
            self.begun[following] = self.clock.monotonic()
            seconds = self.seconds_of(following)
            await self.clock.sleep(seconds)
            self.carried_out += 1
            self.worked_seconds += seconds
            following = await desk.ended(following, StageEnd())

    def seconds_of(self, order: StageOrder) -> float:
        """How long the stage takes: from half to one and a half of the mean."""
        draw = random.Random(f"{order.key}{order.stage_index}{order.generation}")  # no secret
        return self.mean_seconds * (0.5 + draw.random())


@dataclass(slots=True, eq=False)
class Member:
    """One worker process, and the jobs that it is busy with."""

    worker: Worker
    jobs: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    alive: bool = True


class Fleet:
    """All workers; each fetches jobs while it has room, in turn."""

    def __init__(self, *, book: SimulatedBook, clock: Clock, hands: Hands, workers: int, concurrency: int) -> None:
        self.hands = hands
        self._book = book
        self._concurrency = concurrency
        self.members = [
            Member(
                Worker(
                    book=book,
                    hands=hands,
                    clock=clock,
                    name=f"worker-{number}",
                    version=__version__,
                    concurrency=concurrency,
                )
            )
            for number in range(workers)
        ]
        self._turn = count()
        book.wake_fleet = self._fetch

    async def start(self) -> None:
        """All become known."""
        await asyncio.gather(*(member.worker.start() for member in self.members))
        self._fetch()

    async def stop(self) -> None:
        """All leave."""
        await asyncio.gather(*(member.worker.stop(0.0) for member in self.members if member.alive))

    def kill(self, member: Member) -> int:
        """A process is gone from one instant to the next; how many tasks it had."""
        member.alive = False
        tasks = [*member.jobs, *member.worker._loops]  # nothing that a process does when it is killed
        tasks += [run.task for run in member.worker._runs.values() if run.task is not None]  # as above
        for task in tasks:
            task.cancel()
        return len(member.jobs)

    def _fetch(self) -> None:
        jobs = self._book.jobs
        idle = 0
        while jobs and idle < len(self.members):
            member = self.members[next(self._turn) % len(self.members)]
            if member.alive and len(member.jobs) < self._concurrency:
                idle = 0
                job = jobs.popleft()
                task = asyncio.get_running_loop().create_task(self._work(member, job))
                member.jobs.add(task)
                task.add_done_callback(partial(self._done, member))
            else:
                idle += 1

    def _done(self, member: Member, task: asyncio.Task[None]) -> None:
        member.jobs.discard(task)
        if member.alive:
            self._fetch()

    async def _work(self, member: Member, job: Job) -> None:
        with suppress(HandedBackError):
            await member.worker.work(*job)
            return
        self._book.jobs.append(job)
