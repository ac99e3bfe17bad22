"""Tokens, sessions and the audit log in the database of the store."""
# ruff: noqa: D102  # what these methods promise is documented where it is demanded: in the SPI
# ruff: noqa: S608  # statements are put together from our own column names; values are always bound

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from switchover.adapters.stores.access_codec import (
    AUDIT_COLUMNS,
    audit_from,
    audit_values,
    decode_session,
    decode_token,
    encode_session,
    encode_token,
)
from switchover.adapters.stores.codec import encode_moment
from switchover.adapters.stores.postgres.bulk import changed, insert, storable_text
from switchover.adapters.stores.postgres.sql import Connection
from switchover.domain.access import AccessToken, LoginSession
from switchover.domain.audit import AuditEntry, AuditFilter, AuditRecord
from switchover.spi import AccessStore

_Result = TypeVar("_Result")

_APPEND: Final = insert("audit", ("number", *AUDIT_COLUMNS))
_TOKEN: Final = "SELECT name, version, digest, previous_digest, last_used_at, document FROM access_token"  # noqa: S105  # a statement
_SESSION: Final = "SELECT session_id, digest, expires_at, document FROM login_session"
_LIST_AUDIT: Final = f"SELECT number, {', '.join(AUDIT_COLUMNS)} FROM audit WHERE number < $1"
_LARGEST_NUMBER: Final = 2**63 - 1


class _Run(Protocol):
    """Does something with a connection of the store."""

    def __call__(self, doing: str, function: Callable[[Connection], Awaitable[_Result]], /) -> Awaitable[_Result]: ...


async def take_numbers(connection: Connection, name: str, count: int) -> int:
    """The first of so many numbers that nobody had, in whatever transaction is open; they are its own if it commits."""
    statement = "UPDATE counter SET last = last + $1 WHERE name = $2 RETURNING last"
    return int(await connection.fetchval(statement, count, name)) - count + 1


