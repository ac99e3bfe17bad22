"""
What an operator may ask in which status: the table of behaviour, section 7, and the decision that follows from it.

The table is the truth for the code, for the test that walks every status and every verb, and for the page in the docs
that is printed from it. Deciding changes nothing; the engine carries out what the verdict says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, TaskStatus, TaskView
from switchover.errors import ErrorCode


class Rule(StrEnum):
    """A cell of the table; the value is what the docs print."""

    REFUSED = "-"
    SAME = "same"
    HOLD = "held, at once"
    RELEASE = "if held"
    AT_BOUNDARY = "boundary"
    WITHDRAW_PAUSE = "withdraws a pending pause, else -"
    WITHDRAW_RETRY = "withdraws a pending retry, else -"
    END_OF_STAGE = "end of stage"
    AT_ONCE = "at once"
    WHEN_ALLOWED = "yes"


_PAUSE, _RESUME, _CANCEL, _RETRY, _ROLLBACK = (
    Operation.PAUSE,
    Operation.RESUME,
    Operation.CANCEL,
    Operation.RETRY,
    Operation.ROLLBACK,
)


def _row(pause: Rule, resume: Rule, cancel: Rule, retry: Rule, rollback: Rule) -> Mapping[Operation, Rule]:
    return {_PAUSE: pause, _RESUME: resume, _CANCEL: cancel, _RETRY: retry, _ROLLBACK: rollback}


_NONE = _row(Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.REFUSED)

VERB_TABLE: Mapping[TaskStatus, Mapping[Operation, Rule]] = {
    TaskStatus.CREATED: _NONE,
    TaskStatus.VALIDATING: _NONE,
    TaskStatus.VALIDATION_FAILED: _NONE,
    TaskStatus.PENDING: _row(Rule.HOLD, Rule.RELEASE, Rule.AT_ONCE, Rule.REFUSED, Rule.REFUSED),
    TaskStatus.RUNNING: _row(Rule.AT_BOUNDARY, Rule.WITHDRAW_PAUSE, Rule.AT_BOUNDARY, Rule.REFUSED, Rule.END_OF_STAGE),
    TaskStatus.PAUSED: _row(Rule.SAME, Rule.WHEN_ALLOWED, Rule.AT_ONCE, Rule.REFUSED, Rule.WHEN_ALLOWED),
    TaskStatus.RESUMING: _row(Rule.AT_ONCE, Rule.SAME, Rule.AT_ONCE, Rule.REFUSED, Rule.WHEN_ALLOWED),
    TaskStatus.FAILED: _row(Rule.REFUSED, Rule.REFUSED, Rule.WITHDRAW_RETRY, Rule.WHEN_ALLOWED, Rule.WHEN_ALLOWED),
    TaskStatus.COMPLETED: _row(Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.WHEN_ALLOWED),
    TaskStatus.ROLLBACK_FAILED: _row(Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.WHEN_ALLOWED),
    TaskStatus.CANCELLED: _row(Rule.REFUSED, Rule.REFUSED, Rule.SAME, Rule.REFUSED, Rule.WHEN_ALLOWED),
    TaskStatus.ROLLING_BACK: _row(Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.SAME),
    TaskStatus.ROLLED_BACK: _row(Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.REFUSED, Rule.SAME),
}

_STRENGTH: Mapping[Operation, int] = {_PAUSE: 1, _RETRY: 1, _CANCEL: 2, _ROLLBACK: 3}
"""Rollback wins over cancel, cancel over pause: a stronger request replaces a pending one."""

PLAN_STATUSES_FOR_RETRY = frozenset(
    {PlanStatus.RUNNING, PlanStatus.PAUSED, PlanStatus.PARTIAL_FAILED, PlanStatus.FAILED}
)
"""Where the plan's machine has an edge for a retry, or needs none."""


_UNSETTLED = frozenset({PlanStatus.READY, PlanStatus.RUNNING, PlanStatus.PAUSED})

_PLAN_STATUSES_FOR: Mapping[Operation, frozenset[PlanStatus]] = {
    _PAUSE: _UNSETTLED,
    _RESUME: _UNSETTLED | {PlanStatus.ROLLING_BACK},
    _CANCEL: _UNSETTLED | {PlanStatus.ROLLING_BACK, PlanStatus.CANCELLED},
    _RETRY: PLAN_STATUSES_FOR_RETRY,
    _ROLLBACK: frozenset(PlanStatus) - {PlanStatus.CREATED, PlanStatus.VALIDATING, PlanStatus.READY},
}


