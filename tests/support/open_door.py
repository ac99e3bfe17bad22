"""A door that lets everybody in, as who a test says."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from switchover.domain.access import EVERYONE, TenantSelector
from switchover.domain.audit import Actor
from switchover.interfaces.console.door import Visitor


@dataclass
class OpenDoor:
    """Who comes is ``name``, with these rights; with ``closed`` nobody comes in before ``sign_in`` with ``secret``."""

    name: str = "maria"
    operates: bool = True
    tenants: TenantSelector = EVERYONE
    csrf: str = "c5rf"
    closed: bool = False
    secret: str = "open sesame"

    async def visitor(self, request: Request) -> Visitor | None:
        if self.closed and request.cookies.get("inside") != "yes":
            return None
        return Visitor(
            name=self.name,
            scope="operator" if self.operates else "viewer",
            operates=self.operates,
            admin=False,
            leaves=True,
            csrf=self.csrf,
            actor=Actor(name=self.name, kind="token", origin="127.0.0.1", via="console"),
            tenants=self.tenants,
        )

    async def sign_in(self, request: Request, token: str, onward: str) -> Response | str:
        if token != self.secret:
            return "This token is not known, or no longer valid."
        answer = RedirectResponse(onward, 303)
        answer.set_cookie("inside", "yes", path="/")
        return answer

    async def sign_out(self, request: Request, onward: str) -> Response:
        answer = RedirectResponse(onward, 303)
        answer.delete_cookie("inside", path="/")
        return answer

    def admits(self, request: Request, visitor: Visitor, csrf: str) -> bool:
        return csrf == self.csrf
