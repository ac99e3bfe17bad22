"""Both tables of behaviour, sections 4 and 5, written down a second time, row by row."""
# ruff: noqa: ANN401  # fields of any type

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from switchover.domain.plan import PlanAggregate, PlanRules, PlanStatus
from switchover.domain.policies import Policies
from switchover.domain.stage import TaskRuntimeContext
from switchover.domain.state_machine import (
    Changes,
    PlanTransitionContext,
    StateMachine,
    TaskTransitionContext,
    Transition,
    plan_state_machine,
    settled_status,
    task_state_machine,
)
from switchover.domain.task import (
    FailureInfo,
    Operation,
    PlanId,
    StageMark,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantId,
)
from switchover.errors import ErrorCode, ErrorType
from tests.support.stages import Bench

_THEN = datetime(2026, 1, 1, tzinfo=UTC)
_NOW = _THEN + timedelta(hours=1)
_MACHINE = task_state_machine(Policies())
_PLANS = plan_state_machine()

_S, _C, _K, _R, _F = (
    StageMark.STARTED,
    StageMark.COMPLETED,
    StageMark.CHECKPOINTED,
    StageMark.RESTORED,
    StageMark.RESTORE_FAILED,
)
_DONE = _S | _C | _K

_FAILURE = FailureInfo(
    error_code=ErrorCode.STEP_FAILED, error_type=ErrorType.UNKNOWN_ERROR, message="broken", timestamp=_NOW
)

# --- tasks: from, to, as the table of section 4 has them --------------------------------------------------------------

TASK_ROWS = """
CREATED VALIDATING
VALIDATING PENDING
VALIDATING VALIDATION_FAILED
PENDING RUNNING
PENDING CANCELLED
RUNNING PAUSED
RUNNING COMPLETED
RUNNING FAILED
RUNNING CANCELLED
RUNNING ROLLING_BACK
PAUSED RESUMING
RESUMING RUNNING
RESUMING PAUSED
PAUSED ROLLING_BACK
PAUSED CANCELLED
RESUMING ROLLING_BACK
RESUMING CANCELLED
FAILED RUNNING
FAILED ROLLING_BACK
COMPLETED ROLLING_BACK
CANCELLED ROLLING_BACK
ROLLING_BACK ROLLED_BACK
ROLLING_BACK ROLLBACK_FAILED
ROLLBACK_FAILED ROLLING_BACK
"""

_TASK_EDGES = {tuple(TaskStatus(word) for word in row.split()) for row in TASK_ROWS.split("\n") if row}


def _task(status: TaskStatus, *marks: int, **values: Any) -> TaskAggregate:
    task = TaskAggregate(
        key=TaskKey(PlanId(100), 1),
        tenant_id=TenantId("t1"),
        status=status,
        stage_names=("A", "B"),
        marks=tuple(int(mark) for mark in marks) or (0, 0),
        created_at=_THEN,
        updated_at=_THEN,
        lock_held=True,
        previous_known=True,
        generation=4,
    )
    return replace(task, **values)


def _context(task: TaskAggregate, **values: Any) -> TaskTransitionContext:
    facts: dict[str, Any] = {
        "total_stages": 2,
        "now": _NOW,
        "max_concurrency": 10,
        "max_retry": 3,
        "lock_held": task.lock_held,
        "generation": 5,
    }
    return TaskTransitionContext(task=task, **{**facts, **values})


def _runtime(*, pause: bool = False) -> TaskRuntimeContext:
    runtime = Bench().context()
    runtime.pause_requested = pause
    return runtime


def _take(target: TaskStatus, task: TaskAggregate, **values: Any) -> Changes | None:
    """What the edge's action changes; None when the guard refuses."""
    edge = _MACHINE.edge(task.status, target)
    assert edge is not None
    context = _context(task, **values)
    return edge.action(context) if edge.guard(context) else None


@pytest.mark.parametrize(("source", "target"), list(product(TaskStatus, TaskStatus)))
def test_a_task_changes_along_the_rows_of_the_table_and_nowhere_else(source: TaskStatus, target: TaskStatus) -> None:
    assert _MACHINE.has_edge(source, target) == ((source, target) in _TASK_EDGES)
    assert (_MACHINE.edge(source, target) is not None) == _MACHINE.has_edge(source, target)


@pytest.mark.parametrize("status", TaskStatus)
def test_terminal_means_that_no_row_leads_out(status: TaskStatus) -> None:
    leads_out = any(_MACHINE.has_edge(status, target) for target in TaskStatus)
    assert status.is_terminal != leads_out


