"""The store over one SQLite file: who does what in which thread."""
# ruff: noqa: D102  # what a store's methods promise is documented where it is demanded: in the SPI

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TypeVar

from switchover.adapters.stores.codec import encode_moment
from switchover.adapters.stores.sqlite.access import SqliteAccessStore
from switchover.adapters.stores.sqlite.checks import problems
from switchover.adapters.stores.sqlite.connection import CHECKPOINT_BYTES, Database, transaction, tune_writer
from switchover.adapters.stores.sqlite.driver_lock import DriverLock
from switchover.adapters.stores.sqlite.event_order import EventNumbers
from switchover.adapters.stores.sqlite.first_look import look
from switchover.adapters.stores.sqlite.gauge import Gauge, Lack
from switchover.adapters.stores.sqlite.journal import Journal
from switchover.adapters.stores.sqlite.reader import Reader
from switchover.adapters.stores.sqlite.schema import check_ownership, migrate, migrations
from switchover.adapters.stores.sqlite.worker import ConnectionThreads
from switchover.adapters.stores.sqlite.writer import BatchWriter, StageLists
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.stage import PreImage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.errors import StoreClosedError, StoreConflictError, StoreUnusableError
from switchover.logs import get_log
from switchover.spi import (
    CommitResult,
    DriverInfo,
    DriverLease,
    Entry,
    EventPage,
    EventSpan,
    ExecutionStore,
    Hold,
    KnownCreation,
    LiveTask,
    Request,
    StopLine,
    StoredTask,
    StoreState,
    TenantRecord,
)

_Result = TypeVar("_Result")

_READERS = 2

_LACKS = "lacks commits that were acknowledged"

_log = get_log("switchover.store")


