"""
Plans and tasks in full, beyond what their status says: enough to make the aggregate again on the other side of a wire.

The command line shows the same of a plan whether it reads a store or asks a server, because it has the same value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, cast

from switchover.domain.plan import HealthSettings, OnConflict, OnFailure, PlanAggregate, PlanRules
from switchover.domain.task import PlanId, StageMark, TaskAggregate, TaskKey, TenantId, wire_timestamp
from switchover.domain.wire import camel_case
from switchover.dto.results import PlanStatusInfo, TaskStatusInfo, Timestamps
from switchover.redaction import without_credentials

_HEALTH = {field.name: camel_case(field.name) for field in fields(HealthSettings)}
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def plan_detail(plan: PlanAggregate) -> dict[str, object]:
    """What ``PlanStatusInfo`` does not say."""
    return {
        "name": plan.name,
        "labels": dict(plan.labels),
        "planVersion": plan.plan_version,
        "cancelled": plan.cancelled,
        "run": plan.run,
        "position": plan.position,
        "sequenceId": plan.sequence_id,
        "unsettled": plan.unsettled,
        "idle": plan.idle,
        "touched": plan.touched,
        "startedTasks": plan.started_tasks,
        "rules": rules_to_dict(plan.rules),
    }


def rules_to_dict(rules: PlanRules) -> dict[str, object]:
    """In the names of a plan file's ``spec``, every precedence applied."""
    return {
        "maxConcurrency": rules.max_concurrency,
        "onConflict": str(rules.on_conflict),
        "rollback": {"onFailure": str(rules.on_failure), "hold": rules.hold_after_rollback},
        "retry": {"max": rules.max_retry},
        "health": {wire_name: getattr(rules.health, name) for name, wire_name in _HEALTH.items()},
        "services": [_shown(service) for service in rules.services],
    }


def _shown(value: object) -> object:
    """A part of the catalogue as it may be shown: URLs without user, password and secrets in their query."""
    if isinstance(value, str):
        return without_credentials(value) if "://" in value else value
    if isinstance(value, Mapping):
        return {name: _shown(inner) for name, inner in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in cast("Sequence[object]", value)]
    return value


def plan_from_dict(data: Mapping[str, Any]) -> PlanAggregate:
    """The plan again, from its status with ``detail``; its ``version`` is the store's own business."""
    info, detail = PlanStatusInfo.from_dict(data), data["detail"]
    if info.plan_id is None or info.status is None:
        message = "a plan without id or status"
        raise ValueError(message)
    times = info.timestamps
    return PlanAggregate(
        plan_id=info.plan_id,
        status=info.status,
        rules=_rules(detail["rules"]),
        total=info.total,
        counts=info.counts,
        created_at=times.created or _EPOCH,
        updated_at=times.updated or _EPOCH,
        name=detail["name"],
        labels=detail["labels"],
        plan_version=detail["planVersion"],
        unsettled=detail["unsettled"],
        idle=detail["idle"],
        touched=detail["touched"],
        sequence_id=detail["sequenceId"],
        position=detail["position"],
        run=detail["run"],
        started_tasks=detail["startedTasks"],
        pending_operation=info.pending_operation,
        cancelled=detail["cancelled"],
        started_at=times.started,
        ended_at=times.ended,
        failure_info=info.failure_info,
    )


def _rules(data: Mapping[str, Any]) -> PlanRules:
    return PlanRules(
        max_concurrency=data["maxConcurrency"],
        on_conflict=OnConflict(data["onConflict"]),
        on_failure=OnFailure(data["rollback"]["onFailure"]),
        hold_after_rollback=data["rollback"]["hold"],
        max_retry=data["retry"]["max"],
        health=HealthSettings(**{name: data["health"][wire_name] for name, wire_name in _HEALTH.items()}),
        services=tuple(data["services"]),
    )


def task_detail(task: TaskAggregate) -> dict[str, object]:
    """What ``TaskStatusInfo`` does not say."""
    return {
        "lockHeld": task.lock_held,
        "held": task.held,
        "lineHeld": task.line_held,
        "ownRequest": task.own_request,
        "retrying": task.retrying,
        "previousKnown": task.previous_known,
        "pendingFromCheckpoint": task.pending_from_checkpoint,
        "notBefore": None if task.not_before is None else wire_timestamp(task.not_before),
        "sequenceId": task.sequence_id,
        "arrival": task.arrival,
        "startedOrder": task.started_order,
        "stages": [
            {"name": name, "marks": [str(flag.name) for flag in StageMark if flag and flag in StageMark(mark)]}
            for name, mark in zip(task.stage_names, task.marks, strict=True)
        ],
    }


def task_from_dict(data: Mapping[str, Any]) -> TaskAggregate:
    """The task again, from its status with ``detail``; its ``version`` is the store's own business."""
    info, detail = TaskStatusInfo.from_dict(data), data["detail"]
    key = TaskKey.parse(str(info.task_id))
    if key is None or info.tenant_id is None or info.status is None:
        message = "a task without id, tenant or status"
        raise ValueError(message)
    times: Timestamps = info.timestamps
    return TaskAggregate(
        key=TaskKey(PlanId(key.plan_id), key.ordinal),
        tenant_id=TenantId(info.tenant_id),
        status=info.status,
        stage_names=tuple(stage["name"] for stage in detail["stages"]),
        marks=tuple(sum(StageMark[name] for name in stage["marks"]) for stage in detail["stages"]),
        created_at=times.created or _EPOCH,
        updated_at=times.updated or _EPOCH,
        sequence_id=detail["sequenceId"],
        generation=info.generation,
        retry_count=info.retry_count,
        pending_operation=info.pending_operation,
        pending_from_checkpoint=detail["pendingFromCheckpoint"],
        not_before=None if detail["notBefore"] is None else datetime.fromisoformat(detail["notBefore"]),
        held=detail["held"],
        lock_held=detail["lockHeld"],
        line_held=detail["lineHeld"],
        own_request=detail["ownRequest"],
        retrying=detail["retrying"],
        previous_known=detail["previousKnown"],
        arrival=detail["arrival"],
        started_order=detail["startedOrder"],
        started_at=times.started,
        ended_at=times.ended,
        failure_info=info.failure_info,
    )
