"""
A plan as the console shows it: one small row per task, kept current by the plan's events.

An event says which task has changed; what has become of it is read from the store, several times a second at most and
for all changed tasks at once. So the board is never ahead of the store and never needs to know what an event means, and
a plan that makes thousands of events a second costs a few reads.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

from switchover.bootstrap import Executor
from switchover.domain.plan import PlanAggregate
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus
from switchover.interfaces.pace import Pace

_PAGE = 2_000
_READ_AT_ONCE = 500
_REFRESH_SECONDS = 0.2
_WHOLE_SECONDS = 0.5
_SHARE = 20
"""Reading everything may take one part in so many of the time."""
_MOST_BOARDS = 8

Shared = TypeVar("Shared")


class Cause(NamedTuple):
    """What failures have in common."""

    status: TaskStatus
    code: str
    stage: str
    step: str


class BoardRow(NamedTuple):
    """One task, as small as it can be: a board may have a hundred thousand."""

    ordinal: int
    tenant_id: str
    status: TaskStatus
    stages: tuple[str, ...]
    marks: tuple[int, ...]
    pending: str
    held: bool
    retries: int
    cause: Cause | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    Which rows to show.

    Attributes:
        text: Part of a tenant's id, in any case; empty for all.
        statuses: Empty for all.
    """

    text: str = ""
    statuses: frozenset[TaskStatus] = frozenset()

    def takes(self, row: BoardRow) -> bool:
        """Whether the row is one of them."""
        return (not self.statuses or row.status in self.statuses) and (
            not self.text or self.text.lower() in row.tenant_id.lower()
        )


class PlanBoard:
    """
    One plan's rows.

    Attributes:
        plan: As last read.
        stages: Names in the order of the columns: those of all tasks together.
        version: Rises whenever a row or the plan has changed.
        rate: Tasks settled per second of late; None while that says nothing.
    """

    def __init__(self, executor: Executor, plan: PlanAggregate) -> None:
        self._executor = executor
        self.plan = plan
        self.stages: tuple[str, ...] = ()
        self.rate: float | None = None
        self.version = 0
        self._rows: list[BoardRow] = []
        self._shared: dict[object, object] = {}
        self._dirty: set[int] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._pace = Pace()
        self._loops: list[asyncio.Task[None]] = []

    # Life

    async def open(self) -> None:
        """Read every task once, then follow."""
        since = self.plan.position
        await self._read_all()
        self._loops = [asyncio.ensure_future(self._listen(since)), asyncio.ensure_future(self._refresh())]

    async def aclose(self) -> None:
        """Follow no more."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        self._tell()

    # Reading

    def rows(self, wanted: Wanted) -> list[BoardRow]:
        """The rows that are wanted, in plan order."""
        return [row for row in self._rows if wanted.takes(row)]

    def failures(self) -> list[tuple[Cause, list[BoardRow]]]:
        """What failed, grouped by cause, the most frequent first."""
        groups: dict[Cause, list[BoardRow]] = {}
        for row in self._rows:
            if row.cause is not None:
                groups.setdefault(row.cause, []).append(row)
        return sorted(groups.items(), key=lambda item: -len(item[1]))

    @property
    def seconds_left(self) -> float | None:
        """Until everything has settled that does not wait for a person, at the present rate."""
        moving = self.plan.unsettled - self.plan.idle
        return moving / self.rate if self.rate and moving > 0 else None

    async def changed(self, seen: int) -> None:
        """Wait until ``version`` is not ``seen`` any more."""
        if self.version == seen and self._loops:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    # Inside

    async def _listen(self, since: int) -> None:
        async for event in self._executor.events(self.plan.plan_id, since=since):
            if event.key is not None:
                self._dirty.add(event.key.ordinal)

    async def _refresh(self) -> None:
        """
        Read again what events named; and once in a while everything, if the plan has changed.

        A request that waits for its time makes no event. It is seen within a second, or later the longer reading
        everything takes, so that looking costs a small share of the time.
        """
        executor, clock = self._executor, self._executor.clock
        whole, due = self.plan.version, 0.0
        while True:
            seen = executor.version
            began = clock.monotonic()
            plan = await executor.store.load_plan(self.plan.plan_id) or self.plan
            if plan.version != whole and began >= due:
                whole = plan.version
                self._dirty.clear()
                await self._read_all()
                due = clock.monotonic() + max((clock.monotonic() - began) * _SHARE, _WHOLE_SECONDS)
            changed, self._dirty = sorted(self._dirty), set()
            await self._read(changed)
            if changed or plan.version != self.plan.version:
                self.plan = plan
                self.rate = self._pace.note(clock.monotonic(), plan.total - plan.unsettled)
                self._tell()
            await clock.sleep(_REFRESH_SECONDS)
            if plan.version == whole:
                await executor.changed(seen)

    async def _read_all(self) -> None:
        after = 0
        store = self._executor.store
        while page := await store.list_tasks(self.plan.plan_id, statuses=None, after=after, limit=_PAGE):
            self._rows[after : after + len(page)] = [self._row(task) for task in page]
            after = page[-1].key.ordinal

    async def _read(self, ordinals: Sequence[int]) -> None:
        for start in range(0, len(ordinals), _READ_AT_ONCE):
            keys = [TaskKey(self.plan.plan_id, ordinal) for ordinal in ordinals[start : start + _READ_AT_ONCE]]
            for stored in await self._executor.store.load_tasks(keys):
                self._rows[stored.task.key.ordinal - 1] = self._row(stored.task)

    def _tell(self) -> None:
        self.version += 1
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _row(self, task: TaskAggregate) -> BoardRow:
        failure = task.failure_info
        cause = None
        if failure is not None and task.status.is_failure:
            point = failure.failed_at
            stage, step = ("", "") if point is None else (point.stage or "", point.step or "")
            cause = self._one(Cause(task.status, str(failure.error_code), stage, step))
        if task.stage_names not in self._shared:
            self.stages = tuple(dict.fromkeys((*self.stages, *task.stage_names)))
        return BoardRow(
            ordinal=task.key.ordinal,
            tenant_id=task.tenant_id,
            status=task.status,
            stages=self._one(task.stage_names),
            marks=self._one(task.marks),
            pending="" if task.pending_operation is None else str(task.pending_operation),
            held=task.held,
            retries=task.retry_count,
            cause=cause,
            message="" if failure is None or cause is None else failure.message,
        )

    def _one(self, value: Shared) -> Shared:
        """Equal values are kept once: a hundred thousand rows have a few dozen of them."""
        return cast("Shared", self._shared.setdefault(value, value))


class Boards:
    """The boards that somebody looks at, and a few that somebody did a moment ago."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._boards: dict[PlanId, PlanBoard] = {}
        self._opening = asyncio.Lock()

    async def of(self, plan_id: PlanId) -> PlanBoard | None:
        """A plan's board; None when nobody knows the plan."""
        async with self._opening:
            board = self._boards.pop(plan_id, None)
            if board is None:
                plan = await self._executor.store.load_plan(plan_id)
                if plan is None:
                    return None
                board = PlanBoard(self._executor, plan)
                await board.open()
            self._boards[plan_id] = board  # the one that was asked for last is last
            while len(self._boards) > _MOST_BOARDS:
                await self._boards.pop(next(iter(self._boards))).aclose()
            return board

    async def aclose(self) -> None:
        """Let go of all."""
        for board in self._boards.values():
            await board.aclose()
        self._boards.clear()
