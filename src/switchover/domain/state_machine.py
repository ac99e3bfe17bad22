"""
Every rule about a status: both transition tables, their guards and actions, and how a plan's status is derived.

The theory first. A status changes along an edge of a table, or not at all. An edge has a guard, which only reads, and
an action, which only says which fields change with the status. Neither knows the store, the clock or the engine: what
they may know is in the transition context. The machine keeps no current state; it is a lookup over a table that is
built once, when the policies are known. What a table does not list is illegal: it is refused, and costs no sequence
id, no event and no version.

A plan's status has edges too, but where a plan *settles* is not decided by anybody: it is derived from its tasks
(``settled_status``), once per run, in the commit of the task that settled last.

Source: behaviour, sections 4 and 5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from switchover.domain.plan import PlanStatus, PlanView
from switchover.domain.policies import Policies
from switchover.domain.stage import TaskRuntimeContext
from switchover.domain.task import FailureInfo, Operation, StageMark, TaskStatus, TaskView
from switchover.domain.values import quick
from switchover.errors import ErrorCode

Changes = dict[str, object]
"""Field name -> new value."""

_COMPLETE = int(StageMark.COMPLETED | StageMark.SKIPPED)
_CHECKPOINTED = int(StageMark.CHECKPOINTED)


class TransitionOutcome(StrEnum):
    """What became of an attempt."""

    DONE = "DONE"
    ILLEGAL = "ILLEGAL"  # the table has no such edge
    REFUSED = "REFUSED"  # the guard said no
    INCOMPLETE = "INCOMPLETE"  # the context lacks a part, so nothing was attempted


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTransitionContext:
    """
    What guards and actions may know, assembled for one attempt.

    Attributes:
        runtime: The running task's context, to be read only; None while nothing runs.
        lock_held: The task owns its tenant's lock.
        superseded: A later task of the tenant has started to run.
        line_stopped: The stop-line holds every task at its boundary.
        recovering: A restart picks the task up, and ``recovery`` says pause.
        failure: Why the stage, or the rollback, failed.
    """

    task: TaskView
    total_stages: int
    now: datetime
    max_concurrency: int
    max_retry: int
    lock_held: bool
    superseded: bool = False
    line_stopped: bool = False
    recovering: bool = False
    from_checkpoint: bool = True
    generation: int = 0
    failure: FailureInfo | None = None
    runtime: TaskRuntimeContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTransitionContext:
    """What a plan's guards and actions may know."""

    plan: PlanView
    now: datetime


class Transitioned(Protocol):
    """A context that carries the instant of the attempt."""

    @property
    def now(self) -> datetime:
        """When."""
        ...


Status = TypeVar("Status", bound=StrEnum)
Context = TypeVar("Context", bound=Transitioned)


def always(ctx: object) -> bool:
    """A guard that lets everything through."""
    del ctx
    return True


def nothing(ctx: object) -> Changes:
    """An action that changes the status alone."""
    del ctx
    return {}


@dataclass(frozen=True, slots=True)
class Transition(Generic[Status, Context]):
    """One edge. ``by`` says, for people, what takes it: the diagrams are drawn from it."""

    source: Status
    target: Status
    by: str
    guard: Callable[[Context], bool] = always
    action: Callable[[Context], Changes] = nothing


class StateMachine(Generic[Status, Context]):
    """A lookup over a table of transitions; it stores no current state."""

    def __init__(self, transitions: Sequence[Transition[Status, Context]]) -> None:
        self.transitions = tuple(transitions)
        self._edges: Mapping[tuple[Status, Status], Transition[Status, Context]] = {
            (edge.source, edge.target): edge for edge in self.transitions
        }
        if len(self._edges) != len(self.transitions):
            msg = "two transitions share source and target"
            raise ValueError(msg)

    def edge(self, source: Status, target: Status) -> Transition[Status, Context] | None:
        """The edge, or None when the change is illegal."""
        return self._edges.get((source, target))

    def has_edge(self, source: Status, target: Status) -> bool:
        """Whether the table lists the change at all."""
        return (source, target) in self._edges


# --- tasks ---------------------------------------------------------------------------------------------------------

TaskTransition = Transition[TaskStatus, TaskTransitionContext]
TaskStateMachine = StateMachine[TaskStatus, TaskTransitionContext]


