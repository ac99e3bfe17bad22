"""
Which orders of events are legal: behaviour, section 10, as two automata that read one event after another.

They know nothing of the engine; what they read is what a subscriber gets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from switchover.domain.events import Event, EventType
from switchover.domain.task import TaskId

_T = EventType

_SETTLING = frozenset(
    {_T.TASK_COMPLETED, _T.TASK_FAILED, _T.TASK_CANCELLED, _T.TASK_ROLLED_BACK, _T.TASK_ROLLBACK_FAILED}
)
_PLAN_SETTLING = frozenset(
    {_T.PLAN_COMPLETED, _T.PLAN_FAILED, _T.PLAN_CANCELLED, _T.PLAN_ROLLED_BACK, _T.PLAN_ROLLBACK_FAILED}
)
_STATUS_AFTER = {
    _T.TASK_CREATED: {"CREATED", "PENDING"},
    _T.TASK_VALIDATED: {"PENDING"},
    _T.TASK_STARTED: {"RUNNING"},
    _T.TASK_PAUSED: {"PAUSED"},
    _T.TASK_RESUMED: {"RUNNING"},
    _T.TASK_COMPLETED: {"COMPLETED"},
    _T.TASK_FAILED: {"FAILED"},
    _T.TASK_CANCELLED: {"CANCELLED"},
    _T.TASK_STAGE_STARTED: {"RUNNING"},
    _T.TASK_STAGE_SUCCEEDED: {"RUNNING"},
    _T.TASK_STAGE_FAILED: {"RUNNING"},
    _T.TASK_RETRY_STARTED: {"RUNNING"},
    _T.TASK_RETRY_COMPLETED: {"COMPLETED", "FAILED", "CANCELLED", "RUNNING", "PAUSED", "RESUMING"},
    _T.TASK_ROLLING_BACK: {"ROLLING_BACK"},
    _T.TASK_ROLLED_BACK: {"ROLLED_BACK"},
    _T.TASK_ROLLBACK_FAILED: {"ROLLBACK_FAILED"},
    _T.TASK_STAGE_ROLLING_BACK: {"ROLLING_BACK"},
    _T.TASK_STAGE_ROLLED_BACK: {"ROLLING_BACK"},
    _T.TASK_STAGE_ROLLBACK_FAILED: {"ROLLING_BACK"},
    _T.TASK_HEARTBEAT: {"RUNNING", "ROLLING_BACK"},
}


class IllegalOrderError(AssertionError):
    """An event came where it must not."""


@dataclass(slots=True)
class TaskGrammar:
    """
    The life of one task, as its events tell it.

    Attributes:
        at: Where it stands: new, created, pending, boundary, stage, stage failed, paused, failed, completed, cancelled,
            back (between two stages of a rollback), restoring, rolled back, rollback failed.
        stages: In stage order, as the catalogue has them.
        complete: Stages that are complete in the present run.
        runs: How many generations the events account for.
    """

    task_id: TaskId
    stages: Sequence[str]
    at: str = "new"
    stage: str | None = None
    sequence_id: int = 0
    complete: list[str] = field(default_factory=list[str])
    started: set[str] = field(default_factory=set[str])
    restored: set[str] = field(default_factory=set[str])
    tried: set[str] = field(default_factory=set[str])
    restored_now: list[str] = field(default_factory=list[str])
    retrying: bool = False
    owes_retry_completed: bool = False
    retries: int = 0
    runs: int = 0
    heartbeat_after: datetime | None = None
    seen: list[EventType] = field(default_factory=list[EventType])

    def read(self, event: Event) -> None:  # noqa: C901, PLR0912, PLR0915  # one case for each type of event
        """Take the next event of the task; raises when it must not come here."""
        kind = event.type
        self.seen.append(kind)
        self.sequence_id += 1
        self._demand(event.sequence_id == self.sequence_id, event, f"number {self.sequence_id} comes next")
        self._demand(event.status in _STATUS_AFTER[kind], event, f"status must be {_STATUS_AFTER[kind]}")
        self._demand(event.total == len(self.stages), event, f"{len(self.stages)} stages")
        if self.owes_retry_completed:
            self._demand(kind is _T.TASK_RETRY_COMPLETED, event, "TaskRetryCompleted comes at once")
        if kind is not _T.TASK_HEARTBEAT and kind is not _T.TASK_RETRY_COMPLETED:
            self.heartbeat_after = event.timestamp if self._begins_run(event) else self.heartbeat_after
        data = event.data
        name = str(data["stage"]) if "stage" in data else ""
        match kind:
            case _T.TASK_CREATED:
                self._go(event, {"new"}, "created")
            case _T.TASK_VALIDATED:
                self._go(event, {"created"}, "pending")
            case _T.TASK_STARTED:
                self._go(event, {"pending"}, "boundary")
                self.runs += 1
            case _T.TASK_RETRY_STARTED:
                self._go(event, {"failed"}, "boundary")
                self.runs += 1
                self.retries += 1
                self.retrying = True
                if not data["fromCheckpoint"]:
                    self.complete.clear()
            case _T.TASK_RESUMED:
                self._go(event, {"paused"}, "boundary")
            case _T.TASK_STAGE_STARTED if data.get("recovered"):
                self._go(event, {"stage"}, "stage")
                self._demand(name == self.stage, event, f"{self.stage} was interrupted")
                self.runs += 1
            case _T.TASK_STAGE_STARTED:
                self._go(event, {"boundary"}, "stage")
                self._next_stage(event, name)
                self.stage = name
                self.started.add(name)
            case _T.TASK_STAGE_SUCCEEDED if data.get("skipped"):
                self._go(event, {"boundary"}, "boundary")
                self._next_stage(event, name)
                self.complete.append(name)
            case _T.TASK_STAGE_SUCCEEDED:
                self._go(event, {"stage"}, "boundary")
                self._demand(name == self.stage, event, f"{self.stage} runs")
                self.complete.append(name)
            case _T.TASK_STAGE_FAILED:
                self._go(event, {"stage"}, "stage failed")
                self._demand(name == self.stage, event, f"{self.stage} runs")
                self._demand(event.failure_info is not None, event, "it says why")
            case _T.TASK_PAUSED:
                self._go(event, {"stage"} if data.get("reason") == "restart" else {"boundary"}, "paused")
                self._demand(len(self.complete) < len(self.stages), event, "stages remain")
            case _T.TASK_COMPLETED:
                self._go(event, {"boundary"}, "completed")
                self._demand(self.complete == list(self.stages), event, "every stage is complete, in order")
                self._end_retry()
            case _T.TASK_FAILED:
                self._go(event, {"stage failed"}, "failed")
                self._demand(event.failure_info is not None, event, "it says why")
                self._end_retry()
            case _T.TASK_CANCELLED:
                self._go(event, {"pending", "boundary", "paused"}, "cancelled")
                self._end_retry()
            case _T.TASK_RETRY_COMPLETED:
                self._demand(self.retrying, event, "a retry has started")
                settled = self.owes_retry_completed
                before_rollback = self.at in {"boundary", "stage failed", "paused"}
                self._demand(settled or before_rollback, event, "it ends a run")
                if settled:
                    self._demand(data["success"] == (self.at == "completed"), event, "it tells how the run ended")
                self.owes_retry_completed = self.retrying = False
            case _T.TASK_ROLLING_BACK:
                self._demand(not self.retrying, event, "TaskRetryCompleted comes before")
                sources = {"boundary", "stage failed", "paused", "failed", "completed", "cancelled", "rollback failed"}
                self._go(event, sources, "back")
                self.runs += 1
                self.tried.clear()
                self.restored_now.clear()
                self._demand(bool(self.started), event, "some stage was started")
            case _T.TASK_STAGE_ROLLING_BACK if data.get("recovered"):
                self._go(event, {"restoring"}, "restoring")
                self._demand(name == self.stage, event, f"{self.stage} was interrupted")
                self.runs += 1
            case _T.TASK_STAGE_ROLLING_BACK:
                self._go(event, {"back"}, "restoring")
                self._demand(name == self._next_restore(), event, f"{self._next_restore()} is restored next")
                self.stage = name
                self.tried.add(name)
            case _T.TASK_STAGE_ROLLED_BACK:
                self._go(event, {"restoring"}, "back")
                self._demand(name == self.stage, event, f"{self.stage} is restored")
                self.restored.add(name)
            case _T.TASK_STAGE_ROLLBACK_FAILED:
                self._go(event, {"restoring"}, "back")
                self._demand(name == self.stage, event, f"{self.stage} is restored")
            case _T.TASK_ROLLED_BACK:
                self._go(event, {"back"}, "rolled back")
                self._demand(self.restored == self.started, event, "every started stage is restored")
            case _T.TASK_ROLLBACK_FAILED:
                self._go(event, {"back"}, "rollback failed")
                self._demand(self._next_restore() is None, event, "every started stage was tried")
                self._demand(self.restored != self.started, event, "some stage is not restored")
            case _T.TASK_HEARTBEAT:
                self._demand(self.at in {"stage", "restoring"}, event, "only what runs beats")
                if self.heartbeat_after is not None:
                    since = (event.timestamp - self.heartbeat_after).total_seconds()
                    self._demand(since >= 9.999, event, f"10 s after the run began, not {since}")
            case _:
                self._demand(False, event, "it is no event of a task")
        completed = len([name for name in self.complete if name not in self.restored])
        if kind is not _T.TASK_RETRY_COMPLETED:
            self._demand(event.completed == completed, event, f"{completed} stages are complete")

    def rest(self) -> None:
        """Nothing is owed: what must come in one commit has come."""
        if self.at in {"new", "created", "boundary", "stage failed", "back"} or self.owes_retry_completed:
            message = f"task {self.task_id} stands at {self.at!r}, where no commit may end: {self._history()}"
            raise IllegalOrderError(message)

    def _begins_run(self, event: Event) -> bool:
        recovered = bool(event.data.get("recovered"))
        begins = {_T.TASK_STARTED, _T.TASK_RETRY_STARTED, _T.TASK_RESUMED, _T.TASK_ROLLING_BACK}
        # A rollback that follows a run at once goes on in the same run; its heartbeats go on, too.
        return (
            recovered
            or (event.type in begins and self.at not in {"boundary", "stage failed", "failed"})
            or (event.type in {_T.TASK_STARTED, _T.TASK_RETRY_STARTED})
        )

    def _next_stage(self, event: Event, name: str) -> None:
        expected = self.stages[len(self.complete)] if len(self.complete) < len(self.stages) else None
        self._demand(name == expected, event, f"{expected} comes next, {self.complete} are complete")

    def _next_restore(self) -> str | None:
        for name in reversed(self.stages):
            if name in self.started and name not in self.restored and name not in self.tried:
                return name
        return None

    def _end_retry(self) -> None:
        self.owes_retry_completed = self.retrying

    def _go(self, event: Event, sources: set[str], target: str) -> None:
        self._demand(self.at in sources, event, f"the task must be at one of {sorted(sources)}")
        self.at = target

    def _demand(self, fact: bool, event: Event, what: str) -> None:
        if not fact:
            message = (
                f"task {self.task_id} at {self.at!r}: {event.type} (number {event.sequence_id}, {event.status}, "
                f"{event.completed}/{event.total}, {dict(event.data)}) must not come here: {what}; "
                f"{self._history()}"
            )
            raise IllegalOrderError(message)

    def _history(self) -> str:
        return " ".join(str(kind).removeprefix("Task") for kind in self.seen)


@dataclass(slots=True)
class PlanGrammar:
    """
    The life of a plan and of its tasks, as the plan's events tell it.

    Attributes:
        settled: The plan's last run has ended.
        owes_progress: A task has settled, and PlanProgress has not come yet.
        rolling_back: The present run is a rollback.
    """

    plan_id: int
    total: int
    stages: dict[int, Sequence[str]]
    sequence_id: int = 0
    position: int = 0
    run: int = 0
    settled: bool = False
    paused: bool = False
    rolling_back: bool = False
    owes_progress: int | None = None
    settled_runs: int = 0
    tasks: dict[int, TaskGrammar] = field(default_factory=dict[int, TaskGrammar])
    last_plan_event: EventType | None = None

    def read(self, event: Event) -> None:
        """Take the next event of the plan or of one of its tasks."""
        self.position += 1
        self._demand(event.position == self.position, event, f"position {self.position} comes next")
        self._demand(event.plan_id == self.plan_id, event, "it belongs to another plan")
        if event.key is None:
            self._read_plan(event)
            return
        ordinal = event.key.ordinal
        task = self.tasks.get(ordinal)
        if task is None:
            task = self.tasks[ordinal] = TaskGrammar(event.key.task_id, self.stages[ordinal])
        self._demand(bool(event.tenant_id), event, "a task event names its tenant")
        if self.owes_progress is not None:
            # TaskRetryCompleted comes between; an automatic or pending rollback goes on instead of settling.
            goes_on = event.type in {_T.TASK_RETRY_COMPLETED, _T.TASK_ROLLING_BACK}
            self._demand(goes_on and self.owes_progress == ordinal, event, "PlanProgress comes first")
            if event.type is _T.TASK_ROLLING_BACK:
                self.owes_progress = None
        task.read(event)
        if event.type in _SETTLING:
            self.owes_progress = ordinal
        if event.type is _T.TASK_STARTED:
            self._demand(self.run > 0, event, "PlanStarted comes before")

    def rest(self) -> None:
        """No commit is half told."""
        if self.owes_progress is not None:
            message = f"plan {self.plan_id} owes PlanProgress for task {self.owes_progress}"
            raise IllegalOrderError(message)
        for task in self.tasks.values():
            task.rest()

    def _read_plan(self, event: Event) -> None:
        kind = event.type
        self.sequence_id += 1
        self._demand(event.sequence_id == self.sequence_id, event, f"number {self.sequence_id} comes next")
        self._demand(event.total == self.total, event, f"{self.total} tasks")
        if self.owes_progress is not None:
            self._demand(kind is _T.PLAN_PROGRESS, event, "PlanProgress comes first")
        match kind:
            case _T.PLAN_STARTED:
                self.run += 1
                self._demand(event.data.get("run") == self.run, event, f"run {self.run} begins")
                self._demand(self.run == 1 or self.settled, event, "the run before has settled")
                self.settled = self.rolling_back = False
            case _T.PLAN_PAUSED:
                self._demand(not self.settled and not self.paused and not self.rolling_back, event, "it may run")
                self.paused = True
            case _T.PLAN_RESUMED:
                self._demand(self.paused and not self.settled, event, "it is paused")
                self.paused = False
            case _T.PLAN_ROLLING_BACK:
                self._demand(not self.rolling_back or self.settled, event, "it does not roll back already")
                self.rolling_back = True
                self.settled = self.paused = False
            case _T.PLAN_PROGRESS:
                self.owes_progress = None
                counts = event.data["counts"]
                assert isinstance(counts, dict)
                self._demand(sum(counts.values()) == self.total, event, "the counts add up")
                self._demand(counts.get("COMPLETED", 0) == event.completed, event, "completed agrees")
            case _ if kind in _PLAN_SETTLING:
                self._demand(not self.settled, event, "a run settles once")
                self._demand(self.last_plan_event is _T.PLAN_PROGRESS, event, "PlanProgress comes right before")
                back = {_T.PLAN_ROLLED_BACK, _T.PLAN_ROLLBACK_FAILED}
                self._demand(self.rolling_back or kind not in back, event, "only a rollback ends so")
                self.settled = True
                self.paused = False
                self.settled_runs += 1
            case _:
                self._demand(False, event, "it is no event of a plan")
        self.last_plan_event = kind

    def _demand(self, fact: bool, event: Event, what: str) -> None:
        if not fact:
            message = f"plan {self.plan_id}: {event.type} at position {event.position} must not come here: {what}"
            raise IllegalOrderError(message)
