"""
The task: one tenant's switch inside a plan, as frozen values.

A change is a copy (``dataclasses.replace``), made by the actions of the state machine and by nobody else. What a task
knows about its stages is one flag word per stage (``StageMark``): which were ever started, which are complete in the
present run, which were skipped, and which a rollback has restored. Everything that queries and rollback need follows
from those words, so two records of one fact cannot drift apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import IntFlag, StrEnum
from functools import lru_cache
from typing import NamedTuple, NewType, cast

from switchover.domain.values import evolver, quick
from switchover.errors import ErrorCode, ErrorType
from switchover.redaction import without_secrets

PlanId = NewType("PlanId", int)
TenantId = NewType("TenantId", str)
TaskId = NewType("TaskId", str)

LARGEST_ID = 2**63 - 1
"""What a store can hold."""


def is_plan_id(value: object) -> bool:
    """Whether some plan may have this id, so that a store can be asked for it."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_ID


class TaskKey(NamedTuple):
    """The identity of a task: its plan and its place in the plan's order, from 1. Written as ``<planId>-<ordinal>``."""

    plan_id: PlanId
    ordinal: int

    @property
    def task_id(self) -> TaskId:
        """The id that users see."""
        return TaskId(f"{self.plan_id}-{self.ordinal}")

    @staticmethod
    def parse(task_id: str) -> "TaskKey | None":
        """Read a task id; None when it cannot be one (so that an unknown id is an answer, not an error)."""
        plan, dash, ordinal = task_id.partition("-")
        if not dash or not _is_id(plan) or not _is_id(ordinal):
            return None
        return TaskKey(PlanId(int(plan)), int(ordinal))


_MOST_DIGITS = 18


def _is_id(text: str) -> bool:
    # The length keeps the number inside 63 bits, which is what a store can hold.
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and (text == "0" or text[0] != "0")


class TaskStatus(StrEnum):
    """Where a task stands; which change is allowed is asked of ``state_machine``, not of the status."""

    CREATED = "CREATED"
    VALIDATING = "VALIDATING"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    RESUMING = "RESUMING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"

    @property
    def is_terminal(self) -> bool:
        """No way leads out."""
        return self in _TERMINAL

    @property
    def is_settled(self) -> bool:
        """Nothing runs, and no slot is held. With a pending operation the task is live all the same."""
        return self in _SETTLED

    @property
    def is_failure(self) -> bool:
        """Somebody should look at it."""
        return self in _FAILURES

    @property
    def holds_slot(self) -> bool:
        """Counts against the plan's maxConcurrency."""
        return self in _HOLDING_A_SLOT


_HOLDING_A_SLOT = frozenset({TaskStatus.RUNNING, TaskStatus.ROLLING_BACK})
_TERMINAL = frozenset({TaskStatus.VALIDATION_FAILED, TaskStatus.ROLLED_BACK})
_SETTLED = _TERMINAL | {
    TaskStatus.COMPLETED,
    TaskStatus.FAILED,
    TaskStatus.CANCELLED,
    TaskStatus.ROLLBACK_FAILED,
}
_FAILURES = frozenset({TaskStatus.VALIDATION_FAILED, TaskStatus.FAILED, TaskStatus.ROLLBACK_FAILED})


