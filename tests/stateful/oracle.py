"""
The model: what the specification says must be answered, and what must follow, written a second time and differently.

Every function takes what the store holds and says what the engine has to do about it. Nothing here uses the engine's
own tables. Source: behaviour, sections 4, 5, 7 and 8; interfaces, section 1 (order of refusals).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from switchover.domain.plan import OnFailure, PlanAggregate, PlanStatus
from switchover.domain.stage import PreImage
from switchover.domain.task import Operation, PlanId, StageMark, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.errors import ErrorCode
from switchover.spi import Hold, StopLine, TenantRecord

_S = TaskStatus
_P = PlanStatus
_PAUSE, _RESUME, _CANCEL, _RETRY, _ROLLBACK = Operation

ILLEGAL = ErrorCode.ILLEGAL_STATE


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that a store holds, as of one instant in which nothing moves."""

    plans: dict[PlanId, PlanAggregate] = field(default_factory=dict[PlanId, PlanAggregate])
    tasks: dict[TaskKey, TaskAggregate] = field(default_factory=dict[TaskKey, TaskAggregate])
    tenants: dict[TenantId, TenantRecord] = field(default_factory=dict[TenantId, TenantRecord])
    holds: dict[TenantId, Hold] = field(default_factory=dict[TenantId, Hold])
    line: StopLine | None = None
    pre_images: dict[TaskKey, tuple[PreImage, ...]] = field(default_factory=dict[TaskKey, tuple[PreImage, ...]])

    def of_plan(self, plan_id: PlanId) -> list[TaskAggregate]:
        """The plan's tasks in order."""
        return [self.tasks[key] for key in sorted(self.tasks) if key.plan_id == plan_id]

    def of_tenant(self, tenant_id: TenantId) -> list[TaskAggregate]:
        """The tenant's tasks in order of arrival."""
        return sorted((task for task in self.tasks.values() if task.tenant_id == tenant_id), key=lambda t: t.arrival)

    def named_by(self, tenant_id: TenantId) -> TaskAggregate | None:
        """The task that "by tenant" means."""
        tenant = self.tenants.get(tenant_id)
        if tenant is None:
            return None
        if tenant.owner is not None:
            return self.tasks[tenant.owner]
        return self.of_tenant(tenant_id)[-1]


def started(task: TaskAggregate) -> bool:
    """Some stage was started in some run."""
    return any(mark & StageMark.STARTED for mark in task.marks)


# --- requests ------------------------------------------------------------------------------------------------------


def refusal_by_task(  # noqa: C901, PLR0911, PLR0912  # a table, read cell by cell
    picture: Picture, task: TaskAggregate, verb: Operation, *, from_checkpoint: bool = True
) -> ErrorCode | None:
    """The code with which a request about one task is refused; None when it is accepted."""
    status, pending = task.status, task.pending_operation
    plan = picture.plans[task.plan_id]
    # A request that waits: rollback wins over cancel, cancel over pause; an equal one has no effect.
    if status is _S.ROLLING_BACK:
        return None if verb is _ROLLBACK else ILLEGAL
    if pending is _ROLLBACK:
        return None if verb is _ROLLBACK else ILLEGAL
    if pending is _CANCEL and verb in {_PAUSE, _RESUME, _RETRY}:
        return ILLEGAL
    if pending is _RETRY and verb is _RETRY:
        return None if task.pending_from_checkpoint == from_checkpoint else ILLEGAL
    match verb:
        case Operation.PAUSE:
            return None if status in {_S.PENDING, _S.RUNNING, _S.PAUSED, _S.RESUMING} else ILLEGAL
        case Operation.RESUME:
            possible = (
                (status is _S.PENDING and task.held)
                or (status is _S.RUNNING and pending is _PAUSE)
                or status in {_S.PAUSED, _S.RESUMING}
            )
            return None if possible else ILLEGAL
        case Operation.CANCEL:
            possible = status in {_S.PENDING, _S.RUNNING, _S.PAUSED, _S.RESUMING, _S.CANCELLED}
            return None if possible or (status is _S.FAILED and pending is _RETRY) else ILLEGAL
        case Operation.RETRY:
            if status is not _S.FAILED or plan.status not in {_P.RUNNING, _P.PAUSED, _P.PARTIAL_FAILED, _P.FAILED}:
                return ILLEGAL
            if task.retry_count >= plan.rules.max_retry:
                return ErrorCode.RETRY_LIMIT_EXCEEDED
            return _lock_refusal(picture, task)
        case Operation.ROLLBACK:
            if status is _S.ROLLED_BACK:
                return None
            if status is _S.PENDING or not started(task) or plan.status is _P.ROLLED_BACK:
                return ILLEGAL
            refusal = _lock_refusal(picture, task)
            if refusal is not None:
                return refusal
            return None if task.previous_known else ErrorCode.NO_PREVIOUS_CONFIG


