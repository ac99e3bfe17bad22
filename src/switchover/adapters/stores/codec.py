"""
How stores write down values: compact JSON for what is structured, small numbers for what is counted out.

The numbers and keys here are in databases: only ever append to a table, and never give a number a second meaning.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, cast

import orjson

from switchover.domain.plan import HealthSettings, OnConflict, OnFailure, PlanRules, PlanStatus
from switchover.domain.task import (
    FailureInfo,
    NetworkEndpointSnapshot,
    Operation,
    TaskStatus,
    TenantDeployConfigSnapshot,
)
from switchover.domain.wire import config_from_dict

TASK_STATUSES: Final[tuple[TaskStatus, ...]] = (
    TaskStatus.CREATED,
    TaskStatus.VALIDATING,
    TaskStatus.VALIDATION_FAILED,
    TaskStatus.PENDING,
    TaskStatus.RUNNING,
    TaskStatus.PAUSED,
    TaskStatus.RESUMING,
    TaskStatus.COMPLETED,
    TaskStatus.FAILED,
    TaskStatus.CANCELLED,
    TaskStatus.ROLLING_BACK,
    TaskStatus.ROLLED_BACK,
    TaskStatus.ROLLBACK_FAILED,
)
"""By code - 1."""

PLAN_STATUSES: Final[tuple[PlanStatus, ...]] = (
    PlanStatus.CREATED,
    PlanStatus.VALIDATING,
    PlanStatus.READY,
    PlanStatus.RUNNING,
    PlanStatus.PAUSED,
    PlanStatus.COMPLETED,
    PlanStatus.PARTIAL_FAILED,
    PlanStatus.FAILED,
    PlanStatus.CANCELLED,
    PlanStatus.ROLLING_BACK,
    PlanStatus.ROLLED_BACK,
    PlanStatus.ROLLBACK_FAILED,
)
"""By code - 1."""

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation.PAUSE,
    Operation.RESUME,
    Operation.CANCEL,
    Operation.RETRY,
    Operation.ROLLBACK,
)
"""By code - 1."""

TASK_STATUS_CODES: Final[Mapping[str, int]] = {status: code for code, status in enumerate(TASK_STATUSES, start=1)}
PLAN_STATUS_CODES: Final[Mapping[str, int]] = {status: code for code, status in enumerate(PLAN_STATUSES, start=1)}
OPERATION_CODES: Final[Mapping[str, int]] = {verb: code for code, verb in enumerate(OPERATIONS, start=1)}


_TASK_STATUS_OF: Final[Mapping[int, TaskStatus]] = dict(enumerate(TASK_STATUSES, start=1))
_PLAN_STATUS_OF: Final[Mapping[int, PlanStatus]] = dict(enumerate(PLAN_STATUSES, start=1))
_OPERATION_OF: Final[Mapping[int, Operation]] = dict(enumerate(OPERATIONS, start=1))


def task_status(code: int) -> TaskStatus:
    """The status of this code; a code that none has is an error, also where an index would be none."""
    return _TASK_STATUS_OF[code]


def plan_status(code: int) -> PlanStatus:
    """The status of this code."""
    return _PLAN_STATUS_OF[code]


def operation(code: int | None) -> Operation | None:
    """The operation of this code; None for None."""
    return None if code is None else _OPERATION_OF[code]


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS_OF_A_SECOND: Final = 1_000_000
_SECONDS_OF_A_DAY: Final = 86_400


# --- JSON ----------------------------------------------------------------------------------------------------------


def encode_json(value: object) -> str:
    """
    Compact JSON text.

    What JSON cannot hold (half a character pair out of a foreign message, say) is written as text as well as it goes:
    a failure that cannot be recorded would be worse than one with a question mark in it.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        text = json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"))
        return storable(text)


def storable(text: str) -> str:
    """The text as a store can hold it: halves of character pairs, which come from foreign bytes, become ``?``."""
    return text.encode("utf-8", "replace").decode()


def decode_json(text: str | bytes) -> Any:  # noqa: ANN401  # JSON is whatever was written
    """What the text says."""
    return orjson.loads(text)


# --- moments -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def encode_moment(moment: datetime) -> int:
    """Microseconds since 1970, UTC; exact. Remembered: a start goes into every later row, a boundary into several."""
    since = moment - _EPOCH
    return (since.days * _SECONDS_OF_A_DAY + since.seconds) * _MICROSECONDS_OF_A_SECOND + since.microseconds


