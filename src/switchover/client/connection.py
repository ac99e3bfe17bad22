"""
Calls to a server: what may be sent again is, and whatever goes wrong has a name.

A call that never reached the server is sent again, whatever it is. One whose answer was lost is sent again only when
that is safe: reading is, and creating under an idempotency key. A redirect is not followed: the token is for the server
that was named.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import aiohttp
import orjson

from switchover.errors import ErrorCode, ServerError, StoreUnavailableError, UnreachableError

_WAITS: Final = (0.1, 0.3, 1.0)
"""Between attempts."""

_KEPT = 64
_AGAIN = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_LARGEST_LINE = 2**24

Parameters: TypeAlias = Mapping[str, str | int | list[str]]


class Connection:
    """
    One server.

    Args:
        url: Of the server, with or without a slash at its end.
        timeout_seconds: Of one call.
        reason: Why somebody asks; goes with every request.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        session: aiohttp.ClientSession,
        *,
        timeout_seconds: float,
        reason: str = "",
    ) -> None:
        self.url = url.rstrip("/")
        self.was_connected = False
        self._session = session
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        # A header has one line.
        self._why = {"X-Switchover-Reason": " ".join(reason.split())} if reason.strip() else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=timeout_seconds)
        self._seen: OrderedDict[str, tuple[str, Any]] = OrderedDict()

    async def get(self, path: str, parameters: Parameters | None = None) -> Any:  # noqa: ANN401  # JSON
        """
        Read; what has not changed since it was read last is not sent again.

        Raises:
            ServerError: The server refuses.
            UnreachableError: No server answers.
            StoreUnavailableError: It answers, and its store is away.
        """
        query = dict(parameters or {})
        key = f"{path}?{sorted(query.items())}"
        seen = self._seen.get(key)
        headers = {} if seen is None else {"If-None-Match": seen[0]}
        status, answered, data = await self._call("GET", path, query, headers=headers, safe=True)
        if status == HTTPStatus.NOT_MODIFIED and seen is not None:
            return seen[1]
        value = orjson.loads(data)
        if "ETag" in answered:
            self._seen[key] = (answered["ETag"], value)
            if len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
        return value

    async def post(
        self, path: str, body: object, *, headers: Mapping[str, str] | None = None, safe: bool = False
    ) -> Any:  # noqa: ANN401  # JSON
        """
        Ask for something.

        Args:
            safe: Asking twice is the same as asking once.

        Raises:
            ServerError, UnreachableError, StoreUnavailableError: As ``get``.
        """
        given = {"Content-Type": "application/json", **self._why, **(headers or {})}
        _, _, data = await self._call("POST", path, {}, headers=given, body=orjson.dumps(body), safe=safe)
        return orjson.loads(data)

    @asynccontextmanager
    async def stream(
        self, path: str, parameters: Parameters, headers: Mapping[str, str], *, idle_seconds: float
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """
        An answer that is read as it comes.

        Raises:
            ServerError, UnreachableError, StoreUnavailableError: As ``get``.
        """
        timeout = aiohttp.ClientTimeout(total=None, connect=self._timeout.total, sock_read=idle_seconds)
        try:
            async with self._session.get(
                self.url + path,
                params=dict(parameters),
                headers={**self._headers, **headers},
                timeout=timeout,
                max_line_size=_LARGEST_LINE,
                allow_redirects=False,
            ) as response:
                self.was_connected = True
                if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise self._refusal(response.status, await response.read())
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    async def _call(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        safe: bool,
    ) -> tuple[int, Mapping[str, str], bytes]:
        for wait in (*_WAITS, None):
            try:
                async with self._session.request(
                    method,
                    self.url + path,
                    params=dict(parameters),
                    headers={**self._headers, **headers},
                    data=body,
                    timeout=self._timeout,
                    allow_redirects=False,
                ) as response:
                    data = await response.read()
                    self.was_connected = True
                    if response.status in _AGAIN and safe and wait is not None:
                        await asyncio.sleep(wait)
                        continue
                    if response.status >= HTTPStatus.MULTIPLE_CHOICES and response.status != HTTPStatus.NOT_MODIFIED:
                        raise self._refusal(response.status, data)
                    return response.status, response.headers, data
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                never_sent = isinstance(error, aiohttp.ClientConnectorError)
                if wait is None or not (safe or never_sent):
                    raise self._unreachable(error) from error
                await asyncio.sleep(wait)
        raise AssertionError  # the last attempt returns or raises

    def _unreachable(self, error: Exception) -> UnreachableError:
        cause = str(error) or type(error).__name__
        after = "; what was recorded there goes on" if self.was_connected else ""
        return UnreachableError(
            f"no server answers at {self.url} ({cause}){after}. Check the address, and that `switchover serve` runs "
            "there",
            was_connected=self.was_connected,
        )

    def _refusal(self, status: int, data: bytes) -> ServerError | StoreUnavailableError:
        try:
            document: dict[str, Any] = orjson.loads(data)
            code = ErrorCode(document["code"])
            detail = str(document["detail"])
        except (ValueError, KeyError, TypeError):
            text = data[:200].decode("utf-8", "replace")
            message = f"{self.url} answered {status}, and not as a Switchover server does: {text}"
            return ServerError(message, status=status)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return StoreUnavailableError(detail, code=code)
        return ServerError(detail, code=code, status=status, document=document)