def lock_held(ctx: TaskTransitionContext) -> bool:
    """Nobody runs without the tenant's lock."""
    return ctx.lock_held


def cancel_requested(ctx: TaskTransitionContext) -> bool:
    """A cancel waits, and there is still something to stop."""
    return ctx.task.pending_operation is Operation.CANCEL and ctx.task.next_stage is not None


def stage_failed(ctx: TaskTransitionContext) -> bool:
    """A failure is known."""
    return ctx.failure is not None


def all_restored(ctx: TaskTransitionContext) -> bool:
    """Every stage that was ever started is confirmed to be back."""
    return all(not mark & StageMark.STARTED or mark & StageMark.RESTORED for mark in ctx.task.marks)


def rollback_finished(ctx: TaskTransitionContext) -> bool:
    """Every started stage was tried, and some could not be restored."""
    return ctx.task.next_rollback_stage is None and not all_restored(ctx)


def stamp_started(ctx: TaskTransitionContext) -> Changes:
    """The first run begins."""
    return {"started_at": ctx.now, "generation": ctx.generation, "own_request": False, "pending_operation": None}


def begin_run(ctx: TaskTransitionContext) -> Changes:
    """A run goes on where a pause left it: the generation stays."""
    del ctx
    return {"pending_operation": None, "own_request": False}


def stamp_ended(ctx: TaskTransitionContext) -> Changes:
    """The task settles, and nothing is pending any more."""
    return {
        "ended_at": ctx.now,
        "pending_operation": None,
        "own_request": False,
        "held": False,
        "line_held": False,
        "retrying": False,
    }


def stamp_failed(ctx: TaskTransitionContext) -> Changes:
    """The task settles, and says why. The checkpoint stays for a retry."""
    return {**stamp_ended(ctx), "failure_info": ctx.failure}


def stamp_rolled_back(ctx: TaskTransitionContext) -> Changes:
    """The task settles; why it failed stays, unless that was an earlier rollback, which is made good now."""
    failure = ctx.task.failure_info
    if failure is not None and failure.error_code is ErrorCode.ROLLBACK_INCOMPLETE:
        failure = None
    return {**stamp_ended(ctx), "failure_info": failure}


def stamp_ended_without_checkpoint(ctx: TaskTransitionContext) -> Changes:
    """The task settles, and nothing is left to continue from."""
    return {**stamp_ended(ctx), "marks": clear_marks(ctx.task.marks, _CHECKPOINTED)}


def pause(ctx: TaskTransitionContext) -> Changes:
    """The slot goes, the lock stays. Only what the stop-line alone stopped is the start-line's to resume."""
    at_boundary = ctx.task.status is TaskStatus.RUNNING and not ctx.recovering
    line_held = at_boundary and ctx.line_stopped and ctx.task.pending_operation is not Operation.PAUSE
    return {"pending_operation": None, "own_request": False, "line_held": line_held}


def ask_to_resume(ctx: TaskTransitionContext) -> Changes:
    """Whoever held the task holds it no more."""
    del ctx
    return {"line_held": False}


def count_retry(ctx: TaskTransitionContext) -> Changes:
    """A retry counts when it starts; from scratch it forgets what was complete, not what was ever started."""
    marks = ctx.task.marks
    if ctx.from_checkpoint:
        marks = tuple([mark if mark & _CHECKPOINTED else mark & ~_COMPLETE for mark in marks])
    else:
        marks = clear_marks(marks, _COMPLETE | _CHECKPOINTED)
    return {
        "retry_count": ctx.task.retry_count + 1,
        "failure_info": None,
        "ended_at": None,
        "pending_operation": None,
        "own_request": False,
        "retrying": True,
        "marks": marks,
        "generation": ctx.generation,
    }


def begin_rollback(ctx: TaskTransitionContext) -> Changes:
    """A rollback clears the checkpoint, and tries again what an earlier one could not restore."""
    return {
        "ended_at": None,
        "pending_operation": None,
        "own_request": False,
        "held": False,
        "line_held": False,
        "retrying": False,
        "marks": clear_marks(ctx.task.marks, _CHECKPOINTED | int(StageMark.RESTORE_FAILED)),
        "generation": ctx.generation,
    }


