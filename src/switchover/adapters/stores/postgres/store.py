"""The store over a PostgreSQL database: what goes through which connection."""
# ruff: noqa: D102  # what a store's methods promise is documented where it is demanded: in the SPI

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from switchover.adapters.stores.codec import encode_moment
from switchover.adapters.stores.postgres.access import PostgresAccessStore, take_numbers
from switchover.adapters.stores.postgres.checks import problems
from switchover.adapters.stores.postgres.connection import CONNECT_SECONDS, LOST, Server
from switchover.adapters.stores.postgres.dispatch import PostgresDispatch
from switchover.adapters.stores.postgres.driver_session import DriverSession
from switchover.adapters.stores.postgres.lease import look, take
from switchover.adapters.stores.postgres.listener import Listener, notify
from switchover.adapters.stores.postgres.reader import Reader
from switchover.adapters.stores.postgres.schema import is_prepared, migrations, prepare
from switchover.adapters.stores.postgres.sql import Connection, Pool
from switchover.adapters.stores.postgres.writer import BatchWriter, StageLists
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.stage import PreImage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.errors import StoreClosedError, StoreConflictError, StoreUnusableError
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
    Topic,
)

_Result = TypeVar("_Result")
_Work = Callable[[Connection], Awaitable[_Result]]

_CONNECTIONS: Final = 4
_ATTEMPTS: Final = _CONNECTIONS + 1
"""Of a read: after a restart of the server every idle connection may turn out to be dead, one after the other."""

_CHANGES: Final = "SELECT hashtextextended(pg_current_snapshot()::text, 0)"
"""What a reader can see changes with every commit, and with it the snapshot; asking writes and locks nothing."""


_LEAVE_REQUEST: Final = f"""
INSERT INTO request (request_id, verb, payload, submitted_at) VALUES ($1, $2, $3, $4)
RETURNING {notify(Topic.REQUESTS)}
"""  # noqa: S608  # the statement is ours

_DESCRIBE: Final = "SELECT current_setting('server_version'), pg_size_pretty(pg_database_size(current_database()))"


