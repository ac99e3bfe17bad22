"""The last word about a plan or a task: what came of it, every cause of failure in full, and what to type next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from switchover.domain.plan import PlanAggregate, PlanStatus
from switchover.domain.task import PlanId, TaskAggregate, TaskStatus
from switchover.domain.verbs import PLAN_STATUSES_FOR_RETRY
from switchover.interfaces.cli.looking import FAILURES, Look, PlanLook
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.views import driven_by, numbers, stands
from switchover.reports.texts import count, elapsed, printable

if TYPE_CHECKING:
    from switchover.interfaces.cli.service import Service

_PAGE = 1_000
_WHOLE_MESSAGES = 10
"""Failures of one cause that are told in full; a cause that hits a thousand tenants needs no thousand texts."""
_NAMED = 10


@dataclass(slots=True)
class _Cause:
    number: int = 0
    tasks: list[TaskAggregate] = field(default_factory=list[TaskAggregate])


async def summary(executor: "Service", look: Look, place: Place) -> list[str]:
    """The lines, one paragraph each."""
    if not isinstance(look, PlanLook):
        plan = await executor.store.load_plan(look.task.plan_id)
        return _of_task(look.task, place, retried=plan is not None and plan.status in PLAN_STATUSES_FOR_RETRY)
    lines = [_headline(look)]
    plan = look.plan
    if any(plan.count(status) for status in FAILURES):
        lines += await _causes(executor, plan.plan_id, place)
    if plan.status.is_settled:
        lines += _next_moves(plan, place)
    elif look.at_rest:
        lines += await _paused(executor, plan, place)
    return lines


def left(look: Look) -> str:
    """What is said when somebody stops watching."""
    if isinstance(look, PlanLook):
        return f"plan {look.plan.plan_id} is {look.plan.status}: {numbers(look)}; {driven_by(look)}"
    return f"{stands(look.task)}; {driven_by(look)}"


def _headline(look: PlanLook) -> str:
    plan = look.plan
    took = ""
    if plan.started_at is not None and plan.ended_at is not None:
        took = f"; it took {elapsed((plan.ended_at - plan.started_at).total_seconds())}"
    return f"plan {plan.plan_id} {plan.status}: {numbers(look)}{took}"


async def _causes(executor: "Service", plan_id: PlanId, place: Place) -> list[str]:
    causes: dict[tuple[str, ...], _Cause] = {}
    after = 0
    while page := await executor.store.list_tasks(plan_id, statuses=FAILURES, after=after, limit=_PAGE):
        after = page[-1].key.ordinal
        for task in page:
            cause = causes.setdefault(_cause_of(task), _Cause())
            cause.number += 1
            if len(cause.tasks) < _WHOLE_MESSAGES:
                cause.tasks.append(task)
    lines: list[str] = []
    for (status, code, where), cause in sorted(causes.items(), key=lambda item: -item[1].number):
        lines += ["", f"{count(cause.number, 'tenant')} {status} with {code}{where}:"]
        for task in cause.tasks:
            message = "" if task.failure_info is None else task.failure_info.message
            lines.append(f"  {task.tenant_id} (task {task.task_id}): {printable(place.with_place(message))}")
        if cause.number > len(cause.tasks):
            command = place.command("get", "tasks", str(plan_id), "--status", status, "-o", "jsonl")
            lines.append(f"  ... and {cause.number - len(cause.tasks):,} more: {command}")
    return lines


def _cause_of(task: TaskAggregate) -> tuple[str, str, str]:
    failure = task.failure_info
    if failure is None:
        return str(task.status), "no recorded cause", ""
    point = failure.failed_at
    where = ""
    if point is not None and point.stage:
        where = f" in stage {point.stage}" + (f", step {point.step}" if point.step else "")
    return str(task.status), str(failure.error_code), where


def _next_moves(plan: PlanAggregate, place: Place) -> list[str]:
    number = str(plan.plan_id)
    failed, unrestored = plan.count(TaskStatus.FAILED), plan.count(TaskStatus.ROLLBACK_FAILED)
    moves: list[tuple[str, str]] = []
    if unrestored:
        moves.append((place.command("rollback", "--plan", number), "restore what is not restored yet"))
    if failed and plan.status in PLAN_STATUSES_FOR_RETRY:
        moves.append((place.command("retry", "--plan", number), "run the failed tasks again from their checkpoints"))
    if failed and not unrestored:
        moves.append(
            (
                place.command("rollback", "--plan", number),
                "bring every tenant of the plan back, also those that are done",
            )
        )
    return _moves(moves)


async def _paused(executor: "Service", plan: PlanAggregate, place: Place) -> list[str]:
    number = str(plan.plan_id)
    lines: list[str] = []
    if plan.status is not PlanStatus.PAUSED:
        statuses = frozenset({TaskStatus.PAUSED, TaskStatus.PENDING})
        idle = await executor.store.list_tasks(plan.plan_id, statuses=statuses, after=0, limit=_NAMED)
        names = ", ".join(task.tenant_id for task in idle if task.is_idle)
        lines.append(f"paused or held: {names}" + (", ..." if plan.idle > len(idle) else ""))
    return [
        *lines,
        *_moves(
            [
                (place.command("resume", "--plan", number), "go on"),
                (place.command("cancel", "--plan", number), "leave it as it is"),
                (place.command("rollback", "--plan", number), "bring back what was switched"),
            ]
        ),
    ]


def _of_task(task: TaskAggregate, place: Place, *, retried: bool) -> list[str]:
    lines = [stands(task)]
    if task.failure_info is not None:
        lines.append(f"{task.failure_info.error_code}: {printable(place.with_place(task.failure_info.message))}")
    moves: list[tuple[str, str]] = []
    if task.is_idle:
        moves.append((place.command("resume", "--tenant", task.tenant_id), "go on"))
    elif task.status is TaskStatus.FAILED and retried:
        moves.append((place.command("retry", "--tenant", task.tenant_id), "run it again from its checkpoint"))
    if task.status in FAILURES:
        moves.append((place.command("rollback", "--tenant", task.tenant_id), "bring the tenant back"))
    return [*lines, *_moves(moves)]


def _moves(moves: Sequence[tuple[str, str]]) -> list[str]:
    """What to type, each below what it is for, so that it can be copied from a terminal of any width."""
    if not moves:
        return []
    return ["", "next:", *(line for command, purpose in moves for line in (f"  # {purpose}", f"  {command}"))]
