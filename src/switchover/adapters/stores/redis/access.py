"""Tokens, sessions and the audit log in the Redis of the store."""
# ruff: noqa: D102  # what these methods promise is documented where it is demanded: in the SPI

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from switchover.adapters.stores.access_codec import (
    audit_from,
    audit_values,
    decode_session,
    decode_token,
    encode_session,
    encode_token,
)
from switchover.adapters.stores.codec import decode_json, encode_json, encode_moment, storable
from switchover.adapters.stores.redis.server import Argument, Server
from switchover.domain.access import AccessToken, LoginSession
from switchover.domain.audit import AuditEntry, AuditFilter, AuditRecord
from switchover.spi import AccessStore

_PAGE: Final = 500
_NONE: Final = "-"


class RedisAccessStore(AccessStore):
    """
    As the SPI says.

    Args:
        opened: The server; raises unless the store is open.
    """

    def __init__(self, opened: Callable[[], Server]) -> None:
        self._opened = opened

    # Tokens

    async def put_token(self, token: AccessToken, audit: AuditEntry, *, first: bool = False) -> bool:
        values = (storable(token.name), _token_row(token), int(first))
        return bool(await self._change("keeping a token", "put_token", [audit], *values))

    async def replace_token(self, token: AccessToken, audit: AuditEntry) -> bool:
        values = (storable(token.name), token.version - 1, _token_row(token))
        return bool(await self._change("changing a token", "replace_token", [audit], *values))

    async def note_token_use(self, name: str, at: datetime) -> None:
        await self._change("noting the use of a token", "use_token", [], storable(name), encode_moment(at))

    async def find_token(self, digest: str) -> AccessToken | None:
        found = await self._opened().read("reading a token", "find_token", storable(digest))
        return _token(*found) if found else None

    async def load_token(self, name: str) -> AccessToken | None:
        return next((token for token in await self.list_tokens() if token.name == name), None)

    async def list_tokens(self) -> Sequence[AccessToken]:
        found = await self._opened().read("reading tokens", "list_tokens")
        tokens = [_token(*found[start : start + 3]) for start in range(0, len(found), 3)]
        return sorted(tokens, key=lambda token: token.name)

    # Sessions

    async def put_session(self, session: LoginSession, audit: AuditEntry) -> None:
        row = f"{session.digest} {encode_moment(session.expires_at)} {encode_session(session)}"
        await self._change("keeping a session", "put_session", [audit], session.session_id, row)

    async def find_session(self, digest: str) -> LoginSession | None:
        found = await self._opened().read("reading a session", "find_session", storable(digest))
        return _session(*found) if found else None

    async def list_sessions(self) -> Sequence[LoginSession]:
        server = self._opened()
        found = await server.command("reading sessions", "HGETALL", f"{server.address.prefix}:sessions")
        sessions = [_session(*found[start : start + 2]) for start in range(0, len(found), 2)]
        sessions.sort(key=lambda session: session.session_id)
        return sorted(sessions, key=lambda session: session.created_at, reverse=True)

    async def end_sessions(self, session_ids: Sequence[str], audit: AuditEntry) -> int:
        names = [storable(name) for name in session_ids]
        return await self._change("ending sessions", "end_sessions", [audit], *names)

    # The log

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        if entries:
            await self._change("writing the audit log", "append", entries)

    async def list_audit(self, wanted: AuditFilter, *, before: int | None, limit: int) -> Sequence[AuditRecord]:
        found: list[AuditRecord] = []
        bound = "+" if before is None else f"({max(before, 0)}-0"
        while len(found) < limit:
            page = await self._page("XREVRANGE", bound, "-")
            found += [record for record in page if wanted.matches(record.entry)]
            if len(page) < _PAGE:
                break
            bound = f"({page[-1].number}-0"
        return found[: max(limit, 0)]

    async def prune_access(self, *, sessions_before: datetime, audit_before: datetime | None) -> int:
        await self._change("pruning sessions", "prune_sessions", [], encode_moment(sessions_before))
        if audit_before is None:
            return 0
        server = self._opened()
        pruned = 0
        bound = "-"
        while page := await self._page("XRANGE", bound, "+"):
            old = [f"{record.number}-0" for record in page if record.entry.at < audit_before]
            if old:
                pruned += int(await server.command("pruning the audit log", "XDEL", self._audit, *old))
            bound = f"({page[-1].number}-0"
        return pruned

    # Inside

    @property
    def _audit(self) -> str:
        return f"{self._opened().address.prefix}:audit"

    async def _page(self, command: str, start: str, end: str) -> Sequence[AuditRecord]:
        found = await self._opened().command("reading the audit log", command, self._audit, start, end, "COUNT", _PAGE)
        return [
            AuditRecord(int(number.split(b"-", 1)[0]), audit_from(decode_json(fields[1]))) for number, fields in found
        ]

    async def _change(self, doing: str, verb: str, entries: Sequence[AuditEntry], *values: Argument) -> int:
        rows = [encode_json(audit_values(entry)) for entry in entries]
        return int(await self._opened().write(doing, "access", verb, len(rows), *rows, *values))


def _token_row(token: AccessToken) -> str:
    return f"{token.version} {token.digest} {token.previous_digest or _NONE} {encode_token(token)}"


def _token(name: bytes, row: bytes, last_used_at: bytes | None) -> AccessToken:
    version, digest, previous, document = row.split(b" ", 3)
    previous_digest = previous.decode()
    return decode_token(
        name=name.decode(),
        version=int(version),
        digest=digest.decode(),
        previous_digest=None if previous_digest == _NONE else previous_digest,
        last_used_at=None if last_used_at is None else int(last_used_at),
        document=document,
    )


def _session(session_id: bytes, row: bytes) -> LoginSession:
    digest, expires_at, document = row.split(b" ", 2)
    values: dict[str, Any] = {"session_id": session_id.decode(), "digest": digest.decode()}
    return decode_session(**values, expires_at=int(expires_at), document=document)
