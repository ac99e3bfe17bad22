"""What the store uses of asyncpg, which ships no types: its shapes, and the two ways to a connection."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  # see above
from asyncpg import exceptions as pg  # pyright: ignore[reportMissingTypeStubs]  # see above

__all__ = ["BROKEN", "Connection", "Pool", "connect", "create_pool", "pg"]

_driver: Any = asyncpg

BROKEN: Final = (pg.PostgresError, pg.InterfaceError, pg.InternalClientError, OSError, EOFError)
"""All that a call may raise which is not the caller's mistake."""


class Connection(Protocol):
    """A session with the server."""

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement; its status (``UPDATE 3``). Without arguments also several statements."""
        ...

    async def fetch(self, query: str, *args: object) -> Sequence[Any]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, *args: object) -> Any:  # noqa: ANN401  # columns are what the query says
        """The first row, or None."""
        ...

    async def fetchval(self, query: str, *args: object) -> Any:  # noqa: ANN401  # as above
        """The first value of the first row, or None."""
        ...

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[object]:
        """A transaction around what is inside."""
        ...

    async def add_listener(self, channel: str, callback: Callable[["Connection", int, str, str], None]) -> None:
        """Have it called with the connection, the sender's process, the channel and the word."""
        ...

    def add_termination_listener(self, callback: Callable[["Connection"], None]) -> None:
        """Have it called when the connection ends."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether one is open."""
        ...

    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        ...

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's own
        """Say goodbye."""
        ...

    def terminate(self) -> None:
        """End without a goodbye."""
        ...


class Pool(Protocol):
    """Some connections, made when they are needed."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """One of them, for as long as the block lasts."""
        ...

    async def close(self) -> None:
        """Close all, when they are free."""
        ...

    def terminate(self) -> None:
        """Close all at once."""
        ...


async def connect(dsn: str, **parameters: object) -> Connection:
    """A connection of one's own."""
    connection: Connection = await _driver.connect(dsn, **parameters)
    return connection


async def create_pool(dsn: str, **parameters: object) -> Pool:
    """A pool, with as many connections as ``min_size`` says."""
    pool: Pool = await _driver.create_pool(dsn, **parameters)
    return pool
