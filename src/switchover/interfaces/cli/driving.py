"""
Staying with the work until it has come to rest, and leaving it in good order when somebody asks for that.

One Ctrl-C (or SIGTERM) starts nothing more, lets running stages end within a limit, and leaves; a second one leaves
now. Either way the next process that drives the store goes on from what is recorded.
"""

import asyncio
import math
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

from switchover.errors import StoreUnavailableError
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.looking import Look, Subject

if TYPE_CHECKING:
    from datetime import datetime

    from switchover.interfaces.cli.screens import Screen
    from switchover.interfaces.cli.service import Service

_SHORTEST_SECONDS = 0.02
_LONGEST_SECONDS = 0.2
_COST_SHARE = 10
_REDRAW_SECONDS = 1.0


class Interrupts:
    """
    Counts the requests to stop that come in as signals; a context.

    Attributes:
        first: Somebody wants us to leave in good order.
        second: ... and now at once.
        attended: While False, nobody looks at ``second``, so the second signal ends whatever is being done.
        cancels: Nothing has to be left in good order: the first signal ends whatever is being done.
    """

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.attended = False
        self.cancels = False
        self._task: asyncio.Task[object] | None = None
        self._signals: list[signal.Signals] = []

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
                loop.add_signal_handler(number, self._note)
                self._signals.append(number)
        return self

    def __exit__(self, *exc_info: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._signals:
            loop.remove_signal_handler(number)

    def _note(self) -> None:
        if self.first.is_set():
            self.second.set()
        self.first.set()
        if self._task is not None and (self.cancels or (self.second.is_set() and not self.attended)):
            self._task.cancel()


async def finish_stages(
    executor: "Service",
    interrupts: Interrupts,
    seconds: float,
    meanwhile: Callable[[], Awaitable[object]] | None = None,
) -> bool:
    """
    Start nothing more, let running stages end, but no longer than this, and give the store to the next driver.

    Args:
        meanwhile: Done a few times a second.

    Returns:
        False when the second signal has cut that short.
    """
    finishing = asyncio.ensure_future(executor.stop(finish_stages_within_seconds=seconds))
    try:
        while not finishing.done() and not interrupts.second.is_set():
            if meanwhile is not None:
                await meanwhile()
            await _any_of(_LONGEST_SECONDS, interrupts.second.wait, lambda: asyncio.wait({finishing}))
    finally:
        cut_short = not finishing.done()
        if cut_short:
            finishing.cancel()
            await asyncio.gather(finishing, return_exceptions=True)
            await executor.stop(finish_stages_within_seconds=0)
    if not finishing.cancelled():
        await finishing
    return not cut_short


@dataclass(slots=True, kw_only=True)
class Companion:
    """
    Stays with one plan or task.

    Args:
        go_on: The command that goes on where this process leaves off.
        stop_timeout_seconds: How long running stages may take to end once somebody wants us to leave.
    """

    executor: "Service"
    subject: Subject
    screen: "Screen"
    interrupts: Interrupts
    go_on: str
    stop_timeout_seconds: float = math.inf
    _began: float = field(default_factory=time.monotonic)
    _cannot_look: bool = False
    _outage_since: "datetime | None" = None

    async def stay(self) -> tuple[ExitCode, Look]:
        """Until it has come to rest, or somebody wants us to leave."""
        self.interrupts.attended = True
        with self.screen:
            look = await self._follow()
            if look.at_rest:
                return look.code, look
            if not self.executor.driving:
                return ExitCode.DISCONNECTED, look
            look = await self._leave()
        return look.code, look

    async def watch(self, timeout_seconds: float | None) -> tuple[ExitCode, Look]:
        """Like ``stay``, without having a part in it."""
        self.interrupts.attended = True
        with self.screen:
            look = await self._follow(timeout_seconds)
        if look.at_rest:
            return look.code, look
        return (ExitCode.DISCONNECTED if self.interrupts.first.is_set() else ExitCode.TIMED_OUT), look

    async def _follow(self, timeout_seconds: float | None = None) -> Look:
        due = math.inf if timeout_seconds is None else self._began + timeout_seconds
        executor, first = self.executor, self.interrupts.first
        while True:
            seen = executor.version
            began = time.monotonic()
            look = await self._look()
            if look is None:  # nothing to go by, so nothing ends here but by the one who watches
                if first.is_set() or began >= due:
                    return await self.subject.look()
                await _any_of(min(_REDRAW_SECONDS, due - began), first.wait)
                continue
            if look.at_rest or first.is_set() or began >= due:
                return look
            if executor.driver_failure is not None:
                raise executor.driver_failure
            ended = time.monotonic()
            # Quick at first, so that a small plan is not kept waiting; later a few times a second.
            rhythm = min(max(_SHORTEST_SECONDS, (ended - self._began) / 5), _LONGEST_SECONDS)
            await _any_of(min(max(rhythm, (ended - began) * _COST_SHARE), due - ended), first.wait)
            if not first.is_set():
                await _any_of(min(_REDRAW_SECONDS, due - ended), first.wait, partial(executor.changed, seen))

    async def _leave(self) -> Look:
        limit = f" within {self.stop_timeout_seconds:g} s" if math.isfinite(self.stop_timeout_seconds) else ""
        self.screen.say(
            f"stopping: nothing more is started, and running stages are brought to their end{limit}; press Ctrl-C "
            "again to stop at once"
        )
        if not await finish_stages(self.executor, self.interrupts, self.stop_timeout_seconds, self._look):
            self.screen.say("stopped at once: the stages that ran are interrupted, and run again next time")
        look = await self.subject.look()
        if not look.at_rest:
            self.screen.say(f"stopped; {self.subject.name} goes on from here with: {self.go_on}")
        return look

    async def _look(self) -> Look | None:
        """Show how it stands; None while the store cannot be read, which is no reason to leave the work alone."""
        try:
            look = await self.subject.look()
        except StoreUnavailableError as error:
            if not self._cannot_look:
                self._cannot_look = True
                self.screen.say(f"the store cannot be read: {error.message}. Looking again until it can")
            return None
        if self._cannot_look:
            self._cannot_look = False
            self.screen.say("the store can be read again")
        self._tell_of_outage(look)
        self.screen.show(look)
        return look

    def _tell_of_outage(self, look: Look) -> None:
        """When the store begins to take no commits, and when it takes them again."""
        outage = look.around.outage
        since = None if outage is None else outage.since
        if outage is not None and self._outage_since is None:
            self.screen.say(
                f"the store takes no commits: {outage.reason}. Nothing is lost: what runs comes to the end of its "
                "stage and waits, nothing more is started, and all goes on by itself when the store is back"
            )
        elif since is None and self._outage_since is not None:
            self.screen.say("the store takes commits again, and the work goes on")
        self._outage_since = since


async def _any_of(seconds: float, *waits: Callable[[], Awaitable[object]]) -> None:
    """Wait for the first of these, but no longer than so many seconds."""
    if seconds <= 0:
        return
    waiting = {asyncio.ensure_future(wait()) for wait in waits}
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
