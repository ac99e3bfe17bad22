"""The checker of event logs: what the specification shows passes, and every way of spoiling it is found."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.event_grammar import IllegalLogError, assert_legal_log, assert_legal_task, most_at_once

STAGES = ["A", "B"]
CREATED = "TaskCreated TaskValidated"
STARTED = f"{CREATED} TaskStarted Started(A)"
FAILED = f"{STARTED} Succeeded(A) Started(B) Failed(B) TaskFailed"
COMPLETED = f"{STARTED} Succeeded(A) Started(B) Succeeded(B) TaskCompleted"

LEGAL = {
    "success": COMPLETED,
    "retry from the checkpoint": f"{FAILED} Retry(checkpoint) Started(B) Succeeded(B) TaskCompleted Retried(well)",
    "retry from scratch": f"{FAILED} Retry(scratch) Started(A) Failed(A) TaskFailed Retried(no)",
    "pause after A, resume": f"{STARTED} Succeeded(A) TaskPaused TaskResumed Started(B) Succeeded(B) TaskCompleted",
    "cancel during A": f"{STARTED} Succeeded(A) TaskCancelled",
    "cancel while pending": f"{CREATED} TaskCancelled",
    "B failed, rollback": f"{FAILED} TaskRollingBack Undoing(B) Undone(B) Undoing(A) Undone(A) TaskRolledBack",
    "rollback of a running retry": (
        f"{FAILED} Retry(checkpoint) Started(B) Failed(B) Retried(no) TaskRollingBack Undoing(B) Undone(B) "
        "Undoing(A) Undone(A) TaskRolledBack"
    ),
    "rollback again": (
        f"{FAILED} TaskRollingBack Undoing(B) Stays(B) Undoing(A) Undone(A) TaskRollbackFailed "
        "TaskRollingBack Undoing(B) Undone(B) TaskRolledBack"
    ),
    "a crash during A and one during the rollback": (
        f"{STARTED} Recovered(A) Succeeded(A) Started(B) Succeeded(B) TaskCompleted TaskRollingBack Undoing(B) "
        "Reundoing(B) Undone(B) Undoing(A) Undone(A) TaskRolledBack"
    ),
    "a restart that pauses": f"{STARTED} Stopped(restart) TaskResumed Started(A) Succeeded(A) Started(B) Succeeded(B) "
    "TaskCompleted",
    "a skipped stage is not rolled back": (
        f"{CREATED} TaskStarted Skipped(A) Started(B) Succeeded(B) TaskCompleted TaskRollingBack Undoing(B) Undone(B) "
        "TaskRolledBack"
    ),
    "heartbeats": f"{STARTED} TaskHeartbeat TaskHeartbeat Succeeded(A) Started(B) TaskHeartbeat",
}

ILLEGAL = {
    "a stage too few": f"{STARTED} Succeeded(A) TaskCompleted",
    "a stage out of turn": f"{CREATED} TaskStarted Started(B)",
    "a stage twice": f"{STARTED} Succeeded(A) Started(A)",
    "a stage repeated after a resume": f"{STARTED} Succeeded(A) TaskPaused TaskResumed Started(A)",
    "a stage repeated without a crash": f"{STARTED} Started(A)",
    "two stages at once": f"{STARTED} Started(B)",
    "a pause inside a stage": f"{STARTED} TaskPaused",
    "a pause before the first stage": f"{CREATED} TaskStarted TaskPaused",
    "a pause after the last stage": f"{STARTED} Succeeded(A) Started(B) Succeeded(B) TaskPaused",
    "a cancel inside a stage": f"{STARTED} TaskCancelled",
    "a cancel of what is done": f"{COMPLETED} TaskCancelled",
    "going on after a failure": f"{STARTED} Failed(A) Started(A)",
    "a retry of what is done": f"{COMPLETED} Retry(checkpoint)",
    "a retry that never completes": f"{FAILED} Retry(checkpoint) Started(B) Failed(B) TaskFailed TaskRollingBack",
    "a retry that ends twice": f"{FAILED} Retry(checkpoint) Started(B) Succeeded(B) TaskCompleted Retried(well) "
    "Retried(well)",
    "a retry that claims success": f"{FAILED} Retry(checkpoint) Started(B) Failed(B) TaskFailed Retried(well)",
    "four retries": FAILED + " Retry(checkpoint) Started(B) Failed(B) TaskFailed Retried(no)" * 4,
    "a rollback in forward order": f"{FAILED} TaskRollingBack Undoing(A)",
    "a rollback that forgets a stage": f"{FAILED} TaskRollingBack Undoing(B) Undone(B) TaskRolledBack",
    "a rollback that stops at a failure": f"{FAILED} TaskRollingBack Undoing(B) Stays(B) TaskRollbackFailed",
    "a rollback of a stage that never started": f"{STARTED} Failed(A) TaskFailed TaskRollingBack Undoing(B)",
    "a rollback that touches a restored stage": (
        f"{FAILED} TaskRollingBack Undoing(B) Stays(B) Undoing(A) Undone(A) TaskRollbackFailed TaskRollingBack "
        "Undoing(B) Undone(B) Undoing(A)"
    ),
    "a rollback of nothing": f"{CREATED} TaskCancelled TaskRollingBack",
    "anything after a rollback": f"{FAILED} TaskRollingBack Undoing(B) Undone(B) Undoing(A) Undone(A) TaskRolledBack "
    "TaskRollingBack",
    "a heartbeat of a settled task": f"{COMPLETED} TaskHeartbeat",
    "a start without validation": "TaskCreated TaskStarted",
}

_SHORT: dict[str, tuple[str, dict[str, object]]] = {
    "Started": ("TaskStageStarted", {}),
    "Recovered": ("TaskStageStarted", {"recovered": True}),
    "Succeeded": ("TaskStageSucceeded", {}),
    "Skipped": ("TaskStageSucceeded", {"skipped": True}),
    "Failed": ("TaskStageFailed", {}),
    "Undoing": ("TaskStageRollingBack", {}),
    "Reundoing": ("TaskStageRollingBack", {"recovered": True}),
    "Undone": ("TaskStageRolledBack", {}),
    "Stays": ("TaskStageRollbackFailed", {}),
}
_STATUS = {
    "TaskCreated": "CREATED",
    "TaskValidated": "PENDING",
    "TaskPaused": "PAUSED",
    "TaskCompleted": "COMPLETED",
    "TaskFailed": "FAILED",
    "TaskCancelled": "CANCELLED",
    "TaskRolledBack": "ROLLED_BACK",
    "TaskRollbackFailed": "ROLLBACK_FAILED",
    "TaskRollingBack": "ROLLING_BACK",
    "TaskStarted": "RUNNING",
    "TaskResumed": "RUNNING",
    "TaskRetryStarted": "RUNNING",
}


def log(words: str) -> list[dict[str, Any]]:
    """A task's log in its wire form, with everything that follows from the types filled in."""
    events: list[dict[str, Any]] = []
    status, done, current = "", 0, None
    for word in words.split():
        short, _, argument = word.rstrip(")").partition("(")
        kind, data = short, {}
        if short in _SHORT:
            kind, extra = _SHORT[short]
            data = {"stage": argument, **extra}
        elif short == "Retry":
            kind, data = "TaskRetryStarted", {"fromCheckpoint": argument == "checkpoint"}
            done = done if argument == "checkpoint" else 0
        elif short == "Retried":
            kind, data = "TaskRetryCompleted", {"success": argument == "well"}
        elif short == "Stopped":
            kind, data = "TaskPaused", {"reason": argument}
        done += {"TaskStageSucceeded": 1, "TaskStageRolledBack": -(argument in STAGES[:done])}.get(kind, 0)
        status = _STATUS.get(kind, status)
        current = argument if kind in {"TaskStageStarted", "TaskStageRollingBack"} else current
        current = None if kind in {"TaskCompleted", "TaskRolledBack"} else current
        events.append(
            {
                "eventId": f"task-1-1-{len(events) + 1}",
                "type": kind,
                "planId": 1,
                "taskId": "1-1",
                "tenantId": "acme",
                "sequenceType": "TASK",
                "sequenceId": len(events) + 1,
                "position": 2 * len(events) + 1,
                "timestamp": "2026-01-02T03:04:05.000006Z",
                "status": status,
                "currentStage": current,
                "completed": done,
                "total": len(STAGES),
                "failureInfo": {"errorCode": "STEP_FAILED", "message": "it failed"} if "Failed" in kind else None,
                "data": data,
            }
        )
    return events


