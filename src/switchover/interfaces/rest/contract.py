"""
What OpenAPI says of refusals: the problem documents that a call may end with, declared in one place for every route.

FastAPI declares a 422 of its own shape for parameters, which here are a 400; that goes.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, cast

from fastapi import FastAPI
from pydantic import BaseModel

from switchover.errors import ErrorCode
from switchover.interfaces.rest.answers import JSON, PROBLEM
from switchover.interfaces.rest.schemas import Problem
from switchover.planfile.schema import plan_schema

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

ANY_CALL: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_NEED_ACCESS_CONTROL: Final = ("/tokens", "/sessions", "/audit")
"""A server that lets everybody in answers none of them."""

_COMPONENTS: Final = "#/components/schemas/"
_PLAN_FILE: Final = "PlanFile"

_PLAN: Final = {"$ref": f"{_COMPONENTS}{_PLAN_FILE}"}


_PLAN_EXAMPLE: Final = {
    "apiVersion": "switchover/v1",
    "kind": "Plan",
    "metadata": {"name": "billing-green-w48"},
    "spec": {
        "maxConcurrency": 8,
        "services": [
            {
                "name": "gateway",
                "steps": [
                    {
                        "configUpdate": {
                            "target": "redis://127.0.0.1:6379/0",
                            "key": "tenant_config:{tenantId}",
                            "value": {"version": "{deployUnitVersion}"},
                        }
                    }
                ],
            }
        ],
        "tenants": [{"tenantId": "acme", "deployUnitId": 2, "deployUnitVersion": 42}],
    },
}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    content = {JSON: {"schema": schema, "example": _PLAN_EXAMPLE}}
    return {"requestBody": {"required": True, "content": content}}


PLAN_BODY: Final = _body(_PLAN)
"""A plan document, or a bare list of configs."""

PREVIEW_BODY: Final = _body({"anyOf": [_PLAN, {"type": "object"}, {"type": "array"}]})
"""Whatever is meant to be a plan: what is wrong with it is what the answer says."""

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
            schemas.update(_plan_schemas())
            schemas.update(_schemas_of(Problem))
            for path, calls in document["paths"].items():
                for method, call in calls.items():
                    call["responses"].pop("422", None)
                    if path.startswith(prefix):
                        call["responses"].update(_problems(path, method))
        return document

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's way to extend the description


def _plan_schemas() -> dict[str, Any]:
    """The shipped schema of plan files, which may name no other files here."""
    schema = plan_schema()
    definitions: dict[str, Any] = schema["$defs"]
    del definitions["PlanSpec"]["properties"]["tenantsFrom"]
    parts = {f"{_PLAN_FILE}.{name}": definition for name, definition in definitions.items()}
    whole = {"title": schema["title"], "anyOf": schema["anyOf"]}
    return cast("dict[str, Any]", _moved({**parts, _PLAN_FILE: whole}))


def _schemas_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(mode="serialization", ref_template=f"{_COMPONENTS}{{model}}")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _moved(value: object) -> object:
    """A part of the schema of plan files with references to where it is here."""
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {name: _moved(inner) for name, inner in items}
    if isinstance(value, list):
        return [_moved(inner) for inner in cast("list[object]", value)]
    return value.replace("#/$defs/", f"{_COMPONENTS}{_PLAN_FILE}.") if isinstance(value, str) else value


def _problems(path: str, method: str) -> dict[str, object]:
    statuses: set[HTTPStatus] = set(ANY_CALL)
    if "{" in path:
        statuses.add(HTTPStatus.NOT_FOUND)
    if path.endswith("/events"):
        statuses.add(HTTPStatus.GONE)
    if path.endswith(_NEED_ACCESS_CONTROL):
        statuses.add(HTTPStatus.CONFLICT)
    if method == "post":
        statuses |= {HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
    return {str(status): said for status, said in refusals(statuses).items()}


def refusals(statuses: Iterable[HTTPStatus]) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says about these problem documents (``responses`` of a route)."""
    return {int(status): _response(status) for status in sorted(statuses)}


def _response(status: HTTPStatus) -> dict[str, Any]:
    code, detail = _EXAMPLES[status]
    example = {
        "type": f"urn:switchover:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "code": str(code),
        "detail": detail,
    }
    return {"description": status.phrase, "content": {PROBLEM: {"schema": _REFERENCE, "example": example}}}
