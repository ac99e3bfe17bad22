"""
Group commit: one writer, and whatever became ready while the last commit was being made durable goes into the next.

There is no timer: an idle store commits at once, a busy one batches by itself. Entries are applied in the order in
which they were decided, each is awaited by whoever decided it, and nobody sees an event before it is durable.

A store that is away delays and loses nothing: the same batch is tried again until it is in, and the process says so. A
store that somebody else writes (``StoreConflictError``) ends the driving: this process is no longer the one.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from switchover.engine.records import PlanRecord, Residents, TaskRecord
from switchover.engine.unknown_outcomes import outcome_of
from switchover.errors import StorageError, StoreClosedError, StoreConflictError, StoreUnavailableError
from switchover.logs import get_log
from switchover.spi import Clock, CommitResult, DriverLease, Entry, ExecutionStore

_log = get_log("switchover.commits")

_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class Pending:
    """An entry on its way, who waits for it, and what becomes free when it is durable."""

    entry: Entry
    durable: asyncio.Future[None]
    tasks: Sequence[TaskRecord] = ()
    plans: Sequence[PlanRecord] = ()
    flushes: list[asyncio.Future[None]] | None = None
    """Whoever waits for everything up to here; ``durable`` ends early when its own waiter is cancelled."""


@dataclass(slots=True)
class StoreHealth:
    """Whether the store takes commits, for people: since when not, why, and how often that was tried since."""

    unavailable_since: float | None = None
    unavailable_at: datetime | None = None
    reason: str = ""
    failed_attempts: int = 0


@dataclass(slots=True)
class CommitStatistics:
    """What the commits of this process were like."""

    commits: int = 0
    entries: int = 0
    largest_batch: int = 0
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class GroupCommit:
    """
    The way to the store for everything that changes.

    Args:
        on_durable: Called, in commit order, with each batch that is durable and what only the store could decide.
        on_fatal: Called once when this process may write no more.
        on_commit: Called after ``on_durable`` with each batch and how long it took; None when nobody watches.
    """

    store: ExecutionStore
    lease: DriverLease
    clock: Clock
    residents: Residents
    on_durable: Callable[[Sequence[Entry], CommitResult], None]
    on_fatal: Callable[[StorageError], None]
    on_commit: Callable[[Sequence[Entry], float], None] | None = None
    health: StoreHealth = field(default_factory=StoreHealth)
    statistics: CommitStatistics = field(default_factory=CommitStatistics)
    _waiting: list[Pending] = field(default_factory=list[Pending])
    _running_batch: list[Pending] = field(default_factory=list[Pending])
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _fatal: StorageError | None = None

    def submit(
        self, entry: Entry, tasks: Sequence[TaskRecord] = (), plans: Sequence[PlanRecord] = ()
    ) -> asyncio.Future[None]:
        """
        Put an entry into the next commit.

        Returns:
            Done when the entry is durable; carries the ``StorageError`` when it never will be.
        """
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._fatal is not None:
            durable.set_exception(self._fatal)
            durable.exception()  # whoever does not await it was told through on_fatal
            return durable
        for task in tasks:
            task.in_flight += 1
        for plan in plans:
            plan.in_flight += 1
            plan.dirty = True
        self._waiting.append(Pending(entry, durable, tasks, plans))
        self._wake.set()
        return durable

    async def flush(self) -> None:
        """
        Wait until everything that was submitted so far is durable.

        Raises:
            StorageError: It never will be.
        """
        if self._fatal is not None:
            raise self._fatal
        last = self._waiting or self._running_batch
        if last:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            last[-1].flushes = [*(last[-1].flushes or ()), waiter]
            await waiter

    async def run(self) -> None:
        """Commit until cancelled, or until this process may write no more."""
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            batch, self._waiting = self._waiting, []
            self._running_batch = batch
            if not await self._commit(batch):
                return
            self._running_batch = []
            del batch  # it may hold a new plan with all its configs, and the next one may be long in coming

    async def drain(self, seconds: float) -> None:
        """Wait for what is on its way, but no longer than this."""
        waiter = asyncio.ensure_future(self.flush())
        limit = asyncio.ensure_future(self.clock.sleep(seconds))
        await asyncio.wait({waiter, limit}, return_when=asyncio.FIRST_COMPLETED)
        for pending in (waiter, limit):
            pending.cancel()
        await asyncio.gather(waiter, limit, return_exceptions=True)

    async def _commit(self, batch: list[Pending]) -> bool:
        entries = [pending.entry for pending in batch]
        self._freeze_plans(batch)
        started = self.clock.monotonic()
        result = await self._write(batch, entries)
        if result is None:
            return False
        self._note_available()
        statistics = self.statistics
        statistics.commits += 1
        statistics.entries += len(batch)
        statistics.largest_batch = max(statistics.largest_batch, len(batch))
        seconds = self.clock.monotonic() - started
        statistics.seconds += seconds
        self.on_durable(entries, result)
        if self.on_commit is not None:
            self.on_commit(entries, seconds)
        self._release(batch)
        return True

    def _freeze_plans(self, batch: list[Pending]) -> None:
        """Write each plan once per batch: with its last entry, which is where all its counters stand now."""
        now = self.clock.now()
        frozen: set[int] = set()
        for pending in reversed(batch):
            for plan in pending.plans:
                if id(plan) not in frozen:
                    frozen.add(id(plan))
                    pending.entry.plans.append(plan.freeze(now))

    async def _write(self, batch: list[Pending], entries: list[Entry]) -> CommitResult | None:
        """Try until the batch is in; None when it never will be."""
        delay = _FIRST_RETRY_SECONDS
        doubtful = False
        while True:
            try:
                try:
                    return await self.store.commit(self.lease, entries)
                except StoreConflictError:
                    # An earlier attempt may have become durable without an answer; then this is no conflict.
                    known = await outcome_of(self.store, self.lease, entries) if doubtful else None
                    if known is None:
                        raise
                    _log.info("a commit was durable although its answer was lost; the work goes on")
                    return known
            except StoreUnavailableError as error:
                doubtful = True
                self._note_unavailable(error)
                await self.clock.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY_SECONDS)
            except StorageError as error:
                self._stop(error, batch)
                return None
            except Exception as error:  # noqa: BLE001  # recorded below
                # A store that breaks its promise must not let work go on undurably.
                _log.exception("the store raised what it must not raise")
                self._stop(StorageError(f"the store failed in an unforeseen way: {error!r}"), batch)
                return None

    def _release(self, batch: list[Pending]) -> None:
        """Tell whoever waits, and forget what nobody works on any more."""
        residents = self.residents
        for pending in batch:
            for task in pending.tasks:
                task.in_flight -= 1
                if not task.in_flight and not task.task.status.holds_slot:
                    residents.release(task)
            for plan in pending.plans:
                plan.in_flight -= 1
                if plan.unsettled == 0:
                    residents.release_plan(plan)
            for waiter in (pending.durable, *(pending.flushes or ())):
                if not waiter.done():
                    waiter.set_result(None)

    def _note_unavailable(self, error: StoreUnavailableError) -> None:
        health = self.health
        health.failed_attempts += 1
        health.reason = str(error)
        if health.unavailable_since is None:
            health.unavailable_since, health.unavailable_at = self.clock.monotonic(), self.clock.now()
            _log.warning("the store does not take commits; the work waits and nothing is lost", reason=str(error))

    def _note_available(self) -> None:
        if self.health.unavailable_since is not None:
            away = self.clock.monotonic() - self.health.unavailable_since
            _log.info("the store takes commits again", away_seconds=round(away, 3))
            self.health.unavailable_since = self.health.unavailable_at = None
            self.health.reason, self.health.failed_attempts = "", 0

    def close(self) -> None:
        """Take no more, after ``run`` was cancelled: whoever still waits is told that it was not committed."""
        if self._fatal is None:
            self._fail(StoreClosedError("the executor was closed before the change was committed"), self._running_batch)

    def give_up(self, error: StorageError) -> None:
        """Write no more, for a reason that is not the store's: what waits is never committed."""
        if self._fatal is None:
            self._stop(error, self._running_batch)

    def _stop(self, error: StorageError, batch: Sequence[Pending]) -> None:
        _log.error("this process may write no more", reason=str(error), code=str(error.code))
        self._fail(error, batch)
        self.on_fatal(error)

    def _fail(self, error: StorageError, batch: Sequence[Pending]) -> None:
        self._fatal = error
        for pending in [*batch, *self._waiting]:
            for waiter in (pending.durable, *(pending.flushes or ())):
                if not waiter.done():
                    waiter.set_exception(error)
                    waiter.exception()
        self._waiting = []
