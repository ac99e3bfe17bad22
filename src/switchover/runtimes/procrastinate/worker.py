"""
Worker: claims runs, carries out their stages, and gives back what it cannot finish.

A job brings a run; the claim in the order book decides. So jobs may come late, twice or never, and a run goes on when
its job is lost. A worker that hears that it was taken for dead (it was frozen, or cut off) lets everything go at once:
whatever it still says is refused, and its targets refuse it as soon as a newer run has written.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from switchover.dispatch import GivenOrder, Hands, StageEnd, StageOrder, WorkBook
from switchover.domain.task import TaskKey
from switchover.errors import StorageError, StoreConflictError
from switchover.logs import get_log
from switchover.runtimes.procrastinate.together import Together
from switchover.spi import Clock, KeepPreImage

_log = get_log("switchover.worker")

HEARTBEAT_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 0.5


def _nothing() -> None:
    """Nobody takes jobs for this worker."""


class HandedBackError(Exception):
    """The run goes on with another worker, so its job has to come again."""


class Worker:
    """
    The runs of this process.

    Args:
        name: For people: process and host.
        concurrency: How many runs it has at most at once.
    """

    def __init__(
        self, *, book: WorkBook, hands: Hands, clock: Clock, name: str, version: str, concurrency: int
    ) -> None:
        self.concurrency = concurrency
        self.number = 0
        self.stopping = False
        self.carried_out = 0
        """How many stages ended here, and counted."""
        self.on_finish: Callable[[], None] = _nothing
        """Called when no more jobs are to be taken."""
        self._book = book
        self._hands = hands
        self._clock = clock
        self._name = name
        self._version = version
        self._slots = asyncio.Semaphore(concurrency)
        self._runs: dict[int, Run] = {}
        self._claiming: set[int] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._claims = Together(clock, self._claim)
        self._reports = Together(clock, self._report)
        self._keeps = Together(clock, self._keep)

    # Life

    async def start(self) -> None:
        """Become known, and begin to hear."""
        self.number = await self._book.enlist(self._name, self._version, self.concurrency)
        for loop in (self._beat(), self._hear(), self._look()):
            self._loops.append(asyncio.get_running_loop().create_task(loop))

    async def finish(self, seconds: float) -> None:
        """
        Take nothing more, let present stages end, but no longer than this, and give every run back.

        Whoever cancels this may call ``stop``.
        """
        self.stopping = True
        self.on_finish()
        waiting = [run for run in self._runs.values() if run.waits]
        if waiting:
            with suppress(StorageError):  # then it is seen to be adrift when this worker has left
                await self.give_back(waiting)
        if self._runs:
            tasks = [run.task for run in self._runs.values() if run.task is not None]
            await asyncio.wait(tasks, timeout=seconds)

    async def stop(self, seconds: float = 0.0) -> None:
        """
        ``finish``, and then stop: stages that have not ended begin again elsewhere, under a higher generation.

        Args:
            seconds: How long stages may take to end; of no effect after ``finish``.
        """
        try:
            if not self.stopping:
                await self.finish(seconds)
        finally:
            await self._drop_everything()

    async def _drop_everything(self) -> None:
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        for run in list(self._runs.values()):
            run.drop()
        await asyncio.gather(*tasks, return_exceptions=True)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        with suppress(StorageError):
            await self._book.leave(self.number)

    # Jobs

    async def work(self, key: TaskKey, number: int) -> None:
        """
        Do what a job asks for; returns at once when its run is over, or somebody else's.

        Raises:
            HandedBackError: Another worker has to go on.
        """
        async with self._slots:
            if self.stopping:
                raise HandedBackError
            self._claiming.add(number)
            try:
                given = await self._claims.put((key, number))
                if given is None or number in self._runs:
                    return
                run = self._runs[number] = Run(self, given)
            finally:
                self._claiming.discard(number)
            run.task = asyncio.get_running_loop().create_task(self._carry_out(run))
            # What interrupts a job (its connection is lost, say) does not interrupt the run.
            await asyncio.shield(run.task)
            if run.handed_back:
                raise HandedBackError

    async def _carry_out(self, run: "Run") -> None:
        key = run.given.order.key
        try:
            order = run.given.order if run.given.end is None else await run.following()
            if order is not None:
                await self._hands.run(order, run)
        except asyncio.CancelledError:
            if not run.dropped:
                raise
        except StorageError as error:
            _log.warning("a run ends here, the store has it as it was", task_id=key.task_id, error=str(error))
        except Exception:  # noqa: BLE001  # recorded; what is claimed and not here is given back (``_see``)
            _log.exception("a run met what it does not foresee; this worker lets go of it", task_id=key.task_id)
        finally:
            self._runs.pop(run.given.run, None)

    # What runs ask

    async def report(self, run: "Run", end: StageEnd) -> bool:
        """Say how a stage ended; whether that counts."""
        counted = await self._reports.put((run, end))
        self.carried_out += counted
        return counted

    async def keep(self, run: "Run", change: KeepPreImage) -> bool:
        """Keep what a target held; whether that was allowed."""
        return await self._keeps.put((run.given, change))

    async def give_back(self, runs: Sequence["Run"]) -> None:
        """Let runs go that stand between two stages: what is told to them from now on is for somebody else."""
        for run in runs:
            run.leaving = True
        await self._book.give_back(self.number, [run.given for run in runs])
        for run in runs:
            run.hand_back()

    async def mine(self, number: int) -> GivenOrder | None:
        """A run as it stands, if it is still this worker's."""
        return next((given for given in await self._book.mine(self.number) if given.run == number), None)

    async def _claim(self, items: Sequence[tuple[TaskKey, int]]) -> Sequence[GivenOrder | None]:
        given = {order.run: order for order in await self._book.claim(self.number, items)}
        return [given.get(number) for _, number in items]

    async def _report(self, items: Sequence[tuple["Run", StageEnd]]) -> Sequence[bool]:
        give_back = self.stopping
        ends = [(run.given, end) for run, end in items]
        counted = set(await self._book.report(self.number, ends, give_back=give_back))
        for run, _ in items:
            run.handed_back = give_back and run.given.order in counted
        return [run.given.order in counted for run, _ in items]

    async def _keep(self, items: Sequence[tuple[GivenOrder, KeepPreImage]]) -> Sequence[bool]:
        allowed = set(await self._book.keep_pre_images(self.number, items))
        return [given.order in allowed for given, _ in items]

    # Hearing

    def _told(self, told: str) -> None:
        for number, order in self._book.heard_orders(told):
            run = self._runs.get(number)
            if run is not None:
                run.told(order)

    async def _hear(self) -> None:
        while True:
            try:
                async with self._book.listen_for_orders(self._told) as ended:
                    await self._see()
                    await ended()
            except StorageError as error:
                _log.info("nothing is heard of the driver for the moment; looking goes on", reason=str(error))
            await self._clock.sleep(_PATIENCE_SECONDS)

    async def _look(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            try:
                await self._see()
            except StorageError as error:
                _log.info("orders cannot be read for the moment", reason=str(error))

    async def _see(self) -> None:
        """Compare what is here with what the book says is here."""
        runs = dict(self._runs)
        given = {order.run: order for order in await self._book.mine(self.number)}
        for number, run in runs.items():
            order = given.get(number)
            if order is None:
                run.told(None)
            elif order.end is None:
                run.told(order.order)
        lost = [
            order
            for number, order in given.items()
            if number not in self._runs and number not in self._claiming and number not in runs
        ]
        if lost:
            await self._book.give_back(self.number, lost)  # claimed, and the answer never came

    # Being alive

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT_SECONDS)
            try:
                if not await self._book.beat(self.number, stopping=self.stopping):
                    await self._begin_again()
            except StorageError as error:
                _log.info("no heartbeat can be sent for the moment", reason=str(error))

    async def _begin_again(self) -> None:
        """This worker was taken for dead: others have its runs."""
        _log.warning("this worker was taken for dead, and lets go of what it had", tasks=len(self._runs))
        for run in list(self._runs.values()):
            run.drop()
        self.number = await self._book.enlist(self._name, self._version, self.concurrency)


