"""What every answer says to browsers, whatever it is: the API, the console, an error."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGES_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No script and no style but our own files, and nobody may put the console into a frame."""

DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
"""Answers that are no pages load nothing at all."""

_A_YEAR: Final = 31_536_000


class SecurityHeaders:
    """Adds them, where an answer does not bring its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                is_page = headers.get("content-type", "").startswith("text/html")
                headers.setdefault("Content-Security-Policy", PAGES_POLICY if is_page else DATA_POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                # Not no-referrer: with it browsers leave out the origin of a form, by which its sender is known.
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("X-Frame-Options", "DENY")
                headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", f"max-age={_A_YEAR}")
            await send(message)

        await self._app(scope, receive, answer)
