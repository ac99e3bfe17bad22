"""How a look is drawn: the same words on a terminal and in plain lines."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.domain.plan import PlanAggregate
from switchover.domain.task import Operation, StageMark, TaskAggregate, TaskStatus
from switchover.interfaces.cli.looking import Look, PlanLook, TaskLook
from switchover.interfaces.cli.output import style_of
from switchover.interfaces.cli.place import Place
from switchover.reports.texts import elapsed, printable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

_LEAST_BAR = 10
_TENANT_WIDTH = 24
_MOST_RUNNING_SHOWN = 6

_PASSING = frozenset({"ORDER", "SLOT", "NOT_WAITING", "NO_DRIVER"})
"""Causes that pass by themselves, or are told already."""

WORDS: tuple[tuple[TaskStatus, str], ...] = (
    (TaskStatus.COMPLETED, "done"),
    (TaskStatus.FAILED, "failed"),
    (TaskStatus.ROLLBACK_FAILED, "not restored"),
    (TaskStatus.ROLLED_BACK, "rolled back"),
    (TaskStatus.CANCELLED, "cancelled"),
    (TaskStatus.ROLLING_BACK, "rolling back"),
    (TaskStatus.RUNNING, "running"),
    (TaskStatus.PAUSED, "paused"),
    (TaskStatus.RESUMING, "resuming"),
    (TaskStatus.PENDING, "waiting"),
)
_BLOCKS = {False: ("#", "x", "!", "<", "-", "<", ">", "=", "=", "."), True: ("█",) * 9 + ("░",)}


def numbers(look: PlanLook) -> str:
    """``24 of 40 done, 2 failed, 8 running, 6 waiting, 3.2/s, about 12 s left``."""
    return ", ".join(part for part in (counts_of(look.plan), _pace(look)) if part)


def counts_of(plan: PlanAggregate) -> str:
    """How many tasks are where; what is nowhere is left out."""
    parts = [f"{plan.completed:,} of {plan.total:,} done"]
    parts += [f"{plan.count(status):,} {word}" for status, word in WORDS[1:] if plan.count(status)]
    return ", ".join(parts)


def _pace(look: PlanLook) -> str:
    if look.rate is None or look.at_rest:
        return ""
    rate = f"{look.rate:,.1f}/s" if look.rate >= 1 else f"{look.rate * 60:,.1f}/min"
    return rate if look.seconds_left is None else f"{rate}, about {elapsed(look.seconds_left)} left"


def driven_by(look: Look) -> str:
    """Who carries the work out."""
    around = look.around
    if around.driving:
        return "driven by this process"
    if around.driver_is_gone and around.takes_over:
        return "this process takes it over"
    if around.driver_is_gone or around.driver is None:
        return "no process drives it"
    return f"driven by {around.driver.owner}"


def outage(look: Look) -> str:
    """Since when the store has taken no commits, the essence first; empty while it takes them."""
    away = look.around.outage
    if away is None:
        return ""
    return f"store away since {away.since.astimezone():%H:%M:%S}, work waits and nothing is lost: {away.reason}"


def brakes(look: PlanLook, place: Place) -> Iterator[str]:
    """What keeps the plan, or the first of its waiting tasks, from going on."""
    plan, around = look.plan, look.around
    if look.at_rest:
        return
    if around.nobody_drives:
        yield f"nothing happens until a process drives it: `{place.command('run', '--plan', str(plan.plan_id))}`"
    if around.line is not None:
        yield f"the line is stopped since {around.line.since:%H:%M:%S}: {around.line.reason}"
    if plan.pending_operation is Operation.PAUSE:
        yield "a pause is requested: running tasks stop at their next stage boundary"
    if look.waits is not None and around.line is None and look.waits.cause not in _PASSING:
        move = f"; {place.with_place(look.waits.next_move)}" if look.waits.next_move else ""
        yield f"task {look.waits.task_id} (tenant {look.waits.tenant_id}) waits: {look.waits.reason}{move}"


def stands(task: TaskAggregate) -> str:
    """``task 100-7 (tenant acme) RUNNING, stage gateway, 1 of 3 stages done``."""
    stage = "" if task.current_stage is None else f", stage {task.current_stage}"
    pending = "" if task.pending_operation is None else f", {task.pending_operation} requested"
    held = ", held" if task.held else ""
    done = f"{task.completed_stages} of {task.total_stages} stages done"
    return f"task {task.task_id} (tenant {task.tenant_id}) {task.status}{held}{pending}{stage}, {done}"


def view(look: Look, place: Place, width: int, height: int, *, fancy: bool) -> "Group":
    """What the live display shows, within this many columns and rows."""
    from rich.console import Group

    if isinstance(look, TaskLook):
        return Group(*_task_lines(look, place, width, fancy=fancy))
    return Group(*_plan_lines(look, place, width, max(height - 1, 5), fancy=fancy))


def _plan_lines(look: PlanLook, place: Place, width: int, height: int, *, fancy: bool) -> "list[Text]":
    from rich.text import Text

    plan = look.plan
    title = Text.assemble(
        (f"plan {plan.plan_id}", "bold"),
        "  ",
        printable(plan.name or ""),
        "  " if plan.name else "",
        (str(plan.status), style_of(plan.status)),
        f"  {elapsed(look.seconds)}",
    )
    told = [numbers(look)] if len(numbers(look)) <= width else [counts_of(plan), _pace(look)]
    lines = [*_beside(title, driven_by(look), width), _bar(look, width, fancy=fancy), *map(Text, told)]
    lines += [Text(printable(note), style="yellow") for note in (outage(look), *brakes(look, place)) if note]
    room = max(height - len(lines) - 1, 0)
    attention = list(_attention(look, place, width, room))
    lines += [*([Text()] if attention else []), *attention]
    for line in lines:
        line.no_wrap = True
        line.overflow = "ellipsis"
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _beside(left: "Text", right: str, width: int) -> "list[Text]":
    from rich.cells import cell_len
    from rich.text import Text

    space = width - left.cell_len - cell_len(right)
    if space < 2:  # noqa: PLR2004  # two columns apart
        return [left, Text(right, style="dim")]
    left.append(" " * space)
    left.append(right, style="dim")
    return [left]


def _bar(look: PlanLook, width: int, *, fancy: bool) -> "Text":
    from rich.text import Text

    plan = look.plan
    settled = plan.total - plan.unsettled
    label = f"  {100 * settled // plan.total if plan.total else 0:>3} % settled"
    cells = max(width - len(label), _LEAST_BAR)
    bar = Text()
    before = filled = 0
    # Every status ends where the sum up to it says, so that the bar has its full length however the parts round.
    for (status, _), block in zip(WORDS, _BLOCKS[fancy], strict=True):
        before += plan.count(status)
        end = cells * before // plan.total if plan.total else 0
        style = "bright_black" if status is TaskStatus.PENDING else style_of(status)
        bar.append(block * (end - filled), style=style)
        filled = end
    bar.append(label)
    return bar


def _attention(look: PlanLook, place: Place, width: int, room: int) -> "Iterator[Text]":
    """Failures first, then what runs longest, then what is paused: as many as there is room for."""
    failures = list(look.failed)
    running = list(look.running[:_MOST_RUNNING_SHOWN])
    paused = list(look.paused)
    least = min(len(running), 3)
    for_failures = max(min(len(failures), room - least - bool(paused)), 0)
    shown = [*failures[:for_failures], *running, *paused][: max(room, 0)]
    if not shown:
        return
    named = max(len(task.tenant_id) for task in shown)
    for task in shown:
        yield _row(task, place, min(named, _TENANT_WIDTH if width < 120 else 2 * _TENANT_WIDTH))  # noqa: PLR2004


def _row(task: TaskAggregate, place: Place, tenant_width: int) -> "Text":
    from rich.text import Text

    tenant = task.tenant_id if len(task.tenant_id) <= tenant_width else task.tenant_id[: tenant_width - 1] + "…"
    return Text.assemble(
        (f"{task.status:<15} ", style_of(task.status)),
        f"{tenant:<{tenant_width}}  ",
        printable(_about(task, place)),
    )


def _about(task: TaskAggregate, place: Place) -> str:
    failure = task.failure_info
    stage = task.current_stage or ""
    pending = "" if task.pending_operation is None else f", {task.pending_operation} requested"
    if failure is not None and not task.status.holds_slot:
        where = "" if failure.failed_at is None else f"{failure.failed_at.stage}: "
        return f"{where}{failure.error_code}: {place.with_place(failure.message)}"
    done = f"{task.completed_stages}/{task.total_stages}"
    if task.status is TaskStatus.PAUSED:
        return f"before {stage} {done}{pending}{', by the stop-line' if task.line_held else ''}"
    return f"{stage} {done} for {elapsed((datetime.now(UTC) - task.updated_at).total_seconds())}{pending}"


def _task_lines(look: TaskLook, place: Place, width: int, *, fancy: bool) -> "list[Text]":
    from rich.text import Text

    task = look.task
    title = Text.assemble(
        (f"task {task.task_id}", "bold"), f"  tenant {task.tenant_id}  ", (str(task.status), style_of(task.status))
    )
    if task.pending_operation is not None:
        title.append(f"  {task.pending_operation} requested", style="yellow")
    stages = Text()
    for name, mark in zip(task.stage_names, task.marks, strict=True):
        sign, style = _sign(task, name, mark, fancy=fancy)
        stages.append(f"{sign} {name}   ", style=style)
    lines = [*_beside(title, driven_by(look), width), stages]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    if look.around.outage is not None:
        lines.append(Text(printable(outage(look)), style="yellow"))
    if look.waits is not None and look.waits.cause != "ORDER" and not look.at_rest:
        move = f"; {place.with_place(look.waits.next_move)}" if look.waits.next_move else ""
        lines.append(Text(printable(f"{look.waits.reason}{move}"), style="yellow"))
    if task.failure_info is not None:
        lines.append(Text(printable(place.with_place(task.failure_info.message)), style="red"))
    return lines


def _sign(task: TaskAggregate, name: str, mark: int, *, fancy: bool) -> tuple[str, str]:
    if mark & StageMark.RESTORED:
        return ("↩" if fancy else "<"), style_of("ROLLED_BACK")
    if mark & StageMark.RESTORE_FAILED:
        return ("✗" if fancy else "!"), style_of("FAILED")
    if name == task.current_stage and task.status is TaskStatus.FAILED:
        return ("✗" if fancy else "x"), style_of("FAILED")
    if name == task.current_stage and task.status.holds_slot:
        return ("▶" if fancy else ">"), style_of("RUNNING")
    if mark & StageMark.COMPLETED:
        return ("✓" if fancy else "+"), style_of("COMPLETED")
    return ("·" if fancy else "."), ""
