"""The connections of the process that drives: one for its commits, and one that says that it lives (see ``lease``)."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from switchover.adapters.stores.postgres import lease as rows
from switchover.adapters.stores.postgres.connection import Server
from switchover.adapters.stores.postgres.sql import BROKEN, Connection
from switchover.errors import StorageError, StoreConflictError
from switchover.spi import DriverLease

_CLOSE_SECONDS: Final = 5.0


class DriverSession:
    """
    The process drives, from ``begin`` to ``release``.

    Args:
        server: Where to connect.
        lease: What was taken.
        beat_seconds: Between two heartbeats.
    """

    def __init__(self, server: Server, lease: DriverLease, beat_seconds: float) -> None:
        self.lease = lease
        self._server = server
        self._beat_seconds = beat_seconds
        self._connection: Connection | None = None
        self._beating: asyncio.Task[None] | None = None
        self._busy = asyncio.Lock()
        self._end = ""

    def begin(self) -> None:
        """Send heartbeats."""
        self._beating = asyncio.ensure_future(self._beat())

    @property
    def is_over(self) -> bool:
        """The lease has ended, as far as this process knows."""
        return bool(self._end)

    async def release(self) -> None:
        """Let somebody else drive. When the server cannot be told, they have to wait until the lease is lost."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        async with self._busy:
            self._end = self._end or "it was released"
            with suppress(*BROKEN, StorageError):
                connection = await self._connected()
                await rows.release(connection, self.lease.epoch)
                await connection.close(timeout=_CLOSE_SECONDS)
            self._drop()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """
        One transaction under the lease.

        Raises:
            StoreConflictError: The lease is over.
        """
        async with self._busy:
            if self._end:
                raise self.over(self._end)
            is_new = self._connection is None or self._connection.is_closed()
            connection = await self._connected()
            try:
                async with connection.transaction():
                    epoch = await connection.fetchval(rows.ENTER)
                    if epoch != self.lease.epoch:
                        self._end = f"epoch {epoch} drives"
                        raise self.over(self._end)
                    if is_new:
                        # What the last connection left open would be in the way of whatever it had begun to write.
                        await connection.execute(rows.END_OTHERS)
                    yield connection
            except BROKEN:
                if connection.is_closed() or connection.is_in_transaction():
                    self._drop()
                raise

    def over(self, why: str) -> StoreConflictError:
        """The lease has ended."""
        return StoreConflictError(
            f"the driver's lease of {self.lease.owner} with epoch {self.lease.epoch} on {self._server.place} is over "
            f"({why}); stop writing"
        )

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._server.connect()
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _beat(self) -> None:
        """Until somebody else drives. Whatever goes wrong is tried again: the commits say what it means."""
        connection: Connection | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(2 * self._beat_seconds):
                        if connection is None:
                            connection = await self._server.connect()
                        if not await rows.beat(connection, self.lease.epoch):
                            epoch = await connection.fetchval("SELECT epoch FROM driver")
                            self._end = self._end or f"its heartbeat was late, and epoch {epoch} drives"
                            return
                except BROKEN:
                    if connection is not None:
                        connection.terminate()
                        connection = None
                await asyncio.sleep(self._beat_seconds)
        finally:
            if connection is not None:
                connection.terminate()