class Effect(StrEnum):
    """What the engine has to do about an accepted request."""

    NOTHING = "nothing"  # accepted, and already so
    HOLD = "hold"  # stays PENDING, passed over
    RELEASE = "release"  # no longer passed over
    REQUEST = "request"  # durable now, takes effect later: pending_operation
    WITHDRAW = "withdraw"  # a pending pause or retry is dropped
    RESUME = "resume"  # PAUSED -> RESUMING
    PAUSE_NOW = "pause now"  # RESUMING -> PAUSED
    CANCEL_NOW = "cancel now"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbFacts:
    """
    What a decision may look at beside the task.

    Attributes:
        superseded: A later task of the tenant has started to run.
        lock_owner: Another task that owns the tenant's lock; None when this task owns it or nobody does.
        max_retry: Of the plan.
        retry_allowed, rollback_allowed: What the policies say.
    """

    plan_status: PlanStatus
    superseded: bool = False
    lock_owner: str | None = None
    max_retry: int = 3
    retry_allowed: bool = True
    rollback_allowed: bool = True
    from_checkpoint: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Accepted with an effect, or refused with a code and a reason."""

    effect: Effect | None
    code: ErrorCode | None = None
    message: str = ""

    @property
    def accepted(self) -> bool:
        """Not refused."""
        return self.effect is not None

    @property
    def changes_something(self) -> bool:
        """Accepted, and not so already."""
        return self.effect is not None and self.effect is not Effect.NOTHING


def decide(  # noqa: C901, PLR0911  # one case a cell of the table
    task: TaskView, operation: Operation, facts: VerbFacts
) -> Verdict:
    """
    Accept or refuse one request about one task; the first refusal in the order of interfaces, section 1.

    Nothing is changed, whatever the answer.
    """
    rule = VERB_TABLE[task.status][operation]
    pending = task.pending_operation
    if pending is not None and rule is not Rule.REFUSED:
        verdict = _against_pending(task, operation, pending, facts)
        if verdict is not None:
            return verdict
    match rule:
        case Rule.REFUSED:
            return _illegal(task, operation, facts)
        case Rule.SAME:
            # A pause of what the stop-line paused makes it the operator's pause: the start-line must not resume it.
            return Verdict(Effect.HOLD if operation is _PAUSE and task.line_held else Effect.NOTHING)
        case Rule.HOLD:
            return Verdict(Effect.NOTHING if task.held else Effect.HOLD)
        case Rule.RELEASE:
            return Verdict(Effect.RELEASE) if task.held else _illegal(task, operation, facts)
        case Rule.AT_ONCE:
            return Verdict(Effect.CANCEL_NOW if operation is _CANCEL else Effect.PAUSE_NOW)
        case Rule.AT_BOUNDARY:
            return Verdict(Effect.REQUEST)
        case Rule.WITHDRAW_PAUSE | Rule.WITHDRAW_RETRY:
            return _illegal(task, operation, facts)  # nothing is pending that it could withdraw
        case Rule.END_OF_STAGE:
            return _rollback(task, facts)
        case Rule.WHEN_ALLOWED:
            if operation is _RESUME:
                return Verdict(Effect.RESUME)
            return _retry(task, facts) if operation is _RETRY else _rollback(task, facts)


def decide_by_plan(task: TaskView, operation: Operation, facts: VerbFacts, *, resumes_plan: bool) -> Verdict:
    """
    What a request by plan means for one of its tasks.

    Args:
        resumes_plan: The request is a resume, and the plan itself was paused or about to be.
    """
    status = task.status
    if status is TaskStatus.PENDING and not task.held and (operation is _PAUSE or resumes_plan):
        return Verdict(Effect.NOTHING)  # it follows its plan, and is not held
    if resumes_plan and task.pending_operation is _RETRY:
        return Verdict(Effect.NOTHING)  # a retry by plan waits for this
    if operation is _ROLLBACK and not status.is_settled and not task.any_stage_started:
        return Verdict(Effect.CANCEL_NOW)  # nothing to undo: it must not start any more
    return decide(task, operation, facts)


def plan_refusal(plan_id: int, status: PlanStatus, operation: Operation) -> str | None:
    """Why a request by plan does not apply to the plan as a whole; None when its tasks decide."""
    if status in _PLAN_STATUSES_FOR[operation]:
        return None
    return f"plan {plan_id} is {status}, so {operation} does not apply to it"


def _against_pending(task: TaskView, operation: Operation, pending: Operation, facts: VerbFacts) -> Verdict | None:
    """A request that meets a pending one; None when it may go on as if there were none."""
    if operation is pending:
        if operation is _RETRY and task.pending_from_checkpoint != facts.from_checkpoint:
            wanted = "the checkpoint" if task.pending_from_checkpoint else "scratch"
            return Verdict(
                None,
                ErrorCode.ILLEGAL_STATE,
                f"task {task.task_id} already waits to be retried from {wanted}; cancel that retry first",
            )
        return Verdict(Effect.NOTHING)
    if operation is _RESUME:
        return Verdict(Effect.WITHDRAW) if pending is _PAUSE else _weaker(task, operation, pending)
    if operation is _CANCEL and pending is _RETRY:
        return Verdict(Effect.WITHDRAW)
    if _STRENGTH[operation] < _STRENGTH[pending]:
        return _weaker(task, operation, pending)
    return None


def _weaker(task: TaskView, operation: Operation, pending: Operation) -> Verdict:
    return Verdict(
        None,
        ErrorCode.ILLEGAL_STATE,
        f"task {task.task_id} has a pending {pending}, which is stronger than {operation}; nothing was changed",
    )


def _illegal(task: TaskView, operation: Operation, facts: VerbFacts) -> Verdict:
    allowed = [str(verb) for verb in VERB_TABLE[task.status] if _would_change_something(task, verb, facts)]
    hint = f"possible now: {', '.join(allowed)}" if allowed else "there is nothing else to ask of it now"
    return Verdict(
        None, ErrorCode.ILLEGAL_STATE, f"task {task.task_id} is {task.status}, so {operation} does not apply; {hint}"
    )


def _would_change_something(task: TaskView, operation: Operation, facts: VerbFacts) -> bool:
    """With nothing pending, which is when something is illegal."""
    match VERB_TABLE[task.status][operation]:
        case Rule.REFUSED | Rule.SAME | Rule.WITHDRAW_PAUSE | Rule.WITHDRAW_RETRY:
            return False
        case Rule.RELEASE:
            return task.held
        case Rule.HOLD:
            return not task.held
        case Rule.AT_ONCE | Rule.AT_BOUNDARY:
            return True
        case Rule.END_OF_STAGE | Rule.WHEN_ALLOWED:
            if operation is _RESUME:
                return True
            return (_retry if operation is _RETRY else _rollback)(task, facts).accepted


def _retry(task: TaskView, facts: VerbFacts) -> Verdict:
    if facts.plan_status not in PLAN_STATUSES_FOR_RETRY:
        return Verdict(
            None,
            ErrorCode.ILLEGAL_STATE,
            f"plan {task.plan_id} is {facts.plan_status}, so its task {task.task_id} cannot be retried",
        )
    if task.retry_count >= facts.max_retry or not facts.retry_allowed:
        return Verdict(
            None,
            ErrorCode.RETRY_LIMIT_EXCEEDED,
            f"task {task.task_id} was retried {task.retry_count} times, the limit is {facts.max_retry}; "
            "roll it back, or switch the tenant in a new plan",
        )
    return _lock_refusal(task, facts) or Verdict(Effect.REQUEST)


def _rollback(task: TaskView, facts: VerbFacts) -> Verdict:
    if not task.any_stage_started:
        return Verdict(
            None,
            ErrorCode.ILLEGAL_STATE,
            f"task {task.task_id} has started no stage, so there is nothing to roll back",
        )
    if facts.plan_status is PlanStatus.ROLLED_BACK:
        return Verdict(None, ErrorCode.ILLEGAL_STATE, f"plan {task.plan_id} is {facts.plan_status} already")
    refusal = _lock_refusal(task, facts)
    if refusal is not None:
        return refusal
    if not task.previous_known:
        return Verdict(
            None,
            ErrorCode.NO_PREVIOUS_CONFIG,
            f"tenant {task.tenant_id} has no previous good config: none was given as sourceTenantDeployConfig and none "
            "is recorded; switch it back with a plan that names the old unit",
        )
    if not facts.rollback_allowed:
        return Verdict(None, ErrorCode.ILLEGAL_STATE, f"the rollback policy refuses task {task.task_id}")
    return Verdict(Effect.REQUEST)


def _lock_refusal(task: TaskView, facts: VerbFacts) -> Verdict | None:
    if facts.superseded:
        return Verdict(
            None,
            ErrorCode.SUPERSEDED,
            f"a later task of tenant {task.tenant_id} has run since; ask for that one instead of task {task.task_id}",
        )
    if facts.lock_owner is not None:
        return Verdict(
            None,
            ErrorCode.TENANT_CONFLICT,
            f"tenant {task.tenant_id} is locked by task {facts.lock_owner}; wait until that is settled, or cancel it",
        )
    return None
