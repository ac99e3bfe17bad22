"""
An event loop in which a seed decides what runs next, and in which time moves only when a schedule says so.

It has no selector, no thread and no clock: what is ready, which answers of a store are on their way, and which timers
are pending are plain lists, and whoever explores picks from them. Each callback belongs to the process in whose context
it was made, so a process can be frozen, or die, between any two callbacks.
"""

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar, cast

Result = TypeVar("Result")

_START = datetime(2026, 1, 1, tzinfo=UTC)
_LONGEST_PATIENCE = 80
"""Steps: enough for some commits with everything that follows from them."""


@dataclass(slots=True, eq=False)
class Process:
    """One process of the program: its asyncio tasks, and whether it runs."""

    name: str
    frozen: bool = False
    tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])


_PROCESS: ContextVar[Process] = ContextVar("_PROCESS")


class SeededLoop(asyncio.BaseEventLoop):
    """
    Runs one callback at a time, the one that it is told to.

    Attributes:
        points: Answers on their way: each is a moment at which somebody else may come first.
        errors: What nobody caught.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ready: list[asyncio.Handle] = []
        self._scheduled: list[asyncio.TimerHandle]
        self._elapsed = 0.0
        self.points: list[tuple[Process, asyncio.Future[None]]] = []
        self.errors: list[str] = []
        self.set_exception_handler(self._note_error)
        self.set_task_factory(cast("Any", self._make_task))

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._elapsed

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""

    def _process_events(self, event_list: object) -> None:
        """There is no input."""

    @staticmethod
    def _make_task(loop: Any, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:  # noqa: ANN401  # as asyncio calls it
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        process = _PROCESS.get()
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        return task

    def _note_error(self, loop: object, context: dict[str, Any]) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    # Running

    @contextmanager
    def entered(self) -> Generator[None]:
        """While open, this is the running loop; at the end nothing is left in it."""
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(None)
            self._ready.clear()
            self.close()

    def spawn(self, process: Process, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin something in a process."""
        context = copy_context()
        context.run(_PROCESS.set, process)
        return context.run(self.create_task, work)

    async def point(self, process: Process) -> None:
        """A moment at which everybody else may come first."""
        future: asyncio.Future[None] = self.create_future()
        self.points.append((process, future))
        await future

    @property
    def ready(self) -> Sequence[asyncio.Handle]:
        """Every callback that is ready, in order."""
        return self._ready

    def runnable(self) -> list[int]:
        """Which callbacks may run now: those of no frozen process."""
        return [index for index, handle in enumerate(self._ready) if not _process_of(handle).frozen]

    def run(self, index: int) -> None:
        """Run one callback."""
        handle = self._ready.pop(index)
        if not handle.cancelled():
            handle._run()

    def pass_point(self, index: int) -> None:
        """Let one answer arrive."""
        _, future = self.points.pop(index)
        if not future.done():
            future.set_result(None)

    def passable(self) -> list[int]:
        """Which answers may arrive now."""
        return [index for index, (process, _) in enumerate(self.points) if not process.frozen]

    @property
    def next_timer_seconds(self) -> float | None:
        """How long until the next timer; None when there is none."""
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)
        return max(0.0, self._scheduled[0].when() - self._elapsed) if self._scheduled else None

    def advance(self, seconds: float) -> None:
        """Let time pass: everything that is due becomes ready at once, as after a long gap."""
        self._elapsed += seconds
        while (left := self.next_timer_seconds) is not None and left <= 0:
            self._ready.append(heapq.heappop(self._scheduled))

    def end(self, process: Process) -> None:
        """A process is gone: nothing of it runs any more, and what it waited for never comes."""
        process.frozen = False
        while process.tasks:
            for task in list(process.tasks):
                task.cancel()
            while (index := self._first_of(process)) is not None:
                self.run(index)
        self.points = [(owner, future) for owner, future in self.points if owner is not process]

    def _first_of(self, process: Process) -> int | None:
        return next((index for index, handle in enumerate(self._ready) if _process_of(handle) is process), None)


def _process_of(handle: asyncio.Handle) -> Process:
    context = cast("Any", handle)._context
    found: Process = context[_PROCESS]
    return found


@dataclass(slots=True, eq=False)
class VirtualClock:
    """The loop's time; the wall clock beside it may jump, the monotonic one never does."""

    loop: SeededLoop
    jumped: timedelta = timedelta()

    def now(self) -> datetime:
        return _START + timedelta(seconds=self.loop.time()) + self.jumped

    def monotonic(self) -> float:
        return self.loop.time()

    def jump(self, hours: float) -> None:
        """Somebody sets the wall clock."""
        self.jumped += timedelta(hours=hours)

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)


class Picker:
    """
    Says which callback runs next.

    Asyncio runs callbacks in the order in which they became ready. The program may not rely on more than its own
    awaits, so most schedules take that order with exceptions, some take it strictly, some not at all. In some a
    callback is late: whatever else is ready runs before it, for a while, so that others may have gone through several
    commits when it comes.

    Args:
        disorder: The share of steps in which any callback may come first.
        lateness: The share of steps in which one becomes late.
    """

    def __init__(self, random: Random, disorder: float, lateness: float = 0.0) -> None:
        self._random = random
        self._disorder = disorder
        self._lateness = lateness
        self._late: asyncio.Handle | None = None
        self._patience = 0

    def punctual(self, loop: SeededLoop, runnable: list[int], *, more: bool) -> list[int]:
        """What may run now, without the late one; ``more``: something else than a callback could happen instead."""
        random, ready = self._random, loop.ready
        if self._late is None and runnable and random.random() < self._lateness:
            self._late, self._patience = ready[random.choice(runnable)], random.randint(5, _LONGEST_PATIENCE)
        if self._late is None:
            return runnable
        others = [index for index in runnable if ready[index] is not self._late]
        self._patience -= 1
        if len(others) == len(runnable) or not self._patience or not (others or more):
            self._late = None
            return runnable
        return others

    def pick(self, choices: list[int]) -> int:
        """One of them."""
        if len(choices) > 1 and self._disorder and self._random.random() < self._disorder:
            return self._random.choice(choices)
        return choices[0]


def immediately(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that never waits: what a reader of a store in memory gets."""
    call: Callable[[None], object] = work.send
    try:
        call(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    work.close()
    message = "the coroutine waits"
    raise AssertionError(message)
