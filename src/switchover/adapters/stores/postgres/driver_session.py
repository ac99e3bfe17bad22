"""
Who may commit: a session that holds an advisory lock, and the epoch that every commit checks.

All commits go through the session that holds the lock. When its connection ends, the server gives the lock to whoever
asks next, after what was under way in the session came to its end. The holder may come back with a new connection as
long as nobody else drove meanwhile, which the epoch tells; so a restart of the server interrupts, and ends nothing.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from switchover.adapters.stores.postgres.bulk import storable_text
from switchover.adapters.stores.postgres.connection import Server
from switchover.adapters.stores.postgres.sql import BROKEN, Connection
from switchover.errors import StoreConflictError, StoreUnavailableError, StoreUnusableError
from switchover.spi import DriverLease

_KEY: Final = "(1400328054::bigint << 32 | 'driver'::regclass::oid::bigint)"
"""``SwOv``, and which of the stores in the database."""

HOLDER: Final = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 1400328054
    AND objid = 'driver'::regclass::oid AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""The server's process that holds the lock. Only looked for: to try the lock would keep others from it meanwhile."""

_TUNE: Final = """
SELECT set_config(name, wanted, false) FROM (VALUES
    ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),
    ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '0')
) AS v (name, wanted) WHERE name IN (SELECT s.name FROM pg_settings AS s)
"""
"""A holder whose machine is gone is noticed within seconds; one that only waits for work is left alone."""

_RAISE: Final = """
INSERT INTO driver VALUES (1, 1, $1, $2)
ON CONFLICT (one) DO UPDATE SET epoch = driver.epoch + 1, owner = excluded.owner, since = excluded.since
RETURNING epoch
"""

_CLOSE_SECONDS: Final = 5.0


class DriverSession:
    """The session of the process that drives; made by ``acquire``."""

    def __init__(self, server: Server, connection: Connection, lease: DriverLease, pid: int) -> None:
        self.lease = lease
        self._server = server
        self._connection = connection
        self._pid = pid
        self._busy = asyncio.Lock()
        self._released = False

    @staticmethod
    async def acquire(server: Server, owner: str, since: int) -> "DriverSession | None":
        """Become the driver; None while somebody else is."""
        connection = await server.connect()
        try:
            if not await _try_lock(connection):
                await connection.close(timeout=_CLOSE_SECONDS)
                return None
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            epoch = await connection.fetchval(_RAISE, storable_text(owner), since)
        except BaseException:
            connection.terminate()
            raise
        return DriverSession(server, connection, DriverLease(owner=owner, epoch=epoch), pid)

    @property
    def is_cut(self) -> bool:
        """The connection is gone, and the lock with it."""
        return self._connection.is_closed()

    async def release(self) -> None:
        """Let go; whoever asks next gets the lock. What cannot be told to the server any more ends with the session."""
        async with self._busy:
            self._released = True
            connection = self._connection
            with suppress(*BROKEN):
                await connection.execute(f"SELECT pg_advisory_unlock({_KEY})")
                await connection.close(timeout=_CLOSE_SECONDS)
            connection.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """
        One transaction under the lease.

        Raises:
            StoreConflictError: The lease is over.
        """
        async with self._busy:
            if self._released:
                raise self.over("it was released")
            if self._connection.is_closed():
                await self._come_back()
            connection = self._connection
            async with connection.transaction():
                row = await connection.fetchrow("SELECT epoch, pg_backend_pid() FROM driver FOR SHARE")
                epoch, pid = row or (0, self._pid)
                if epoch != self.lease.epoch:
                    raise self.over(f"epoch {epoch} drives")
                if pid != self._pid:
                    message = (
                        f"{self._server.place}: a pooler in transaction mode is between this process and the server, "
                        f"so nobody can hold the driver's lock; give a process that drives a direct connection"
                    )
                    raise StoreUnusableError(message)
                yield connection

    def over(self, why: str) -> StoreConflictError:
        """The lease has ended."""
        return StoreConflictError(
            f"the driver's lease of {self.lease.owner} with epoch {self.lease.epoch} on {self._server.place} is over "
            f"({why}); stop writing"
        )

    async def _come_back(self) -> None:
        connection = await self._server.connect()
        try:
            pid = await self._resume(connection)
        except BaseException:
            connection.terminate()
            raise
        self._connection, self._pid = connection, pid

    async def _resume(self, connection: Connection) -> int:
        """Take the lock again, if nobody drove meanwhile; the server's process of this connection."""
        locked = await _try_lock(connection)
        epoch = await connection.fetchval("SELECT epoch FROM driver")
        if epoch != self.lease.epoch:
            raise self.over(f"its connection was lost, and epoch {epoch} drives")
        if not locked:
            holder = await connection.fetchval(HOLDER)
            if holder == self._pid:
                # What the server still takes for our session: the connection to it is gone.
                await connection.execute("SELECT pg_terminate_backend($1)", holder)
            message = (
                f"{self._server.place}: the connection of the driver was lost, and the server still keeps its lock "
                f"for session {holder}; trying again is right"
            )
            raise StoreUnavailableError(message)
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def _try_lock(connection: Connection) -> bool:
    await connection.execute(_TUNE)
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_lock({_KEY})"))
