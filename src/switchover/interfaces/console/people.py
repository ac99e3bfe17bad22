"""
The login of people: to their identity provider and back, by the authorization code flow with PKCE.

What a login began with (state, nonce, verifier, where to go on) is kept by the browser, in a cookie of a few minutes
that goes to the way back alone: any server of a group can end what another one began. A state is good once.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from switchover.access import People
from switchover.domain.access import Principal
from switchover.errors import AccessDeniedError, AuthenticationError, IdentityProviderError, TooManyAttemptsError
from switchover.interfaces.console.entrance import PROVIDER_PATH, Entrance
from switchover.interfaces.console.sessions import SessionDoor
from switchover.logs import get_log

_log = get_log("switchover.access")

_COOKIE: Final = "switchover_login"
_LAST_SECONDS: Final = 600
_MOST_USED: Final = 10_000
_LONGEST: Final = 2_000
_SHOWN: Final = 200
_AGAIN: Final = "This sign-in was not begun in this browser, is over, or took too long. Begin again."


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a login began with."""

    state: str
    nonce: str
    verifier: str
    onward: str

    def cookie(self) -> str:
        text = json.dumps([self.state, self.nonce, self.verifier, self.onward])
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def of_cookie(cls, value: str | None) -> "_Begun | None":
        try:
            found: object = json.loads(base64.urlsafe_b64decode(value or ""))
        except ValueError:
            return None
        match found:
            case [str() as state, str() as nonce, str() as verifier, str() as onward]:
                return cls(state, nonce, verifier, onward)
            case _:
                return None


class PeopleLogin:
    """
    Sends people to their provider, and lets them in when they come back.

    Args:
        door: Opens their sessions.
        public_url: How browsers reach the server; None: as each request says.
    """

    def __init__(self, door: SessionDoor, entrance: Entrance, people: People, public_url: str | None) -> None:
        self._door = door
        self._entrance = entrance
        self._people = people
        self._public_url = public_url
        self._used: OrderedDict[str, None] = OrderedDict()

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(include_in_schema=False)
        router.get(PROVIDER_PATH)(self.begin)
        router.get(f"{PROVIDER_PATH}/callback")(self.end)
        return router

    async def begin(self, request: Request, next: str = "") -> Response:  # noqa: A002  # as in the address
        """Off to the provider."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        begun = _Begun(state, nonce, verifier, self._entrance.own(next[:_LONGEST]))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).decode().rstrip("=")
        try:
            place = await self._people.provider.authorization_url(
                redirect_uri=self._way_back(request), state=begun.state, nonce=begun.nonce, challenge=challenge
            )
        except IdentityProviderError as error:
            return await self._refused(request, begun.onward, error.message, 503)
        answer = RedirectResponse(place, 303, headers={"Cache-Control": "no-store"})
        answer.set_cookie(
            _COOKIE,
            begun.cookie(),
            max_age=_LAST_SECONDS,
            path=f"{self._entrance.root}{PROVIDER_PATH}",
            secure=self._door.is_secure(request),
            httponly=True,
            samesite="lax",
        )
        return answer

    async def end(self, request: Request) -> Response:
        """Back from the provider."""
        begun = _Begun.of_cookie(request.cookies.get(_COOKIE))
        onward = self._entrance.own("" if begun is None else begun.onward)
        if begun is None or not self._is_first(begun, request.query_params.get("state", "")):
            return await self._refused(request, onward, _AGAIN, 400)
        try:
            principal, answer = await self._come_in(request, begun, onward)
        except TooManyAttemptsError as error:
            return await self._refused(request, onward, error.message, 429)
        except IdentityProviderError as error:
            return await self._refused(request, onward, error.message, 503)
        except AccessDeniedError as error:
            _log.warning("a login was refused", reason=error.message)
            return await self._refused(request, onward, error.message, 403)
        except AuthenticationError as error:
            return await self._refused(request, onward, f"The sign-in failed: {error.message}.", 401)
        _log.info("a login", name=principal.name)
        return self._forgotten(answer)

    async def _come_in(self, request: Request, begun: _Begun, onward: str) -> tuple[Principal, Response]:
        self._door.check_limit(request)
        try:
            claims = await self._claims(request, begun)
        except AuthenticationError as error:
            raise self._door.failure(request, error.message) from error
        person = self._people.of_claims(claims)
        # Whatever session the browser has belongs to somebody else, or to before: it ends, and a new one begins.
        await self._door.end_session(request)
        opened = await self._door.open_session(request, person.principal, onward, until=person.until)
        return person.principal, opened

    async def _claims(self, request: Request, begun: _Begun) -> Mapping[str, object]:
        query, provider = request.query_params, self._people.provider
        if query.get("iss", provider.issuer) != provider.issuer:
            raise AuthenticationError("the answer is of another issuer")
        code = query.get("code")
        if "error" in query or not code:
            told = ": ".join(query[name][:_SHOWN] for name in ("error", "error_description") if name in query)
            raise AuthenticationError(f"the identity provider says {told or 'nothing'}")
        return await provider.login_claims(
            code=code, verifier=begun.verifier, redirect_uri=self._way_back(request), nonce=begun.nonce
        )

    def _is_first(self, begun: _Begun, state: str) -> bool:
        """The answer to this login, and the first one."""
        if not hmac.compare_digest(begun.state.encode(), state.encode()) or begun.state in self._used:
            return False
        self._used[begun.state] = None
        while len(self._used) > _MOST_USED:
            self._used.popitem(last=False)
        return True

    def _way_back(self, request: Request) -> str:
        parts = urlsplit(self._public_url or str(request.base_url))
        return f"{parts.scheme}://{parts.netloc}{self._entrance.root}{PROVIDER_PATH}/callback"

    async def _refused(self, request: Request, onward: str, problem: str, status: int) -> Response:
        return self._forgotten(await self._entrance.login_page(request, onward, problem, status))

    def _forgotten(self, answer: Response) -> Response:
        answer.delete_cookie(_COOKIE, path=f"{self._entrance.root}{PROVIDER_PATH}")
        return answer
