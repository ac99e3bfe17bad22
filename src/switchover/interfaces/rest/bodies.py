"""Bodies of requests: read up to a limit, and JSON objects without surprises."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from switchover.errors import ErrorCode
from switchover.interfaces.rest.problems import ProblemError, malformed

SMALL_BYTES = 64 * 1024
"""What a request may carry that is no plan."""

LONGEST_REASON = 2_000


async def read_body(request: Request, most_bytes: int) -> bytes:
    """
    The body, unless it is larger than this; then it is not read.

    Raises:
        ProblemError: 413 with the limit.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most_bytes:
        raise _too_large(most_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most_bytes:
                raise _too_large(most_bytes)
            parts.append(part)
    except ClientDisconnect as error:
        raise malformed(ErrorCode.MALFORMED_REQUEST, "the body ended early") from error
    return b"".join(parts)


def _too_large(most_bytes: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        ErrorCode.PAYLOAD_TOO_LARGE,
        f"the body is larger than {most_bytes:,} bytes; for plans the limit is the setting plan_file_max_bytes",
        members={"limit": most_bytes},
        headers={"Connection": "close"},
    )


async def read_object(request: Request, known: frozenset[str]) -> Mapping[str, object]:
    """
    The body as a JSON object with no members but these; nothing at all is an empty one.

    Raises:
        ProblemError: 400 for anything else.
    """
    data = await read_body(request, SMALL_BYTES)
    if not data.strip():
        return {}
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise malformed(ErrorCode.MALFORMED_REQUEST, f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise malformed(ErrorCode.MALFORMED_REQUEST, "the body must be a JSON object")
    given = cast("dict[str, object]", value)
    for name in given:
        if name not in known:
            names = ", ".join(sorted(known))
            raise malformed(ErrorCode.UNKNOWN_FIELD, f"unknown field {name[:64]!r}; known are {names}", field=name[:64])
    return given


def reason_of(given: Mapping[str, object], *, needed: bool) -> str:
    """
    Why somebody asks.

    Raises:
        ProblemError: It is no text, too long, or missing where it is needed.
    """
    reason = given.get("reason")
    if reason is None and not needed:
        return ""
    if not isinstance(reason, str) or (needed and not reason.strip()):
        message = "reason must be a text that says why; whoever comes next reads it"
        raise malformed(ErrorCode.MISSING_FIELD if reason is None else ErrorCode.INVALID_FIELD, message, field="reason")
    if len(reason) > LONGEST_REASON:
        message = f"reason has {len(reason):,} characters; {LONGEST_REASON:,} are the most"
        raise malformed(ErrorCode.INVALID_FIELD, message, field="reason")
    try:
        reason.encode()
    except UnicodeEncodeError as error:
        message = "reason contains a lone surrogate, which is no text"
        raise malformed(ErrorCode.INVALID_FIELD, message, field="reason") from error
    return reason
