"""
What the facade answers: frozen, JSON-ready, and readable back by the process that asked another one.

Source: interfaces, section 1, the DTO table.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from switchover.domain.plan import PlanAggregate, PlanStatus
from switchover.domain.task import (
    FailureInfo,
    Operation,
    PlanId,
    TargetType,
    TaskAggregate,
    TaskId,
    TaskStatus,
    TenantId,
    wire_timestamp,
)
from switchover.dto.differences import Difference
from switchover.dto.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamps:
    """When it was created, started first, ended (None while it has not) and last changed; all in UTC."""

    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    updated: datetime | None = None

    def to_dict(self) -> dict[str, str | None]:
        """The wire form: RFC 3339 with microseconds, or null."""
        return {
            "created": _optional_timestamp(self.created),
            "started": _optional_timestamp(self.started),
            "ended": _optional_timestamp(self.ended),
            "updated": _optional_timestamp(self.updated),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Timestamps":
        """The inverse of ``to_dict``."""
        return Timestamps(
            **{
                name: None if data[name] is None else datetime.fromisoformat(data[name])
                for name in ("created", "started", "ended", "updated")
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreationResult:
    """
    What became of a plan that was handed in: created as a whole, or refused as a whole.

    Attributes:
        task_ids: In the order of the configs; empty when refused.
        validated_count: How many configs were looked at.
        failure_info: Why it was refused: the code of the first error; None when it was created.
        findings: Everything that validation found, warnings included.
        difference: The first places where it differs from what its idempotency key was used for before.
    """

    plan_id: PlanId | None
    task_ids: list[TaskId]
    validated_count: int
    status: PlanStatus
    message: str
    failure_info: FailureInfo | None = None
    findings: tuple[Finding, ...] = ()
    difference: tuple[Difference, ...] = ()

    @property
    def success(self) -> bool:
        """The plan exists and its tasks are PENDING."""
        return self.failure_info is None

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "planId": self.plan_id,
            "taskIds": list(self.task_ids),
            "validatedCount": self.validated_count,
            "success": self.success,
            "status": str(self.status),
            "message": self.message,
            "failureInfo": _optional_failure(self.failure_info),
            "findings": [finding.to_dict() for finding in self.findings],
            "difference": [item.to_dict() for item in self.difference],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "TaskCreationResult":
        """The inverse of ``to_dict``."""
        return TaskCreationResult(
            plan_id=data["planId"],
            task_ids=list(data["taskIds"]),
            validated_count=data["validatedCount"],
            status=PlanStatus(data["status"]),
            message=data["message"],
            failure_info=_read_failure(data["failureInfo"]),
            findings=tuple(Finding.from_dict(item) for item in data["findings"]),
            difference=tuple(Difference.from_dict(item) for item in data.get("difference", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """What became of one task when a plan was asked for something; ``failure_info`` says why it was refused."""

    task_id: TaskId
    tenant_id: TenantId
    failure_info: FailureInfo | None = None

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "taskId": self.task_id,
            "tenantId": self.tenant_id,
            "failureInfo": _optional_failure(self.failure_info),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "TaskOutcome":
        """The inverse of ``to_dict``."""
        return TaskOutcome(
            task_id=data["taskId"], tenant_id=data["tenantId"], failure_info=_read_failure(data["failureInfo"])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOperationResult:
    """
    What became of a request: accepted and durable, or refused.

    Attributes:
        target_id: The plan's id, the task's id, or what was asked for when nobody knows it.
        final_status: At the moment of the answer: the request may still have to take effect. None when unknown; a plain
            word for a tenant (ON_HOLD, FREE, ADOPTED) and for the line (STOPPED, RUNNING).
        accepted, refused: Per task; for requests by plan only.
    """

    target_type: TargetType
    target_id: int | str
    success: bool
    final_status: TaskStatus | PlanStatus | str | None
    message: str
    failure_info: FailureInfo | None = None
    accepted: tuple[TaskOutcome, ...] = ()
    refused: tuple[TaskOutcome, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "targetType": str(self.target_type),
            "targetId": self.target_id,
            "success": self.success,
            "finalStatus": None if self.final_status is None else str(self.final_status),
            "message": self.message,
            "failureInfo": _optional_failure(self.failure_info),
            "accepted": [outcome.to_dict() for outcome in self.accepted],
            "refused": [outcome.to_dict() for outcome in self.refused],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "TaskOperationResult":
        """The inverse of ``to_dict``."""
        target_type = TargetType(data["targetType"])
        status = data["finalStatus"]
        final_status: TaskStatus | PlanStatus | str | None = status
        if status is not None and target_type is TargetType.PLAN:
            final_status = PlanStatus(status)
        elif status is not None and target_type is TargetType.TASK:
            final_status = TaskStatus(status)
        return TaskOperationResult(
            target_type=target_type,
            target_id=data["targetId"],
            success=data["success"],
            final_status=final_status,
            message=data["message"],
            failure_info=_read_failure(data["failureInfo"]),
            accepted=tuple(TaskOutcome.from_dict(item) for item in data["accepted"]),
            refused=tuple(TaskOutcome.from_dict(item) for item in data["refused"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatusInfo:
    """
    One task at one instant.

    Attributes:
        found: False for an id that nobody knows; then only that id and ``failure_info`` say anything.
        paused: PAUSED, or held before its first stage.
        progress_percent: ``100 * completed_stages // total_stages``.
    """

    task_id: TaskId | None = None
    plan_id: PlanId | None = None
    tenant_id: TenantId | None = None
    found: bool = True
    status: TaskStatus | None = None
    current_stage: str | None = None
    completed_stages: int = 0
    total_stages: int = 0
    progress_percent: int = 0
    paused: bool = False
    cancelled: bool = False
    retry_count: int = 0
    pending_operation: Operation | None = None
    failure_info: FailureInfo | None = None
    generation: int = 0
    timestamps: Timestamps = field(default_factory=Timestamps)

    @classmethod
    def of(cls, task: TaskAggregate) -> "TaskStatusInfo":
        """What is known about a task."""
        completed = task.completed_stages
        total = task.total_stages
        return cls(
            task_id=task.task_id,
            plan_id=task.plan_id,
            tenant_id=task.tenant_id,
            status=task.status,
            current_stage=task.current_stage,
            completed_stages=completed,
            total_stages=total,
            progress_percent=100 * completed // total if total else 0,
            paused=task.status is TaskStatus.PAUSED or task.held,
            cancelled=task.status is TaskStatus.CANCELLED,
            retry_count=task.retry_count,
            pending_operation=task.pending_operation,
            failure_info=task.failure_info,
            generation=task.generation,
            timestamps=Timestamps(
                created=task.created_at, started=task.started_at, ended=task.ended_at, updated=task.updated_at
            ),
        )

    @classmethod
    def unknown(
        cls, failure: FailureInfo, *, task_id: str | None = None, tenant_id: str | None = None
    ) -> "TaskStatusInfo":
        """The answer to an id that nobody knows."""
        return cls(
            task_id=None if task_id is None else TaskId(task_id),
            tenant_id=None if tenant_id is None else TenantId(tenant_id),
            found=False,
            failure_info=failure,
        )

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "taskId": self.task_id,
            "planId": self.plan_id,
            "tenantId": self.tenant_id,
            "found": self.found,
            "status": None if self.status is None else str(self.status),
            "currentStage": self.current_stage,
            "completedStages": self.completed_stages,
            "totalStages": self.total_stages,
            "progressPercent": self.progress_percent,
            "paused": self.paused,
            "cancelled": self.cancelled,
            "retryCount": self.retry_count,
            "pendingOperation": _optional_text(self.pending_operation),
            "failureInfo": _optional_failure(self.failure_info),
            "generation": self.generation,
            "timestamps": self.timestamps.to_dict(),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "TaskStatusInfo":
        """The inverse of ``to_dict``."""
        return TaskStatusInfo(
            task_id=data["taskId"],
            plan_id=data["planId"],
            tenant_id=data["tenantId"],
            found=data["found"],
            status=None if data["status"] is None else TaskStatus(data["status"]),
            current_stage=data["currentStage"],
            completed_stages=data["completedStages"],
            total_stages=data["totalStages"],
            progress_percent=data["progressPercent"],
            paused=data["paused"],
            cancelled=data["cancelled"],
            retry_count=data["retryCount"],
            pending_operation=_read_operation(data["pendingOperation"]),
            failure_info=_read_failure(data["failureInfo"]),
            generation=data["generation"],
            timestamps=Timestamps.from_dict(data["timestamps"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStatusInfo:
    """
    One plan at one instant.

    Attributes:
        found: False for an id that nobody knows; then only that id and ``failure_info`` say anything.
        counts: Of every status that some task has; answers 0 for the others.
    """

    plan_id: PlanId | None = None
    found: bool = True
    status: PlanStatus | None = None
    total: int = 0
    counts: Mapping[TaskStatus, int] = field(default_factory=Counter[TaskStatus])
    max_concurrency: int | None = None
    pending_operation: Operation | None = None
    failure_info: FailureInfo | None = None
    timestamps: Timestamps = field(default_factory=Timestamps)

    @classmethod
    def of(cls, plan: PlanAggregate) -> "PlanStatusInfo":
        """What is known about a plan."""
        return cls(
            plan_id=plan.plan_id,
            status=plan.status,
            total=plan.total,
            counts=Counter({status: plan.counts[status] for status in TaskStatus if plan.counts.get(status)}),
            max_concurrency=plan.rules.max_concurrency,
            pending_operation=plan.pending_operation,
            failure_info=plan.failure_info,
            timestamps=Timestamps(
                created=plan.created_at, started=plan.started_at, ended=plan.ended_at, updated=plan.updated_at
            ),
        )

    @classmethod
    def unknown(cls, failure: FailureInfo, *, plan_id: int | None = None) -> "PlanStatusInfo":
        """The answer to an id that nobody knows."""
        return cls(plan_id=None if plan_id is None else PlanId(plan_id), found=False, failure_info=failure)

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "planId": self.plan_id,
            "found": self.found,
            "status": None if self.status is None else str(self.status),
            "total": self.total,
            "counts": {str(status): count for status, count in self.counts.items()},
            "maxConcurrency": self.max_concurrency,
            "pendingOperation": _optional_text(self.pending_operation),
            "failureInfo": _optional_failure(self.failure_info),
            "timestamps": self.timestamps.to_dict(),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "PlanStatusInfo":
        """The inverse of ``to_dict``."""
        return PlanStatusInfo(
            plan_id=data["planId"],
            found=data["found"],
            status=None if data["status"] is None else PlanStatus(data["status"]),
            total=data["total"],
            counts=Counter({TaskStatus(status): count for status, count in data["counts"].items()}),
            max_concurrency=data["maxConcurrency"],
            pending_operation=_read_operation(data["pendingOperation"]),
            failure_info=_read_failure(data["failureInfo"]),
            timestamps=Timestamps.from_dict(data["timestamps"]),
        )


def _optional_timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else wire_timestamp(moment)


def _optional_failure(failure: FailureInfo | None) -> dict[str, object] | None:
    return None if failure is None else failure.to_dict()


def _optional_text(operation: Operation | None) -> str | None:
    return None if operation is None else str(operation)


def _read_failure(data: Mapping[str, object] | None) -> FailureInfo | None:
    return None if data is None else FailureInfo.from_dict(data)


def _read_operation(text: str | None) -> Operation | None:
    return None if text is None else Operation(text)
