"""Bodies of requests: read up to a limit, and models of what may be in them, which OpenAPI shows as they are."""

from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect

from switchover.domain.access import Scope
from switchover.domain.durations import DURATION_PATTERN, parse_duration
from switchover.domain.wire import camel_case
from switchover.errors import ErrorCode
from switchover.interfaces.rest.answers import JSON
from switchover.interfaces.rest.problems import ProblemError, malformed

SMALL_BYTES = 64 * 1024
"""What a request may carry that is no plan."""

LONGEST_REASON = 2_000
MOST_SECONDS = 100 * 366 * 24 * 3600


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


class Body(BaseModel):
    """A JSON object with no members but these; in either spelling, as configs are."""

    model_config = ConfigDict(
        alias_generator=camel_case,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        strict=True,
        frozen=True,
    )


Given = TypeVar("Given", bound=Body)

_DURATION: Final = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": MOST_SECONDS},
        {"type": "string", "pattern": DURATION_PATTERN},
    ]
}


def _seconds(value: object) -> object:
    return value if value is None else parse_duration(value)


Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=MOST_SECONDS), WithJsonSchema(_DURATION)]
"""``500ms``, ``3s``, ``10m``, ``4h``; a bare number is seconds."""

Words = Annotated[str, StringConstraints(max_length=LONGEST_REASON)]
Needed = Annotated[Words, StringConstraints(pattern=r"\S")]


class Reason(Body):
    """Why somebody asks."""

    reason: Words | None = Field(
        default=None, description="Why; it is in the audit log for whoever comes next.", examples=["CHG-4821"]
    )


class NeededReason(Body):
    """Why somebody asks for what nobody should find without a reason."""

    reason: Needed = Field(description="Why; whoever comes next reads it.", examples=["its database moves"])


class RetryRequest(Reason):
    """From where to run again."""

    from_checkpoint: bool = Field(
        default=True, description="true: go on after the last stage that is done; false: every stage again."
    )


class TokenRequest(Reason):
    """A token to be made."""

    name: str = Field(description="How the token is called; never used again.", examples=["ci"])
    scopes: list[Annotated[str, WithJsonSchema({"enum": [str(scope) for scope in Scope]})]] = Field(
        description="What it may do.", examples=[["operator"]]
    )
    tenants: list[str] = Field(
        default=["*"], description="Patterns of tenant ids that it may be used for.", examples=[["acme-*"]]
    )
    expires_in: Duration | None = Field(
        default=None, description="How long it is good, such as 720h; without: until it is revoked.", examples=["720h"]
    )


class PruneRequest(Reason):
    """Which events are to be forgotten."""

    older_than: Duration = Field(
        description="Those of plans that ended longer ago, such as 720h; 0: of all that have ended.", examples=["720h"]
    )


class RotationRequest(Reason):
    """A token's secret to be replaced."""

    grace: Duration = Field(
        default=3600.0, description="How long the old secret stays good; an hour by default.", examples=["10m"]
    )


def body_of(model: type[Body]) -> dict[str, Any]:
    """What OpenAPI says about a body of this shape (``openapi_extra`` of a route)."""
    schema = model.model_json_schema()
    examples = {name: field["examples"][0] for name, field in schema["properties"].items() if "examples" in field}
    return {
        "requestBody": {
            "required": bool(schema.get("required")),
            "content": {JSON: {"schema": schema, "example": examples}},
        }
    }


async def read_as(request: Request, model: type[Given]) -> Given:
    """
    The body as this; nothing at all is an empty object.

    Raises:
        ProblemError: 400 for anything else.
    """
    data = await read_body(request, SMALL_BYTES)
    try:
        value: object = orjson.loads(data) if data.strip() else {}
    except orjson.JSONDecodeError as error:
        raise malformed(ErrorCode.MALFORMED_REQUEST, f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise malformed(ErrorCode.MALFORMED_REQUEST, "the body must be a JSON object")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _problem(model, error.errors(include_url=False)[0]) from error


def _problem(model: type[Body], error: ErrorDetails) -> ProblemError:
    name = str(error["loc"][0])[:64]
    fields = {field.alias or known: field for known, field in model.model_fields.items()}
    match error["type"]:
        case "extra_forbidden":
            names = ", ".join(sorted(fields))
            return malformed(ErrorCode.UNKNOWN_FIELD, f"unknown field {name!r}; known are {names}", field=name)
        case "missing":
            code, wrong = ErrorCode.MISSING_FIELD, "is missing"
        case _:
            code, wrong = ErrorCode.INVALID_FIELD, error["msg"]
    place = ".".join(map(str, error["loc"]))[:256]
    return malformed(code, f"{place}: {wrong}. {fields[name].description}", field=place)
