"""Tokens, sessions and the audit log of the reference store."""
# ruff: noqa: D102  # what these methods promise is documented where it is demanded: in the SPI

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from switchover.domain.access import AccessToken, LoginSession
from switchover.domain.audit import AuditEntry, AuditFilter, AuditRecord
from switchover.spi import AccessStore


@dataclass(slots=True, eq=False)
class AccessData:
    """What is kept; ``audit`` is in the order of its numbers."""

    tokens: dict[str, AccessToken] = field(default_factory=dict[str, AccessToken])
    sessions: dict[str, LoginSession] = field(default_factory=dict[str, LoginSession])
    audit: list[AuditRecord] = field(default_factory=list[AuditRecord])
    last_number: int = 0

    def append(self, entry: AuditEntry) -> Callable[[], object]:
        """Put an entry into the log; gives what takes it out again, before another one is put in."""
        self.last_number += 1
        self.audit.append(AuditRecord(self.last_number, entry))

        def take_back() -> None:
            self.audit.pop()
            self.last_number -= 1

        return take_back


class MemoryAccessStore(AccessStore):
    """
    As the SPI says.

    Args:
        check_open: Raises unless the store is open.
    """

    def __init__(self, data: AccessData, check_open: Callable[[], None]) -> None:
        self._data = data
        self._check_open = check_open

    async def put_token(self, token: AccessToken, audit: AuditEntry, *, first: bool = False) -> bool:
        self._check_open()
        tokens = self._data.tokens
        if token.name in tokens or (first and tokens):
            return False
        tokens[token.name] = replace(token, last_used_at=None)
        self._data.append(audit)
        return True

    async def replace_token(self, token: AccessToken, audit: AuditEntry) -> bool:
        self._check_open()
        kept = self._data.tokens.get(token.name)
        if kept is None or kept.version != token.version - 1:
            return False
        self._data.tokens[token.name] = replace(token, last_used_at=kept.last_used_at)
        self._data.append(audit)
        return True

    async def note_token_use(self, name: str, at: datetime) -> None:
        self._check_open()
        kept = self._data.tokens.get(name)
        if kept is not None and (kept.last_used_at is None or kept.last_used_at < at):
            self._data.tokens[name] = replace(kept, last_used_at=at)

    async def find_token(self, digest: str) -> AccessToken | None:
        self._check_open()
        found = (t for t in self._data.tokens.values() if digest in {t.digest, t.previous_digest})
        return next(found, None)

    async def load_token(self, name: str) -> AccessToken | None:
        self._check_open()
        return self._data.tokens.get(name)

    async def list_tokens(self) -> Sequence[AccessToken]:
        self._check_open()
        return [self._data.tokens[name] for name in sorted(self._data.tokens)]

    async def put_session(self, session: LoginSession, audit: AuditEntry) -> None:
        self._check_open()
        self._data.sessions[session.session_id] = session
        self._data.append(audit)

    async def find_session(self, digest: str) -> LoginSession | None:
        self._check_open()
        return next((s for s in self._data.sessions.values() if s.digest == digest), None)

    async def list_sessions(self) -> Sequence[LoginSession]:
        self._check_open()
        by_id = sorted(self._data.sessions.values(), key=lambda session: session.session_id)
        return sorted(by_id, key=lambda session: session.created_at, reverse=True)

    async def end_sessions(self, session_ids: Sequence[str], audit: AuditEntry) -> int:
        self._check_open()
        ended = [i for i in set(session_ids) if self._data.sessions.pop(i, None) is not None]
        if ended:
            self._data.append(audit)
        return len(ended)

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        self._check_open()
        for entry in entries:
            self._data.append(entry)

    async def list_audit(self, wanted: AuditFilter, *, before: int | None, limit: int) -> Sequence[AuditRecord]:
        self._check_open()
        found = (
            record
            for record in reversed(self._data.audit)
            if (before is None or record.number < before) and wanted.matches(record.entry)
        )
        return [record for _, record in zip(range(max(limit, 0)), found, strict=False)]

    async def prune_access(self, *, sessions_before: datetime, audit_before: datetime | None) -> int:
        self._check_open()
        data = self._data
        for session in [s for s in data.sessions.values() if s.expires_at < sessions_before]:
            del data.sessions[session.session_id]
        if audit_before is None:
            return 0
        kept = [record for record in data.audit if record.entry.at >= audit_before]
        pruned = len(data.audit) - len(kept)
        data.audit[:] = kept
        return pruned