def test_two_rows_with_the_same_ends_are_an_error() -> None:
    edge: Transition[TaskStatus, TaskTransitionContext] = Transition(TaskStatus.PENDING, TaskStatus.RUNNING, "slot")
    with pytest.raises(ValueError, match="share"):
        StateMachine((edge, edge))


def test_a_first_start_needs_the_lock_and_sets_started_at_and_generation() -> None:
    task = _task(TaskStatus.PENDING)
    changes = _take(TaskStatus.RUNNING, task)
    assert changes is not None
    assert (changes["started_at"], changes["generation"]) == (_NOW, 5)
    assert _take(TaskStatus.RUNNING, replace(task, lock_held=False)) is None


@pytest.mark.parametrize(
    ("source", "marks"),
    [(TaskStatus.PENDING, (0, 0)), (TaskStatus.PAUSED, (_DONE, 0)), (TaskStatus.RESUMING, (_DONE, 0))],
)
def test_a_cancel_at_once_sets_ended_at_and_clears_the_checkpoint(source: TaskStatus, marks: tuple[int, ...]) -> None:
    changes = _take(TaskStatus.CANCELLED, _task(source, *marks, held=source is TaskStatus.PENDING))
    assert changes is not None
    assert (changes["ended_at"], changes["held"], changes["pending_operation"]) == (_NOW, False, None)
    assert changes["marks"] == tuple(int(mark) & ~int(_K) for mark in marks)


def test_a_pause_needs_a_request_or_a_restart_that_pauses_and_stages_that_remain() -> None:
    task = _task(TaskStatus.RUNNING, _DONE, 0, pending_operation=Operation.PAUSE)
    changes = _take(TaskStatus.PAUSED, task, runtime=_runtime(pause=True))
    assert changes is not None
    assert changes["pending_operation"] is None
    assert _take(TaskStatus.PAUSED, task, runtime=_runtime()) is None
    last = replace(task, marks=(int(_DONE), int(_DONE)))
    assert _take(TaskStatus.PAUSED, last, runtime=_runtime(pause=True)) is None
    interrupted = _task(TaskStatus.RUNNING, _DONE, _S)
    assert _take(TaskStatus.PAUSED, interrupted, runtime=_runtime(), recovering=True) is not None


def test_the_stop_line_pauses_and_remembers_that_it_did() -> None:
    task = _task(TaskStatus.RUNNING, _DONE, 0)
    changes = _take(TaskStatus.PAUSED, task, runtime=_runtime(), line_stopped=True)
    assert changes is not None
    assert changes["line_held"] is True
    asked = replace(task, pending_operation=Operation.PAUSE)
    changes = _take(TaskStatus.PAUSED, asked, runtime=_runtime(pause=True), line_stopped=True)
    assert changes is not None
    assert changes["line_held"] is False


def test_what_an_operator_or_a_restart_pauses_is_not_the_stop_lines_to_resume() -> None:
    """Otherwise the start-line would resume what a person wants to stand still."""
    changes = _take(TaskStatus.PAUSED, _task(TaskStatus.RESUMING, _DONE, 0), line_stopped=True)
    assert changes is not None
    assert changes["line_held"] is False
    changes = _take(
        TaskStatus.PAUSED, _task(TaskStatus.RUNNING, _DONE, _S), runtime=_runtime(), line_stopped=True, recovering=True
    )
    assert changes is not None
    assert changes["line_held"] is False


def test_completion_needs_every_stage_sets_ended_at_and_clears_the_checkpoint() -> None:
    changes = _take(TaskStatus.COMPLETED, _task(TaskStatus.RUNNING, _DONE, _DONE, pending_operation=Operation.PAUSE))
    assert changes is not None
    assert (changes["ended_at"], changes["pending_operation"]) == (_NOW, None)
    assert changes["marks"] == (int(_S | _C), int(_S | _C))
    assert _take(TaskStatus.COMPLETED, _task(TaskStatus.RUNNING, _DONE, _S)) is None


def test_a_failure_sets_ended_at_and_failure_info_and_keeps_the_checkpoint() -> None:
    task = _task(TaskStatus.RUNNING, _DONE, _S, pending_operation=Operation.CANCEL)
    changes = _take(TaskStatus.FAILED, task, failure=_FAILURE)
    assert changes is not None
    assert (changes["ended_at"], changes["failure_info"]) == (_NOW, _FAILURE)
    assert changes["pending_operation"] is None
    assert "marks" not in changes
    assert _take(TaskStatus.FAILED, task) is None


