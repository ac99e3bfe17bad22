"""
WorkerCarrier: the driver's side of stages that workers carry out.

Orders are written by the commits themselves. What is left to do here is to hear how stages ended, to notice that a
worker is gone, and to see that every order has a job. Everything that is told is only a hint to look: whatever a
notification should have said is also found by looking once a second.

Whether a worker is alive is judged by its heartbeats as this process sees them arrive, not by anybody's clock: a worker
is dead when none has come for so long *while the database was answering*. So a restart of the database kills nobody.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from switchover.dispatch import GivenOrder, OrderBook, StageEnd, StageOrder, WorkerInfo
from switchover.errors import StageAdriftError, StorageError, StoreClosedError
from switchover.logs import get_log
from switchover.spi import Clock

_log = get_log("switchover.workers")

_SWEEP_SECONDS: Final = 0.25
_LONGEST_SWEEP_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 1.0
_REPAIR_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 0.5
_MOST_EARLY: Final = 10_000


class Stages(Enum):
    """Who carries stages out: the process that drives, workers only, or workers as soon as there are any."""

    HERE = "here"
    WORKERS = "workers"
    AUTO = "auto"


@dataclass(slots=True)
class _Seen:
    """A worker as this process sees it: its last heartbeat, and for how long none came."""

    heartbeats: int
    silent_seconds: float = 0.0


class WorkerCarrier:
    """
    Hears, watches and repairs, from ``start`` to ``aclose``.

    Args:
        dead_seconds: A worker from which nothing comes for so long is gone.
        alone: Carry out here what nobody has claimed while there is no worker.
    """

    def __init__(self, *, book: OrderBook, clock: Clock, dead_seconds: float, alone: bool) -> None:
        self._book = book
        self._dead_seconds = dead_seconds
        self._clock = clock
        self._alone = alone
        self._standing: dict[StageOrder, GivenOrder] = {}
        self._waiting: dict[StageOrder, asyncio.Future[StageEnd | None]] = {}
        self._early: dict[StageOrder, StageEnd] = {}
        self._seen: dict[int, _Seen] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._closed = False

    async def start(self) -> None:
        """Read what an earlier driver has left, and begin to hear."""
        self._note_workers(await self._book.workers(), 0.0)
        await self._book.reconcile()
        self._standing = {given.order: given for given in await self._book.orders()}
        for name, loop in (("hearing", self._hear()), ("looking", self._look()), ("watching", self._watch())):
            self._spawn(name, loop)
        self._spawn("repairing", self._every(_REPAIR_SECONDS, self._repair))

    async def aclose(self) -> None:
        """Wait for nobody any more: what is ordered stays so, for the next driver."""
        self._closed = True
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._over())

    @property
    def workers(self) -> int:
        """How many are alive, as far as this process knows."""
        return len(self._seen)

    # What the engine asks

    def adopts(self, order: StageOrder) -> bool:
        """See ``StageCarrier``."""
        given = self._standing.get(order)
        if given is None:
            return False
        return given.end is not None or given.worker is None or given.worker in self._seen

    async def carry(self, order: StageOrder) -> StageEnd | None:
        """See ``StageCarrier``."""
        if self._closed:
            raise self._over()
        given = self._standing.pop(order, None)
        if given is not None and given.end is not None:
            return given.end
        if (end := self._early.pop(order, None)) is not None:
            return end
        if self._book.stays_here(order):
            return None
        future: asyncio.Future[StageEnd | None] = asyncio.get_running_loop().create_future()
        self._waiting[order] = future
        if self._alone and not self._seen:
            await self._take_here([order])
        try:
            return await future
        finally:
            del self._waiting[order]

    # Hearing

    async def _hear(self) -> None:
        """Be told at once; whenever the connection is lost, make a new one."""
        while True:
            try:
                async with self._book.listen_for_ends(self._told) as ended:
                    await self._collect()
                    await ended()
            except StorageError as error:
                _log.info("nothing is heard of workers for the moment; looking goes on", reason=str(error))
            await self._clock.sleep(_PATIENCE_SECONDS)

    def _told(self, told: str) -> None:
        ends = self._book.heard_ends(told)
        if ends is None:
            self._spawn("collecting", self._collect_once())
            return
        for order, end in ends:
            self._ended(order, end)

    async def _look(self) -> None:
        await self._every(_LOOK_SECONDS, self._collect)

    async def _collect_once(self) -> None:
        try:
            await self._collect()
        except StorageError as error:
            _log.info("ended stages cannot be read for the moment", reason=str(error))

    async def _collect(self) -> None:
        for order, end in await self._book.ends():
            # What nobody waits for here is being decided, or was decided a moment ago.
            if order in self._waiting:
                self._ended(order, end)

    def _ended(self, order: StageOrder, end: StageEnd) -> None:
        future = self._waiting.get(order)
        if future is None:
            # It may have been quicker than the run that is about to wait for it.
            self._early[order] = end
            while len(self._early) > _MOST_EARLY:
                del self._early[next(iter(self._early))]
        elif not future.done():
            future.set_result(end)

    # Watching

    async def _watch(self) -> None:
        """Notice dead workers, and runs that nobody has any more."""
        before: float | None = None
        while True:
            try:
                workers = await self._book.workers()
                now = self._clock.monotonic()
                passed = 0.0 if before is None else now - before
                before = now
                await self._bury(self._note_workers(workers, passed))
                if self._waiting:
                    self._cast_off(await self._book.adrift())
                    if self._alone and not self._seen:
                        await self._take_here(await self._book.unclaimed())
            except StorageError as error:
                _log.info("the workers cannot be watched for the moment", reason=str(error))
                before = None  # what nobody could see is no silence
            await self._clock.sleep(_SWEEP_SECONDS)

    def _note_workers(self, workers: Sequence[WorkerInfo], passed: float) -> list[WorkerInfo]:
        """Take down who is there; gives those that have been silent for too long."""
        dead: list[WorkerInfo] = []
        seen: dict[int, _Seen] = {}
        for worker in workers:
            known = self._seen.get(worker.worker)
            if known is None or known.heartbeats != worker.heartbeats:
                seen[worker.worker] = _Seen(worker.heartbeats)
                continue
            # A process that was frozen itself has heard nobody meanwhile; that is not the workers' silence.
            known.silent_seconds += min(passed, _LONGEST_SWEEP_SECONDS)
            seen[worker.worker] = known
            if known.silent_seconds >= self._dead_seconds:
                dead.append(worker)
        self._seen = seen
        self._book.work_alone(alone=self._alone and not seen)
        return dead

    async def _bury(self, dead: Sequence[WorkerInfo]) -> None:
        for worker in dead:
            if await self._book.bury(worker.worker, worker.heartbeats):
                self._seen.pop(worker.worker, None)
                _log.warning("a worker is gone; what it had begins again", worker=worker.name, tasks=worker.tasks)

    def _cast_off(self, orders: Sequence[StageOrder]) -> None:
        for order in orders:
            future = self._waiting.get(order)
            if future is not None and not future.done():
                future.set_exception(StageAdriftError(f"the worker of task {order.key.task_id} is gone"))

    async def _take_here(self, orders: Sequence[StageOrder]) -> None:
        for order in orders:
            future = self._waiting.get(order)
            if future is None or future.done() or not await self._book.claim_here(order):
                continue
            if not future.done():
                future.set_result(None)

    async def _repair(self) -> None:
        repaired = await self._book.reconcile()
        if repaired:
            _log.info("jobs were missing or stuck, and are repaired", jobs=repaired)

    # Inside

    async def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await self._clock.sleep(seconds)
            try:
                await work()
            except StorageError as error:
                _log.info("the workers' orders cannot be looked at for the moment", reason=str(error))

    def _spawn(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(loop, name=f"workers: {name}")
        self._loops.append(task)
        task.add_done_callback(self._loops_ended)

    def _loops_ended(self, task: asyncio.Task[None]) -> None:
        if task in self._loops:
            self._loops.remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{task.get_name()} ended with an error", "exception": error, "task": task}
            )

    def _over(self) -> StorageError:
        return StoreClosedError("this process drives no more; what workers carry out goes on with the next driver")
