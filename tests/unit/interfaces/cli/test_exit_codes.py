from pathlib import Path

import pytest

from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, TaskStatus
from switchover.errors import ErrorCode
from switchover.interfaces.cli.exit_codes import ExitCode, of_errors, of_plan, of_task, table
from tests.support.cli_samples import plan, task

S, P, X = TaskStatus, PlanStatus, ExitCode


@pytest.mark.parametrize(
    ("counts", "status", "expected"),
    [
        ({S.COMPLETED: 3}, P.COMPLETED, X.DONE),
        ({S.COMPLETED: 2, S.FAILED: 1}, P.PARTIAL_FAILED, X.FAILED),
        ({S.FAILED: 1}, P.FAILED, X.FAILED),
        ({S.ROLLED_BACK: 2}, P.ROLLED_BACK, X.ROLLED_BACK),
        # Rolled back by policy: the plan is FAILED by name, but every task that had started is back.
        ({S.ROLLED_BACK: 2}, P.FAILED, X.ROLLED_BACK),
        ({S.ROLLED_BACK: 1, S.COMPLETED: 1}, P.PARTIAL_FAILED, X.FAILED),
        ({S.ROLLED_BACK: 1, S.FAILED: 1}, P.FAILED, X.FAILED),
        # Any task that is not restored goes before everything else.
        ({S.ROLLBACK_FAILED: 1, S.ROLLED_BACK: 9}, P.ROLLBACK_FAILED, X.ROLLBACK_FAILED),
        ({S.ROLLBACK_FAILED: 1, S.COMPLETED: 9}, P.PARTIAL_FAILED, X.ROLLBACK_FAILED),
        ({S.ROLLBACK_FAILED: 1, S.CANCELLED: 9}, P.CANCELLED, X.ROLLBACK_FAILED),
        ({S.CANCELLED: 2, S.COMPLETED: 1}, P.CANCELLED, X.CANCELLED),
        ({S.CANCELLED: 2, S.FAILED: 1}, P.CANCELLED, X.CANCELLED),
        ({S.PAUSED: 1}, P.PAUSED, X.PAUSED),
        ({S.RUNNING: 1}, P.RUNNING, X.PAUSED),
        ({S.PENDING: 1}, P.READY, X.PAUSED),
    ],
)
def test_where_a_plan_stands_gives_its_code(
    counts: dict[TaskStatus, int], status: PlanStatus, expected: ExitCode
) -> None:
    assert of_plan(plan(counts, status)) is expected


def test_tasks_that_never_started_do_not_keep_a_plan_from_being_rolled_back() -> None:
    assert of_plan(plan({S.ROLLED_BACK: 2, S.CANCELLED: 5}, P.ROLLED_BACK, touched=2)) is X.ROLLED_BACK


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (S.COMPLETED, X.DONE),
        (S.FAILED, X.FAILED),
        (S.ROLLED_BACK, X.ROLLED_BACK),
        (S.ROLLBACK_FAILED, X.ROLLBACK_FAILED),
        (S.CANCELLED, X.CANCELLED),
        (S.PAUSED, X.PAUSED),
        (S.PENDING, X.PAUSED),
    ],
)
def test_where_a_task_stands_gives_its_code(status: TaskStatus, expected: ExitCode) -> None:
    assert of_task(task(status=status)) is expected


def test_a_failed_task_that_waits_for_its_retry_has_not_ended() -> None:
    assert of_task(task(status=S.FAILED, pending_operation=Operation.RETRY)) is X.PAUSED


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([ErrorCode.PLAN_EXISTS], X.REFUSED),
        ([ErrorCode.TENANT_CONFLICT, ErrorCode.TENANT_ON_HOLD], X.REFUSED),
        ([ErrorCode.IDEMPOTENCY_MISMATCH], X.REFUSED),
        ([ErrorCode.TENANT_CONFLICT, ErrorCode.MISSING_FIELD], X.INVALID_PLAN),
        ([ErrorCode.MISSING_FIELD], X.INVALID_PLAN),
        ([], X.INVALID_PLAN),
    ],
)
def test_only_collisions_are_refusals(codes: list[ErrorCode], expected: ExitCode) -> None:
    assert of_errors(codes) is expected


def test_the_codes_are_those_that_scripts_rely_on() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "UNEXPECTED": 1,
        "USAGE": 2,
        "INVALID_PLAN": 3,
        "PAUSED": 10,
        "FAILED": 20,
        "ROLLED_BACK": 21,
        "ROLLBACK_FAILED": 22,
        "CANCELLED": 23,
        "REFUSED": 30,
        "TIMED_OUT": 40,
        "DISCONNECTED": 41,
    }


def test_the_reference_has_the_table(repository: Path) -> None:
    assert table() in (repository / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
