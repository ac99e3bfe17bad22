"""
Live progress: one row per tenant, one cell per service, moved by the events of the plan.

At a terminal the rows stand still and their cells change; elsewhere every task that settles is a line.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from switchover.bootstrap import Executor
from switchover.demo.narration import Marks, Narrator
from switchover.domain.events import Event, EventType

_REFRESH_SECONDS = 0.1
_PATIENCE_SECONDS = 25.0

_PLAN_ENDS = frozenset(
    {
        EventType.PLAN_COMPLETED,
        EventType.PLAN_FAILED,
        EventType.PLAN_CANCELLED,
        EventType.PLAN_ROLLED_BACK,
        EventType.PLAN_ROLLBACK_FAILED,
    }
)
_TASK_ENDS = frozenset(
    {
        EventType.TASK_COMPLETED,
        EventType.TASK_FAILED,
        EventType.TASK_CANCELLED,
        EventType.TASK_ROLLED_BACK,
        EventType.TASK_ROLLBACK_FAILED,
    }
)
_RUNS = frozenset({"RUNNING", "ROLLING_BACK"})
_SETTLED = frozenset({"COMPLETED", "FAILED", "ROLLED_BACK", "ROLLBACK_FAILED"})
_STATUS_STYLES: Mapping[str, str] = {
    "COMPLETED": "green",
    "FAILED": "bold red",
    "ROLLED_BACK": "yellow",
    "ROLLBACK_FAILED": "bold red",
    "PENDING": "dim",
}


class _Cell(StrEnum):
    """What became of one service of one tenant: a field of ``Marks``."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    RESTORED = "restored"


_CELL_STYLES: Mapping[_Cell, str] = {
    _Cell.WAITING: "dim",
    _Cell.RUNNING: "bold cyan",
    _Cell.DONE: "green",
    _Cell.FAILED: "bold red",
    _Cell.RESTORED: "yellow",
}
_STAGE_EVENTS: Mapping[EventType, _Cell] = {
    EventType.TASK_STAGE_STARTED: _Cell.RUNNING,
    EventType.TASK_STAGE_SUCCEEDED: _Cell.DONE,
    EventType.TASK_STAGE_FAILED: _Cell.FAILED,
    EventType.TASK_STAGE_ROLLING_BACK: _Cell.RUNNING,
    EventType.TASK_STAGE_ROLLED_BACK: _Cell.RESTORED,
    EventType.TASK_STAGE_ROLLBACK_FAILED: _Cell.FAILED,
}


@dataclass(slots=True)
class Board:
    """
    What the events said so far.

    Attributes:
        shown: Rows, in order.
        most_at_once: The highest number of tasks that ran at the same time.
    """

    services: Sequence[str]
    shown: Sequence[str] = ()
    statuses: dict[str, str] = field(default_factory=dict[str, str])
    cells: dict[tuple[str, str], _Cell] = field(default_factory=dict[tuple[str, str], _Cell])
    most_at_once: int = 0

    def apply(self, event: Event) -> None:
        """Move what the event is about."""
        if event.tenant_id is None:
            return
        self.statuses[event.tenant_id] = event.status
        self.most_at_once = max(self.most_at_once, sum(status in _RUNS for status in self.statuses.values()))
        cell = _STAGE_EVENTS.get(event.type)
        if cell is not None:
            self.cells[event.tenant_id, str(event.data["stage"])] = cell

    def table(self, marks: Marks, seconds: float) -> Table:
        """The board as it is now."""
        table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim")
        table.add_column("tenant")
        for service in self.services:
            table.add_column(service, justify="center", min_width=8)
        table.add_column("status", min_width=14)
        for tenant in self.shown:
            status = self.statuses.get(tenant, "PENDING")
            cells = [self.cells.get((tenant, service), _Cell.WAITING) for service in self.services]
            table.add_row(
                tenant,
                *(Text(getattr(marks, cell.value), style=_CELL_STYLES[cell]) for cell in cells),
                Text(status, style=_STATUS_STYLES.get(status, "cyan")),
            )
        if len(self.shown) == 1:
            return table
        settled = sum(self.statuses.get(tenant) in _SETTLED for tenant in self.shown)
        bar = ProgressBar(total=len(self.shown), completed=settled, width=8 * len(self.services))
        foot = Table.grid(padding=(0, 2, 0, 2))
        foot.add_row("", bar, Text(f"{settled} of {len(self.shown)} tenants, {seconds:.1f} s", style="dim"))
        whole = Table.grid()
        whole.add_row(table)
        whole.add_row(foot)
        return whole


async def follow(narrator: Narrator, board: Board, executor: Executor, plan_id: int, since: int) -> list[Event]:
    """
    Move the board, and show it, from after position ``since`` until the plan has settled.

    Returns:
        The events that moved it.

    Raises:
        TimeoutError: It has not settled in time.
    """
    events: list[Event] = []
    async with asyncio.timeout(_PATIENCE_SECONDS):
        arriving = _until_settled(executor, plan_id, since)
        if narrator.console.is_terminal:
            await _show_live(narrator, board, arriving, events)
        else:
            await _show_lines(narrator, board, arriving, events)
    return events


async def _until_settled(executor: Executor, plan_id: int, since: int) -> AsyncIterator[Event]:
    async for event in executor.events(plan_id, since):
        yield event
        if event.type in _PLAN_ENDS:
            return


async def _show_live(narrator: Narrator, board: Board, arriving: AsyncIterator[Event], events: list[Event]) -> None:
    marks = Marks.of(narrator.console)
    started_at = time.monotonic()

    def drawn() -> Table:
        return board.table(marks, time.monotonic() - started_at)

    with Live(drawn(), console=narrator.console, auto_refresh=False, vertical_overflow="visible") as live:

        async def redraw() -> None:
            while True:
                live.update(drawn(), refresh=True)
                await asyncio.sleep(_REFRESH_SECONDS)

        clock = asyncio.ensure_future(redraw())
        try:
            async for event in arriving:
                board.apply(event)
                events.append(event)
        finally:
            clock.cancel()
            await asyncio.gather(clock, return_exceptions=True)
            live.update(drawn(), refresh=True)


async def _show_lines(narrator: Narrator, board: Board, arriving: AsyncIterator[Event], events: list[Event]) -> None:
    marks = Marks.of(narrator.console)
    started_at = time.monotonic()
    async for event in arriving:
        board.apply(event)
        events.append(event)
        if event.type in _TASK_ENDS and event.tenant_id is not None:
            cells = "  ".join(
                f"{service} {getattr(marks, board.cells.get((event.tenant_id, service), _Cell.WAITING).value)}"
                for service in board.services
            )
            narrator.say(f"  {time.monotonic() - started_at:4.1f} s  {event.tenant_id:<10}{event.status:<14}{cells}")
