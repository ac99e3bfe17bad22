"""Tokens and the audit log of a server, as they are shown. The caller's token needs the scope admin."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from switchover.client.connection import Connection
from switchover.client.facade import path_of
from switchover.domain.audit import AuditFilter

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class RemoteAccess:
    """What ``AccessControl`` and the log have for those who manage access."""

    connection: Connection

    async def create_token(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        tenants: Sequence[str] = ("*",),
        expires_in_seconds: float | None = None,
        reason: str = "",
    ) -> Mapping[str, Any]:
        """Make a token; what it is (``token``) is in this answer and in no other."""
        body = {
            "name": name,
            "scopes": list(scopes),
            "tenants": list(tenants),
            "expiresIn": expires_in_seconds,
            "reason": reason,
        }
        return await self._post(path_of("tokens"), body)

    async def list_tokens(self) -> Sequence[Mapping[str, Any]]:
        """All that ever were, without what they are."""
        found: Sequence[Mapping[str, Any]] = (await self.connection.get(path_of("tokens")))["items"]
        return found

    async def rotate_token(self, name: str, *, grace_seconds: float, reason: str = "") -> Mapping[str, Any]:
        """Give a token a new secret, which is in this answer and in no other."""
        return await self._post(path_of("tokens", name, "rotate"), {"grace": grace_seconds, "reason": reason})

    async def revoke_token(self, name: str, *, reason: str = "") -> Mapping[str, Any]:
        """Refuse a token from now on."""
        return await self._post(path_of("tokens", name, "revoke"), {"reason": reason})

    async def audit(self, wanted: AuditFilter, limit: int | None) -> AsyncIterator[Mapping[str, Any]]:
        """The log, the newest first; None: all of it."""
        query: dict[str, str | int | list[str]] = {
            name: str(value)
            for name, value in (
                ("actor", wanted.actor),
                ("verb", wanted.verb),
                ("targetType", wanted.target_type),
                ("target", wanted.target),
                ("outcome", wanted.outcome),
                ("since", None if wanted.since is None else wanted.since.isoformat()),
                ("until", None if wanted.until is None else wanted.until.isoformat()),
            )
            if value is not None
        }
        left = limit
        while left is None or left > 0:
            query["limit"] = _PAGE if left is None else min(left, _PAGE)
            page = await self.connection.get(path_of("audit"), query)
            for item in page["items"]:
                yield item
            if page["nextCursor"] is None:
                return
            query["cursor"] = page["nextCursor"]
            left = None if left is None else left - len(page["items"])

    async def _post(self, path: str, body: object) -> Mapping[str, Any]:
        done: Mapping[str, Any] = await self.connection.post(path, body)
        return done
