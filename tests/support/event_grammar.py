"""
Is this event log one that Switchover may write?

Written from the specification (behaviour, section 10, and the state tables of sections 4 and 5), not from the engine:
``assert_legal_task`` walks the events of one task, ``assert_legal_plan`` the plan's own, and ``assert_legal_log`` a
whole log with what must hold between them. Events are ``Event`` objects or in their wire form (``events -o jsonl``).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from switchover import Event

WireEvent = Mapping[str, Any]

TASK_SETTLES = frozenset({"TaskCompleted", "TaskFailed", "TaskCancelled", "TaskRolledBack", "TaskRollbackFailed"})
PLAN_SETTLES = frozenset({"PlanCompleted", "PlanFailed", "PlanCancelled", "PlanRolledBack", "PlanRollbackFailed"})

_SETTLED = ("COMPLETED", "FAILED", "CANCELLED", "ROLLED_BACK", "ROLLBACK_FAILED")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|\+00:00)")
_FAILING = frozenset(
    {
        "TaskFailed",
        "TaskStageFailed",
        "TaskStageRollbackFailed",
        "TaskRollbackFailed",
        "PlanFailed",
        "PlanRollbackFailed",
    }
)


class IllegalLogError(AssertionError):
    """The log is not one that may be; the message shows where, and what came before."""


def wire(events: Iterable[Event | WireEvent]) -> list[WireEvent]:
    """The wire form of each."""
    return [event.to_dict() if isinstance(event, Event) else event for event in events]


def assert_legal_log(events: Iterable[Event | WireEvent], *, stages: Sequence[str] | None = None) -> None:
    """
    A plan's whole log, its tasks' events included, from the first position on.

    Args:
        stages: Names of every task's stages, in order; None: taken from the order in which they first appear.
    """
    log = wire(events)
    _demand(bool(log), "the log is empty", log, 0)
    for number, event in enumerate(log[1:], start=1):
        _demand(event["position"] > log[number - 1]["position"], "position does not rise", log, number)
    doubles = [event_id for event_id, count in Counter(event["eventId"] for event in log).items() if count > 1]
    _demand(not doubles, f"eventIds come twice: {doubles[:5]}", log, 0)
    _demand(len({event["planId"] for event in log}) == 1, "more than one plan", log, 0)
    tasks: dict[str, list[WireEvent]] = {}
    plan: list[WireEvent] = []
    for event in log:
        (plan if event["taskId"] is None else tasks.setdefault(event["taskId"], [])).append(event)
    for of_task in tasks.values():
        assert_legal_task(of_task, stages=stages)
    assert_legal_plan(plan)
    _assert_progress_follows(log)
    _assert_counts(log)


def assert_legal_task(
    events: Iterable[Event | WireEvent], *, stages: Sequence[str] | None = None, max_retry: int = 3
) -> None:
    """The events of one task, from its first on."""
    log = wire(events)
    task = _Task(log, None if stages is None else list(stages), max_retry)
    _demand(bool(log), "the task has no events", log, 0)
    for number, event in enumerate(log):
        task.number = number
        task.check_head(event)
        handler = _TASK_RULES.get(event["type"])
        task.demand(handler is not None, f"{event['type']} is no event of a task")
        assert handler is not None
        handler(task, event)
        task.check_state(event)


def assert_legal_plan(events: Iterable[Event | WireEvent]) -> None:
    """The events of the plan itself, from its first on."""
    log = wire(events)
    plan = _Plan(log)
    for number, event in enumerate(log):
        plan.number = number
        plan.check(event)


def most_at_once(events: Iterable[Event | WireEvent]) -> int:
    """The highest number of tasks that were RUNNING or ROLLING_BACK at the same time."""
    running: set[str] = set()
    most = 0
    for event in wire(events):
        if event["taskId"] is None:
            continue
        if event["status"] in {"RUNNING", "ROLLING_BACK"}:
            running.add(event["taskId"])
        else:
            running.discard(event["taskId"])
        most = max(most, len(running))
    return most


def _demand(holds: bool, what: str, log: Sequence[WireEvent], number: int) -> None:
    if holds:
        return
    around = [
        f"{'>>' if index == number else '  '} {event['position']:>6} #{event['sequenceId']:<3} {event['type']:<24}"
        f"{event.get('taskId') or 'plan':<10}{event['status']:<16}{event['currentStage'] or '-':<10}{event['data']}"
        for index, event in enumerate(log[: number + 3])
        if index > number - 12
    ]
    raise IllegalLogError("\n".join([what, *around]))


# --- one task -----------------------------------------------------------------------------------------------------


@dataclass
class _Task:
    """
    What the events so far allow.

    ``status`` is that of the state table; ``open`` the stage that runs or is being restored; ``failed`` says that a
    stage has just failed, which ends the run; ``done`` are the complete stages, ``started`` what a rollback must touch.
    """

    log: Sequence[WireEvent]
    stages: list[str] | None
    max_retry: int
    number: int = 0
    status: str = "NEW"
    open: str | None = None
    failed: bool = False
    done: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    restored: set[str] = field(default_factory=set)
    to_restore: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    retries: int = 0
    retry_open: bool = False
    validated: bool = False

    def demand(self, holds: bool, what: str) -> None:
        _demand(holds, what, self.log, self.number)

    def check_head(self, event: WireEvent) -> None:
        first = self.log[0]
        for name in ("planId", "taskId", "tenantId", "total"):
            self.demand(bool(event[name]) and event[name] == first[name], f"{name} is not that of the first event")
        self.demand(event["sequenceType"] == "TASK", "sequenceType is not TASK")
        self.demand(event["sequenceId"] == self.number + 1, f"sequenceId is not {self.number + 1}")
        _check_shape(self.demand, event)
        if self.number:
            self.demand(event["position"] > self.log[self.number - 1]["position"], "position does not rise")
        if self.failed:
            self.demand(
                event["type"] in {"TaskFailed", "TaskRollingBack", "TaskRetryCompleted"}, "a failed stage ends the run"
            )
        if self.retry_open and self.status not in {"RUNNING", "PAUSED"}:
            self.demand(event["type"] == "TaskRetryCompleted", "what ends a retry is followed by TaskRetryCompleted")

    def check_state(self, event: WireEvent) -> None:
        self.demand(event["status"] == self.status, f"status is not {self.status}")
        complete = len(set(self.done) - self.restored)
        self.demand(event["completed"] == complete, f"completed is not {complete}")
        if self.stages is not None:
            self.demand(event["total"] == len(self.stages), f"total is not {len(self.stages)}")
        if self.open is not None:
            self.demand(event["currentStage"] == self.open, f"currentStage is not {self.open}")
        if self.status in {"COMPLETED", "ROLLED_BACK"}:
            self.demand(event["currentStage"] is None, "currentStage is not null")

    def stage_of(self, event: WireEvent) -> str:
        stage = event["data"].get("stage")
        self.demand(isinstance(stage, str) and bool(stage), "data names no stage")
        if self.stages is not None:
            self.demand(stage in self.stages, f"{stage} is no stage of this task")
        return str(stage)

    def expect_next(self, stage: str) -> None:
        """``stage`` must be the one after the last complete one."""
        self.demand(stage not in self.done, f"{stage} is complete already")
        if self.stages is not None:
            self.demand(stage == self.stages[len(self.done)], f"it is the turn of {self.stages[len(self.done)]}")

    def at_boundary(self, event: WireEvent) -> None:
        self.demand(self.open is None, f"{self.open} still runs")
        self.demand(len(self.done) < event["total"], "no stage remains")
        self.demand(self.log[self.number - 1]["type"] in {"TaskStageSucceeded", "TaskHeartbeat"}, "this is no boundary")

    # Rules, one for each type

    def created(self, event: WireEvent) -> None:
        self.demand(self.status == "NEW", "created twice")
        self.status = event["status"] if event["status"] in {"CREATED", "VALIDATING", "PENDING"} else "CREATED"

    def is_validated(self, event: WireEvent) -> None:
        self.demand(self.number == 1, "TaskValidated is not the second event")
        self.validated = True
        self.status = "PENDING"

    def begins(self, event: WireEvent) -> None:
        self.demand(self.status == "PENDING" and self.validated, "only a PENDING task starts")
        self.status = "RUNNING"

    def stage_started(self, event: WireEvent) -> None:
        stage = self.stage_of(event)
        self.demand(self.status == "RUNNING", "a stage starts in a task that does not run")
        if event["data"].get("recovered"):
            self.demand(self.open == stage, "only the interrupted stage is recovered")
        else:
            self.demand(self.open is None, f"{self.open} still runs")
        self.expect_next(stage)
        self.open = stage
        if stage not in self.started:
            self.started.append(stage)

    def stage_succeeded(self, event: WireEvent) -> None:
        stage = self.stage_of(event)
        self.demand(self.status == "RUNNING", "a stage succeeds in a task that does not run")
        if event["data"].get("skipped"):
            self.demand(self.open is None, "a skipped stage was never started")
            self.expect_next(stage)
        else:
            self.demand(self.open == stage, "a stage succeeds that does not run")
        self.open = None
        self.done.append(stage)

    def stage_failed(self, event: WireEvent) -> None:
        self.demand(self.status == "RUNNING" and self.open == self.stage_of(event), "a stage fails that does not run")
        self.open = None
        self.failed = True

    def paused(self, event: WireEvent) -> None:
        self.demand(self.status == "RUNNING", "only a RUNNING task pauses")
        if event["data"].get("reason") == "restart":
            self.open = None
        else:
            self.at_boundary(event)
        self.status = "PAUSED"

    def resumed(self, event: WireEvent) -> None:
        self.demand(self.status == "PAUSED", "only a PAUSED task resumes")
        self.status = "RUNNING"

    def completes(self, event: WireEvent) -> None:
        self.demand(self.status == "RUNNING" and self.open is None, "it does not run, or a stage still does")
        self.demand(len(self.done) == event["total"], "a stage is missing")
        self.status = "COMPLETED"

    def fails(self, event: WireEvent) -> None:
        self.demand(self.status == "RUNNING" and self.failed, "TaskFailed without a failed stage")
        self.failed = False
        self.status = "FAILED"

    def cancelled(self, event: WireEvent) -> None:
        self.demand(self.status in {"PENDING", "PAUSED", "RUNNING"}, "nothing to cancel")
        if self.status == "RUNNING":
            self.at_boundary(event)
        self.status = "CANCELLED"

    def retry_starts(self, event: WireEvent) -> None:
        self.demand(self.status == "FAILED", "only a FAILED task is retried")
        self.retries += 1
        self.demand(self.retries <= self.max_retry, f"more than {self.max_retry} retries")
        from_checkpoint = event["data"].get("fromCheckpoint")
        self.demand(isinstance(from_checkpoint, bool), "data does not say fromCheckpoint")
        if not from_checkpoint:
            self.done.clear()
        self.retry_open = True
        self.status = "RUNNING"

    def retry_completes(self, event: WireEvent) -> None:
        self.demand(self.retry_open, "no retry is open")
        ended_well = self.status == "COMPLETED"
        self.demand(event["data"].get("success") is ended_well, f"success is not {ended_well}")
        if self.status in {"RUNNING", "PAUSED"}:
            following = self.log[self.number + 1]["type"] if self.number + 1 < len(self.log) else "nothing"
            self.demand(following == "TaskRollingBack", "the retry has not ended, and no rollback begins")
        self.retry_open = False

    def rolls_back(self, event: WireEvent) -> None:
        allowed = {"RUNNING", "PAUSED", "FAILED", "COMPLETED", "CANCELLED", "ROLLBACK_FAILED"}
        self.demand(self.status in allowed, f"no rollback out of {self.status}")
        self.demand(self.open is None, f"{self.open} still runs")
        self.demand(not self.retry_open, "TaskRetryCompleted comes before")
        self.demand(bool(self.started), "no stage was ever started")
        self.failed = False
        self.broken.clear()
        in_order = self.stages if self.stages is not None else self.started
        self.to_restore = [stage for stage in in_order if stage in self.started and stage not in self.restored]
        self.status = "ROLLING_BACK"

    def stage_rolls_back(self, event: WireEvent) -> None:
        stage = self.stage_of(event)
        self.demand(self.status == "ROLLING_BACK", "the task does not roll back")
        if event["data"].get("recovered"):
            self.demand(self.open == stage, "only the interrupted stage is recovered")
            return
        self.demand(self.open is None, f"{self.open} is still being restored")
        self.demand(bool(self.to_restore), "every stage that was started has had its turn")
        self.demand(stage == self.to_restore[-1], f"it is the turn of {self.to_restore[-1:]}, in reverse order")
        self.open = self.to_restore.pop()

    def stage_rolled_back(self, event: WireEvent) -> None:
        stage = self.stage_of(event)
        self.demand(self.status == "ROLLING_BACK" and self.open == stage, f"{stage} is not being restored")
        self.open = None
        self.restored.add(stage)

    def stage_stays(self, event: WireEvent) -> None:
        stage = self.stage_of(event)
        self.demand(self.status == "ROLLING_BACK" and self.open == stage, f"{stage} is not being restored")
        self.open = None
        self.broken.add(stage)

    def rolled_back(self, event: WireEvent) -> None:
        self._rollback_over()
        self.demand(not self.broken, f"not restored: {self.broken}")
        self.status = "ROLLED_BACK"

    def stays(self, event: WireEvent) -> None:
        self._rollback_over()
        self.demand(bool(self.broken), "every stage was restored")
        self.status = "ROLLBACK_FAILED"

    def _rollback_over(self) -> None:
        self.demand(self.status == "ROLLING_BACK" and self.open is None, "no rollback runs, or a stage's still does")
        self.demand(not self.to_restore, f"these have not had their turn: {self.to_restore}")

    def heartbeat(self, event: WireEvent) -> None:
        self.demand(self.status in {"RUNNING", "ROLLING_BACK"}, "a heartbeat of a task that does not run")


_TASK_RULES: Mapping[str, Callable[[_Task, WireEvent], None]] = {
    "TaskCreated": _Task.created,
    "TaskValidated": _Task.is_validated,
    "TaskStarted": _Task.begins,
    "TaskStageStarted": _Task.stage_started,
    "TaskStageSucceeded": _Task.stage_succeeded,
    "TaskStageFailed": _Task.stage_failed,
    "TaskPaused": _Task.paused,
    "TaskResumed": _Task.resumed,
    "TaskCompleted": _Task.completes,
    "TaskFailed": _Task.fails,
    "TaskCancelled": _Task.cancelled,
    "TaskRetryStarted": _Task.retry_starts,
    "TaskRetryCompleted": _Task.retry_completes,
    "TaskRollingBack": _Task.rolls_back,
    "TaskStageRollingBack": _Task.stage_rolls_back,
    "TaskStageRolledBack": _Task.stage_rolled_back,
    "TaskStageRollbackFailed": _Task.stage_stays,
    "TaskRolledBack": _Task.rolled_back,
    "TaskRollbackFailed": _Task.stays,
    "TaskHeartbeat": _Task.heartbeat,
}


# --- the plan -----------------------------------------------------------------------------------------------------


@dataclass
class _Plan:
    """``status`` is that of the plan's state table; ``run`` how often it was started."""

    log: Sequence[WireEvent]
    number: int = 0
    status: str = "READY"
    run: int = 0
    settled: bool = False

    def demand(self, holds: bool, what: str) -> None:
        _demand(holds, what, self.log, self.number)

    def check(self, event: WireEvent) -> None:
        kind, status = event["type"], event["status"]
        self.demand(event["taskId"] is None and event["tenantId"] is None, "a plan event names a task")
        self.demand(event["sequenceType"] == "PLAN", "sequenceType is not PLAN")
        self.demand(event["sequenceId"] == self.number + 1, f"sequenceId is not {self.number + 1}")
        _check_shape(self.demand, event)
        if kind == "PlanStarted":
            self.run += 1
            self.demand(event["data"].get("run") == self.run, f"run is not {self.run}")
            self.demand(
                self.status in {"READY", "PAUSED"} if self.run == 1 else self.status in {"PARTIAL_FAILED", "FAILED"},
                f"no start out of {self.status}",
            )
            self.settled = False
        elif kind == "PlanPaused":
            self.demand(status == "PAUSED" and not self.settled, "PlanPaused, and the plan is not PAUSED")
        elif kind == "PlanResumed":
            self.demand(status in {"READY", "RUNNING"} and not self.settled, "PlanResumed, and it is not")
        elif kind == "PlanRollingBack":
            self.demand(status == "ROLLING_BACK" and self.status != "ROLLED_BACK", "no rollback here")
            self.settled = False
        elif kind == "PlanProgress":
            self._progress(event)
        elif kind in PLAN_SETTLES:
            self._settles(event)
        else:
            self.demand(False, f"{kind} is no event of a plan")
        self.status = status

    def _progress(self, event: WireEvent) -> None:
        data = event["data"]
        counts = data.get("counts", {})
        self.demand(not self.settled, "progress of a settled plan")
        self.demand(sum(counts.values()) == event["total"] == data.get("total"), "counts do not add up to total")
        self.demand(counts.get("COMPLETED", 0) == event["completed"] == data.get("completed"), "completed is wrong")

    def _settles(self, event: WireEvent) -> None:
        self.demand(not self.settled, "the plan settles twice in one run")
        self.demand(self.number > 0 and self.log[self.number - 1]["type"] == "PlanProgress", "no PlanProgress before")
        expected = {
            "PlanCompleted": {"COMPLETED"},
            "PlanFailed": {"PARTIAL_FAILED", "FAILED"},
            "PlanCancelled": {"CANCELLED"},
            "PlanRolledBack": {"ROLLED_BACK"},
            "PlanRollbackFailed": {"ROLLBACK_FAILED"},
        }[event["type"]]
        self.demand(event["status"] in expected, f"status is none of {expected}")
        self.settled = True


