"""
What a process ends with: the one table, and how an outcome finds its place in it.

Source: interfaces, section 3; lesson 46 (programs tell outcomes apart by the code alone).
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum

from switchover.domain.plan import PlanAggregate, PlanStatus
from switchover.domain.task import TaskAggregate, TaskStatus
from switchover.errors import ErrorCode


class ExitCode(IntEnum):
    """Every code that a verb ends with."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    INVALID_PLAN = 3
    PAUSED = 10
    FAILED = 20
    ROLLED_BACK = 21
    ROLLBACK_FAILED = 22
    CANCELLED = 23
    REFUSED = 30
    TIMED_OUT = 40
    DISCONNECTED = 41


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.UNEXPECTED: "`doctor` found a problem, or something unexpected happened (`--debug` shows where)",
    ExitCode.USAGE: "the command line or the settings are wrong",
    ExitCode.INVALID_PLAN: "invalid plan",
    ExitCode.PAUSED: "paused, or stopped by Ctrl-C while it drove; it can go on from where it stands",
    ExitCode.FAILED: "failed or partly failed",
    ExitCode.ROLLED_BACK: "rolled back: every task that had started",
    ExitCode.ROLLBACK_FAILED: "rollback failed: any task",
    ExitCode.CANCELLED: "cancelled",
    ExitCode.REFUSED: "refused: an unknown id, a request that does not apply, a plan that collides with what is in the "
    "database, or a store that cannot be used",
    ExitCode.TIMED_OUT: "`--timeout` passed; the work goes on",
    ExitCode.DISCONNECTED: "no longer watching, or no longer driving, and the work goes on in another process",
}

COLLISIONS = frozenset(
    {
        ErrorCode.PLAN_EXISTS,
        ErrorCode.IDEMPOTENCY_MISMATCH,
        ErrorCode.TENANT_CONFLICT,
        ErrorCode.TENANT_ON_HOLD,
    }
)
"""What refuses a plan that is valid in itself."""

_OF_TASK: Mapping[TaskStatus, ExitCode] = {
    TaskStatus.COMPLETED: ExitCode.DONE,
    TaskStatus.FAILED: ExitCode.FAILED,
    TaskStatus.VALIDATION_FAILED: ExitCode.FAILED,
    TaskStatus.ROLLED_BACK: ExitCode.ROLLED_BACK,
    TaskStatus.ROLLBACK_FAILED: ExitCode.ROLLBACK_FAILED,
    TaskStatus.CANCELLED: ExitCode.CANCELLED,
}

_OF_PLAN: Mapping[PlanStatus, ExitCode] = {
    PlanStatus.COMPLETED: ExitCode.DONE,
    PlanStatus.PARTIAL_FAILED: ExitCode.FAILED,
    PlanStatus.FAILED: ExitCode.FAILED,
    PlanStatus.CANCELLED: ExitCode.CANCELLED,
    PlanStatus.ROLLED_BACK: ExitCode.ROLLED_BACK,
    PlanStatus.ROLLBACK_FAILED: ExitCode.ROLLBACK_FAILED,
}


def of_plan(plan: PlanAggregate) -> ExitCode:
    """
    The code of where a plan stands.

    The tasks are asked before the plan's own status: with `onFailure: auto` a plan of which nothing stays switched is
    FAILED by name, and rolled back in fact.
    """
    if not plan.status.is_settled:
        return ExitCode.PAUSED
    if plan.count(TaskStatus.ROLLBACK_FAILED):
        return ExitCode.ROLLBACK_FAILED
    rolled_back = plan.count(TaskStatus.ROLLED_BACK)
    if rolled_back and rolled_back == plan.touched:
        return ExitCode.ROLLED_BACK
    return _OF_PLAN[plan.status]


def of_task(task: TaskAggregate) -> ExitCode:
    """The code of where a task stands."""
    return ExitCode.PAUSED if task.is_live else _OF_TASK[task.status]


def of_errors(codes: Iterable[ErrorCode]) -> ExitCode:
    """The code of a plan that was refused for these errors."""
    found = set(codes)
    return ExitCode.REFUSED if found and found <= COLLISIONS else ExitCode.INVALID_PLAN


def table() -> str:
    """The table in Markdown, as the reference shows it."""
    rows = [f"| {int(code)} | {MEANINGS[code]} |" for code in ExitCode]
    return "\n".join(["| code | meaning |", "| --- | --- |", *rows])
