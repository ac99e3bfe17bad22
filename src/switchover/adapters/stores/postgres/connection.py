"""Connections to one PostgreSQL database, and what its errors mean to whoever uses the store."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from switchover.adapters.stores.postgres.refusals import Refusal, refusal_of
from switchover.adapters.stores.postgres.sql import BROKEN, Connection, Pool, connect, create_pool, pg
from switchover.errors import StorageError, StoreConflictError, StoreUnavailableError, StoreUnusableError
from switchover.redaction import without_password

CONNECT_SECONDS: Final = 10.0
_STATEMENTS: Final = 200
_IDLE_SECONDS: Final = 300.0
_STATEMENT_CACHE: Final = "statement_cache_size"

LOST: Final = (
    OSError,
    pg.PostgresConnectionError,
    pg.AdminShutdownError,
    pg.CrashShutdownError,
    pg.InterfaceError,
    pg.InternalClientError,
)
"""What an error is when the connection, and not the statement, came to an end."""

_Parameters = dict[str, Any]


class Server:
    """
    Where the database is.

    Attributes:
        place: The URL as it may be shown.
        is_direct: No pooler in transaction mode is said to be between.

    Args:
        url: ``postgresql://user:password@host:port/database?option=value``. Options: those of the driver, settings of
            the server (``search_path``), and ``statement_cache_size``.
        command_seconds: After this long without an answer to one statement the server counts as away.

    Raises:
        StoreUnusableError: The URL cannot be understood.
    """

    def __init__(self, url: str, *, command_seconds: float) -> None:
        self.place = without_password(url)
        self._command_seconds = command_seconds
        self._dsn, self._parameters = self._read(url)
        self.is_direct = self._parameters[_STATEMENT_CACHE] > 0

    async def connect(self) -> Connection:
        """A connection of one's own."""
        connection = await connect(
            self._dsn, timeout=CONNECT_SECONDS, command_timeout=self._command_seconds, **self._parameters
        )
        try:
            await make_durable(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def pool(self, size: int) -> Pool:
        """Connections for reading, and for writes that need no lease; none is made before it is needed."""
        return await create_pool(
            self._dsn,
            min_size=0,
            max_size=size,
            max_inactive_connection_lifetime=_IDLE_SECONDS,
            init=make_durable,
            reset=_leave_no_transaction,
            timeout=CONNECT_SECONDS,
            command_timeout=self._command_seconds,
            **self._parameters,
        )

    @contextmanager
    def errors(self, doing: str) -> Generator[None]:
        """Map what the driver raises to the store's errors; ``doing`` completes "while ..."."""
        try:
            yield
        except BROKEN as error:
            raise self.translate(error, doing) from error

    def translate(self, error: Exception, doing: str) -> StorageError:
        """What an error of the server, the driver or the network means; each with the next move."""
        refusal, sentence = refusal_of(error)
        message = f"{self.place}: while {doing}, {sentence}"
        match refusal:
            case Refusal.WAIT:
                return StoreUnavailableError(message)
            case Refusal.CONFLICT:
                return StoreConflictError(message)
            case Refusal.PERSON:
                return StoreUnusableError(message)

    def _read(self, url: str) -> tuple[str, _Parameters]:
        rule = (
            "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with characters like / : @ # in the password as "
            "%2F %3A %40 %23; or leave the password out and set PGPASSWORD or a password file"
        )
        try:
            parts = urlsplit(url)
            _ = parts.port
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            # Its text may hold what stands before an unescaped character of a password.
            message = f"store {self.place}: this is no URL of a database; {rule}"
            raise StoreUnusableError(message) from None
        if parts.fragment or "@" in parts.path:
            message = f"store {self.place}: this is no URL of a database; {rule}"
            raise StoreUnusableError(message)
        cache = options.pop(_STATEMENT_CACHE, str(_STATEMENTS))
        if not cache.isdecimal():
            message = f"store {self.place}: {_STATEMENT_CACHE} is {cache!r}; give a whole number, 0 for a pooler"
            raise StoreUnusableError(message)
        parameters: _Parameters = {_STATEMENT_CACHE: int(cache)}
        if "application_name" not in options:
            parameters["server_settings"] = {"application_name": "switchover"}
        query = urlencode(options, quote_via=quote)
        return parts._replace(scheme="postgresql", query=query).geturl(), parameters


async def make_durable(connection: Connection) -> None:
    """An answer means that it is on disk, whatever the server's default is."""
    setting = await connection.fetchval("SELECT current_setting('synchronous_commit')")
    if setting == "off":
        await connection.execute("SET synchronous_commit = on")


async def _leave_no_transaction(connection: Connection) -> None:
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