# --- both ---------------------------------------------------------------------------------------------------------


def _check_shape(demand: Callable[[bool, str], None], event: WireEvent) -> None:
    demand(_TIMESTAMP.fullmatch(event["timestamp"]) is not None, "timestamp is not UTC with microseconds")
    demand(0 <= event["completed"] <= event["total"], "completed is not within total")
    if event["type"] in _FAILING:
        failure = event["failureInfo"]
        demand(failure is not None and bool(failure["errorCode"]) and bool(failure["message"]), "no failureInfo")


def _assert_progress_follows(log: Sequence[WireEvent]) -> None:
    """Settling event, TaskRetryCompleted, PlanProgress, the plan's settling event: in one commit, in this order."""
    for number, event in enumerate(log):
        if event["type"] not in TASK_SETTLES:
            continue
        after = number + 1
        if after < len(log) and log[after]["type"] == "TaskRetryCompleted":
            _demand(log[after]["taskId"] == event["taskId"], "TaskRetryCompleted of another task", log, after)
            after += 1
        following = log[after]["type"] if after < len(log) else "nothing"
        if event["type"] == "TaskFailed" and following == "TaskRollingBack":
            continue  # `onFailure: auto`: in the commit that failed it, so it has not settled
        _demand(
            following == "PlanProgress", f"a settled task is followed by {following}, not PlanProgress", log, number
        )


def _assert_counts(log: Sequence[WireEvent]) -> None:
    """Every PlanProgress counts as many settled tasks of each kind as the events before it tell of."""
    statuses: dict[str, str] = {}
    for number, event in enumerate(log):
        if event["taskId"] is not None:
            statuses[event["taskId"]] = event["status"]
        elif event["type"] == "PlanProgress":
            told = Counter(statuses.values())
            counted = event["data"]["counts"]
            for status in _SETTLED:
                what = f"{counted.get(status, 0)} tasks counted as {status}, {told[status]} told of"
                _demand(counted.get(status, 0) == told[status], what, log, number)
