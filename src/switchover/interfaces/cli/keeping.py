"""Who keeps tokens and the audit log: the store itself, or a server. Both give what is shown."""
# ruff: noqa: D102  # what the methods do is said where a server's client has them

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from switchover.interfaces.cli.place import Place

if TYPE_CHECKING:
    from switchover.access import IssuedToken
    from switchover.bootstrap import Executor
    from switchover.domain.audit import AuditFilter

_PAGE = 500


class Keeper(Protocol):
    """See ``switchover.client.access.RemoteAccess``."""

    async def create_token(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        tenants: Sequence[str] = ("*",),
        expires_in_seconds: float | None = None,
        reason: str = "",
    ) -> Mapping[str, Any]: ...
    async def list_tokens(self) -> Sequence[Mapping[str, Any]]: ...
    async def rotate_token(self, name: str, *, grace_seconds: float, reason: str = "") -> Mapping[str, Any]: ...
    async def revoke_token(self, name: str, *, reason: str = "") -> Mapping[str, Any]: ...
    def audit(self, wanted: "AuditFilter", limit: int | None) -> AsyncIterator[Mapping[str, Any]]: ...


@asynccontextmanager
async def keeper(place: Place, *, create: bool = False) -> AsyncGenerator[Keeper]:
    """Of the server, when one is named; else of the store."""
    served = place.served
    if served is not None:
        async with place.client(served) as client:
            yield client.access
        return
    async with place.open("read", create=create) as executor:
        yield _OwnAccess(executor)


@dataclass(frozen=True, slots=True)
class _OwnAccess:
    """Over the store itself, as whoever runs this process."""

    executor: "Executor"

    async def create_token(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        tenants: Sequence[str] = ("*",),
        expires_in_seconds: float | None = None,
        reason: str = "",
    ) -> Mapping[str, Any]:
        executor = self.executor
        issued = await executor.access_control().create_token(
            name,
            scopes,
            by=executor.facade.actor,
            tenants=tenants,
            expires_in_seconds=expires_in_seconds,
            reason=reason,
        )
        return _shown(issued)

    async def list_tokens(self) -> Sequence[Mapping[str, Any]]:
        from switchover.access.views import token_view

        return [token_view(token) for token in await self.executor.access_control().list_tokens()]

    async def rotate_token(self, name: str, *, grace_seconds: float, reason: str = "") -> Mapping[str, Any]:
        executor = self.executor
        by = executor.facade.actor
        return _shown(
            await executor.access_control().rotate_token(name, by=by, grace_seconds=grace_seconds, reason=reason)
        )

    async def revoke_token(self, name: str, *, reason: str = "") -> Mapping[str, Any]:
        from switchover.access.views import token_view

        executor = self.executor
        return token_view(await executor.access_control().revoke_token(name, by=executor.facade.actor, reason=reason))

    async def audit(self, wanted: "AuditFilter", limit: int | None) -> AsyncIterator[Mapping[str, Any]]:
        before: int | None = None
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            page = await self.executor.store.access.list_audit(wanted, before=before, limit=size)
            for record in page:
                yield record.to_dict()
            if len(page) < size:
                return
            before = page[-1].number
            left = None if left is None else left - len(page)


def _shown(issued: "IssuedToken") -> Mapping[str, Any]:
    from switchover.access.views import token_view

    return {**token_view(issued.token), "token": issued.secret}