async def append(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Put entries into the log, inside whatever transaction is open; best at its end, for the next waits for it."""
    if entries:
        first = await take_numbers(connection, "audit", len(entries))
        await _APPEND.run(connection, [(first + index, *audit_values(entry)) for index, entry in enumerate(entries)])


class PostgresAccessStore(AccessStore):
    """
    As the SPI says.

    Args:
        read, write: Of the store; see there. ``write`` opens a transaction.
    """

    def __init__(self, *, read: _Run, write: _Run) -> None:
        self._read = read
        self._write = write

    # Tokens

    async def put_token(self, token: AccessToken, audit: AuditEntry, *, first: bool = False) -> bool:
        async def put(connection: Connection) -> bool:
            if first:
                await connection.execute("LOCK TABLE access_token IN SHARE ROW EXCLUSIVE MODE")  # only one can be first
                if await connection.fetchval("SELECT 1 FROM access_token LIMIT 1"):
                    return False
            statement = (
                "INSERT INTO access_token (name, version, digest, previous_digest, last_used_at, document)"
                " VALUES ($1, $2, $3, $4, NULL, $5) ON CONFLICT (name) DO NOTHING"
            )
            values = (storable_text(token.name), token.version, token.digest, token.previous_digest)
            if not changed(await connection.execute(statement, *values, encode_token(token))):
                return False
            await append(connection, [audit])
            return True

        return await self._write("keeping a token", put)

    async def replace_token(self, token: AccessToken, audit: AuditEntry) -> bool:
        async def replace(connection: Connection) -> bool:
            statement = (
                "UPDATE access_token SET version = $1, digest = $2, previous_digest = $3, document = $4"
                " WHERE name = $5 AND version = $6"
            )
            new = (token.version, token.digest, token.previous_digest, encode_token(token))
            if not changed(await connection.execute(statement, *new, storable_text(token.name), token.version - 1)):
                return False
            await append(connection, [audit])
            return True

        return await self._write("changing a token", replace)

    async def note_token_use(self, name: str, at: datetime) -> None:
        async def note(connection: Connection) -> None:
            statement = (
                "UPDATE access_token SET last_used_at = $1"
                " WHERE name = $2 AND (last_used_at IS NULL OR last_used_at < $1)"
            )
            await connection.execute(statement, encode_moment(at), storable_text(name))

        await self._write("noting the use of a token", note)

    async def find_token(self, digest: str) -> AccessToken | None:
        return await self._one_token(f"{_TOKEN} WHERE digest = $1 OR previous_digest = $1", digest)

    async def load_token(self, name: str) -> AccessToken | None:
        return await self._one_token(f"{_TOKEN} WHERE name = $1", name)

    async def list_tokens(self) -> Sequence[AccessToken]:
        rows = await self._rows("reading tokens", f"{_TOKEN} ORDER BY name")
        return [decode_token(**row) for row in rows]

    async def _one_token(self, query: str, value: str) -> AccessToken | None:
        rows = await self._rows("reading a token", query, storable_text(value))
        return decode_token(**rows[0]) if rows else None

    # Sessions

    async def put_session(self, session: LoginSession, audit: AuditEntry) -> None:
        async def put(connection: Connection) -> None:
            moments = (encode_moment(session.created_at), encode_moment(session.expires_at))
            values = (session.session_id, session.digest, *moments, encode_session(session))
            await connection.execute("INSERT INTO login_session VALUES ($1, $2, $3, $4, $5)", *values)
            await append(connection, [audit])

        await self._write("keeping a session", put)

    async def find_session(self, digest: str) -> LoginSession | None:
        rows = await self._rows("reading a session", f"{_SESSION} WHERE digest = $1", storable_text(digest))
        return decode_session(**rows[0]) if rows else None

    async def list_sessions(self) -> Sequence[LoginSession]:
        rows = await self._rows("reading sessions", f"{_SESSION} ORDER BY created_at DESC, session_id")
        return [decode_session(**row) for row in rows]

    async def end_sessions(self, session_ids: Sequence[str], audit: AuditEntry) -> int:
        async def end(connection: Connection) -> int:
            statement = "DELETE FROM login_session WHERE session_id = ANY($1::text[])"
            ended = changed(await connection.execute(statement, [storable_text(name) for name in session_ids]))
            if ended:
                await append(connection, [audit])
            return ended

        return await self._write("ending sessions", end)

    # The log

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        await self._write("writing the audit log", lambda connection: append(connection, entries))

    async def list_audit(self, wanted: AuditFilter, *, before: int | None, limit: int) -> Sequence[AuditRecord]:
        query = _LIST_AUDIT
        values: list[Any] = [_LARGEST_NUMBER if before is None else before]
        for column in ("actor", "verb", "target_type", "target", "outcome"):
            asked = getattr(wanted, column)
            if asked is not None:
                values.append(storable_text(str(asked)))
                query += f" AND {column} = ${len(values)}"
        for condition, moment in (("at >=", wanted.since), ("at <", wanted.until)):
            if moment is not None:
                values.append(encode_moment(moment))
                query += f" AND {condition} ${len(values)}"
        values.append(max(limit, 0))
        rows = await self._rows("reading the audit log", f"{query} ORDER BY number DESC LIMIT ${len(values)}", *values)
        return [AuditRecord(number, audit_from(entry)) for number, *entry in rows]

    async def prune_access(self, *, sessions_before: datetime, audit_before: datetime | None) -> int:
        async def prune(connection: Connection) -> int:
            statement = "DELETE FROM login_session WHERE expires_at < $1"
            await connection.execute(statement, encode_moment(sessions_before))
            if audit_before is None:
                return 0
            return changed(await connection.execute("DELETE FROM audit WHERE at < $1", encode_moment(audit_before)))

        return await self._write("pruning the audit log", prune)

    # Inside

    async def _rows(self, doing: str, query: str, *values: object) -> Sequence[Any]:
        return await self._read(doing, lambda connection: connection.fetch(query, *values))