class Operation(StrEnum):
    """What an operator may ask of a task or a plan."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    ROLLBACK = "rollback"


class TargetType(StrEnum):
    """What a request is about."""

    PLAN = "PLAN"
    TASK = "TASK"
    TENANT = "TENANT"
    LINE = "LINE"


class StageMark(IntFlag):
    """What is known for ever about one stage of one task."""

    NONE = 0
    STARTED = 1  # in any run: what a rollback has to touch
    COMPLETED = 2  # in the present run: what a resume does not repeat
    SKIPPED = 4  # complete without having been started in this run
    RESTORED = 8  # the previous good config is confirmed again
    RESTORE_FAILED = 16  # the last rollback could not restore it
    CHECKPOINTED = 32  # what a retry from the checkpoint need not repeat


# What follows from the marks of a task is asked several times at every boundary, and a hundred thousand tasks have few
# different marks, so each answer is remembered.
_Marks = tuple[int, ...]
_DIFFERENT_MARKS = 4096


@lru_cache(maxsize=_DIFFERENT_MARKS)
def _completed_stages(marks: _Marks) -> int:
    return sum(1 for mark in marks if mark & 2 and not mark & 8)


@lru_cache(maxsize=_DIFFERENT_MARKS)
def _any_stage_started(marks: _Marks) -> bool:
    return any(mark & 1 for mark in marks)


@lru_cache(maxsize=_DIFFERENT_MARKS)
def _next_stage(marks: _Marks) -> int | None:
    return next((index for index, mark in enumerate(marks) if not mark & 2), None)


@lru_cache(maxsize=_DIFFERENT_MARKS)
def _next_rollback_stage(marks: _Marks) -> int | None:
    return next((index for index in range(len(marks) - 1, -1, -1) if marks[index] & 1 and not marks[index] & 24), None)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEndpointSnapshot:
    """One address at which a service of the tenant answers."""

    key: str | None = None
    value: str | None = None
    source_ip: str | None = None
    source_domain: str | None = None
    target_ip: str | None = None
    target_domain: str | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TenantDeployConfigSnapshot:
    """The engine's own immutable copy of a ``TenantDeployConfig``; same fields, same meaning."""

    tenant_id: str
    deploy_unit_id: int
    deploy_unit_version: int
    deploy_unit_name: str | None = None
    network_endpoints: tuple[NetworkEndpointSnapshot, ...] = ()
    nacos_name_space: str | None = None
    default_flag: bool | None = None
    called_number_rules: str | None = None
    trunk_group: str | None = None
    plan_id: int | None = None
    plan_version: int | None = None
    source_tenant_deploy_config: "TenantDeployConfigSnapshot | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePoint:
    """Where a run failed: the stage, and the step inside it when one is known."""

    stage: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureInfo:
    """Why something failed or was refused, for people and for programs (behaviour, section 10)."""

    error_code: ErrorCode
    error_type: ErrorType
    message: str
    timestamp: datetime
    failed_at: FailurePoint | None = None
    retryable: bool = False

    def __post_init__(self) -> None:
        # Kept with the task for ever, and shown to every reader: steps of others may say anything.
        object.__setattr__(self, "message", without_secrets(self.message))

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        failed_at = self.failed_at
        return {
            "errorCode": str(self.error_code),
            "errorType": str(self.error_type),
            "message": self.message,
            "failedAt": None if failed_at is None else {"stage": failed_at.stage, "step": failed_at.step},
            "retryable": self.retryable,
            "timestamp": wire_timestamp(self.timestamp),
        }

    @staticmethod
    def from_dict(data: Mapping[str, object]) -> "FailureInfo":
        """The inverse of ``to_dict``; raises KeyError or ValueError on anything else."""
        failed_at = data["failedAt"]
        point: FailurePoint | None = None
        if isinstance(failed_at, Mapping):
            place = cast("Mapping[str, object]", failed_at)
            stage, step = place["stage"], place["step"]
            point = FailurePoint(stage=None if stage is None else str(stage), step=None if step is None else str(step))
        return FailureInfo(
            error_code=ErrorCode(str(data["errorCode"])),
            error_type=ErrorType(str(data["errorType"])),
            message=str(data["message"]),
            timestamp=datetime.fromisoformat(str(data["timestamp"])),
            failed_at=point,
            retryable=bool(data["retryable"]),
        )


_WITHOUT_ZONE = len("2026-01-01T00:00:00.000000")


