"""The HTTP API with access control, and a client for each kind of caller."""

from dataclasses import dataclass, field

import httpx2
from fastapi import FastAPI

from switchover.access import AccessControl
from switchover.domain.audit import EVERYTHING, AuditEntry
from tests.support.described import Described
from tests.support.harness import Rig


@dataclass
class Door:
    """A server with access control, and a client for each kind of caller."""

    rig: Rig
    app: FastAPI
    access: AccessControl
    client: httpx2.AsyncClient
    described: Described
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    async def token(self, name: str, *scopes: str, tenants: tuple[str, ...] = ("*",)) -> None:
        issued = await self.access.create_token(name, scopes, by=self.rig.facade.actor, tenants=tenants)
        self.tokens[name] = issued.secret

    async def ask(
        self, method: str, path: str, name: str | None = None, json: object = None, **headers: str
    ) -> httpx2.Response:
        if name is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(name, name)}"
        return await self.client.request(method, path, json=json, headers=headers)

    async def log(self) -> list[AuditEntry]:
        records = await self.rig.store.access.list_audit(EVERYTHING, before=None, limit=1_000)
        return [record.entry for record in reversed(records) if not record.entry.verb.startswith("token-create")]
