"""What every page has in common: who looks, the frame around it, and the answer to those who may not."""

import json
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from switchover.bootstrap import Executor
from switchover.interfaces.console.door import Door, Visitor
from switchover.interfaces.console.rendering import Renderer

PROVIDER_PATH = "/login/oidc"
"""Below the root: where people go who come from an identity provider."""

_FLASH = "switchover_flash"
_FLASH_SECONDS = 60
_MOST_TEXT = 1_500


class SignInFirst(HTTPException):
    """Nobody is signed in; the handler sends the browser to the login page, and back afterwards."""

    def __init__(self, onward: str) -> None:
        super().__init__(401, "sign in first")
        self.onward = onward


class Entrance:
    """
    Lets people in, and frames what they see.

    Args:
        door: Who they are.
        root: The path under which the console is served.
        provider: What the identity provider is called that people may come from; empty: there is none.
    """

    def __init__(self, executor: Executor, door: Door, root: str, *, provider: str = "") -> None:
        self.door = door
        self.root = root
        self._provider = provider
        self._executor = executor
        self._renderer = Renderer(root)

    async def visitor(self, request: Request) -> Visitor:
        """
        Who looks.

        Raises:
            SignInFirst: Nobody is signed in.
        """
        visitor = await self.door.visitor(request)
        if visitor is None:
            query = f"?{request.url.query}" if request.url.query else ""
            raise SignInFirst(f"{request.url.path}{query}")
        return visitor

    async def page(
        self,
        request: Request,
        template: str,
        visitor: Visitor | None,
        values: Mapping[str, object],
        *,
        status: int = 200,
        section: str = "",
        feed: str = "",
        part: bool = False,
    ) -> Response:
        """
        A whole page.

        Args:
            feed: Where the page hears of changes, below the root; empty for a page that stays as it is.
            part: The page asks again for its parts: what was to be said once is not said here.
        """
        store = self._executor.store
        driver = None if visitor is None else await self._executor.driver()
        flash = None if part else request.cookies.get(_FLASH)
        frame: dict[str, object] = {
            "who": visitor,
            "section": section,
            "feed": f"{self.root}{feed}" if feed else "",
            "line": None if visitor is None else await store.load_line(),
            "driver_missing": visitor is not None
            and not self._executor.driving
            and (driver is None or not driver.alive),
            "unattended": 0 if visitor is None else await self._executor.unattended_runs(),
            "outage": None if visitor is None else self._executor.store_outage,
            "flash": None if flash is None else _flash(flash),
        }
        answer = self._renderer.page(template, {**frame, **values}, status)
        if flash is not None:
            answer.delete_cookie(_FLASH, path=self.root)
        return answer

    async def login_page(self, request: Request, onward: str, problem: str = "", status: int = 200) -> Response:
        """Where people sign in, with what was wrong when they tried."""
        way = f"{self.root}{PROVIDER_PATH}?{urlencode({'next': onward})}" if self._provider else ""
        values = {"next": onward, "problem": problem, "oidc": way, "oidc_name": self._provider}
        return await self.page(request, "login.html", None, values, status=status)

    def own(self, onward: str) -> str:
        """The same, if it is one of our pages: nobody is sent elsewhere by a link to our login."""
        is_ours = onward.startswith(f"{self.root}/") and "//" not in onward and "\\" not in onward
        return onward if is_ours and onward.isprintable() else f"{self.root}/plans"

    def fragment(self, template: str, **values: object) -> Response:
        """A part of a page."""
        return self._renderer.page(template, values)

    def say(self, to: str, text: str, *, good: bool) -> Response:
        """Send the browser to a page that says this once."""
        answer = RedirectResponse(to, 303)
        value = quote(json.dumps({"tone": "good" if good else "bad", "text": text[:_MOST_TEXT]}))
        answer.set_cookie(_FLASH, value, max_age=_FLASH_SECONDS, path=self.root, httponly=True, samesite="lax")
        return answer

    def nothing(self, text: str) -> HTTPException:
        """The answer to an id that nobody knows."""
        return HTTPException(404, text)

    async def problem(self, request: Request, status: int, text: str) -> Response:
        """A page that says what is wrong."""
        titles = {403: "Not allowed", 404: "Nothing there", 503: "The store is away"}
        visitor = await self.door.visitor(request)
        title = titles.get(status, "That did not work")
        return await self.page(request, "problem.html", visitor, {"title": title, "text": text}, status=status)


def _flash(value: str) -> dict[str, str] | None:
    try:
        data = json.loads(unquote(value))
        return {"tone": str(data["tone"]), "text": str(data["text"])}
    except (ValueError, KeyError, TypeError):
        return None