def _lock_refusal(picture: Picture, task: TaskAggregate) -> ErrorCode | None:
    others = [other for other in picture.of_tenant(TenantId(task.tenant_id)) if other.key != task.key]
    if any(other.arrival > task.arrival and other.started_at is not None for other in others):
        return ErrorCode.SUPERSEDED
    if any(other.is_live for other in others) and not task.lock_held:
        return ErrorCode.TENANT_CONFLICT
    return None


def refusals_by_plan(
    picture: Picture, plan_id: PlanId, verb: Operation, *, from_checkpoint: bool = True
) -> dict[TaskKey, ErrorCode | None] | None:
    """What a request by plan means for each of its tasks; None when the plan as a whole refuses."""
    plan = picture.plans[plan_id]
    unsettled = {_P.READY, _P.RUNNING, _P.PAUSED}
    applies = {
        _PAUSE: unsettled,
        _RESUME: unsettled | {_P.ROLLING_BACK},
        _CANCEL: unsettled | {_P.ROLLING_BACK, _P.CANCELLED},
        _RETRY: {_P.RUNNING, _P.PAUSED, _P.PARTIAL_FAILED, _P.FAILED},
        _ROLLBACK: set(_P) - {_P.READY, _P.CREATED, _P.VALIDATING},
    }[verb]
    if plan.status not in applies:
        return None
    answers: dict[TaskKey, ErrorCode | None] = {}
    for task in picture.of_plan(plan_id):
        answer = refusal_by_task(picture, task, verb, from_checkpoint=from_checkpoint)
        resumes_plan = verb is _RESUME and (plan.status is _P.PAUSED or plan.pending_operation is _PAUSE)
        if task.status is _S.PENDING and not task.held and (verb is _PAUSE or resumes_plan):
            answer = None  # it follows its plan, and is not held
        if resumes_plan and task.pending_operation is _RETRY:
            answer = None  # a retry by plan waits for this
        if verb is _ROLLBACK and not task.status.is_settled and not started(task):
            answer = None  # cancelled
        answers[task.key] = answer
    return answers


def obeyed(task: TaskAggregate, verb: Operation) -> bool:
    """Whether an accepted request shows: in effect, or pending."""
    status, pending = task.status, task.pending_operation
    match verb:
        case Operation.PAUSE:
            return status is _S.PAUSED or pending is _PAUSE or (status is _S.PENDING and task.held)
        case Operation.RESUME:
            # It may have gone on since, and ended.
            return pending is not _PAUSE and not task.held and not (status is _S.PAUSED and not task.line_held)
        case Operation.CANCEL:
            return status is _S.CANCELLED or pending is _CANCEL or (status is _S.FAILED and pending is None)
        case Operation.RETRY:
            return status is not _S.FAILED or pending is _RETRY
        case Operation.ROLLBACK:
            return pending is _ROLLBACK or status in {_S.ROLLING_BACK, _S.ROLLED_BACK, _S.ROLLBACK_FAILED}


# --- stage boundaries ----------------------------------------------------------------------------------------------


