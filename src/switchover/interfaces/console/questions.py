"""What can be asked for, and the question that a person answers first: what will happen, and to how many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlencode

from switchover.domain.plan import PlanAggregate
from switchover.domain.task import Operation, PlanId, TaskAggregate, TaskStatus
from switchover.domain.verbs import VERB_TABLE, Rule, plan_refusal
from switchover.engine.forecast import forecast_plan, forecast_task
from switchover.interfaces.forecasts import sentences
from switchover.spi import ExecutionStore

_DANGEROUS = frozenset({Operation.CANCEL, Operation.ROLLBACK})
_LABELS = {
    Operation.PAUSE: "Pause",
    Operation.RESUME: "Resume",
    Operation.RETRY: "Retry",
    Operation.CANCEL: "Cancel",
    Operation.ROLLBACK: "Roll back",
}

_HOLD = (
    "No later plan is accepted for it, and no task that waits for it starts, until somebody lifts the hold. What runs "
    "goes on, and a rollback is never refused for a hold."
)
_ADOPT = (
    "The tenant's generation is lifted above what its targets hold, so that the next run may write. Do this after the "
    "store was restored from a backup, or is new; never to get past a newer switch."
)


class Ask(NamedTuple):
    """A button that leads to a question."""

    label: str
    path: str
    danger: bool


class Choice(NamedTuple):
    """One way to do it."""

    name: str
    value: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    What is asked before something is done.

    Attributes:
        kind: ``plan``, ``task``, ``tenant`` or ``line``.
        lines: What will happen.
        nothing: Nothing would: the button is off.
    """

    verb: str
    kind: str
    target: str
    title: str
    lines: Sequence[str]
    button: str
    danger: bool = False
    nothing: bool = False
    needs_reason: bool = False
    asks_tenant: bool = False
    choices: Sequence[Choice] = ()


def plan_asks(root: str, plan: PlanAggregate) -> list[Ask]:
    """The verbs that the plan as a whole would not refuse."""
    has = {
        Operation.PAUSE: plan.unsettled > plan.idle and plan.starts_tasks,
        Operation.RESUME: not plan.starts_tasks or plan.idle > 0,
        Operation.RETRY: plan.count(TaskStatus.FAILED) > 0,
        Operation.CANCEL: plan.unsettled > 0,
        Operation.ROLLBACK: plan.touched > 0,
    }
    return [
        _ask(root, operation, {"plan": str(plan.plan_id)})
        for operation in _LABELS
        if has[operation] and plan_refusal(plan.plan_id, plan.status, operation) is None
    ]


def task_asks(root: str, task: TaskAggregate, *, on_hold: bool) -> list[Ask]:
    """The verbs that the task's status does not refuse, and the brakes of its tenant."""
    rules = VERB_TABLE[task.status]
    pending = task.pending_operation
    asks: list[Ask] = []
    for operation in _LABELS:
        rule = rules[operation]
        offered = rule not in {Rule.REFUSED, Rule.SAME}
        if rule is Rule.WITHDRAW_PAUSE:
            offered = pending is Operation.PAUSE
        elif rule is Rule.WITHDRAW_RETRY:
            offered = pending is Operation.RETRY
        elif rule is Rule.RELEASE:
            offered = task.held
        elif rule is Rule.HOLD:
            offered = not task.held
        if offered and pending is not operation:
            asks.append(_ask(root, operation, {"tenant": task.tenant_id}))
    hold = "unhold" if on_hold else "hold"
    query = urlencode({"tenant": task.tenant_id})
    asks.append(Ask("Lift the hold" if on_hold else "Hold", f"{root}/ask/{hold}?{query}", danger=False))
    asks.append(Ask("Adopt", f"{root}/ask/adopt?{query}", danger=False))
    return asks


def _ask(root: str, operation: Operation, target: dict[str, str]) -> Ask:
    return Ask(_LABELS[operation], f"{root}/ask/{operation}?{urlencode(target)}", operation in _DANGEROUS)


async def plan_question(store: ExecutionStore, operation: Operation, plan_id: PlanId) -> Question:
    """About every task of a plan."""
    forecast = await forecast_plan(store, plan_id, operation)
    return Question(
        verb=str(operation),
        kind="plan",
        target=str(plan_id),
        title=f"{_LABELS[operation]} plan {plan_id}?",
        lines=sentences(operation, forecast),
        button=f"{_LABELS[operation]} plan {plan_id}",
        danger=operation in _DANGEROUS,
        nothing=bool(forecast.refusal),
        choices=_choices(operation),
    )


async def task_question(store: ExecutionStore, operation: Operation, task: TaskAggregate) -> Question:
    """About one tenant."""
    forecast = await forecast_task(store, task.key, operation)
    return Question(
        verb=str(operation),
        kind="tenant",
        target=task.tenant_id,
        title=f"{_LABELS[operation]} tenant {task.tenant_id}?",
        lines=[f"Task {task.task_id} is {task.status}.", *sentences(operation, forecast)],
        button=f"{_LABELS[operation]} {task.tenant_id}",
        danger=operation in _DANGEROUS,
        nothing=bool(forecast.refusal),
        choices=_choices(operation),
    )


def _choices(operation: Operation) -> Sequence[Choice]:
    if operation is not Operation.RETRY:
        return ()
    return (
        Choice("from", "checkpoint", "from the checkpoint: complete stages are not repeated"),
        Choice("from", "scratch", "from scratch: every stage runs again"),
    )


def brake_question(verb: str, tenant_id: str) -> Question | None:
    """About a brake; None for a verb that is none."""
    match verb:
        case "stop-line":
            return Question(
                verb=verb,
                kind="line",
                target="",
                title="Stop the line?",
                lines=[
                    "Every task of every plan is held at its next stage boundary, and none starts. Rollbacks go on."
                ],
                button="Stop the line",
                danger=True,
                needs_reason=True,
            )
        case "start-line":
            return Question(
                verb=verb,
                kind="line",
                target="",
                title="Start the line?",
                lines=["Everything goes on in the order as before. What an operator has paused stays paused."],
                button="Start the line",
            )
        case "hold":
            return Question(
                verb=verb,
                kind="tenant",
                target=tenant_id,
                title=f"Put tenant {tenant_id} on hold?" if tenant_id else "Put a tenant on hold?",
                lines=[_HOLD],
                button="Put on hold",
                needs_reason=True,
                asks_tenant=not tenant_id,
            )
        case "unhold":
            return Question(
                verb=verb,
                kind="tenant",
                target=tenant_id,
                title=f"Lift the hold of tenant {tenant_id}?",
                lines=["Plans for it are accepted again, and what waits for it may start at once."],
                button="Lift the hold",
                needs_reason=True,
            )
        case "adopt":
            return Question(
                verb=verb,
                kind="tenant",
                target=tenant_id,
                title=f"Adopt what the targets of tenant {tenant_id} hold?",
                lines=[_ADOPT],
                button="Adopt",
            )
        case _:
            return None