class Run:
    """One run in this process; what its stages tell and are told goes through here (``dispatch.Desk``)."""

    def __init__(self, worker: Worker, given: GivenOrder) -> None:
        self.given = given
        self.task: asyncio.Task[None] | None = None
        self.handed_back = False
        self.leaving = False
        self.dropped = False
        self.waits = False
        """Between two stages: for what the driver decides. What was said about the last one is taken down."""
        self._worker = worker
        self._next: asyncio.Future[StageOrder | None] | None = None

    async def ended(self, order: StageOrder, end: StageEnd) -> StageOrder | None:
        """See ``Desk``."""
        # The answer may come before anybody has heard that what was said is taken down.
        following = self._next = asyncio.get_running_loop().create_future()
        try:
            if not await self._worker.report(self, end):
                await self._settle_doubt(order)
            return await self._wait(following)
        finally:
            self._next = None

    async def following(self) -> StageOrder | None:
        """The next order of a run whose present stage had ended before it came here; None when it is over."""
        following = self._next = asyncio.get_running_loop().create_future()
        try:
            return await self._wait(following)
        finally:
            self._next = None

    async def _wait(self, following: asyncio.Future[StageOrder | None]) -> StageOrder | None:
        if self._worker.stopping and not self.handed_back:
            await self._worker.give_back([self])
            return None
        if self.handed_back:
            return None
        self.waits = True
        try:
            return self._take(await following)
        finally:
            self.waits = False

    def _take(self, order: StageOrder | None) -> StageOrder | None:
        if self.handed_back:
            return None
        if order is not None:
            self.given = self.given._replace(order=order, end=None)
        return order

    async def keep(self, order: StageOrder, change: KeepPreImage) -> None:
        """See ``Desk``."""
        del order
        if not await self._worker.keep(self, change):
            raise self._over()

    def told(self, order: StageOrder | None) -> None:
        """What the driver says: the next stage, or that the run is over."""
        if order == self.given.order or self.leaving:
            return
        if self._next is not None:
            if not self._next.done():
                self._next.set_result(order)
        elif order is None:
            self.drop()  # its stage begins again elsewhere, or nobody wants it any more

    def hand_back(self) -> None:
        """Another worker goes on with the next stage, whatever was told in the last moment."""
        self.handed_back = True
        if self._next is not None and not self._next.done():
            self._next.set_result(None)

    def drop(self) -> None:
        """Stop at once, wherever it stands."""
        self.dropped = True
        if self.task is not None:
            self.task.cancel()

    async def _settle_doubt(self, order: StageOrder) -> None:
        """
        What was said was not taken down: perhaps it was long ago, and only the answer was lost.

        Raises:
            StorageError: The run is somebody else's, or over.
        """
        standing = await self._worker.mine(self.given.run)
        if standing is None:
            raise self._over()
        if standing.order != order:
            self.told(standing.order)

    def _over(self) -> StorageError:
        order = self.given.order
        return StoreConflictError(
            f"generation {order.generation} of task {order.key.task_id} is over for this worker: the stage was given "
            "to somebody else, and nothing of it counts here any more"
        )