@pytest.mark.parametrize("words", LEGAL.values(), ids=LEGAL.keys())
def test_what_the_specification_allows_passes(words: str) -> None:
    assert_legal_task(log(words), stages=STAGES)


@pytest.mark.parametrize("words", ILLEGAL.values(), ids=ILLEGAL.keys())
def test_what_it_does_not_allow_is_found(words: str) -> None:
    with pytest.raises(IllegalLogError):
        assert_legal_task(log(words), stages=STAGES)


def test_a_gap_and_a_double_are_found() -> None:
    events = log(COMPLETED)
    for spoilt in (events[:3] + events[4:], events[:4] + events[3:], events[1:]):
        with pytest.raises(IllegalLogError, match="sequenceId"):
            assert_legal_task(spoilt, stages=STAGES)


@pytest.mark.parametrize(
    ("number", "name", "value"),
    [
        (3, "tenantId", ""),
        (3, "planId", None),
        (3, "position", 1),
        (3, "status", "PENDING"),
        (4, "completed", 0),
        (4, "timestamp", "yesterday"),
        (4, "currentStage", "B"),
    ],
)
def test_a_wrong_field_is_found(number: int, name: str, value: object) -> None:
    events = log(COMPLETED.replace("Succeeded(A)", "TaskHeartbeat"))
    events[number][name] = value
    with pytest.raises(IllegalLogError):
        assert_legal_task(events, stages=STAGES)


