"""
Where progress is shown: a live display on a terminal, plain lines everywhere else.

A screen never stops the work: when whoever reads it goes away, it falls silent.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, Self

from switchover.domain.task import TaskAggregate
from switchover.interfaces.cli.looking import MOST_FAILURES, Look, PlanLook, TaskLook
from switchover.interfaces.cli.output import Format, console
from switchover.interfaces.cli.place import Place
from switchover.reports.texts import printable

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console
    from rich.live import Live

_EVERY_SECONDS = 5.0
_AT_LEAST_EVERY_SECONDS = 60.0


class Progress(StrEnum):
    """How progress is shown."""

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    OFF = "off"


class Screen(Protocol):
    """Shows how the work goes."""

    def show(self, look: Look) -> None:
        """How it stands now."""
        ...

    def say(self, text: str) -> None:
        """Something that stays readable."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: BaseException | None,
        trace: "TracebackType | None",
        /,
    ) -> None: ...


def make_screen(progress: Progress, output: Format, place: Place) -> "Screen":
    """The screen that fits: with JSON on the standard output, progress goes to the error stream."""
    aside = output is not Format.TABLE
    chosen = progress
    screen = console(stderr=aside)
    if chosen is Progress.AUTO:
        chosen = Progress.LIVE if screen.is_terminal and not screen.is_dumb_terminal and not aside else Progress.PLAIN
    match chosen:
        case Progress.OFF:
            return SilentScreen()
        case Progress.LIVE:
            return LiveScreen(screen, place)
        case _:
            return PlainScreen(place, stderr=aside)


class SilentScreen:
    """Shows nothing."""

    def show(self, look: Look) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class LiveScreen:
    """Draws the view anew in place; what is said stays above it."""

    def __init__(self, screen: "Console", place: Place) -> None:
        self._console = screen
        self._place = place
        self._live: Live | None = None

    def show(self, look: Look) -> None:
        """Draw it."""
        from switchover.interfaces.cli.views import view

        if self._live is not None:
            with suppress(OSError):
                size = self._console.size
                drawn = view(look, self._place, size.width, size.height, fancy=_is_fancy(self._console))
                self._live.update(drawn, refresh=True)

    def say(self, text: str) -> None:
        """Above the view."""
        with suppress(OSError):
            self._console.print(printable(text))

    def __enter__(self) -> Self:
        from rich.live import Live

        live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
        with suppress(OSError):
            live.start()
            self._live = live
        return self

    def __exit__(self, *exc_info: object) -> None:
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.stop()


class PlainScreen:
    """One line per change that matters, and one every few seconds while there is progress."""

    def __init__(self, place: Place, *, stderr: bool = False) -> None:
        self._place = place
        self._stderr = stderr
        self._gone = False
        self._state: object = None
        self._notes: Sequence[str] = ()
        self._counts: object = None
        self._told_at = 0.0
        self._failures: set[tuple[str, int]] = set()

    def show(self, look: Look) -> None:
        """Print what is new."""
        if isinstance(look, TaskLook):
            self._show_task(look)
        else:
            self._show_plan(look)

    def say(self, text: str) -> None:
        """One line."""
        if self._gone:
            return
        stream = sys.stderr if self._stderr else sys.stdout
        try:
            print(f"{datetime.now(UTC):%H:%M:%S} {printable(text)}", file=stream, flush=True)
        except OSError:
            self._gone = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def _show_task(self, look: TaskLook) -> None:
        from switchover.interfaces.cli.views import driven_by, stands

        notes = [] if look.at_rest else [note for note in (_waits(look, self._place), driven_by(look)) if note]
        self._show_state((look.task.status, stands(look.task)), stands(look.task), notes)
        self._show_failure(look.task)

    def _show_plan(self, look: PlanLook) -> None:
        from switchover.interfaces.cli.views import brakes, driven_by, numbers

        plan = look.plan
        for task in look.failed:
            self._show_failure(task)
        waited = time.monotonic() - self._told_at
        progressed = plan.counts != self._counts and waited >= _EVERY_SECONDS
        notes = [] if look.at_rest else [*brakes(look, self._place), driven_by(look)]
        text = f"plan {plan.plan_id} {plan.status}: {numbers(look)}"
        if self._show_state((plan.status, plan.pending_operation), text, notes):
            self._counts = plan.counts
        elif progressed or waited >= _AT_LEAST_EVERY_SECONDS:
            self._counts, self._told_at = plan.counts, time.monotonic()
            self.say(text)

    def _show_state(self, state: object, text: str, notes: Sequence[str]) -> bool:
        """Say it when the state is another one, or there is a note that was not there before."""
        new = [note for note in notes if note not in self._notes]
        changed = state != self._state or bool(new)
        self._state, self._notes = state, notes
        if changed:
            self._told_at = time.monotonic()
            self.say("; ".join([text, *new]))
        return changed

    def _show_failure(self, task: TaskAggregate) -> None:
        failure = task.failure_info
        mark = (task.task_id, task.generation)
        if failure is None or mark in self._failures or len(self._failures) > MOST_FAILURES:
            return
        self._failures.add(mark)
        if len(self._failures) > MOST_FAILURES:
            self.say(f"more failures are not told here: {self._place.command('get', 'tasks', str(task.plan_id))}")
            return
        message = self._place.with_place(failure.message)
        self.say(f"{task.status} {task.task_id} (tenant {task.tenant_id}): {failure.error_code}: {message}")


def _waits(look: TaskLook, place: Place) -> str:
    waits = look.waits
    if waits is None or waits.cause == "ORDER":  # which passes by itself in a moment
        return ""
    return f"{waits.reason}; {place.with_place(waits.next_move)}" if waits.next_move else waits.reason


def _is_fancy(screen: "Console") -> bool:
    return screen.encoding.lower().startswith("utf") and not screen.legacy_windows
