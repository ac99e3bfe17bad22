"""
The door of a real server: people sign in with a token, and a session cookie stands for it from then on.

A session may what its token may, for as long as that is good. A form counts only when it comes from one of our own
pages: it brings a value that is made from the cookie, and the browser says that it was sent from this server.
"""

import hmac
from datetime import datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from switchover.access import AccessControl
from switchover.access.control import actor_of
from switchover.access.credentials import csrf_token
from switchover.domain.access import Principal, Scope
from switchover.errors import AuthenticationError, TooManyAttemptsError
from switchover.interfaces.console.door import Visitor

_COOKIE = "switchover_session"
_WIDEST = (Scope.ADMIN, Scope.OPERATOR, Scope.APPROVER, Scope.VIEWER)


class SessionDoor:
    """
    Lets in who has a session.

    Args:
        access: Knows the tokens, and keeps the sessions.
        root: The path under which the console is served; the cookie goes nowhere else.
        public_url: How browsers reach the server; None: as each request says.
    """

    def __init__(self, access: AccessControl, root: str, public_url: str | None = None) -> None:
        self._access = access
        self._root = root
        self._public = urlsplit(public_url or "")

    async def visitor(self, request: Request) -> Visitor | None:
        """Who it is; None for somebody who has to sign in first."""
        cookie = request.cookies.get(_COOKIE)
        known = None if cookie is None else await self._access.session_of(cookie)
        if cookie is None or known is None:
            return None
        _, principal = known
        return Visitor(
            name=principal.name,
            scope=str(next(scope for scope in _WIDEST if principal.may(scope))),
            operates=principal.may(Scope.OPERATOR),
            admin=principal.may(Scope.ADMIN),
            leaves=True,
            csrf=csrf_token(cookie),
            actor=actor_of(principal, origin=_origin(request), via="console"),
            tenants=principal.tenants,
        )

    async def sign_in(self, request: Request, token: str, onward: str) -> Response | str:
        """Where somebody with this token goes; or why they may not come in."""
        origin = _origin(request)
        try:
            principal = await self._access.of_token(token.strip(), origin)
        except TooManyAttemptsError as error:
            return f"Too many sign-ins failed from this address. Try again in {error.retry_after_seconds} seconds."
        except AuthenticationError:
            return "This token is not known, or no longer valid."
        return await self.open_session(request, principal, onward, token_name=principal.name)

    async def open_session(
        self,
        request: Request,
        principal: Principal,
        onward: str,
        *,
        token_name: str | None = None,
        until: datetime | None = None,
    ) -> Response:
        """Let somebody in who has proved who they are, until this moment at the latest."""
        opened = await self._access.open_session(principal, origin=_origin(request), token_name=token_name, until=until)
        answer = RedirectResponse(onward, 303)
        answer.set_cookie(
            _COOKIE,
            opened.cookie,
            max_age=int((opened.session.expires_at - opened.session.created_at).total_seconds()),
            path=self._root,
            secure=self.is_secure(request),
            httponly=True,
            samesite="lax",
        )
        return answer

    async def sign_out(self, request: Request, onward: str) -> Response:
        """End the session, here and in the store."""
        await self.end_session(request)
        answer = RedirectResponse(onward, 303)
        answer.delete_cookie(_COOKIE, path=self._root)
        return answer

    async def end_session(self, request: Request) -> None:
        """End the session that the browser has, if it has one."""
        known = await self._access.session_of(request.cookies.get(_COOKIE, ""))
        if known is not None:
            session, principal = known
            by = actor_of(principal, origin=_origin(request), via="console")
            await self._access.end_sessions([session.session_id], by=by)

    def check_limit(self, request: Request) -> None:
        """Raise ``TooManyAttemptsError`` while too many logins have failed from there."""
        wait = self._access.limiter.retry_after(_origin(request))
        if wait:
            raise TooManyAttemptsError(retry_after_seconds=wait)

    def failure(self, request: Request, message: str) -> AuthenticationError:
        """Count a login that failed; gives what to raise."""
        return self._access.failure(_origin(request), message)

    def is_secure(self, request: Request) -> bool:
        """Whether cookies may go over HTTPS alone."""
        return (self._public.scheme or request.url.scheme) == "https"

    def admits(self, request: Request, visitor: Visitor, csrf: str) -> bool:
        """Whether a form comes from one of our own pages."""
        source = request.headers.get("origin")
        ours = {request.headers.get("host"), self._public.netloc or None}
        if source is not None and urlsplit(source).netloc not in ours:
            return False
        return hmac.compare_digest(csrf.encode(), visitor.csrf.encode())


def _origin(request: Request) -> str:
    return "" if request.client is None else request.client.host
