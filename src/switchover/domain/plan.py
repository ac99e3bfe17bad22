"""The plan: one switch of many tenants, with its limits and rules, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from switchover.domain.task import FailureInfo, Operation, PlanId, TaskStatus
from switchover.domain.values import evolver


class PlanStatus(StrEnum):
    """Where a plan stands."""

    CREATED = "CREATED"
    VALIDATING = "VALIDATING"
    READY = "READY"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    PARTIAL_FAILED = "PARTIAL_FAILED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"

    @property
    def is_terminal(self) -> bool:
        """No way leads out."""
        return self is PlanStatus.ROLLED_BACK

    @property
    def is_settled(self) -> bool:
        """Every task of the plan is settled."""
        return self in _SETTLED

    @property
    def is_failure(self) -> bool:
        """Somebody should look at it."""
        return self in {PlanStatus.PARTIAL_FAILED, PlanStatus.FAILED, PlanStatus.ROLLBACK_FAILED}


_SETTLED = frozenset(
    {
        PlanStatus.COMPLETED,
        PlanStatus.PARTIAL_FAILED,
        PlanStatus.FAILED,
        PlanStatus.CANCELLED,
        PlanStatus.ROLLED_BACK,
        PlanStatus.ROLLBACK_FAILED,
    }
)


class OnConflict(StrEnum):
    """What a plan does about a tenant whose lock another task holds."""

    REJECT = "reject"
    WAIT = "wait"


class OnFailure(StrEnum):
    """Whether a failed task is rolled back by itself."""

    MANUAL = "manual"
    AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """How a health check asks (behaviour, section 6). Intervals and time-outs are seconds."""

    interval_seconds: float = 3.0
    attempts: int = 10
    timeout_seconds: float = 2.0
    path: str = "/health"
    version_key: str = "version"
    expect: str = "{deployUnitVersion}"
    consecutive: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRules:
    """
    What was decided when the plan was created, every precedence already applied; never changes.

    Attributes:
        services: The stage catalogue as plain JSON values, in order; empty when a stage factory gives the stages.
    """

    max_concurrency: int = 10
    on_conflict: OnConflict = OnConflict.REJECT
    on_failure: OnFailure = OnFailure.MANUAL
    hold_after_rollback: bool = False
    max_retry: int = 3
    health: HealthSettings = field(default_factory=HealthSettings)
    services: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAggregate:
    """
    Everything that changes about a plan, as one frozen value.

    Attributes:
        counts: How many tasks are in each status; statuses with none may be absent.
        unsettled: How many tasks are live (``TaskAggregate.is_live``) or wait; the plan settles when it reaches 0.
        idle: How many of those wait for an operator: paused (not by the stop-line) or held, with nothing pending.
        touched: How many tasks ever started a stage: those that must be ROLLED_BACK for the plan to be.
        sequence_id: Of the plan's last own event.
        position: Of the last event of the plan or of any of its tasks.
        run: How often the plan went to RUNNING from settled or ready; 0 before the first start.
        started_tasks: How many tasks were ever started: gives ``TaskAggregate.started_order``.
        pending_operation: PAUSE while running tasks have not reached their boundary.
        cancelled: A cancel by plan was accepted (decides between CANCELLED and the failures).
    """

    plan_id: PlanId
    status: PlanStatus
    rules: PlanRules
    total: int
    counts: Mapping[TaskStatus, int]
    created_at: datetime
    updated_at: datetime
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    plan_version: int | None = None
    unsettled: int = 0
    idle: int = 0
    touched: int = 0
    sequence_id: int = 0
    position: int = 0
    version: int = 0
    run: int = 0
    started_tasks: int = 0
    pending_operation: Operation | None = None
    cancelled: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failure_info: FailureInfo | None = None

    def count(self, status: TaskStatus) -> int:
        """How many tasks have this status."""
        return self.counts.get(status, 0)

    @property
    def completed(self) -> int:
        """COMPLETED tasks."""
        return self.counts.get(TaskStatus.COMPLETED, 0)

    @property
    def occupied_slots(self) -> int:
        """Tasks that count against maxConcurrency."""
        return self.counts.get(TaskStatus.RUNNING, 0) + self.counts.get(TaskStatus.ROLLING_BACK, 0)

    @property
    def starts_tasks(self) -> bool:
        """Whether the plan starts and resumes tasks by itself: it is neither paused nor about to be."""
        return self.status is not PlanStatus.PAUSED and self.pending_operation is None


evolve_plan = evolver(PlanAggregate)
"""``dataclasses.replace`` for plans."""

PlanView = PlanAggregate
"""What readers get. Frozen values have no mutators, so a view needs no code."""