def after_stage(  # noqa: PLR0911  # the first that applies
    picture: Picture, task: TaskAggregate, *, ok: bool, skipped: Iterable[str]
) -> TaskStatus:
    """Where a task stands after the stage that runs has ended."""
    plan = picture.plans[task.plan_id]
    if task.status is _S.ROLLING_BACK:
        return _after_restore(task, ok=ok)
    may_roll_back = task.previous_known and _lock_refusal(picture, task) is None
    if task.pending_operation is _ROLLBACK and may_roll_back:
        return _S.ROLLING_BACK
    if not ok:
        auto = plan.rules.on_failure is OnFailure.AUTO and may_roll_back
        return _S.ROLLING_BACK if auto else _S.FAILED
    running = next(index for index, mark in enumerate(task.marks) if not mark & StageMark.COMPLETED)
    remaining = task.stage_names[running + 1 :]
    if not remaining:
        return _S.COMPLETED
    if task.pending_operation is _CANCEL:
        return _S.CANCELLED
    if task.pending_operation is _PAUSE or picture.line is not None:
        return _S.PAUSED
    return _S.COMPLETED if set(remaining) <= set(skipped) else _S.RUNNING


def _after_restore(task: TaskAggregate, *, ok: bool) -> TaskStatus:
    open_marks = [mark for mark in task.marks if mark & StageMark.STARTED and not mark & StageMark.RESTORED]
    untried = [mark for mark in open_marks if not mark & StageMark.RESTORE_FAILED]
    if len(untried) > 1:
        return _S.ROLLING_BACK
    failed = len(open_marks) - len(untried) + (not ok)
    return _S.ROLLBACK_FAILED if failed else _S.ROLLED_BACK


# --- who may start -------------------------------------------------------------------------------------------------


def waiting_rank(task: TaskAggregate) -> tuple[int, int] | None:
    """In which order free slots are given; None when the task does not wait for one."""
    status, pending = task.status, task.pending_operation
    ordinal = task.key.ordinal
    if status in {_S.RUNNING, _S.ROLLING_BACK}:
        return None
    if pending is _ROLLBACK:
        return (1, -task.started_order)
    if status is _S.RESUMING:
        return (2, ordinal)
    if status is _S.FAILED and pending is _RETRY:
        return (3, ordinal)
    return (4, ordinal) if status is _S.PENDING else None


def startable(picture: Picture, plan: PlanAggregate) -> list[TaskKey]:
    """Tasks that have a free slot and nothing to wait for: there must be none when nothing moves."""
    tasks = picture.of_plan(plan.plan_id)
    running = [task for task in tasks if task.status.holds_slot]
    free = plan.rules.max_concurrency - len(running)
    if free <= 0:
        return []
    paused = plan.status is _P.PAUSED or plan.pending_operation is _PAUSE
    ranked = sorted((rank, task) for task in tasks if (rank := waiting_rank(task)) is not None)
    starts: list[TaskKey] = []
    for rank, task in ranked:
        rollback = rank[0] == 1
        waits_for_lock = not task.lock_held
        waits_for_hold = TenantId(task.tenant_id) in picture.holds and not rollback
        if task.held:
            continue
        if (waits_for_lock or waits_for_hold) and plan.rules.max_concurrency == 1 and rank[0] == 4:  # PENDING
            break
        stopped = picture.line is not None and not rollback
        if waits_for_lock or waits_for_hold or stopped or (paused and not task.own_request):
            continue
        starts.append(task.key)
    return starts[:free]


# --- plans ---------------------------------------------------------------------------------------------------------


def settled_status(tasks: Sequence[TaskAggregate], *, rolling_back: bool, cancelled: bool) -> PlanStatus:
    """The status of a plan whose tasks are all settled: the first that applies."""
    statuses = [task.status for task in tasks]
    touched = [task.status for task in tasks if started(task)]
    if rolling_back and _S.ROLLBACK_FAILED in statuses:
        return _P.ROLLBACK_FAILED
    if rolling_back and touched and all(status is _S.ROLLED_BACK for status in touched):
        return _P.ROLLED_BACK
    if all(status is _S.COMPLETED for status in statuses):
        return _P.COMPLETED
    if all(status is _S.CANCELLED for status in statuses) or (_S.CANCELLED in statuses and cancelled):
        return _P.CANCELLED
    return _P.PARTIAL_FAILED if _S.COMPLETED in statuses else _P.FAILED