def test_a_cancel_at_the_boundary_needs_the_request_and_a_stage_that_remains() -> None:
    task = _task(TaskStatus.RUNNING, _DONE, 0, pending_operation=Operation.CANCEL)
    changes = _take(TaskStatus.CANCELLED, task)
    assert changes is not None
    assert changes["ended_at"] == _NOW
    assert changes["marks"] == (int(_S | _C), 0)
    assert _take(TaskStatus.CANCELLED, replace(task, pending_operation=None)) is None
    assert _take(TaskStatus.CANCELLED, replace(task, marks=(int(_DONE), int(_DONE)))) is None


def test_resume_asks_for_a_slot_and_gives_the_line_up() -> None:
    assert _take(TaskStatus.RESUMING, _task(TaskStatus.PAUSED, _DONE, 0, line_held=True)) == {"line_held": False}


def test_a_resumed_run_keeps_its_generation() -> None:
    changes = _take(TaskStatus.RUNNING, _task(TaskStatus.RESUMING, _DONE, 0))
    assert changes is not None
    assert "generation" not in changes
    assert "started_at" not in changes
    assert _take(TaskStatus.RUNNING, _task(TaskStatus.RESUMING, _DONE, 0, lock_held=False)) is None


def test_a_retry_counts_clears_failure_and_end_and_takes_a_generation() -> None:
    task = _task(TaskStatus.FAILED, _DONE, _S, retry_count=2, failure_info=_FAILURE, ended_at=_THEN)
    changes = _take(TaskStatus.RUNNING, task)
    assert changes is not None
    assert (changes["retry_count"], changes["failure_info"], changes["ended_at"]) == (3, None, None)
    assert changes["generation"] == 5
    assert changes["marks"] == (int(_DONE), int(_S))


def test_a_retry_from_scratch_forgets_what_was_complete_and_not_what_was_started() -> None:
    changes = _take(TaskStatus.RUNNING, _task(TaskStatus.FAILED, _DONE, _S), from_checkpoint=False)
    assert changes is not None
    assert changes["marks"] == (int(_S), int(_S))


def test_a_retry_repeats_what_no_checkpoint_has() -> None:
    changes = _take(TaskStatus.RUNNING, _task(TaskStatus.FAILED, _S | _C, _S))
    assert changes is not None
    assert changes["marks"] == (int(_S), int(_S))


@pytest.mark.parametrize("fact", ["limit", "lock", "superseded"])
def test_a_retry_is_refused_at_the_limit_without_the_lock_and_when_superseded(fact: str) -> None:
    task = _task(TaskStatus.FAILED, _DONE, _S, retry_count=3 if fact == "limit" else 0, lock_held=fact != "lock")
    assert _take(TaskStatus.RUNNING, task, superseded=fact == "superseded") is None


_ROLLED = [
    TaskStatus.RUNNING,
    TaskStatus.PAUSED,
    TaskStatus.RESUMING,
    TaskStatus.FAILED,
    TaskStatus.COMPLETED,
    TaskStatus.CANCELLED,
    TaskStatus.ROLLBACK_FAILED,
]


@pytest.mark.parametrize("source", _ROLLED)
def test_a_rollback_takes_a_generation_clears_the_end_and_the_checkpoint(source: TaskStatus) -> None:
    changes = _take(TaskStatus.ROLLING_BACK, _task(source, _DONE | _R, _DONE | _F, ended_at=_THEN))
    assert changes is not None
    assert (changes["ended_at"], changes["generation"], changes["pending_operation"]) == (None, 5, None)
    assert changes["marks"] == (int(_S | _C | _R), int(_S | _C)), "what is restored stays so, the rest is tried again"


@pytest.mark.parametrize(("source", "missing"), list(product(_ROLLED, ["previous", "started", "lock", "superseded"])))
def test_a_rollback_needs_a_previous_config_a_started_stage_and_the_lock_and_no_later_task(
    source: TaskStatus, missing: str
) -> None:
    marks = (0, 0) if missing == "started" else (_DONE, 0)
    task = _task(source, *marks, previous_known=missing != "previous", lock_held=missing != "lock")
    assert _take(TaskStatus.ROLLING_BACK, task, superseded=missing == "superseded") is None


