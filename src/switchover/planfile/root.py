"""The root of a plan file: everything above and around options and tenants."""

from collections.abc import Iterator, Mapping
from typing import cast

from switchover.domain.wire import camel_case
from switchover.errors import ErrorCode
from switchover.planfile.positions import Path
from switchover.stages.templates import nearest

API_VERSION = "switchover/v1"
KIND = "Plan"
TENANTS: Path = ("spec", "tenants")
ROOT_FIELDS = ("apiVersion", "kind", "metadata", "spec")

Problem = tuple[Path, ErrorCode, str]
"""Where, which code, and what to do."""


def problems_of(value: object) -> list[Problem]:
    """All that is wrong with the root of a plan file."""
    if not isinstance(value, dict):
        return [((), ErrorCode.INVALID_FIELD, "a plan is a mapping, or a list of TenantDeployConfig")]
    return list(_root_problems(cast("dict[str, object]", value)))


def _root_problems(root: Mapping[str, object]) -> Iterator[Problem]:
    if "tenantId" in root or "tenant_id" in root:
        message = "this is a single TenantDeployConfig; put it into a list, or under spec.tenants"
        yield (), ErrorCode.INVALID_FIELD, message
        return
    for key in root:
        wire_name = camel_case(key) if key == "api_version" else key
        if wire_name not in ROOT_FIELDS:
            known = key in SPEC_FIELDS
            hint = f"; {key} belongs under spec" if known else nearest(key[:64], ROOT_FIELDS)
            yield (key,), ErrorCode.UNKNOWN_FIELD, f"unknown field {key[:64]!r}{hint}"
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        given = either(root, key)
        if given is None:
            yield (key,), ErrorCode.MISSING_FIELD, f"{key} is missing; write `{key}: {expected}`"
        elif given != expected:
            yield (key,), ErrorCode.INVALID_FIELD, f"{key} must be {expected}, which is what this version reads"
    if "spec" not in root:
        yield ("spec",), ErrorCode.MISSING_FIELD, "spec is missing; it holds the options and the tenants"
        return
    spec = root["spec"]
    if spec is None:
        return
    if not isinstance(spec, dict):
        yield ("spec",), ErrorCode.INVALID_FIELD, "spec must be a mapping"
        return
    yield from _spec_problems(cast("dict[str, object]", spec))


SPEC_FIELDS = frozenset(
    {
        "planId",
        "planVersion",
        "maxConcurrency",
        "onConflict",
        "rollback",
        "retry",
        "health",
        "services",
        "tenants",
        "tenantsFrom",
    }
)


def _spec_problems(spec: Mapping[str, object]) -> Iterator[Problem]:
    tenants = spec.get("tenants")
    if tenants is not None and not isinstance(tenants, list):
        yield TENANTS, ErrorCode.INVALID_FIELD, "tenants must be a list of TenantDeployConfig"
    if "tenantsFrom" in spec and "tenants_from" in spec:
        yield ("spec", "tenants_from"), ErrorCode.INVALID_FIELD, "tenantsFrom is given twice; keep one of them"
    patterns = either(spec, "tenantsFrom")
    if patterns is None:
        return
    if not isinstance(patterns, list) or not all(
        isinstance(pattern, str) and pattern.strip() for pattern in cast("list[object]", patterns)
    ):
        yield ("spec", "tenantsFrom"), ErrorCode.INVALID_FIELD, "tenantsFrom must be a list of file patterns"


_SNAKE = {"apiVersion": "api_version", "tenantsFrom": "tenants_from"}


def either(mapping: Mapping[str, object], key: str) -> object:
    """The member under either spelling of its name."""
    return mapping.get(key, mapping.get(_SNAKE.get(key, key)))
