"""
Events: what happened, numbered, for ever.

One shape serves every type (behaviour, section 10): the types differ in their name and in ``data`` alone, so a class
per name would be forty classes without a member (ADR 0005). ``EventType`` is the registry; stores keep its ``code``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from switchover.domain.task import FailureInfo, PlanId, TaskId, TaskKey, wire_timestamp
from switchover.domain.values import quick


class SequenceType(StrEnum):
    """Which counter ``sequence_id`` belongs to."""

    PLAN = "PLAN"
    TASK = "TASK"


class EventType(StrEnum):
    """Every type, in the groups of behaviour, section 10."""

    PLAN_STARTED = "PlanStarted"
    PLAN_PAUSED = "PlanPaused"
    PLAN_RESUMED = "PlanResumed"
    PLAN_COMPLETED = "PlanCompleted"
    PLAN_FAILED = "PlanFailed"
    PLAN_CANCELLED = "PlanCancelled"
    PLAN_PROGRESS = "PlanProgress"
    PLAN_ROLLING_BACK = "PlanRollingBack"
    PLAN_ROLLED_BACK = "PlanRolledBack"
    PLAN_ROLLBACK_FAILED = "PlanRollbackFailed"
    TASK_CREATED = "TaskCreated"
    TASK_VALIDATED = "TaskValidated"
    TASK_STARTED = "TaskStarted"
    TASK_PAUSED = "TaskPaused"
    TASK_RESUMED = "TaskResumed"
    TASK_COMPLETED = "TaskCompleted"
    TASK_FAILED = "TaskFailed"
    TASK_CANCELLED = "TaskCancelled"
    TASK_STAGE_STARTED = "TaskStageStarted"
    TASK_STAGE_SUCCEEDED = "TaskStageSucceeded"
    TASK_STAGE_FAILED = "TaskStageFailed"
    TASK_RETRY_STARTED = "TaskRetryStarted"
    TASK_RETRY_COMPLETED = "TaskRetryCompleted"
    TASK_ROLLING_BACK = "TaskRollingBack"
    TASK_ROLLED_BACK = "TaskRolledBack"
    TASK_ROLLBACK_FAILED = "TaskRollbackFailed"
    TASK_STAGE_ROLLING_BACK = "TaskStageRollingBack"
    TASK_STAGE_ROLLED_BACK = "TaskStageRolledBack"
    TASK_STAGE_ROLLBACK_FAILED = "TaskStageRollbackFailed"
    TASK_HEARTBEAT = "TaskHeartbeat"

    @property
    def code(self) -> int:
        """A small stable number for stores. Order of definition, from 1: only ever append."""
        return EVENT_CODES[self]


EVENT_TYPES: tuple[EventType, ...] = tuple(EventType)
"""By code - 1."""

EVENT_CODES: Mapping[EventType, int] = {kind: number for number, kind in enumerate(EVENT_TYPES, start=1)}


NO_DATA: Mapping[str, object] = MappingProxyType({})
"""Of the many events that have nothing particular to say: one object for all, so that readers need not ask first."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    One numbered fact.

    Attributes:
        sequence_id: From 1, rising by exactly 1 per plan (plan events) or per task (task events).
        position: From 1, rising over all events of the plan, its tasks' included: the cursor of ``since``.
        status: Of the plan or task after the transition.
        completed: Stages (task events) or COMPLETED tasks (plan events), out of ``total``.
        data: What is particular to the type; JSON values.
    """

    type: EventType
    plan_id: PlanId
    key: TaskKey | None
    tenant_id: str | None
    sequence_id: int
    position: int
    timestamp: datetime
    status: str
    current_stage: str | None
    completed: int
    total: int
    failure_info: FailureInfo | None = None
    data: Mapping[str, object]

    @property
    def sequence_type(self) -> SequenceType:
        """TASK when the event is about one task."""
        return SequenceType.PLAN if self.key is None else SequenceType.TASK

    @property
    def task_id(self) -> TaskId | None:
        """The task that the event is about; None for plan events."""
        return None if self.key is None else self.key.task_id

    @property
    def event_id(self) -> str:
        """Unique over the store and the same at every delivery: the counter's owner and the number."""
        owner = f"plan-{self.plan_id}" if self.key is None else f"task-{self.key.task_id}"
        return f"{owner}-{self.sequence_id}"

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "eventId": self.event_id,
            "type": str(self.type),
            "planId": self.plan_id,
            "taskId": self.task_id,
            "tenantId": self.tenant_id,
            "sequenceType": str(self.sequence_type),
            "sequenceId": self.sequence_id,
            "position": self.position,
            "timestamp": wire_timestamp(self.timestamp),
            "status": str(self.status),
            "currentStage": self.current_stage,
            "completed": self.completed,
            "total": self.total,
            "failureInfo": None if self.failure_info is None else self.failure_info.to_dict(),
            "data": dict(self.data),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Event":
        """The inverse of ``to_dict``; raises KeyError or ValueError on anything else."""
        task_id, failure = data["taskId"], data["failureInfo"]
        return Event(
            type=EventType(data["type"]),
            plan_id=PlanId(data["planId"]),
            key=None if task_id is None else TaskKey.parse(task_id),
            tenant_id=data["tenantId"],
            sequence_id=data["sequenceId"],
            position=data["position"],
            timestamp=datetime.fromisoformat(data["timestamp"]),
            status=data["status"],
            current_stage=data["currentStage"],
            completed=data["completed"],
            total=data["total"],
            failure_info=None if failure is None else FailureInfo.from_dict(failure),
            data=data["data"],
        )
