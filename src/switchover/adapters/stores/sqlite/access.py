"""Tokens, sessions and the audit log in the SQLite file of the store."""
# ruff: noqa: D102  # what these methods promise is documented where it is demanded: in the SPI
# ruff: noqa: S608  # statements are put together from our own column names; values are always bound

import sqlite3
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
from switchover.adapters.stores.codec import encode_json, encode_moment, storable
from switchover.adapters.stores.sqlite.bulk import insert
from switchover.adapters.stores.sqlite.connection import transaction
from switchover.domain.access import AccessToken, LoginSession
from switchover.domain.audit import AuditEntry, AuditFilter, AuditRecord
from switchover.spi import AccessStore

_Result = TypeVar("_Result")

_APPEND: Final = insert("audit", AUDIT_COLUMNS)
_TOKEN: Final = "SELECT name, version, digest, previous_digest, last_used_at, document FROM access_token"  # noqa: S105  # a statement
_SESSION: Final = "SELECT session_id, digest, expires_at, document FROM login_session"
_LIST_AUDIT: Final = f"SELECT number, {', '.join(AUDIT_COLUMNS)} FROM audit WHERE number < ?"
_LARGEST_NUMBER: Final = 2**63 - 1


class _Run(Protocol):
    """Does something with a connection, in a thread that has one."""

    def __call__(self, doing: str, function: Callable[[sqlite3.Connection], _Result], /) -> Awaitable[_Result]: ...


def append(connection: sqlite3.Connection, entries: Sequence[AuditEntry]) -> None:
    """Put entries into the log, inside whatever transaction is open."""
    _APPEND.run(connection, [audit_values(entry) for entry in entries])


class SqliteAccessStore(AccessStore):
    """
    As the SPI says.

    Args:
        read, write: Of the store; see there.
    """

    def __init__(self, *, read: _Run, write: _Run) -> None:
        self._read = read
        self._write = write

    # Tokens

    async def put_token(self, token: AccessToken, audit: AuditEntry, *, first: bool = False) -> bool:
        def put(connection: sqlite3.Connection) -> bool:
            with transaction(connection):
                if first and connection.execute("SELECT 1 FROM access_token LIMIT 1").fetchone():
                    return False
                statement = (
                    "INSERT INTO access_token (name, version, digest, previous_digest, last_used_at, document)"
                    " VALUES (?, ?, ?, ?, NULL, ?) ON CONFLICT (name) DO NOTHING"
                )
                values = (token.name, token.version, token.digest, token.previous_digest, encode_token(token))
                if not connection.execute(statement, values).rowcount:
                    return False
                append(connection, [audit])
                return True

        return await self._write("keeping a token", put)

    async def replace_token(self, token: AccessToken, audit: AuditEntry) -> bool:
        def replace(connection: sqlite3.Connection) -> bool:
            with transaction(connection):
                statement = (
                    "UPDATE access_token SET version = ?, digest = ?, previous_digest = ?, document = ?"
                    " WHERE name = ? AND version = ?"
                )
                new = (token.version, token.digest, token.previous_digest, encode_token(token))
                if not connection.execute(statement, (*new, token.name, token.version - 1)).rowcount:
                    return False
                append(connection, [audit])
                return True

        return await self._write("changing a token", replace)

    async def note_token_use(self, name: str, at: datetime) -> None:
        def note(connection: sqlite3.Connection) -> None:
            moment = encode_moment(at)
            statement = (
                "UPDATE access_token SET last_used_at = ? WHERE name = ? AND (last_used_at IS NULL OR last_used_at < ?)"
            )
            with transaction(connection):
                connection.execute(statement, (moment, name, moment))

        await self._write("noting the use of a token", note)

    async def find_token(self, digest: str) -> AccessToken | None:
        return await self._one_token(f"{_TOKEN} WHERE digest = ? OR previous_digest = ?", digest, digest)

    async def load_token(self, name: str) -> AccessToken | None:
        return await self._one_token(f"{_TOKEN} WHERE name = ?", storable(name))

    async def list_tokens(self) -> Sequence[AccessToken]:
        rows = await self._rows("reading tokens", f"{_TOKEN} ORDER BY name")
        return [_token(row) for row in rows]

    async def _one_token(self, query: str, *values: str) -> AccessToken | None:
        rows = await self._rows("reading a token", query, *values)
        return _token(rows[0]) if rows else None

    # Sessions

    async def put_session(self, session: LoginSession, audit: AuditEntry) -> None:
        def put(connection: sqlite3.Connection) -> None:
            moments = (encode_moment(session.created_at), encode_moment(session.expires_at))
            values = (session.session_id, session.digest, *moments, encode_session(session))
            with transaction(connection):
                connection.execute("INSERT INTO login_session VALUES (?, ?, ?, ?, ?)", values)
                append(connection, [audit])

        await self._write("keeping a session", put)

    async def find_session(self, digest: str) -> LoginSession | None:
        rows = await self._rows("reading a session", f"{_SESSION} WHERE digest = ?", digest)
        return _session(rows[0]) if rows else None

    async def list_sessions(self) -> Sequence[LoginSession]:
        rows = await self._rows("reading sessions", f"{_SESSION} ORDER BY created_at DESC, session_id")
        return [_session(row) for row in rows]

    async def end_sessions(self, session_ids: Sequence[str], audit: AuditEntry) -> int:
        def end(connection: sqlite3.Connection) -> int:
            statement = "DELETE FROM login_session WHERE session_id IN (SELECT value FROM json_each(?))"
            with transaction(connection):
                ended = connection.execute(statement, (encode_json(list(session_ids)),)).rowcount
                if ended:
                    append(connection, [audit])
                return ended

        return await self._write("ending sessions", end)

    # The log

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        def put(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                append(connection, entries)

        await self._write("writing the audit log", put)

    async def list_audit(self, wanted: AuditFilter, *, before: int | None, limit: int) -> Sequence[AuditRecord]:
        query = _LIST_AUDIT
        values: list[Any] = [_LARGEST_NUMBER if before is None else before]
        for column in ("actor", "verb", "target_type", "target", "outcome"):
            asked = getattr(wanted, column)
            if asked is not None:
                query += f" AND {column} = ?"
                values.append(storable(str(asked)))
        for condition, moment in (("at >= ?", wanted.since), ("at < ?", wanted.until)):
            if moment is not None:
                query += f" AND {condition}"
                values.append(encode_moment(moment))
        query += " ORDER BY number DESC LIMIT ?"
        rows = await self._rows("reading the audit log", query, *values, max(limit, 0))
        return [AuditRecord(row[0], audit_from(row[1:])) for row in rows]

    async def prune_access(self, *, sessions_before: datetime, audit_before: datetime | None) -> int:
        def prune(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                connection.execute("DELETE FROM login_session WHERE expires_at < ?", (encode_moment(sessions_before),))
                if audit_before is None:
                    return 0
                return connection.execute("DELETE FROM audit WHERE at < ?", (encode_moment(audit_before),)).rowcount

        return await self._write("pruning the audit log", prune)

    # Inside

    async def _rows(self, doing: str, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._read(doing, lambda connection: connection.execute(query, values).fetchall())


def _token(row: tuple[Any, ...]) -> AccessToken:
    name, version, digest, previous_digest, last_used_at, document = row
    return decode_token(
        name=name,
        version=version,
        digest=digest,
        previous_digest=previous_digest,
        last_used_at=last_used_at,
        document=document,
    )


def _session(row: tuple[Any, ...]) -> LoginSession:
    session_id, digest, expires_at, document = row
    return decode_session(session_id=session_id, digest=digest, expires_at=expires_at, document=document)
