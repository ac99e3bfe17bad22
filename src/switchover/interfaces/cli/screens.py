"""
Where progress is shown: a live display on a terminal, plain lines everywhere else.

A screen never stops the work: when whoever reads it goes away, it falls silent.
"""

import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from switchover.domain.task import TaskAggregate
from switchover.interfaces.cli.looking import MOST_FAILURES, Look, PlanLook, TaskLook
from switchover.interfaces.cli.output import Format, console
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.texts import elapsed, printable

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

    def __enter__(self) -> "Screen": ...
    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: BaseException | None,
        trace: "TracebackType | None",
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

    def __enter__(self) -> "SilentScreen":
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

    def __enter__(self) -> "LiveScreen":
        from rich.live import Live

        self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._live.start()
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
        self._shown: tuple[object, ...] = ()
        self._counts: object = None
        self._counts_at = 0.0
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

    def __enter__(self) -> "PlainScreen":
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def _show_task(self, look: TaskLook) -> None:
        from switchover.interfaces.cli.views import driven_by, stands

        task = look.task
        state = (task.status, task.current_stage, task.pending_operation, driven_by(look), _waits(look))
        if state != self._shown:
            self._shown = state
            reason = "" if not _waits(look) or look.at_rest else f"; {_waits(look)}"
            self.say(f"{stands(task)}{reason}; {driven_by(look)}")
            self._show_failure(task)

    def _show_plan(self, look: PlanLook) -> None:
        from switchover.interfaces.cli.views import brakes, driven_by, numbers

        plan = look.plan
        for task in look.failed:
            self._show_failure(task)
        state = (plan.status, plan.pending_operation, driven_by(look), *brakes(look, self._place))
        now = time.monotonic()
        waited = now - self._counts_at
        if state != self._shown or (plan.counts != self._counts and waited >= _EVERY_SECONDS) or look.at_rest:
            pass
        elif waited < _AT_LEAST_EVERY_SECONDS:
            return
        notes = [note for note in state[2:] if note not in self._shown] if state != self._shown else []
        self._shown, self._counts, self._counts_at = state, plan.counts, now
        self.say("; ".join([f"plan {plan.plan_id} {plan.status}: {numbers(look)}", *map(str, notes)]))

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


def _waits(look: TaskLook) -> str:
    return "" if look.waits is None else look.waits.reason


def _is_fancy(screen: "Console") -> bool:
    return screen.encoding.lower().startswith("utf") and not screen.legacy_windows


def seconds_text(seconds: float | None) -> str:
    """A duration, or nothing."""
    return "" if seconds is None else elapsed(seconds)