def plan_event(kind: str, status: str, number: int, position: int, done: int, **data: object) -> dict[str, Any]:
    return {
        **log("TaskCreated")[0],
        "eventId": f"plan-1-{number}",
        "type": kind,
        "taskId": None,
        "tenantId": None,
        "sequenceType": "PLAN",
        "sequenceId": number,
        "position": position,
        "status": status,
        "completed": done,
        "total": 1,
        "data": data,
    }


def whole_log() -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = log(COMPLETED)
    events.insert(2, plan_event("PlanStarted", "RUNNING", 1, 4, 0, run=1))
    counts = {"COMPLETED": 1}
    events.append(plan_event("PlanProgress", "RUNNING", 2, 100, 1, completed=1, total=1, counts=counts))
    events.append(plan_event("PlanCompleted", "COMPLETED", 3, 101, 1))
    return events


def test_a_whole_log_passes() -> None:
    assert_legal_log(whole_log(), stages=STAGES)
    assert most_at_once(whole_log()) == 1


def without(events: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] != kind]


@pytest.mark.parametrize("kind", ["PlanStarted", "PlanProgress", "TaskCompleted", "TaskCreated"])
def test_a_whole_log_misses_nothing(kind: str) -> None:
    with pytest.raises(IllegalLogError):
        assert_legal_log(without(whole_log(), kind), stages=STAGES)


def test_progress_that_comes_late_is_found() -> None:
    events = whole_log()
    events[-2]["sequenceId"], events[-1]["sequenceId"] = 3, 2
    events[-2], events[-1] = events[-1], events[-2]
    with pytest.raises(IllegalLogError):
        assert_legal_log(events, stages=STAGES)
