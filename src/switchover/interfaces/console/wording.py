"""How values read on a page: the filters of the templates."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape

from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate, PlanStatus
from switchover.domain.task import TaskAggregate, TaskStatus, wire_timestamp
from switchover.interfaces.console.board import BoardRow
from switchover.interfaces.console.shapes import IN_PROGRESS_ORDER, PLAN_LOOKS, TASK_LOOKS, Look, stage_looks
from switchover.redaction import without_secrets
from switchover.reports.texts import elapsed, moment

_SCALE = 1_000
_LEAST_WIDTH = 6
_FAILURES = (TaskStatus.FAILED, TaskStatus.ROLLBACK_FAILED)


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a progress bar, in thousandths."""

    status: TaskStatus
    number: int
    look: Look
    start: float
    width: float


def segments(plan: PlanAggregate) -> list[Segment]:
    """The parts of a plan's bar; the smallest one can still be seen."""
    present = [(status, plan.count(status)) for status in IN_PROGRESS_ORDER if plan.count(status)]
    widths = [max(number * _SCALE / plan.total, _LEAST_WIDTH) for _, number in present]
    shrink = _SCALE / sum(widths) if widths else 1.0
    parts: list[Segment] = []
    start = 0.0
    for (status, number), width in zip(present, widths, strict=True):
        parts.append(Segment(status, number, TASK_LOOKS[status], round(start, 1), round(width * shrink, 1)))
        start += width * shrink
    return parts


def summary(plan: PlanAggregate) -> str:
    """The bar in words."""
    parts = [f"{plan.count(status):,} {TASK_LOOKS[status].word}" for status in IN_PROGRESS_ORDER if plan.count(status)]
    return f"Of {plan.total:,} tenants: {', '.join(parts)}"


def attention(plan: PlanAggregate) -> int:
    """How many tenants need somebody."""
    return sum(plan.count(status) for status in _FAILURES)


def took(plan: PlanAggregate, now: datetime) -> str:
    """How long the plan runs, or ran."""
    if plan.started_at is None:
        return "not started"
    return elapsed(((plan.ended_at or now) - plan.started_at).total_seconds())


def left(seconds: float | None, plan: PlanAggregate) -> str:
    """How long it may still take."""
    if plan.status.is_settled:
        return "none"
    if plan.status is PlanStatus.PAUSED:
        return "paused"
    return "unknown" if seconds is None else f"about {elapsed(seconds)}"


def rate(value: float | None) -> str:
    """Tenants per second or per minute."""
    if not value:
        return "–"
    return f"{value:.1f} a second" if value >= 1 else f"{value * 60:.1f} a minute"


def stage_cells(task: BoardRow | TaskAggregate, columns: Iterable[str]) -> list[tuple[str, Look | None]]:
    """A look for each column; None for a stage that this task does not have."""
    names = task.stages if isinstance(task, BoardRow) else task.stage_names
    looks = dict(zip(names, stage_looks(task.status, task.marks), strict=True))
    return [(name, looks.get(name)) for name in columns]


def why(row: BoardRow) -> str:
    """In a few words why the row stands where it stands."""
    if row.cause is not None:
        where = f" in {row.cause.stage}" if row.cause.stage else ""
        return f"{row.cause.code}{where}: {row.message}"
    if row.pending:
        return f"{row.pending} pending"
    if row.held:
        return "paused before its first stage"
    return f"retried {row.retries} times" if row.retries else ""


def told(event: Event) -> str:
    """What is particular to an event."""
    data = dict(event.data or {})
    counts = data.pop("counts", None)
    parts = [f"{name} {value}" for name, value in data.items() if name not in {"completed", "total"}]
    if counts is not None or event.key is None:
        parts.append(f"{event.completed:,} of {event.total:,} done")
    if event.failure_info is not None:
        parts.append(f"{event.failure_info.error_code}: {event.failure_info.message}")
    return "; ".join(parts)


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]


_CODE = re.compile(r"`([^`]+)`")


def code(text: str) -> Markup:
    """What stands between backticks is typed."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(without_secrets(text)))))  # noqa: S704  # escaped before


def clock(at: datetime) -> str:
    """The time of day, to the millisecond."""
    return at.strftime("%H:%M:%S.%f")[:-3]


def thousands(number: int) -> str:
    """1,234."""
    return f"{number:,}"


FILTERS: Mapping[str, Callable[..., object]] = {
    "segments": segments,
    "summary": summary,
    "attention": attention,
    "took": took,
    "left": left,
    "rate": rate,
    "stage_cells": stage_cells,
    "why": why,
    "told": told,
    "capital": capital,
    "code": code,
    "moment": moment,
    "exact": wire_timestamp,
    "clock": clock,
    "thousands": thousands,
    "plan_look": PLAN_LOOKS.__getitem__,
    "task_look": TASK_LOOKS.__getitem__,
}