def test_rolled_back_needs_every_started_stage_restored() -> None:
    changes = _take(TaskStatus.ROLLED_BACK, _task(TaskStatus.ROLLING_BACK, _S | _R, 0))
    assert changes is not None
    assert changes["ended_at"] == _NOW
    assert _take(TaskStatus.ROLLED_BACK, _task(TaskStatus.ROLLING_BACK, _S | _R, _S)) is None
    assert _take(TaskStatus.ROLLED_BACK, _task(TaskStatus.ROLLING_BACK, _S | _R, _S | _F)) is None


def test_rollback_failed_needs_every_started_stage_tried_and_some_not_restored() -> None:
    task = _task(TaskStatus.ROLLING_BACK, _S | _R, _S | _F)
    changes = _take(TaskStatus.ROLLBACK_FAILED, task, failure=_FAILURE)
    assert changes is not None
    assert (changes["ended_at"], changes["failure_info"]) == (_NOW, _FAILURE)
    assert _take(TaskStatus.ROLLBACK_FAILED, replace(task, marks=(int(_S), int(_S | _F)))) is None
    assert _take(TaskStatus.ROLLBACK_FAILED, replace(task, marks=(int(_S | _R), 0))) is None


# --- plans ------------------------------------------------------------------------------------------------------------

PLAN_ROWS = """
CREATED VALIDATING
VALIDATING READY
READY RUNNING
READY PAUSED
RUNNING PAUSED
PAUSED READY
PAUSED RUNNING
PARTIAL_FAILED RUNNING
FAILED RUNNING
RUNNING ROLLING_BACK
PAUSED ROLLING_BACK
COMPLETED ROLLING_BACK
PARTIAL_FAILED ROLLING_BACK
FAILED ROLLING_BACK
CANCELLED ROLLING_BACK
ROLLBACK_FAILED ROLLING_BACK
"""

_OPEN = (PlanStatus.READY, PlanStatus.RUNNING, PlanStatus.PAUSED, PlanStatus.ROLLING_BACK)
_SETTLED = tuple(status for status in PlanStatus if status.is_settled)
_BACK = {PlanStatus.ROLLED_BACK, PlanStatus.ROLLBACK_FAILED}

_PLAN_EDGES = {tuple(PlanStatus(word) for word in row.split()) for row in PLAN_ROWS.split("\n") if row} | {
    (source, target)
    for source, target in product(_OPEN, _SETTLED)
    if source is PlanStatus.ROLLING_BACK or target not in _BACK
}


def _plan(status: PlanStatus, **values: Any) -> PlanAggregate:
    plan = PlanAggregate(
        plan_id=PlanId(100),
        status=status,
        rules=PlanRules(),
        total=2,
        counts={TaskStatus.PENDING: 2},
        created_at=_THEN,
        updated_at=_THEN,
        unsettled=2,
    )
    return replace(plan, **values)


def _lead(target: PlanStatus, plan: PlanAggregate) -> Changes | None:
    edge = _PLANS.edge(plan.status, target)
    assert edge is not None
    context = PlanTransitionContext(plan=plan, now=_NOW)
    return edge.action(context) if edge.guard(context) else None


@pytest.mark.parametrize(("source", "target"), list(product(PlanStatus, PlanStatus)))
def test_a_plan_changes_along_the_rows_of_the_table_and_nowhere_else(source: PlanStatus, target: PlanStatus) -> None:
    assert _PLANS.has_edge(source, target) == ((source, target) in _PLAN_EDGES)


@pytest.mark.parametrize("status", PlanStatus)
def test_a_terminal_plan_has_no_way_out(status: PlanStatus) -> None:
    assert status.is_terminal != any(_PLANS.has_edge(status, target) for target in PlanStatus)


def test_the_first_run_sets_started_at_and_a_later_one_keeps_it() -> None:
    assert _lead(PlanStatus.RUNNING, _plan(PlanStatus.READY)) == {"started_at": _NOW, "ended_at": None}
    again = _plan(PlanStatus.FAILED, started_at=_THEN, ended_at=_THEN)
    assert _lead(PlanStatus.RUNNING, again) == {"started_at": _THEN, "ended_at": None}


def test_a_plan_is_paused_when_no_task_runs() -> None:
    running = _plan(PlanStatus.RUNNING, counts={TaskStatus.RUNNING: 1, TaskStatus.PAUSED: 1})
    assert _lead(PlanStatus.PAUSED, running) is None
    stopped = replace(running, counts={TaskStatus.PAUSED: 2}, pending_operation=Operation.PAUSE)
    assert _lead(PlanStatus.PAUSED, stopped) == {"pending_operation": None}


