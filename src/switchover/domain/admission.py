"""
Who may start now, and why each other one waits: one pure decision.

Rules join here, and nowhere else: a new reason to wait is a new ``WaitReason`` and a line in ``blocking_reason``.

Source: behaviour, section 8.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple, Protocol

from switchover.domain.plan import PlanStatus, PlanView
from switchover.domain.task import Operation, TaskStatus


class QueueClass(IntEnum):
    """In which order free slots are given. Recovered tasks come first, and hold their slots already."""

    ROLLBACK = 1
    RESUMED = 2
    RETRIED = 3
    PENDING = 4


class WaitReason(StrEnum):
    """The one cause that keeps a task from starting."""

    LINE_STOPPED = "the line is stopped"
    PLAN_PAUSED = "the plan is paused"
    PLAN_ROLLING_BACK = "the plan is rolled back"
    HELD = "the task is held"
    TENANT_LOCK = "another task of the tenant is live"
    TENANT_HOLD = "the tenant is on hold"
    RETRY_DELAY = "the retry is delayed"
    ORDER = "an earlier task of the plan waits, and the plan runs strictly in order"
    SLOT = "every slot of the plan is taken"


class Candidate(NamedTuple):
    """What the decision needs to know about a task that waits for a slot."""

    ordinal: int
    queue: QueueClass
    own_request: bool = False
    held: bool = False
    lock_held: bool = True
    on_hold: bool = False
    delayed: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """
    The decision about one plan.

    Attributes:
        starts: Ordinals to start now, in this order.
        waits: Why the others that were looked at wait. Those after the last free slot are not looked at.
    """

    starts: tuple[int, ...]
    waits: dict[int, WaitReason]


class Waiting(Protocol):
    """What tells whether a task waits for a slot: a task, or the little that a store lists about it."""

    @property
    def status(self) -> TaskStatus:
        """Where it stands."""
        ...

    @property
    def pending_operation(self) -> Operation | None:
        """What was asked for and has not taken effect."""
        ...


def queue_class(task: Waiting) -> QueueClass | None:
    """Which queue the task waits in; None when it does not wait for a slot."""
    pending = task.pending_operation
    status = task.status
    if status is TaskStatus.PENDING:
        return QueueClass.PENDING
    if pending is Operation.ROLLBACK and not status.holds_slot:
        return QueueClass.ROLLBACK
    if status is TaskStatus.RESUMING:
        return QueueClass.RESUMED
    if pending is Operation.RETRY and status is TaskStatus.FAILED:
        return QueueClass.RETRIED
    return None


def blocking_reason(  # noqa: PLR0911  # one return a rule
    plan: PlanView, candidate: Candidate, *, line_stopped: bool
) -> WaitReason | None:
    """What keeps the candidate from starting even if a slot is free; None when nothing does."""
    rollback = candidate.queue is QueueClass.ROLLBACK
    if candidate.held:
        return WaitReason.HELD
    if not candidate.lock_held:
        return WaitReason.TENANT_LOCK
    if candidate.on_hold and not rollback:
        return WaitReason.TENANT_HOLD
    if line_stopped and not rollback:
        return WaitReason.LINE_STOPPED
    if not plan.starts_tasks and not candidate.own_request:
        return WaitReason.PLAN_PAUSED
    if candidate.queue is QueueClass.PENDING and plan.status is PlanStatus.ROLLING_BACK:
        return WaitReason.PLAN_ROLLING_BACK
    if candidate.delayed:
        return WaitReason.RETRY_DELAY
    return None


def admit(plan: PlanView, candidates: Iterable[Candidate], *, line_stopped: bool, free_slots: int) -> Admission:
    """
    Give free slots to candidates, in their order.

    Args:
        candidates: In the order of ``QueueClass`` and then of rank; read only as far as slots reach.
    """
    starts: list[int] = []
    waits: dict[int, WaitReason] = {}
    strict = plan.rules.max_concurrency == 1
    if free_slots <= 0:
        return Admission((), waits)
    for candidate in candidates:
        reason = blocking_reason(plan, candidate, line_stopped=line_stopped)
        if reason is None:
            starts.append(candidate.ordinal)
            if len(starts) == free_slots:
                break
            continue
        waits[candidate.ordinal] = reason
        if strict and blocks_followers(candidate, reason):
            break
    return Admission(tuple(starts), waits)


def blocks_followers(candidate: Candidate, reason: WaitReason) -> bool:
    """With maxConcurrency 1 a PENDING task that waits for a lock or a hold blocks those behind it."""
    return candidate.queue is QueueClass.PENDING and reason in {WaitReason.TENANT_LOCK, WaitReason.TENANT_HOLD}
