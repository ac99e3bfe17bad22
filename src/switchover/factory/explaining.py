"""
What pydantic found, in the words and codes of the validation chain.

Values of strangers are shown shortened, and only those whose ``repr`` is known to be harmless.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from switchover.domain.wire import CONFIG_NAMES, ENDPOINT_NAMES, camel_case
from switchover.dto.options import HealthOptions, PlanMetadata, PlanOptions, RetryOptions, RollbackOptions
from switchover.errors import ErrorCode
from switchover.redaction import without_secrets
from switchover.stages.templates import nearest

_LONGEST_SHOWN = 60
_LONGEST_NAME = 64
_BITS_SHOWN = 128

ENDPOINTS = CONFIG_NAMES["network_endpoints"]
SOURCE = CONFIG_NAMES["source_tenant_deploy_config"]
REQUIRED = ("tenantId", "deployUnitId", "deployUnitVersion")
"""The fields that a config must have."""

NOT_YET = frozenset({"waves", "cells", "failurePolicy", "windows", "gates", "checks"})
"""Options of a plan that later versions bring; refused until then, so that nobody relies on them in vain."""

NOT_YET_OF_A_TENANT = frozenset({"tags", "cell"})

_CONFIG_FIELDS = tuple(CONFIG_NAMES.values())
_ENDPOINT_FIELDS = tuple(ENDPOINT_NAMES.values())
_OPTION_MODELS: Mapping[str, type[BaseModel]] = {
    "": PlanOptions,
    "health": HealthOptions,
    "retry": RetryOptions,
    "rollback": RollbackOptions,
}
_OPTION_FIELDS: Mapping[str, tuple[str, ...]] = {
    place: tuple(camel_case(name) for name in model.model_fields) for place, model in _OPTION_MODELS.items()
}
METADATA_FIELDS = tuple(PlanMetadata.model_fields)

_EXPECTED: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "dataclass_type": "a mapping",
}


def shown(value: object) -> str:
    """A value for a message: its kind, and what it is as far as that is short."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        value = without_secrets(value)  # first: half an address does not show that it has a password
        text = value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…"
        return f"the text {text!r}"
    if isinstance(value, int) and value.bit_length() > _BITS_SHOWN:
        return "a huge number"
    if isinstance(value, (int, float)):
        return f"the number {value!r}"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else f"a {type(value).__name__[:_LONGEST_SHOWN]}"


def path_text(path: Sequence[int | str]) -> str:
    """``("networkEndpoints", 0, "targetIp")`` -> ``networkEndpoints[0].targetIp``; names in camelCase."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{_name(part)}" if text else _name(part)
    return text


def printable(text: str) -> str:
    """Text of strangers without what a terminal would obey, or what cannot be encoded."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _name(part: str) -> str:
    name = printable(part[:_LONGEST_NAME])
    return camel_case(name) if "_" in name and camel_case(name) in _ALL_FIELDS else name


_ALL_FIELDS = frozenset(
    {
        *_CONFIG_FIELDS,
        *_ENDPOINT_FIELDS,
        *METADATA_FIELDS,
        *(name for names in _OPTION_FIELDS.values() for name in names),
    }
)


def config_problem(error: ErrorDetails) -> tuple[ErrorCode, str]:
    """Code and message for one error of a config."""
    path = error["loc"]
    name = path_text(path[-1:])
    in_source = SOURCE in (path_text(path[:1]), path_text(path[1:2])) and len(path) > 1
    if error["type"] == "missing" or (error["input"] is None and name in REQUIRED and len(path) <= 1 + in_source):
        if in_source:
            return ErrorCode.INVALID_SOURCE, f"{name} of the source is missing; give it, or leave the source out"
        return ErrorCode.MISSING_FIELD, f"{name} is missing"
    if error["type"] in {"extra_forbidden", "invalid_key"}:
        in_endpoint = len(path) > 2 and path_text(path[-3:-2]) == ENDPOINTS  # noqa: PLR2004
        return _unknown(path, _ENDPOINT_FIELDS if in_endpoint else _CONFIG_FIELDS)
    return ErrorCode.INVALID_FIELD, _message(error)


def option_problem(error: ErrorDetails) -> tuple[ErrorCode, str]:
    """Code and message for one error of a plan's options."""
    if error["type"] in {"extra_forbidden", "invalid_key"}:
        return _unknown(error["loc"], _OPTION_FIELDS.get(path_text(error["loc"][:-1]), _OPTION_FIELDS[""]))
    return ErrorCode.INVALID_FIELD, _message(error)


def metadata_problem(error: ErrorDetails) -> tuple[ErrorCode, str]:
    """Code and message for one error of a plan's metadata."""
    if error["type"] in {"extra_forbidden", "invalid_key"} and len(error["loc"]) == 1:
        return _unknown(error["loc"], METADATA_FIELDS)
    return ErrorCode.INVALID_FIELD, _message(error)


def _unknown(path: Sequence[int | str], known: tuple[str, ...]) -> tuple[ErrorCode, str]:
    name = str(path[-1])[:_LONGEST_NAME]
    if camel_case(name) in known or name in known:
        wire_name = camel_case(name)
        return ErrorCode.INVALID_FIELD, f"{wire_name} is given twice, also as {name}; keep one of them"
    if len(path) == 1 and ((name in NOT_YET and known is _OPTION_FIELDS[""]) or name in NOT_YET_OF_A_TENANT):
        return ErrorCode.UNKNOWN_FIELD, f"{name} is not supported by this version; take it out"
    return ErrorCode.UNKNOWN_FIELD, f"unknown field {name!r}{_nearest(name, known)}"


@lru_cache(maxsize=4096)
def _nearest(name: str, known: tuple[str, ...]) -> str:
    return nearest(name, known)


def _message(error: ErrorDetails) -> str:
    kind = error["type"]
    name = path_text(error["loc"][-1:])
    subject = name if not name.startswith("[") else path_text(error["loc"][-2:])
    expected = _EXPECTED.get(kind)
    if expected is not None:
        return f"{subject} must be {expected}, not {shown(error['input'])}"
    template = _MESSAGES.get(kind)
    if template is None:
        return f"{subject}: {error['msg'][:_LONGEST_MESSAGE]}"
    return f"{subject} {template.format(given=shown(error['input']), **error.get('ctx', {}))}"


_LONGEST_MESSAGE = 300

_MESSAGES: Mapping[str, str] = {
    "string_unicode": "is no valid Unicode text",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "must not be blank",
    "string_pattern_mismatch": "must not be blank",
    "literal_error": "must be {expected}, not {given}",
    "greater_than_equal": "must be at least {ge:g}, not {given}",
    "greater_than": "must be above {gt:g}, not {given}",
    "less_than_equal": "must be at most {le:.0f}, not {given}",
    "recursion_loop": "is nested too deeply, or contains itself",
    "recursion_depth_exceeded": "is nested too deeply, or contains itself",
    "value_error": "is wrong: {error}",
}