def test_a_resumed_plan_is_ready_when_nothing_has_started_and_runs_otherwise() -> None:
    assert _lead(PlanStatus.READY, _plan(PlanStatus.PAUSED)) is not None
    assert _lead(PlanStatus.RUNNING, _plan(PlanStatus.PAUSED)) is None
    assert _lead(PlanStatus.READY, _plan(PlanStatus.PAUSED, run=1)) is None
    assert _lead(PlanStatus.RUNNING, _plan(PlanStatus.PAUSED, run=1)) is not None


def test_a_rollback_clears_the_end_and_a_pending_pause() -> None:
    plan = _plan(PlanStatus.RUNNING, pending_operation=Operation.PAUSE)
    assert _lead(PlanStatus.ROLLING_BACK, plan) == {"ended_at": None, "pending_operation": None}


def _ended(status: PlanStatus, *, touched: int = 0, cancelled: bool = False, **counts: int) -> PlanAggregate:
    by_status = {TaskStatus(name): count for name, count in counts.items()}
    return _plan(
        status, counts=by_status, total=sum(counts.values()), unsettled=0, touched=touched, cancelled=cancelled
    )


def _shown(value: PlanAggregate | str) -> str:
    if isinstance(value, str):
        return value
    counts = " ".join(f"{count} {status}" for status, count in value.counts.items())
    return f"{value.status} {counts}" + (" cancelled" if value.cancelled else "")


_RUN, _BACKWARDS = PlanStatus.RUNNING, PlanStatus.ROLLING_BACK


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (_ended(_RUN, touched=2, COMPLETED=2), "COMPLETED"),
        (_ended(_RUN, touched=2, COMPLETED=1, FAILED=1), "PARTIAL_FAILED"),
        (_ended(_RUN, touched=2, FAILED=2), "FAILED"),
        (_ended(_RUN, CANCELLED=2), "CANCELLED"),
        (_ended(_RUN, touched=2, COMPLETED=1, CANCELLED=1, cancelled=True), "CANCELLED"),
        (_ended(_RUN, touched=2, FAILED=1, CANCELLED=1, cancelled=True), "CANCELLED"),
        (_ended(_RUN, touched=2, COMPLETED=1, CANCELLED=1), "PARTIAL_FAILED"),
        (_ended(_RUN, touched=2, FAILED=1, CANCELLED=1), "FAILED"),
        (_ended(_RUN, touched=2, COMPLETED=2, cancelled=True), "COMPLETED"),
        (_ended(_RUN, touched=2, FAILED=2, cancelled=True), "FAILED"),
        (_ended(_RUN, touched=2, ROLLED_BACK=2), "FAILED"),
        (_ended(_RUN, touched=2, ROLLED_BACK=1, COMPLETED=1), "PARTIAL_FAILED"),
        (_ended(_RUN, touched=2, ROLLBACK_FAILED=1, COMPLETED=1), "PARTIAL_FAILED"),
        (_ended(_BACKWARDS, touched=2, ROLLED_BACK=2), "ROLLED_BACK"),
        (_ended(_BACKWARDS, touched=1, ROLLED_BACK=1, CANCELLED=1), "ROLLED_BACK"),
        (_ended(_BACKWARDS, touched=2, ROLLED_BACK=1, ROLLBACK_FAILED=1), "ROLLBACK_FAILED"),
        (_ended(_BACKWARDS, touched=2, ROLLED_BACK=1, COMPLETED=1), "PARTIAL_FAILED"),
        (_ended(_BACKWARDS, touched=2, ROLLED_BACK=1, FAILED=1), "FAILED"),
        (_ended(_BACKWARDS, CANCELLED=2), "CANCELLED"),
        (_ended(_BACKWARDS, touched=2, COMPLETED=2), "COMPLETED"),
    ],
    ids=_shown,
)
def test_where_a_plan_settles_is_the_first_that_applies(plan: PlanAggregate, expected: str) -> None:
    status = PlanStatus(expected)
    assert settled_status(plan) is status
    changes = _lead(status, plan)
    assert changes is not None
    assert changes["ended_at"] == _NOW
    others = [target for target in _SETTLED if target is not status and _PLANS.has_edge(plan.status, target)]
    assert all(_lead(target, plan) is None for target in others)


@pytest.mark.parametrize("source", _OPEN)
def test_a_plan_with_live_tasks_does_not_settle(source: PlanStatus) -> None:
    plan = _plan(source, counts={TaskStatus.COMPLETED: 2}, touched=2, unsettled=1)
    assert _lead(PlanStatus.COMPLETED, plan) is None
