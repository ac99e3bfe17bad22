"""
What OpenAPI says of refusals: the problem documents that a call may end with, declared in one place for every route.

FastAPI declares a 422 of its own shape for parameters, which here are a 400; that goes.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from switchover.errors import ErrorCode
from switchover.interfaces.rest.answers import PROBLEM

_EXAMPLES: Final[Mapping[HTTPStatus, tuple[ErrorCode, str]]] = {
    HTTPStatus.BAD_REQUEST: (ErrorCode.UNKNOWN_PARAMETER, "unknown query parameter 'verbose'; there is none here"),
    HTTPStatus.UNAUTHORIZED: (ErrorCode.UNAUTHENTICATED, "this call needs a token, as Authorization: Bearer TOKEN"),
    HTTPStatus.FORBIDDEN: (ErrorCode.SCOPE_MISSING, "ci lacks the scope operator, which this call needs"),
    HTTPStatus.NOT_FOUND: (ErrorCode.UNKNOWN_PLAN, "no plan 7 is known; see `switchover get plans`"),
    HTTPStatus.CONFLICT: (ErrorCode.ILLEGAL_STATE, "100-1 is COMPLETED; pause does not apply"),
    HTTPStatus.GONE: (ErrorCode.EVENTS_PRUNED, "events behind 3 are no longer kept; read on behind 90"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (ErrorCode.PAYLOAD_TOO_LARGE, "the body is larger than 65,536 bytes"),
    HTTPStatus.UNPROCESSABLE_ENTITY: (ErrorCode.INVALID_PLAN, "nothing was created: the plan has no tenants"),
    HTTPStatus.TOO_MANY_REQUESTS: (ErrorCode.TOO_MANY_ATTEMPTS, "too many attempts; try again in 30 s"),
    HTTPStatus.SERVICE_UNAVAILABLE: (ErrorCode.STORE_UNAVAILABLE, "the store cannot be reached; ask again"),
}

_ANY_CALL: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_NEED_ACCESS_CONTROL: Final = ("/tokens", "/sessions", "/audit")
"""A server that lets everybody in answers none of them."""

_SCHEMA: Final = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:switchover:problem:"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
    "description": "RFC 9457; a refusal may have more members, under the names of the result.",
}
_REFERENCE: Final = {"$ref": "#/components/schemas/Problem"}
_REPLACED: Final = ("HTTPValidationError", "ValidationError")


def declare_problems(app: FastAPI, prefix: str) -> None:
    """Let the description of every route below ``prefix`` have the problems that it may end with."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = plain()
        if is_new:
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for name in _REPLACED:
                schemas.pop(name, None)
            schemas["Problem"] = _SCHEMA
            for path, calls in document["paths"].items():
                for method, call in calls.items():
                    call["responses"].pop("422", None)
                    if path.startswith(prefix):
                        call["responses"].update(_problems(path, method))
        return document

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's way to extend the description


def _problems(path: str, method: str) -> dict[str, object]:
    statuses: set[HTTPStatus] = set(_ANY_CALL)
    if "{" in path:
        statuses.add(HTTPStatus.NOT_FOUND)
    if path.endswith("/events"):
        statuses.add(HTTPStatus.GONE)
    if path.endswith(_NEED_ACCESS_CONTROL):
        statuses.add(HTTPStatus.CONFLICT)
    if method == "post":
        statuses |= {HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
    return {str(int(status)): _response(status) for status in sorted(statuses)}


def _response(status: HTTPStatus) -> dict[str, object]:
    code, detail = _EXAMPLES[status]
    example = {
        "type": f"urn:switchover:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "code": str(code),
        "detail": detail,
    }
    return {"description": status.phrase, "content": {PROBLEM: {"schema": _REFERENCE, "example": example}}}