def wire_timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, always of one length, so that text sorts as time."""
    # Half of what strftime takes, for each event that is told to anybody.
    return f"{moment.isoformat(timespec='microseconds')[:_WITHOUT_ZONE]}Z"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAggregate:
    """
    Everything that changes about a task, as one frozen value.

    The tenant's configuration is beside it (it never changes); what is here is small and written at every boundary.

    Attributes:
        marks: One word per stage, in stage order.
        stage_names: The names, in stage order; fixed when the task is created.
        sequence_id: Of the task's last event; the next event takes the next number.
        version: Rises by one with every committed change; what a store checks before it writes.
        generation: Of the task's last run; 0 before the first.
        pending_operation: Accepted and durable, not yet in effect.
        pending_from_checkpoint: What a pending retry was asked for; meaningless otherwise.
        not_before: A pending retry starts no earlier, because the retry policy says so; None otherwise.
        held: Paused while PENDING: passed over until resumed.
        lock_held: This task owns its tenant's lock. A live task without it waits in the tenant's queue.
        line_held: Paused by the stop-line, so that the start-line resumes it.
        own_request: The pending operation was asked for this tenant rather than for its plan: it runs in a paused plan.
        retrying: The present run began as a retry and owes a TaskRetryCompleted.
        previous_known: A previous good config exists (given with the plan, or fixed when the task first started).
        arrival: Rises over all tasks of the store: what "later" and "in order of arrival" mean.
        started_order: Rises with every first start inside the plan; orders rollbacks (last started first). 0: never.
    """

    key: TaskKey
    tenant_id: TenantId
    status: TaskStatus
    stage_names: tuple[str, ...]
    marks: tuple[int, ...]
    created_at: datetime
    updated_at: datetime
    sequence_id: int = 0
    version: int = 0
    generation: int = 0
    retry_count: int = 0
    pending_operation: Operation | None = None
    pending_from_checkpoint: bool = True
    not_before: datetime | None = None
    held: bool = False
    lock_held: bool = False
    line_held: bool = False
    own_request: bool = False
    retrying: bool = False
    previous_known: bool = False
    arrival: int = 0
    started_order: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failure_info: FailureInfo | None = None

    @property
    def task_id(self) -> TaskId:
        """The id that users see."""
        return self.key.task_id

    @property
    def plan_id(self) -> PlanId:
        """The plan that the task belongs to."""
        return self.key.plan_id

    @property
    def total_stages(self) -> int:
        """How many stages the task has."""
        return len(self.stage_names)

    @property
    def completed_stages(self) -> int:
        """Complete in the present run: skipped ones count, restored ones do not."""
        return _completed_stages(self.marks)

    @property
    def is_live(self) -> bool:
        """Not settled: admitted and running, waiting or paused, or settled with an accepted retry or rollback."""
        return self.status not in _SETTLED or self.pending_operation is not None

    @property
    def is_idle(self) -> bool:
        """Live, but nothing will happen unless an operator asks for it."""
        if self.pending_operation is not None:
            return False
        paused = self.status is TaskStatus.PAUSED and not self.line_held
        return paused or (self.held and self.status is TaskStatus.PENDING)

    @property
    def any_stage_started(self) -> bool:
        """Some stage was started in some run, so there is something that a rollback could restore."""
        return _any_stage_started(self.marks)

    @property
    def next_stage(self) -> int | None:
        """Index of the first stage that is not complete in the present run; None when all are."""
        return _next_stage(self.marks)

    @property
    def next_rollback_stage(self) -> int | None:
        """Index of the stage to restore next: the last one that was started and is neither restored nor given up."""
        return _next_rollback_stage(self.marks)

    @property
    def has_checkpoint(self) -> bool:
        """Whether a retry could continue after a stage instead of running every stage."""
        return any(mark & 32 for mark in self.marks)

    @property
    def current_stage(self) -> str | None:
        """
        The stage that runs, is being restored or has failed; PAUSED or RESUMING: the next; else None.

        Source: interfaces, section 1, TaskStatusInfo.
        """
        status = self.status
        index: int | None = None
        if status in _AT_A_STAGE:
            index = _next_stage(self.marks)
        elif status is TaskStatus.ROLLING_BACK:
            index = _next_rollback_stage(self.marks)
        elif status is TaskStatus.ROLLBACK_FAILED:
            index = next((i for i, mark in enumerate(self.marks) if mark & 16), None)
        return None if index is None else self.stage_names[index]


_AT_A_STAGE = frozenset({TaskStatus.RUNNING, TaskStatus.PAUSED, TaskStatus.RESUMING, TaskStatus.FAILED})

evolve_task = evolver(TaskAggregate)
"""``dataclasses.replace`` for tasks."""

evolve_config = evolver(TenantDeployConfigSnapshot)
"""``dataclasses.replace`` for configs."""

TaskView = TaskAggregate
"""What policies, guards and rollback strategies get. Frozen values have no mutators, so a view needs no code."""


def snapshot_fields() -> tuple[str, ...]:
    """Names of the fields of a config snapshot, in contract order."""
    return tuple(field.name for field in fields(TenantDeployConfigSnapshot))
