"""
Why a task stands where it stands: exactly one cause, and the next move.

Everything is read from the store, so the answer is the same from every process. Source: lesson 34.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from switchover.dispatch import Dispatching, GivenOrder, WorkerInfo
from switchover.domain.admission import Candidate, WaitReason, blocking_reason, queue_class
from switchover.domain.plan import PlanAggregate
from switchover.domain.task import Operation, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.domain.verbs import PLAN_STATUSES_FOR_RETRY
from switchover.spi import ExecutionStore, Hold, StopLine, StoredTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """
    The answer.

    Attributes:
        cause: A short stable name; NOT_WAITING when nothing has to happen first.
        reason: One sentence.
        next_move: What a person can do about it; empty when nothing is needed.
    """

    task_id: str
    tenant_id: str
    status: TaskStatus
    cause: str
    reason: str
    next_move: str = ""

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "taskId": self.task_id,
            "tenantId": self.tenant_id,
            "status": str(self.status),
            "cause": self.cause,
            "reason": self.reason,
            "nextMove": self.next_move,
        }

    @staticmethod
    def from_dict(data: Mapping[str, str]) -> "Explanation":
        """The inverse of ``to_dict``."""
        return Explanation(
            task_id=data["taskId"],
            tenant_id=data["tenantId"],
            status=TaskStatus(data["status"]),
            cause=data["cause"],
            reason=data["reason"],
            next_move=data["nextMove"],
        )


@dataclass(frozen=True, slots=True)
class _Facts:
    plan: PlanAggregate
    stored: StoredTask
    line: StopLine | None
    hold: Hold | None
    driven: bool
    now: datetime
    order: GivenOrder | None
    workers: Sequence[WorkerInfo]


async def explain(store: ExecutionStore, key: TaskKey, *, now: datetime) -> Explanation | None:
    """The one cause that a task waits for; None for an unknown task."""
    plan = await store.load_plan(key.plan_id)
    found = await store.load_tasks([key])
    if plan is None or not found:
        return None
    tenant_id = TenantId(found[0].task.tenant_id)
    driver = await store.driver()
    order: GivenOrder | None = None
    workers: Sequence[WorkerInfo] = ()
    if found[0].task.status.holds_slot and isinstance(store, Dispatching):
        order, workers = await store.dispatch.order(key), await store.dispatch.workers()
    facts = _Facts(
        plan=plan,
        stored=found[0],
        line=await store.load_line(),
        hold=(await store.list_holds()).get(tenant_id),
        driven=driver is not None and driver.alive,
        now=now,
        order=order,
        workers=workers,
    )
    cause, reason, next_move = _cause(facts)
    task = found[0].task
    return Explanation(
        task_id=task.task_id,
        tenant_id=task.tenant_id,
        status=task.status,
        cause=cause,
        reason=reason,
        next_move=next_move,
    )


def _cause(facts: _Facts) -> tuple[str, str, str]:
    task = facts.stored.task
    waits = queue_class(task)
    if waits is None:
        return _not_waiting(facts, task)
    candidate = Candidate(
        ordinal=task.key.ordinal,
        queue=waits,
        own_request=task.own_request,
        held=task.held,
        lock_held=task.lock_held,
        on_hold=facts.hold is not None,
        delayed=task.not_before is not None and facts.now < task.not_before,
    )
    reason = blocking_reason(facts.plan, candidate, line_stopped=facts.line is not None)
    if reason is not None:
        return (reason.name, *_explained(facts, task, reason))
    if not facts.driven:
        return _nobody_drives(facts)
    plan = facts.plan
    limit = plan.rules.max_concurrency
    if plan.occupied_slots >= limit:
        return (
            WaitReason.SLOT.name,
            f"every slot of plan {plan.plan_id} is taken: {plan.occupied_slots} of {limit} run",
            f"wait, or see which ones run: `switchover get tasks {plan.plan_id} --status RUNNING`",
        )
    return (
        WaitReason.ORDER.name,
        f"earlier tasks of plan {plan.plan_id} get the free slots first",
        "wait",
    )


def _explained(  # noqa: PLR0911  # one answer a reason
    facts: _Facts, task: TaskAggregate, reason: WaitReason
) -> tuple[str, str]:
    plan_id, tenant_id = task.key.plan_id, task.tenant_id
    match reason:
        case WaitReason.HELD:
            return "it was paused before its first stage", f"`switchover resume --tenant {tenant_id}`"
        case WaitReason.TENANT_LOCK:
            owner = facts.stored.tenant.owner
            name = "another task" if owner is None else f"task {owner.task_id}"
            return (
                f"{name} of tenant {tenant_id} is live and holds the tenant's lock",
                "wait until that is settled"
                + ("" if owner is None else f", or see why it waits: `switchover explain {owner.task_id}`"),
            )
        case WaitReason.TENANT_HOLD:
            hold = facts.hold
            text = "" if hold is None else f" since {hold.since:%Y-%m-%d %H:%M:%S} UTC: {hold.reason}"
            return f"tenant {tenant_id} is on hold{text}", f"`switchover unhold --tenant {tenant_id} --reason ...`"
        case WaitReason.LINE_STOPPED:
            line = facts.line
            text = "" if line is None else f" since {line.since:%Y-%m-%d %H:%M:%S} UTC: {line.reason}"
            return f"the line is stopped{text}", "`switchover start-line`"
        case WaitReason.PLAN_PAUSED:
            return f"plan {plan_id} is paused, or about to be", f"`switchover resume --plan {plan_id}`"
        case WaitReason.PLAN_ROLLING_BACK:
            return f"plan {plan_id} is being rolled back", "wait"
        case WaitReason.RETRY_DELAY:
            text = "" if task.not_before is None else f" until {task.not_before:%Y-%m-%d %H:%M:%S} UTC"
            return (
                f"the retry policy delays its retry{text}",
                f"wait, or withdraw it: `switchover cancel --tenant {tenant_id}`",
            )
        case WaitReason.ORDER | WaitReason.SLOT:
            return str(reason), "wait"


def _not_waiting(facts: _Facts, task: TaskAggregate) -> tuple[str, str, str]:
    tenant_id = task.tenant_id
    if task.status.holds_slot:
        if not facts.driven:
            return _nobody_drives(facts)
        order = facts.order
        if order is not None and order.worker is None and order.end is None:
            return _no_worker(facts, task)
        doing = "is restoring" if task.status is TaskStatus.ROLLING_BACK else "runs"
        carriers = [w for w in facts.workers if order is not None and w.worker == order.worker]
        where = "".join(f" at worker {worker.worker} ({worker.name})" for worker in carriers)
        pending = "" if task.pending_operation is None else f"; {task.pending_operation} takes effect when it ends"
        return "NOT_WAITING", f"it {doing} stage {task.current_stage}{where}{pending}", ""
    if task.status is TaskStatus.PAUSED:
        if task.line_held:
            line = facts.line
            text = "" if line is None else f": {line.reason}"
            return (
                WaitReason.LINE_STOPPED.name,
                f"the stop-line holds it before stage {task.current_stage}{text}",
                ("`switchover start-line`"),
            )
        return "PAUSED", f"it is paused before stage {task.current_stage}", f"`switchover resume --tenant {tenant_id}`"
    failure = "" if task.failure_info is None else f": {task.failure_info.message}"
    retry = f"`switchover retry --tenant {tenant_id}`; or " if facts.plan.status in PLAN_STATUSES_FOR_RETRY else ""
    moves = {
        TaskStatus.FAILED: f"mend the cause, then {retry}`switchover rollback --tenant {tenant_id}`",
        TaskStatus.ROLLBACK_FAILED: f"mend the cause, then `switchover rollback --tenant {tenant_id}`",
    }
    return "NOT_WAITING", f"it is {task.status}{failure}", moves.get(task.status, "")


def _no_worker(facts: _Facts, task: TaskAggregate) -> tuple[str, str, str]:
    open_to_work = [worker for worker in facts.workers if not worker.stopping]
    if not open_to_work:
        return (
            "NO_WORKER",
            f"stage {task.current_stage} waits for a worker, and there is none",
            "start one: `switchover worker`",
        )
    places = sum(worker.concurrency for worker in open_to_work)
    taken = sum(worker.tasks for worker in open_to_work)
    return (
        "WORKERS_BUSY",
        f"stage {task.current_stage} waits for a worker; {taken} of the {places} places at workers are taken",
        "wait, or start one more: `switchover worker`; see who does what: `switchover get workers`",
    )


def _nobody_drives(facts: _Facts) -> tuple[str, str, str]:
    waits = "" if facts.stored.task.pending_operation is not Operation.ROLLBACK else " (a rollback is pending)"
    return (
        "NO_DRIVER",
        f"no process drives this store{waits}",
        "start one: `switchover run FILE` with the plan's file, or ask for the resume, retry or rollback again",
    )
