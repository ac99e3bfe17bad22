"""Who looks at the console, and how somebody comes in and leaves: what the pages need to know of access control."""

from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from switchover.domain.access import EVERYONE, TenantSelector
from switchover.domain.audit import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """
    Who looks.

    Attributes:
        scope: The widest one, as a word.
        operates: May ask for verbs.
        admin: May see the audit log.
        leaves: Came in with a session, so there is something to leave.
        csrf: What a form has to bring along.
        actor: As the audit log knows them.
        tenants: Those that are theirs.
    """

    name: str
    scope: str
    operates: bool
    admin: bool
    leaves: bool
    csrf: str
    actor: Actor
    tenants: TenantSelector = EVERYONE

    def sees(self, tenant_id: str) -> bool:
        """Whether a tenant is one of theirs."""
        return self.tenants.selects(tenant_id)

    @property
    def limited(self) -> bool:
        """Some tenants are not theirs."""
        return not self.tenants.is_everyone


class Door(Protocol):
    """Lets people in."""

    async def visitor(self, request: Request) -> Visitor | None:
        """Who it is; None for somebody who has to sign in first."""
        ...

    async def sign_in(self, request: Request, token: str, onward: str) -> Response | str:
        """Where somebody with this token goes; or why they may not come in."""
        ...

    async def sign_out(self, request: Request, onward: str) -> Response:
        """End the session."""
        ...

    def admits(self, request: Request, visitor: Visitor, csrf: str) -> bool:
        """Whether a form comes from one of our own pages."""
        ...