def clear_marks(marks: tuple[int, ...], unwanted: int) -> tuple[int, ...]:
    """The marks without some of them (of ``StageMark``, as a number)."""
    keep = ~unwanted
    return tuple([mark & keep for mark in marks])


def task_state_machine(policies: Policies) -> TaskStateMachine:
    """The table of behaviour, section 4, with the policies put in."""
    status = TaskStatus

    def all_stages_done(ctx: TaskTransitionContext) -> bool:
        return policies.completion.is_completed(ctx.task, ctx.total_stages)

    def pause_requested(ctx: TaskTransitionContext) -> bool:
        if ctx.recovering:
            return True
        if ctx.task.next_stage is None:
            return False
        return ctx.line_stopped or (ctx.runtime is not None and policies.pause.should_pause(ctx.runtime))

    def retry_allowed(ctx: TaskTransitionContext) -> bool:
        allowed = ctx.task.retry_count < ctx.max_retry and ctx.lock_held and not ctx.superseded
        return allowed and policies.retry.allow_retry(ctx.task)

    def rollback_allowed(ctx: TaskTransitionContext) -> bool:
        allowed = ctx.task.previous_known and ctx.task.any_stage_started and ctx.lock_held and not ctx.superseded
        return allowed and policies.rollback.can_rollback(ctx.task)

    return TaskStateMachine(
        (
            Transition(status.CREATED, status.VALIDATING, "create"),
            Transition(status.VALIDATING, status.PENDING, "valid"),
            Transition(status.VALIDATING, status.VALIDATION_FAILED, "not valid"),
            Transition(status.PENDING, status.RUNNING, "slot", lock_held, stamp_started),
            Transition(status.PENDING, status.CANCELLED, "cancel", always, stamp_ended_without_checkpoint),
            Transition(status.RUNNING, status.PAUSED, "boundary, pause requested", pause_requested, pause),
            Transition(
                status.RUNNING,
                status.COMPLETED,
                "after the last stage",
                all_stages_done,
                stamp_ended_without_checkpoint,
            ),
            Transition(status.RUNNING, status.FAILED, "a stage failed", stage_failed, stamp_failed),
            Transition(
                status.RUNNING,
                status.CANCELLED,
                "boundary, cancel requested",
                cancel_requested,
                stamp_ended_without_checkpoint,
            ),
            Transition(
                status.RUNNING,
                status.ROLLING_BACK,
                "end of stage, rollback requested",
                rollback_allowed,
                begin_rollback,
            ),
            Transition(status.PAUSED, status.RESUMING, "resume", always, ask_to_resume),
            Transition(status.RESUMING, status.RUNNING, "slot", lock_held, begin_run),
            Transition(status.RESUMING, status.PAUSED, "pause", always, pause),
            Transition(
                status.PAUSED, status.ROLLING_BACK, "rollback requested, slot", rollback_allowed, begin_rollback
            ),
            Transition(
                status.RESUMING, status.ROLLING_BACK, "rollback requested, slot", rollback_allowed, begin_rollback
            ),
            Transition(status.PAUSED, status.CANCELLED, "cancel", always, stamp_ended_without_checkpoint),
            Transition(status.RESUMING, status.CANCELLED, "cancel", always, stamp_ended_without_checkpoint),
            Transition(status.FAILED, status.RUNNING, "retry, slot", retry_allowed, count_retry),
            Transition(status.FAILED, status.ROLLING_BACK, "rollback, slot", rollback_allowed, begin_rollback),
            Transition(status.COMPLETED, status.ROLLING_BACK, "rollback, slot", rollback_allowed, begin_rollback),
            Transition(status.CANCELLED, status.ROLLING_BACK, "rollback, slot", rollback_allowed, begin_rollback),
            Transition(status.ROLLING_BACK, status.ROLLED_BACK, "all restored", all_restored, stamp_rolled_back),
            Transition(
                status.ROLLING_BACK, status.ROLLBACK_FAILED, "not all restored", rollback_finished, stamp_failed
            ),
            Transition(
                status.ROLLBACK_FAILED, status.ROLLING_BACK, "rollback again, slot", rollback_allowed, begin_rollback
            ),
        )
    )


# --- plans ---------------------------------------------------------------------------------------------------------

PlanTransition = Transition[PlanStatus, PlanTransitionContext]
PlanStateMachine = StateMachine[PlanStatus, PlanTransitionContext]