class SqliteExecutionStore(ExecutionStore):
    """
    Keeps everything in one SQLite file (and, while it is open, two files of SQLite and a lock file beside it).

    One process drives it at a time; others may read it and leave requests meanwhile.

    Args:
        path: Of the file; made when it is missing, its folder is not.
        busy_timeout_seconds: How long a lock of another program is waited for before the store counts as away.
        now: Wall-clock time for ``submitted_at`` and ``since``; aware, UTC.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        busy_timeout_seconds: float = 10.0,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._database = Database(Path(path), busy_timeout_seconds=busy_timeout_seconds)
        self._lock = DriverLock(Path(path))
        self._gauge = Gauge(self._lock)
        self._journal = Journal(Path(path), CHECKPOINT_BYTES)
        self._now = now or (lambda: datetime.now(UTC))
        self._reader = Reader()
        self._stage_lists = StageLists()
        self._numbers = EventNumbers()
        self._writing: ConnectionThreads | None = None
        self._reading: ConnectionThreads | None = None
        self._watch: sqlite3.Connection | None = None
        self._watch_lock = Lock()
        self._access = SqliteAccessStore(read=self._read, write=self._write)

    @property
    def path(self) -> Path:
        """Of the database file."""
        return self._database.path

    async def open(self) -> None:
        if self._writing is not None:
            return
        writing = ConnectionThreads("store-writer", self._connect_writer)
        try:
            await writing.run(_nothing)
        except BaseException:
            await writing.stop()
            raise
        self._writing = writing
        self._reading = ConnectionThreads("store-reader", self._connect_reader, count=_READERS)

    async def aclose(self) -> None:
        writing, reading = self._writing, self._reading
        self._writing = self._reading = None
        if reading is not None:
            await reading.stop()
        with self._watch_lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
        if writing is not None:
            await writing.stop()  # the last to close brings the journal into the database
        self._journal.close()
        self._lock.release()

    @property
    def access(self) -> SqliteAccessStore:
        return self._access

    # Driving

    async def acquire_driver(self, owner: str) -> DriverLease | None:
        def acquire(connection: sqlite3.Connection) -> DriverLease | None:
            if self._lock.is_held or not self._lock.acquire():
                return None
            try:
                self._check_completeness(connection)
                since = encode_moment(self._now())
                with transaction(connection):
                    row = connection.execute(
                        "INSERT INTO driver VALUES (1, 1, ?, ?) ON CONFLICT (one) DO UPDATE"
                        " SET epoch = epoch + 1, owner = excluded.owner, since = excluded.since RETURNING epoch",
                        (owner, since),
                    ).fetchall()[0]
                self._gauge.begin(connection, row[0], since)
                self._numbers.forget()
            except BaseException:
                self._lock.release()
                raise
            return DriverLease(owner=owner, epoch=row[0])

        return await self._write("taking the driver's lease", acquire)

    async def release_driver(self, lease: DriverLease) -> None:
        def release(connection: sqlite3.Connection) -> None:
            if self._lock.is_held and _epoch(connection) == lease.epoch:
                self._gauge.end()
                self._lock.release()

        await self._write("releasing the driver's lease", release)

    async def driver(self) -> DriverInfo | None:
        def look(connection: sqlite3.Connection) -> DriverInfo | None:
            info = self._reader.driver(connection)
            return None if info is None else replace(info, alive=self._lock.is_held_by_anyone())

        return await self._read("reading who drives", look)

    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        def write(connection: sqlite3.Connection) -> CommitResult:
            try:
                with transaction(connection):
                    self._check_lease(connection, lease)
                    self._journal.make_room()
                    self._gauge.before(connection, batch)
                    writer = BatchWriter(connection, self._stage_lists, self._numbers)
                    result = CommitResult(granted=writer.write(batch))
            except BaseException:
                self._stage_lists.forget()
                self._numbers.forget()
                raise
            self._gauge.after(connection, writer.positions, batch)
            return result

        return await self._write("committing", write)

    # Requests of other processes

    async def put_request(self, verb: str, payload: bytes) -> int:
        def put(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                statement = "INSERT INTO request (verb, payload, submitted_at) VALUES (?, ?, ?)"
                return connection.execute(statement, (verb, payload, encode_moment(self._now()))).lastrowid or 0

        return await self._write("leaving a request", put)

    async def open_requests(self, after: int, limit: int) -> Sequence[Request]:
        return await self._read("reading requests", lambda c: self._reader.open_requests(c, after, limit))

    async def load_request(self, request_id: int) -> Request | None:
        return await self._read("reading a request", lambda c: self._reader.load_request(c, request_id))

    # Reading

    async def load_state(self) -> StoreState:
        return await self._read("reading what is to be driven", self._reader.load_state)

    async def load_live(self, plan_id: PlanId, after: int, limit: int) -> Sequence[LiveTask]:
        return await self._read("reading live tasks", lambda c: self._reader.load_live(c, plan_id, after, limit))

    async def load_tasks(self, keys: Sequence[TaskKey]) -> Sequence[StoredTask]:
        return await self._read("reading tasks", lambda c: self._reader.load_tasks(c, keys))

    async def load_plan(self, plan_id: PlanId) -> PlanAggregate | None:
        return await self._read("reading a plan", lambda c: self._reader.load_plan(c, plan_id))

    async def list_plans(self, *, before: int | None, limit: int) -> Sequence[PlanAggregate]:
        return await self._read("reading plans", lambda c: self._reader.list_plans(c, before, limit))

    async def list_tasks(
        self, plan_id: PlanId, *, statuses: frozenset[TaskStatus] | None, after: int, limit: int
    ) -> Sequence[TaskAggregate]:
        return await self._read("reading tasks", lambda c: self._reader.list_tasks(c, plan_id, statuses, after, limit))

    async def load_tenants(self, tenant_ids: Sequence[TenantId]) -> Mapping[TenantId, TenantRecord]:
        return await self._read("reading tenants", lambda c: self._reader.load_tenants(c, tenant_ids))

    async def list_holds(self) -> Mapping[TenantId, Hold]:
        return await self._read("reading holds", self._reader.list_holds)

    async def load_line(self) -> StopLine | None:
        return await self._read("reading the stop-line", self._reader.load_line)

    async def tenant_history(self, tenant_id: TenantId, limit: int) -> Sequence[TaskAggregate]:
        return await self._read("reading tasks", lambda c: self._reader.tenant_history(c, tenant_id, limit))

    async def load_events(self, plan_id: PlanId, after: int, limit: int) -> Sequence[Event]:
        return await self._read("reading events", lambda c: self._reader.load_events(c, plan_id, after, limit))

    async def load_task_events(self, key: TaskKey, after: int, limit: int) -> Sequence[Event]:
        return await self._read("reading events", lambda c: self._reader.load_task_events(c, key, after, limit))

    async def load_all_events(self, after: int, limit: int) -> EventPage:
        return await self._read("reading events", lambda c: self._reader.load_all_events(c, after, limit))

    async def load_event_spans(self, *, ended_before: datetime, limit: int) -> Sequence[EventSpan]:
        return await self._read("reading events", lambda c: self._reader.load_event_spans(c, ended_before, limit))

    async def load_pre_images(self, key: TaskKey, stage: str) -> Sequence[PreImage]:
        return await self._read("reading pre-images", lambda c: self._reader.load_pre_images(c, key, stage))

    async def find_idempotency(self, idempotency_key: str) -> KnownCreation | None:
        return await self._read("reading idempotency keys", lambda c: self._reader.find_idempotency(c, idempotency_key))

    async def change_token(self) -> int:
        def look(_: sqlite3.Connection) -> int:
            # SQLite's own count of other connections' commits, hence a connection that never writes, and always the
            # same one. It is read from shared memory: no disk, no lock that anybody waits for.
            with self._watch_lock:
                if self._watch is None:
                    self._watch = self._database.connect_reader()
                return int(self._watch.execute("PRAGMA data_version").fetchone()[0])

        return await self._read("looking for changes", look)

    async def check(self) -> Sequence[str]:
        def examine(connection: sqlite3.Connection) -> Sequence[str]:
            found = problems(connection, self._reader)
            lack = self._gauge.lack(connection) if not found and not self._lock.is_held_by_anyone() else None
            return [*found, _lacking(lack)] if lack is not None else found

        return await self._read("checking the store", examine)

    # Inside

    def _connect_writer(self) -> sqlite3.Connection:
        self._journal.close()
        with self._database.errors("opening it"):
            self._database.check_place()
            if self._database.is_missing():
                self._lock.forget()
            elif self._database.is_empty() and self._lock.read() is not None:
                raise StoreUnusableError(
                    f"{self._database.path} is empty (0 bytes), and a database was driven here: it is lost. Restore "
                    f"the last backup; to begin with nothing, delete {self._lock.path} too"
                )
            steps = migrations()
            connection = self._database.connect()
            try:
                check_ownership(connection, self._database.path, steps[-1].number)
                look(connection, self._database.path)
                tune_writer(connection)
                migrate(connection, steps)
            except BaseException:
                connection.close()
                raise
            return connection

    def _connect_reader(self) -> sqlite3.Connection:
        with self._database.errors("opening it"):
            return self._database.connect_reader()

    def _check_completeness(self, connection: sqlite3.Connection) -> None:
        """
        See that the database is not older than its last driver left it.

        After a crash that is refused: commits that were acknowledged are gone. After an end in good order somebody has
        put an older copy there, and the targets' generations tell; it is only said.
        """
        lack = self._gauge.lack(connection)
        if lack is None:
            return
        if lack.ended:
            _log.warning("the database is older than its last driver left it: was a backup restored?", found=lack.what)
            return
        path = self._database.path
        message = (
            f"{path} {_LACKS} ({lack.what}): its journal {path.name}-wal was lost, cut "
            f"off, damaged or exchanged, or an older copy was put here. Nothing was touched. If the journal still "
            f"exists, put it back; else restore the last backup or keep this state, delete {self._lock.path} to accept "
            f"that, and lift the generations with `switchover adopt`"
        )
        raise StoreUnusableError(message)

    def _check_lease(self, connection: sqlite3.Connection, lease: DriverLease) -> None:
        epoch = _epoch(connection)
        if epoch == lease.epoch and self._lock.is_held:
            return
        now = f"epoch {epoch} drives" if epoch > lease.epoch else "it was released"
        message = (
            f"the driver's lease of {lease.owner} with epoch {lease.epoch} on {self._database.path} is over ({now}); "
            f"stop writing"
        )
        raise StoreConflictError(message)

    async def _write(self, doing: str, function: Callable[[sqlite3.Connection], _Result]) -> _Result:
        return await self._run(self._writing, doing, function)

    async def _read(self, doing: str, function: Callable[[sqlite3.Connection], _Result]) -> _Result:
        def understood(connection: sqlite3.Connection) -> _Result:
            try:
                return function(connection)
            except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
                message = (
                    f"{self._database.path}: while {doing}, something was found there that this program never writes "
                    f"({type(error).__name__}: {error}), so the database is damaged; nothing was changed. Keep a copy, "
                    f"see what `switchover doctor` finds, and restore the last backup"
                )
                raise StoreUnusableError(message) from error

        return await self._run(self._reading, doing, understood)

    async def _run(
        self, threads: ConnectionThreads | None, doing: str, function: Callable[[sqlite3.Connection], _Result]
    ) -> _Result:
        if threads is None:
            message = f"the store at {self._database.path} is not open; call open() before any other method"
            raise StoreClosedError(message)

        def work(connection: sqlite3.Connection) -> _Result:
            with self._database.errors(doing):
                return function(connection)

        return await threads.run(work)


def _lacking(lack: Lack) -> str:
    whose = "its last driver left in good order, so an older copy was put here" if lack.ended else "its driver crashed"
    return f"the database {_LACKS}: {lack.what}; {whose}"


def _nothing(_: sqlite3.Connection) -> None:
    """Being connected is all that is asked for."""


def _epoch(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT epoch FROM driver").fetchone()
    return 0 if row is None else int(row[0])
