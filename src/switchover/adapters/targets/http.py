"""
HTTP targets: GET, PUT and DELETE ``base/key``, with the generation in the header ``Switchover-Generation``.

The server keeps the fence: it answers 409 or 412 to a generation that is lower than the one it holds, and says which
one it holds in the same header. Source: interfaces, section 2.
"""

from functools import lru_cache, partial
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
from yarl import URL

from switchover.errors import ErrorCode, ErrorType, StaleGenerationError, TargetError
from switchover.redaction import without_credentials
from switchover.spi import HeldValue

GENERATION_HEADER = "Switchover-Generation"
CHANNEL_HEADER = "Switchover-Channel"
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Longer values are not read."""

_NOT_FOUND = frozenset({404, 410})
_STALE = frozenset({409, 412})
_UNAVAILABLE = frozenset({429, 502, 503, 504})
_KEPT_TARGETS = 256
_MOST_DIGITS = 19
"""Of a generation: what is longer was not written by us."""
_SHOWN = 200
_KEPT_IN_KEYS = "-._~:@!$&'()*+,;="
_NOT_IN_PATHS = frozenset({"", ".", ".."})
"""Segments that mean something else than themselves."""


class _Answer(NamedTuple):
    status: int
    body: bytes
    generation: str | None
    location: str | None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004  # the 2xx of HTTP


class HttpTargets:
    """
    Everything behind ``http://`` and ``https://``.

    Args:
        session: Judges addresses (``adapters.network.guarded_session``); closed by whoever made it.
        timeout_seconds: Limit of one request, body included.
    """

    def __init__(
        self, session: aiohttp.ClientSession, *, timeout_seconds: float = 5.0, max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        make = partial(HttpTarget, session=session, timeout_seconds=timeout_seconds, max_body_bytes=max_body_bytes)
        self._target = lru_cache(maxsize=_KEPT_TARGETS)(make)

    def config_target(self, url: str) -> "HttpTarget":
        """One for all who ask for the same URL; connections belong to the session."""
        return self._target(url)

    def broadcast_target(self, url: str) -> "HttpTarget":
        """The same object serves both."""
        return self.config_target(url)

    async def aclose(self) -> None:
        """Nothing: the session is closed by whoever made it."""


class HttpTarget:
    """One base URL: a ``ConfigTarget`` and a ``BroadcastTarget``."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, *, timeout_seconds: float, max_body_bytes: int
    ) -> None:
        self._base = url
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._limit = max_body_bytes

    async def read(self, key: str, field: str | None) -> HeldValue:
        """GET; 404 is nothing there. The generation is the answer's header, 0 without one."""
        url = self._url(key, field)
        answer = await self._send("GET", url, {"Cache-Control": "no-cache"})
        generation = self._generation(answer, url)
        if answer.status in _NOT_FOUND:
            return HeldValue(value=None, generation=generation)
        self._demand_ok(answer, "GET", url)
        return HeldValue(value=answer.body, generation=generation)

    async def write(self, key: str, field: str | None, value: bytes, generation: int) -> None:
        """PUT; raises ``StaleGenerationError`` on 409 and 412."""
        url = self._url(key, field)
        headers = {GENERATION_HEADER: str(generation), "Content-Type": "application/json"}
        self._demand_ok(await self._send("PUT", url, headers, value), "PUT", url)

    async def remove(self, key: str, field: str | None, generation: int) -> None:
        """DELETE; 404 means that it is gone already."""
        url = self._url(key, field)
        answer = await self._send("DELETE", url, {GENERATION_HEADER: str(generation)})
        if answer.status not in _NOT_FOUND:
            self._demand_ok(answer, "DELETE", url)

    async def publish(self, channel: str | None, message: bytes) -> int | None:
        """POST to the URL; a channel travels as the header ``Switchover-Channel``."""
        headers = {"Content-Type": "application/json"}
        if channel is not None:
            headers[CHANNEL_HEADER] = quote(channel, safe=_KEPT_IN_KEYS + "/")
        url = _made(self._base)
        self._demand_ok(await self._send("POST", url, headers, message), "POST", url)
        return None

    def _url(self, key: str, field: str | None) -> URL:
        path = key if field is None else f"{key}/{field}"
        segments = path.split("/")
        if not _NOT_IN_PATHS.isdisjoint(segments):
            raise TargetError(
                f"{without_credentials(self._base)}: the key {path!r} cannot be part of a URL",
                code=ErrorCode.INVALID_FIELD,
                error_type=ErrorType.VALIDATION_ERROR,
                retryable=False,
            )
        before, after = _around_the_key(self._base)
        encoded = "/".join([quote(segment, safe=_KEPT_IN_KEYS) for segment in segments])
        return _made(f"{before}{encoded}{after}", encoded=True)  # as it stands: normalising could undo what was encoded

    async def _send(self, method: str, url: URL, headers: dict[str, str], body: bytes | None = None) -> _Answer:
        try:
            try:
                return await self._send_once(method, url, headers, body)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # A connection that was kept alive may be gone by now. aiohttp tries the other methods again by
                # itself; a broadcast that arrives twice is harmless, and one that is lost is not.
                if method != "POST" or isinstance(error, aiohttp.ClientConnectorError):
                    raise
                return await self._send_once(method, url, headers, body)
        except TargetError as error:  # an address outside the allow-list, or a body without an end
            raise TargetError(
                f"{method} {_shown(url)}: {error.message}",
                code=error.code,
                error_type=error.error_type,
                retryable=error.retryable,
            ) from error
        except TimeoutError as error:
            raise TargetError(
                f"{method} {_shown(url)}: no complete answer within {self._timeout_seconds:g} s",
                code=ErrorCode.TARGET_UNAVAILABLE,
                error_type=ErrorType.TIMEOUT_ERROR,
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TargetError(
                f"{method} {_shown(url)}: {_cause(error)}",
                code=ErrorCode.TARGET_UNAVAILABLE,
                error_type=ErrorType.NETWORK_ERROR,
            ) from error

    async def _send_once(self, method: str, url: URL, headers: dict[str, str], body: bytes | None) -> _Answer:
        async with self._session.request(
            method, url, headers=headers, data=body, allow_redirects=False, timeout=self._timeout
        ) as response:
            return _Answer(
                response.status,
                await self._read(response),
                response.headers.get(GENERATION_HEADER),
                response.headers.get("Location"),
            )

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := await response.content.readany():
            chunks.append(chunk)
            size += len(chunk)
            if size > self._limit:
                response.close()
                msg = f"answered more than {self._limit} bytes"
                raise TargetError(msg)
        return b"".join(chunks)

    def _generation(self, answer: _Answer, url: URL) -> int:
        text = answer.generation
        if text is None:
            return 0
        if not _is_generation(text):
            msg = f"{_shown(url)} answered the generation {text[:_SHOWN]!r}, which is no number"
            raise TargetError(msg)
        return int(text)

    def _demand_ok(self, answer: _Answer, method: str, url: URL) -> None:
        if answer.ok:
            return
        place = f"{method} {_shown(url)}"
        if answer.status in _STALE and method in {"PUT", "DELETE"}:
            text = answer.generation or ""
            held = int(text) if _is_generation(text) else None
            which = "a higher generation" if held is None else f"generation {held}"
            raise StaleGenerationError(f"{place}: the server holds {which} ({answer.status})", held_generation=held)
        if answer.location is not None:
            shown = f"a redirect to {without_credentials(answer.location)[:_SHOWN]}, which is not followed"
        else:
            shown = " ".join(answer.body[:_SHOWN].decode("utf-8", "replace").split())
        unavailable = answer.status in _UNAVAILABLE
        raise TargetError(
            f"{place}: answered {answer.status}: {shown}" if shown else f"{place}: answered {answer.status}",
            code=ErrorCode.TARGET_UNAVAILABLE if unavailable else ErrorCode.TARGET_ERROR,
            error_type=ErrorType.SERVICE_UNAVAILABLE if unavailable else ErrorType.BUSINESS_ERROR,
        )


def _shown(url: URL) -> str:
    return without_credentials(str(url))


@lru_cache(maxsize=_KEPT_TARGETS)
def _around_the_key(base: str) -> tuple[str, str]:
    """What stands before and after the key in the URLs of a target."""
    parts = urlsplit(base)
    before = urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/", "", ""))
    return before, f"?{parts.query}" if parts.query else ""


def _made(url: str, *, encoded: bool = False) -> URL:
    try:
        made = URL(url, encoded=encoded)
        made.host  # noqa: B018  # it is only looked at, and may be found wanting, when it is asked for
    except (ValueError, IndexError) as error:
        raise TargetError(
            f"{without_credentials(url)} is no usable URL: {_cause(error)}",
            code=ErrorCode.INVALID_FIELD,
            error_type=ErrorType.VALIDATION_ERROR,
            retryable=False,
        ) from error
    return made


def _is_generation(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _cause(error: Exception) -> str:
    text = str(error)
    if isinstance(error, aiohttp.ClientConnectorError):
        text = error.os_error.strerror or str(error.os_error)
    elif isinstance(error, aiohttp.ClientResponseError):
        text = f"answered what is no HTTP: {error.message}"  # its str() would repeat the URL
    return " ".join(text.split())[:_SHOWN] or type(error).__name__