def some_task_started(ctx: PlanTransitionContext) -> bool:
    """A resume leads back to RUNNING."""
    return ctx.plan.run > 0


def no_task_started(ctx: PlanTransitionContext) -> bool:
    """A resume leads back to READY."""
    return ctx.plan.run == 0


def nothing_runs(ctx: PlanTransitionContext) -> bool:
    """Every running task has reached its boundary."""
    return ctx.plan.count(TaskStatus.RUNNING) == 0


def settles_as(status: PlanStatus) -> Callable[[PlanTransitionContext], bool]:
    """A guard: every task is settled, and this is the status that follows."""

    def guard(ctx: PlanTransitionContext) -> bool:
        return ctx.plan.unsettled == 0 and settled_status(ctx.plan) is status

    return guard


def start_run(ctx: PlanTransitionContext) -> Changes:
    """The plan runs, for the first time or again."""
    return {"started_at": ctx.plan.started_at or ctx.now, "ended_at": None}


def plan_paused(ctx: PlanTransitionContext) -> Changes:
    """The request has taken effect."""
    del ctx
    return {"pending_operation": None}


def plan_settled(ctx: PlanTransitionContext) -> Changes:
    """Nothing is pending any more."""
    return {"ended_at": ctx.now, "pending_operation": None}


def plan_rolling_back(ctx: PlanTransitionContext) -> Changes:
    """A rollback wins over a pause."""
    del ctx
    return {"ended_at": None, "pending_operation": None}


def settled_status(plan: PlanView) -> PlanStatus:
    """
    Where a plan stands when all its tasks are settled: the first that applies.

    Source: behaviour, section 5.
    """
    count = plan.count
    if plan.status is PlanStatus.ROLLING_BACK:
        if count(TaskStatus.ROLLBACK_FAILED):
            return PlanStatus.ROLLBACK_FAILED
        if plan.touched and count(TaskStatus.ROLLED_BACK) == plan.touched:
            return PlanStatus.ROLLED_BACK
    if count(TaskStatus.COMPLETED) == plan.total:
        return PlanStatus.COMPLETED
    cancelled = count(TaskStatus.CANCELLED)
    if cancelled == plan.total or (cancelled and plan.cancelled):
        return PlanStatus.CANCELLED
    if count(TaskStatus.COMPLETED):
        return PlanStatus.PARTIAL_FAILED
    return PlanStatus.FAILED


def plan_state_machine() -> PlanStateMachine:
    """The table of behaviour, section 5."""
    status = PlanStatus
    unsettled = (status.READY, status.RUNNING, status.PAUSED, status.ROLLING_BACK)
    undoable = (
        status.RUNNING,
        status.PAUSED,
        status.COMPLETED,
        status.PARTIAL_FAILED,
        status.FAILED,
        status.CANCELLED,
        status.ROLLBACK_FAILED,
    )
    outcomes = (
        status.COMPLETED,
        status.CANCELLED,
        status.PARTIAL_FAILED,
        status.FAILED,
        status.ROLLED_BACK,
        status.ROLLBACK_FAILED,
    )
    return PlanStateMachine(
        (
            Transition(status.CREATED, status.VALIDATING, "create"),
            Transition(status.VALIDATING, status.READY, "valid"),
            Transition(status.READY, status.RUNNING, "the first task starts", always, start_run),
            Transition(status.READY, status.PAUSED, "pause", nothing_runs, plan_paused),
            Transition(
                status.RUNNING,
                status.PAUSED,
                "pause, the last running task is at a boundary",
                nothing_runs,
                plan_paused,
            ),
            Transition(status.PAUSED, status.READY, "resume, no task has started", no_task_started),
            Transition(status.PAUSED, status.RUNNING, "resume", some_task_started),
            Transition(status.PARTIAL_FAILED, status.RUNNING, "retry accepted", always, start_run),
            Transition(status.FAILED, status.RUNNING, "retry accepted", always, start_run),
            *(
                Transition(source, status.ROLLING_BACK, "rollback accepted", always, plan_rolling_back)
                for source in undoable
            ),
            *(
                Transition(source, target, "the last task settled", settles_as(target), plan_settled)
                for source in unsettled
                for target in outcomes
                if source is status.ROLLING_BACK or target not in {status.ROLLED_BACK, status.ROLLBACK_FAILED}
            ),
        )
    )
