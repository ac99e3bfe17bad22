"""
Plans, tasks and events as rows of a relational store, and back.

A row holds numbers, text and None, so that it may travel as JSON (SQLite puts pages of rows together as one text) as
well as in a driver's own types.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from switchover.adapters.stores.codec import (
    OPERATION_CODES,
    PLAN_STATUS_CODES,
    TASK_STATUS_CODES,
    decode_counts,
    decode_failure,
    decode_json,
    decode_marks,
    decode_moment,
    decode_optional_moment,
    decode_rules,
    encode_counts,
    encode_failure,
    encode_json,
    encode_marks,
    encode_moment,
    encode_optional_moment,
    encode_rules,
    operation,
    plan_status,
    task_status,
)
from switchover.domain.events import EVENT_CODES, EVENT_TYPES, NO_DATA, Event, EventType
from switchover.domain.plan import PlanAggregate
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TenantId
from switchover.spi import LiveTask

Row = tuple[Any, ...]

_NO_NAMES: Final[tuple[str, ...]] = ()

# --- tasks ---------------------------------------------------------------------------------------------------------

TASK_FIXED: Final = ("tenant_id", "arrival", "stage_list_id", "created_at")
"""Columns that never change."""

TASK_CHANGING: Final = (
    "version",
    "status",
    "marks",
    "updated_at",
    "sequence_id",
    "generation",
    "retry_count",
    "pending_operation",
    "flags",
    "started_order",
    "started_at",
    "ended_at",
    "failure",
    "not_before",
)
"""Columns that are written with every change."""

_FROM_CHECKPOINT: Final = 1
_HELD: Final = 2
_LINE_HELD: Final = 4
_OWN_REQUEST: Final = 8
_RETRYING: Final = 16
_PREVIOUS_KNOWN: Final = 32


def task_values(task: TaskAggregate) -> Row:
    """The values of ``TASK_CHANGING``."""
    flags = (
        task.pending_from_checkpoint * _FROM_CHECKPOINT
        + task.held * _HELD
        + task.line_held * _LINE_HELD
        + task.own_request * _OWN_REQUEST
        + task.retrying * _RETRYING
        + task.previous_known * _PREVIOUS_KNOWN
    )
    pending = task.pending_operation
    return (
        task.version,
        TASK_STATUS_CODES[task.status],
        encode_marks(task.marks),
        encode_moment(task.updated_at),
        task.sequence_id,
        task.generation,
        task.retry_count,
        None if pending is None else OPERATION_CODES[pending],
        flags,
        task.started_order,
        encode_optional_moment(task.started_at),
        encode_optional_moment(task.ended_at),
        encode_failure(task.failure_info),
        encode_optional_moment(task.not_before),
    )


def task_from(row: Sequence[Any], names: Mapping[int, tuple[str, ...]]) -> TaskAggregate:
    """From plan id, ordinal, ``TASK_FIXED``, ``TASK_CHANGING``, and whether it owns its tenant's lock."""
    (
        plan_id,
        ordinal,
        tenant_id,
        arrival,
        stage_list_id,
        created_at,
        version,
        status,
        marks,
        updated_at,
        sequence_id,
        generation,
        retry_count,
        pending,
        flags,
        started_order,
        started_at,
        ended_at,
        failure,
        not_before,
        owns,
    ) = row
    return TaskAggregate(
        key=TaskKey(PlanId(plan_id), ordinal),
        tenant_id=TenantId(sys.intern(tenant_id)),  # its configurations have the same one
        status=task_status(status),
        stage_names=names[stage_list_id],
        marks=decode_marks(marks),
        created_at=decode_moment(created_at),
        updated_at=decode_moment(updated_at),
        sequence_id=sequence_id,
        version=version,
        generation=generation,
        retry_count=retry_count,
        pending_operation=operation(pending),
        pending_from_checkpoint=bool(flags & _FROM_CHECKPOINT),
        not_before=decode_optional_moment(not_before),
        held=bool(flags & _HELD),
        lock_held=bool(owns),
        line_held=bool(flags & _LINE_HELD),
        own_request=bool(flags & _OWN_REQUEST),
        retrying=bool(flags & _RETRYING),
        previous_known=bool(flags & _PREVIOUS_KNOWN),
        arrival=arrival,
        started_order=started_order,
        started_at=decode_optional_moment(started_at),
        ended_at=decode_optional_moment(ended_at),
        failure_info=decode_failure(failure),
    )


def live_from(row: Sequence[Any]) -> LiveTask:
    """From ordinal, status, pending operation, flags, started order, and whether it owns its tenant's lock."""
    ordinal, status, pending, flags, started_order, owns = row
    return LiveTask(
        ordinal,
        task_status(status),
        operation(pending),
        bool(flags & _HELD),
        bool(flags & _LINE_HELD),
        bool(flags & _OWN_REQUEST),
        bool(owns),
        started_order,
    )


# --- plans ---------------------------------------------------------------------------------------------------------

PLAN_FIXED: Final = ("total", "created_at", "plan_version", "name", "labels", "rules")
"""Columns of ``plan_definition``, beside the id and the last arrival."""

