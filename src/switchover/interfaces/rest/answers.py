"""Answers as JSON: rendered once, with an ETag where a client polls."""

from collections.abc import Mapping
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import Request
from starlette.responses import Response

from switchover.redaction import redacted

JSON = "application/json"
PROBLEM = "application/problem+json"

_ETAG: Final = {"ETag": {"description": "Of this answer; to be sent as `If-None-Match`.", "schema": {"type": "string"}}}
POLLED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": _ETAG},
    304: {"description": "Nothing has changed since.", "headers": _ETAG},
}
"""What OpenAPI says beside of an answer by ``polled``."""


def rendered(value: object) -> bytes:
    """JSON text, without passwords in URLs: readers of plans are not given what opens the targets."""
    return redacted(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


def answer(value: object, status: HTTPStatus = HTTPStatus.OK, *, headers: Mapping[str, str] | None = None) -> Response:
    """JSON, not to be kept by anybody."""
    return Response(
        rendered(value), int(status), media_type=JSON, headers={"Cache-Control": "no-store", **(headers or {})}
    )


def polled(request: Request, value: object) -> Response:
    """JSON with an ETag: whoever has seen it is told that nothing changed, with 304."""
    body = rendered(value)
    etag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if _is_seen(etag, request.headers.get("if-none-match")):
        return Response(status_code=int(HTTPStatus.NOT_MODIFIED), headers=headers)
    return Response(body, media_type=JSON, headers=headers)


def _is_seen(etag: str, given: str | None) -> bool:
    if given is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return etag in tags or "*" in tags