class PostgresExecutionStore(ExecutionStore):
    """
    Keeps everything in one schema of a PostgreSQL database.

    One process drives it at a time, over a connection of its own; others read it and leave requests meanwhile.

    Attributes:
        place: The URL as it may be shown.

    Args:
        url: See ``Server``.
        command_seconds: After this long without an answer to one statement the server counts as away.
        beat_seconds, lost_seconds: How often the driver says that it lives, and after how long without a word another
            process may drive.
        now: Wall-clock time for ``submitted_at`` and ``since``; aware, UTC.
    """

    def __init__(
        self,
        url: str,
        *,
        command_seconds: float = 60.0,
        beat_seconds: float = 1.0,
        lost_seconds: float = 4.0,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._server = Server(url, command_seconds=command_seconds)
        self.place = self._server.place
        self._now = now or (lambda: datetime.now(UTC))
        self._beat_seconds = beat_seconds
        self._lost_seconds = lost_seconds
        self._reader = Reader()
        self._stage_lists = StageLists()
        self._pool: Pool | None = None
        self._session: DriverSession | None = None
        self._listener = Listener(self._server)
        self._access = PostgresAccessStore(read=self._read, write=self._write)
        self.dispatch = PostgresDispatch(self._server, self._read, self._write, self._now)
        """Orders for workers, and the workers themselves."""

    async def open(self) -> None:
        if self._pool is not None:
            return
        with self._server.errors("opening it"):
            pool = await self._server.pool(_CONNECTIONS)
            try:
                async with pool.acquire(timeout=CONNECT_SECONDS) as connection:
                    await prepare(connection, self._server.place, migrations())
            except BaseException:
                pool.terminate()
                raise
        self._pool = pool
        if self._server.is_direct:
            self._listener.begin()

    async def aclose(self) -> None:
        pool, session = self._pool, self._session
        self._pool = self._session = None
        await self._listener.aclose()
        if session is not None:
            await session.release()
        if pool is not None:
            with self._server.errors("closing it"):
                await pool.close()

    @property
    def access(self) -> PostgresAccessStore:
        return self._access

    # Driving

    async def acquire_driver(self, owner: str) -> DriverLease | None:
        self._opened()
        if self._session is not None:
            if not self._session.is_over:
                return None
            session, self._session = self._session, None
            await session.release()
        seen = await self._read("looking who drives", look)
        if seen is not None and seen.info.alive:
            return None
        since = encode_moment(self._now())
        epoch = await self._write(
            "taking the driver's lease", lambda c: take(c, owner, since, seen, self._lost_seconds)
        )
        if epoch is None:
            return None
        lease = DriverLease(owner=owner, epoch=epoch)
        self._session = DriverSession(self._server, lease, self._beat_seconds)
        self._session.begin()
        return lease

    async def release_driver(self, lease: DriverLease) -> None:
        self._opened()
        session = self._session
        if session is not None and session.lease.epoch == lease.epoch:
            self._session = None
            await session.release()

    async def driver(self) -> DriverInfo | None:
        seen = await self._read("reading who drives", look)
        return None if seen is None else seen.info

    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        self._opened()
        session = self._session
        if session is None or session.lease.epoch != lease.epoch:
            message = (
                f"the driver's lease of {lease.owner} with epoch {lease.epoch} on {self._server.place} is over (it was "
                f"released); stop writing"
            )
            raise StoreConflictError(message)
        try:
            with self._server.errors("committing"):
                async with session.transaction() as connection:
                    granted = await BatchWriter(connection, self._stage_lists).write(batch)
                    await self.dispatch.keeper.join(connection, batch)
        except BaseException:
            self._stage_lists.forget()
            self.dispatch.keeper.forget()
            raise
        self.dispatch.keeper.joined()
        return CommitResult(granted=granted)

    def give_orders(self, *, wanted: bool) -> None:
        """From the next commit on, stages that begin are ordered from workers, or no more; see ``OrderKeeper``."""
        self.dispatch.keeper.keep(gives_orders=wanted)

    # Requests of other processes

    async def put_request(self, verb: str, payload: bytes) -> int:
        async def put(connection: Connection) -> int:
            number = await take_numbers(connection, "request", 1)
            await connection.execute(_LEAVE_REQUEST, number, verb, payload, encode_moment(self._now()))
            return number

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
        return int(await self._read("looking for changes", lambda c: c.fetchval(_CHANGES)))

    async def check(self) -> Sequence[str]:
        return await self._read("checking the store", lambda c: problems(c, self._reader))

    # Hearing

    @property
    def hears(self) -> bool:
        """Whether the server would tell of commits and requests now."""
        return self._listener.hears

    def heard(self, topic: Topic) -> int:
        """As the SPI says."""
        return self._listener.heard(topic)

    async def hear(self, topic: Topic, seen: int) -> None:
        """As the SPI says."""
        await self._listener.hear(topic, seen)

    # For the command line

    async def is_empty(self) -> bool:
        """Whether nothing was ever kept there; needs no ``open``, and makes nothing."""
        with self._server.errors("looking what is there"):
            connection = await self._server.connect()
            try:
                return not await is_prepared(connection)
            finally:
                connection.terminate()

    async def describe(self) -> str:
        """The server's version, the schema's, and how much room the database takes."""
        version, size = await self._read("asking for the version", lambda c: c.fetchrow(_DESCRIBE))
        return f"PostgreSQL {version}, schema {migrations()[-1].number}; the database takes {size}"

    # Inside

    async def _read(self, doing: str, work: _Work[_Result]) -> _Result:
        pool = self._opened()
        with self._server.errors(doing):
            for left in reversed(range(_ATTEMPTS)):
                try:
                    async with pool.acquire(timeout=CONNECT_SECONDS) as connection:
                        return await self._understood(doing, connection, work)
                except LOST as error:
                    if not left or isinstance(error, (TimeoutError, ConnectionRefusedError)):
                        raise
        raise AssertionError

    async def _write(self, doing: str, work: _Work[_Result]) -> _Result:
        pool = self._opened()
        with self._server.errors(doing):
            async with pool.acquire(timeout=CONNECT_SECONDS) as connection, connection.transaction():
                return await work(connection)

    async def _understood(self, doing: str, connection: Connection, work: _Work[_Result]) -> _Result:
        try:
            return await work(connection)
        except LOST:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            message = (
                f"{self._server.place}: while {doing}, something was found there that this program never writes "
                f"({type(error).__name__}: {error}), so the database is damaged; nothing was changed. See what "
                f"`switchover doctor` finds, and restore the last backup"
            )
            raise StoreUnusableError(message) from error

    def _opened(self) -> Pool:
        if self._pool is None:
            message = f"the store at {self._server.place} is not open; call open() before any other method"
            raise StoreClosedError(message)
        return self._pool