PLAN_CHANGING: Final = (
    "version",
    "status",
    "counts",
    "unsettled",
    "idle",
    "touched",
    "sequence_id",
    "position",
    "run",
    "started_tasks",
    "pending_operation",
    "cancelled",
    "updated_at",
    "started_at",
    "ended_at",
    "failure",
)
"""Columns of ``plan``, beside the id."""


def plan_definition(plan: PlanAggregate) -> Row:
    """The values of ``PLAN_FIXED``."""
    return (
        plan.total,
        encode_moment(plan.created_at),
        plan.plan_version,
        plan.name,
        encode_json(dict(plan.labels)),
        encode_rules(plan.rules),
    )


def plan_values(plan: PlanAggregate) -> Row:
    """The values of ``PLAN_CHANGING``."""
    pending = plan.pending_operation
    return (
        plan.version,
        PLAN_STATUS_CODES[plan.status],
        encode_counts(plan.counts),
        plan.unsettled,
        plan.idle,
        plan.touched,
        plan.sequence_id,
        plan.position,
        plan.run,
        plan.started_tasks,
        None if pending is None else OPERATION_CODES[pending],
        int(plan.cancelled),
        encode_moment(plan.updated_at),
        encode_optional_moment(plan.started_at),
        encode_optional_moment(plan.ended_at),
        encode_failure(plan.failure_info),
    )


def plan_from(row: Sequence[Any]) -> PlanAggregate:
    """From plan id, ``PLAN_FIXED`` and ``PLAN_CHANGING``."""
    (
        plan_id,
        total,
        created_at,
        plan_version,
        name,
        labels,
        rules,
        version,
        status,
        counts,
        unsettled,
        idle,
        touched,
        sequence_id,
        position,
        run,
        started_tasks,
        pending,
        cancelled,
        updated_at,
        started_at,
        ended_at,
        failure,
    ) = row
    return PlanAggregate(
        plan_id=PlanId(plan_id),
        status=plan_status(status),
        rules=decode_rules(rules),
        total=total,
        counts=decode_counts(counts),
        created_at=decode_moment(created_at),
        updated_at=decode_moment(updated_at),
        name=name,
        labels=decode_json(labels),
        plan_version=plan_version,
        unsettled=unsettled,
        idle=idle,
        touched=touched,
        sequence_id=sequence_id,
        position=position,
        version=version,
        run=run,
        started_tasks=started_tasks,
        pending_operation=operation(pending),
        cancelled=bool(cancelled),
        started_at=decode_optional_moment(started_at),
        ended_at=decode_optional_moment(ended_at),
        failure_info=decode_failure(failure),
    )


# --- events --------------------------------------------------------------------------------------------------------

EVENT_COLUMNS: Final = (
    "plan_id",
    "position",
    "ordinal",
    "sequence_id",
    "type",
    "at",
    "status",
    "stage",
    "completed",
    "total",
    "failure",
    "data",
)


@lru_cache(maxsize=1024)
def _indexes(names: tuple[str, ...]) -> Mapping[str, int]:
    return {name: index for index, name in enumerate(names)}


def event_values(event: Event, names: tuple[str, ...] = _NO_NAMES) -> Row:
    """
    The values of ``EVENT_COLUMNS``.

    Args:
        names: Of the task's stages, where they are at hand: makes the row shorter, not different.
    """
    key = event.key
    indexes = _indexes(names)
    current = event.current_stage
    stage: int | str | None = None if current is None else indexes.get(current, current)
    data: int | str | None = None
    facts = event.data
    if facts:
        named = facts.get("stage") if len(facts) == 1 else None
        data = indexes.get(named) if isinstance(named, str) else None
        if data is None:
            data = encode_json(dict(facts))
    codes = PLAN_STATUS_CODES if key is None else TASK_STATUS_CODES
    failure = event.failure_info
    return (
        event.plan_id,
        event.position,
        0 if key is None else key.ordinal,
        event.sequence_id,
        EVENT_CODES[event.type],
        encode_moment(event.timestamp),
        codes.get(event.status, event.status),
        stage,
        event.completed,
        event.total,
        None if failure is None else encode_failure(failure),
        data,
    )


def _event_type(code: int) -> EventType:
    return EVENT_TYPES[code - 1]


def event_from(row: Sequence[Any], names: Mapping[int, tuple[str, ...]]) -> Event:
    """From ``EVENT_COLUMNS``, the tenant id and the stage list id of the task (None for events of the plan)."""
    (
        plan_id,
        position,
        ordinal,
        sequence_id,
        kind,
        moment,
        status,
        stage,
        completed,
        total,
        failure,
        data,
        tenant_id,
        stage_list_id,
    ) = row
    if isinstance(status, int):
        status = task_status(status) if ordinal else plan_status(status)
    if isinstance(stage, int):
        stage = names[stage_list_id][stage]
    if data is None:
        data = NO_DATA
    else:
        data = {"stage": names[stage_list_id][data]} if isinstance(data, int) else decode_json(data)
    return Event(
        type=_event_type(kind),
        plan_id=PlanId(plan_id),
        key=TaskKey(PlanId(plan_id), ordinal) if ordinal else None,
        tenant_id=tenant_id,
        sequence_id=sequence_id,
        position=position,
        timestamp=decode_moment(moment),
        status=status,
        current_stage=stage,
        completed=completed,
        total=total,
        failure_info=decode_failure(failure),
        data=data,
    )
