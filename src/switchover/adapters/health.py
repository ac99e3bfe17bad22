"""HttpHealthCheckClient: one GET, one JSON object, nothing remembered."""

import json
from collections.abc import Mapping
from typing import cast

import aiohttp
from yarl import URL

from switchover.errors import ErrorCode, ErrorType, TargetError
from switchover.redaction import without_credentials

MAX_BODY_BYTES = 64 * 1024
"""Longer answers are no health answers."""

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Cache-Control": "no-cache, no-store",
    "Pragma": "no-cache",
}
# A connection to a name stays with the address that the name had; the next request must ask again.
_HEADERS_FOR_NAMES = {**_HEADERS, "Connection": "close"}
_SCHEMES = frozenset({"http", "https"})
_SHOWN = 200


class HttpHealthCheckClient:
    """
    Asks over one session with keep-alive.

    Args:
        session: What to send with; it judges addresses (``adapters.network.guarded_session``) and is closed by whoever
            made it.
        timeout_seconds: Limit of one request, body included. None: the caller limits it, as ``HealthCheckStep`` does.
        max_body_bytes: Longer bodies are unreadable.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout_seconds: float | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._limit = max_body_bytes

    async def get(self, url: str) -> Mapping[str, object]:
        """
        The JSON object that the URL answers now; redirects are not followed.

        Raises:
            TargetError: Not 2xx, not reachable, not allowed, not JSON, no object, or too long.
            TimeoutError: No complete answer in time.
        """
        try:
            parsed = _parsed(url)
            headers = _HEADERS if _is_address(parsed.raw_host) else _HEADERS_FOR_NAMES
            async with self._session.get(
                parsed, headers=headers, allow_redirects=False, timeout=self._timeout
            ) as response:
                body = await self._read(response)
                if not 200 <= response.status < 300:  # noqa: PLR2004  # the 2xx of HTTP
                    raise _status_error(response, body)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _network_error(url, error) from error
        return _parse(body)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = b""
        while chunk := await response.content.readany():
            body += chunk
            if len(body) > self._limit:
                response.close()  # whatever still comes is not wanted
                msg = f"answered {response.status} with more than {self._limit} bytes, which no health answer has"
                raise TargetError(msg, error_type=ErrorType.BUSINESS_ERROR)
        return body


def _parsed(url: str) -> URL:
    try:
        parsed = URL(url)
    except IndexError as error:  # how the library says that no host follows the credentials, as in http://[::]:@
        message = f"{without_credentials(url)} names no host"
        raise ValueError(message) from error
    if parsed.scheme not in _SCHEMES:
        message = f"{without_credentials(url)} is neither http nor https"
        raise ValueError(message)  # the library would speak HTTP to ws://, too
    return parsed


def _is_address(host: str | None) -> bool:
    return host is not None and (":" in host or host.replace(".", "").isdigit())


def _status_error(response: aiohttp.ClientResponse, body: bytes) -> TargetError:
    text = _shown(body)
    location = response.headers.get("Location")
    if location is not None:
        text = f"a redirect to {without_credentials(location)}, which is not followed"
    unavailable = response.status in {502, 503, 504}
    return TargetError(
        f"answered {response.status}: {text}" if text else f"answered {response.status}",
        error_type=ErrorType.SERVICE_UNAVAILABLE if unavailable else ErrorType.BUSINESS_ERROR,
    )


def _network_error(url: str, error: Exception) -> TargetError:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        text = f"the name could not be resolved: {error.os_error.strerror or error.os_error}"
    elif isinstance(error, aiohttp.ClientConnectorError):
        text = f"could not be connected to: {error.os_error.strerror or error.os_error}"
    elif isinstance(error, (aiohttp.InvalidURL, ValueError)):
        return TargetError(
            f"is no usable URL: {without_credentials(url)}",
            code=ErrorCode.INVALID_ENDPOINT,
            error_type=ErrorType.VALIDATION_ERROR,
            retryable=False,
        )
    elif isinstance(error, aiohttp.ClientResponseError):
        text = f"answered what is no HTTP: {_shown(error.message.encode())}"  # its str() would repeat the URL
    else:
        text = f"broke off: {_shown(str(error).encode()) or type(error).__name__}"
    return TargetError(text, code=ErrorCode.TARGET_UNAVAILABLE, error_type=ErrorType.NETWORK_ERROR)


def _parse(body: bytes) -> Mapping[str, object]:
    try:
        # Not orjson: it turns integers beyond 64 bits into floats, which would compare as another text.
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        msg = f"answered something that is no JSON: {_shown(body) or 'nothing'}"
        raise TargetError(msg) from error
    if not isinstance(found, dict):
        msg = f"answered JSON that is no object: {_shown(body)}"
        raise TargetError(msg)
    return cast("dict[str, object]", found)


def _shown(body: bytes) -> str:
    text = " ".join(body[:_SHOWN].decode("utf-8", "replace").split())
    return text if len(body) <= _SHOWN else f"{text}…"