def decode_moment(microseconds: int) -> datetime:
    """The inverse of ``encode_moment``: aware, UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def encode_optional_moment(moment: datetime | None) -> int | None:
    """``encode_moment``, or None for None."""
    return None if moment is None else encode_moment(moment)


def decode_optional_moment(microseconds: int | None) -> datetime | None:
    """``decode_moment``, or None for None."""
    return None if microseconds is None else decode_moment(microseconds)


# --- configurations ------------------------------------------------------------------------------------------------


def encode_config(config: TenantDeployConfigSnapshot) -> str:
    """The wire shape without its nulls."""
    return encode_json(_config_dict(config))


def decode_config(text: str | bytes) -> TenantDeployConfigSnapshot:
    """The inverse of ``encode_config``."""
    return config_from_dict(decode_json(text))


def decode_optional_config(text: str | bytes | None) -> TenantDeployConfigSnapshot | None:
    """``decode_config``, or None for None."""
    return None if text is None else decode_config(text)


def _config_dict(config: TenantDeployConfigSnapshot) -> dict[str, object]:
    # Spelt out, because one is written for every task that completes: a loop over the fields takes three times as long.
    data: dict[str, object] = {
        "tenantId": config.tenant_id,
        "deployUnitId": config.deploy_unit_id,
        "deployUnitVersion": config.deploy_unit_version,
    }
    if config.deploy_unit_name is not None:
        data["deployUnitName"] = config.deploy_unit_name
    if config.network_endpoints:
        data["networkEndpoints"] = [_endpoint_dict(endpoint) for endpoint in config.network_endpoints]
    if config.nacos_name_space is not None:
        data["nacosNameSpace"] = config.nacos_name_space
    if config.default_flag is not None:
        data["defaultFlag"] = config.default_flag
    if config.called_number_rules is not None:
        data["calledNumberRules"] = config.called_number_rules
    if config.trunk_group is not None:
        data["trunkGroup"] = config.trunk_group
    if config.plan_id is not None:
        data["planId"] = config.plan_id
    if config.plan_version is not None:
        data["planVersion"] = config.plan_version
    if config.source_tenant_deploy_config is not None:
        data["sourceTenantDeployConfig"] = _config_dict(config.source_tenant_deploy_config)
    return data


def _endpoint_dict(endpoint: NetworkEndpointSnapshot) -> dict[str, str]:
    data: dict[str, str] = {}
    if endpoint.key is not None:
        data["key"] = endpoint.key
    if endpoint.value is not None:
        data["value"] = endpoint.value
    if endpoint.source_ip is not None:
        data["sourceIp"] = endpoint.source_ip
    if endpoint.source_domain is not None:
        data["sourceDomain"] = endpoint.source_domain
    if endpoint.target_ip is not None:
        data["targetIp"] = endpoint.target_ip
    if endpoint.target_domain is not None:
        data["targetDomain"] = endpoint.target_domain
    return data


# --- plans ---------------------------------------------------------------------------------------------------------


def encode_rules(rules: PlanRules) -> str:
    """JSON with every field; the health settings nested."""
    health = rules.health
    return encode_json(
        {
            "maxConcurrency": rules.max_concurrency,
            "onConflict": str(rules.on_conflict),
            "onFailure": str(rules.on_failure),
            "holdAfterRollback": rules.hold_after_rollback,
            "maxRetry": rules.max_retry,
            "health": {
                "intervalSeconds": health.interval_seconds,
                "attempts": health.attempts,
                "timeoutSeconds": health.timeout_seconds,
                "path": health.path,
                "versionKey": health.version_key,
                "expect": health.expect,
                "consecutive": health.consecutive,
            },
            "services": [dict(service) for service in rules.services],
        }
    )


def decode_rules(text: str | bytes) -> PlanRules:
    """The inverse of ``encode_rules``."""
    data = decode_json(text)
    health = data["health"]
    return PlanRules(
        max_concurrency=data["maxConcurrency"],
        on_conflict=OnConflict(data["onConflict"]),
        on_failure=OnFailure(data["onFailure"]),
        hold_after_rollback=data["holdAfterRollback"],
        max_retry=data["maxRetry"],
        health=HealthSettings(
            interval_seconds=health["intervalSeconds"],
            attempts=health["attempts"],
            timeout_seconds=health["timeoutSeconds"],
            path=health["path"],
            version_key=health["versionKey"],
            expect=health["expect"],
            consecutive=health["consecutive"],
        ),
        services=tuple(cast("list[Mapping[str, object]]", data["services"])),
    )


def encode_counts(counts: Mapping[TaskStatus, int]) -> str:
    """One number per status, by code, without the zeros at the end."""
    numbers = [counts.get(status, 0) for status in TASK_STATUSES]
    while numbers and not numbers[-1]:
        numbers.pop()
    return encode_json(numbers)


def decode_counts(text: str | bytes) -> dict[TaskStatus, int]:
    """The inverse of ``encode_counts``; statuses without a task are absent."""
    numbers = cast("list[int]", decode_json(text))
    return {status: number for status, number in zip(TASK_STATUSES, numbers, strict=False) if number}


# --- tasks ---------------------------------------------------------------------------------------------------------

_ZERO: Final = ord("0")


@lru_cache(maxsize=4096)
def encode_marks(marks: tuple[int, ...]) -> str:
    """One character per stage, from ``0`` on: printable, so that marks travel in JSON and in any text column."""
    return "".join([chr(_ZERO + mark) for mark in marks])


@lru_cache(maxsize=4096)
def decode_marks(text: str) -> tuple[int, ...]:
    """The inverse of ``encode_marks``. Equal marks are one object: a hundred thousand tasks have few different ones."""
    return tuple([ord(character) - _ZERO for character in text])


def encode_failure(failure: FailureInfo | None) -> str | None:
    """The wire shape; None for None."""
    return None if failure is None else encode_json(failure.to_dict())


def decode_failure(text: str | bytes | None) -> FailureInfo | None:
    """The inverse of ``encode_failure``."""
    return None if text is None else FailureInfo.from_dict(decode_json(text))
