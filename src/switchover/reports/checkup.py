"""What ``doctor`` looks at. Each check is one look, one verdict and, where there is something to do, one next move."""

import importlib.util
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from switchover.domain.plan import PlanStatus
from switchover.reports.texts import count, elapsed, moment
from switchover.spi import ServedStore

if TYPE_CHECKING:
    from switchover.bootstrap import Executor
    from switchover.spi import DriverInfo

_LEAST_FREE_BYTES = 512 * 1024 * 1024
_LEAST_FREE_SHARE = 0.03
_LATE_SECONDS = 30.0
_MOST_REQUESTS = 100
_MOST_NAMED = 5
_EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
_CLOCK_SLACK_SECONDS = 60.0


class Verdict(StrEnum):
    """What a check comes to. A note is worth knowing, and no problem."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check; ``name`` is stable."""

    name: str
    verdict: Verdict
    found: str
    next_move: str = ""

    def to_dict(self) -> dict[str, object]:
        """In camelCase."""
        return {
            "name": self.name,
            "verdict": str(self.verdict),
            "found": self.found,
            "nextMove": self.next_move or None,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Check":
        """The inverse of ``to_dict``."""
        verdict = Verdict(data["verdict"])
        return Check(name=data["name"], verdict=verdict, found=data["found"], next_move=data["nextMove"] or "")


class Commands(Protocol):
    """How a command to type is written, with the place that it is about."""

    def command(self, *words: str) -> str:
        """``switchover`` with these words."""
        ...


async def checks_of(executor: "Executor", place: Commands, url: str) -> Sequence[Check]:
    """All checks of a store that is open, and of what surrounds it, in order."""
    found = [Check(name="store", verdict=Verdict.OK, found=f"{url} opens")]
    found += [check async for check in _of_store(executor, place)]
    return [*found, *surroundings()]


async def _of_store(executor: "Executor", place: Commands) -> AsyncIterator[Check]:
    store = executor.store
    if isinstance(store, ServedStore):
        yield Check(name="server", verdict=Verdict.OK, found=await store.describe())
    problems = await store.check()
    for problem in problems:
        move = "keep a copy of the database and of the files beside it, and restore the last backup"
        yield Check(name="integrity", verdict=Verdict.PROBLEM, found=problem, next_move=move)
    if not problems:
        yield Check(name="integrity", verdict=Verdict.OK, found="what is stored is sound, and agrees with itself")
    path = getattr(store, "path", None)
    if isinstance(path, Path):
        yield _schema(path)
        yield _disk(path)
    driver = await store.driver()
    yield await _driver(executor, driver, place)
    yield await _requests(executor, driver, place)
    yield await _line(executor, place)
    yield await _holds(executor, place)
    yield await _clock(executor, driver)


def _schema(path: Path) -> Check:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()
    return Check(name="schema", verdict=Verdict.OK, found=f"version {version}, which this program knows")


def _disk(path: Path) -> Check:
    usage = shutil.disk_usage(path.parent)
    size = sum(
        file.stat().st_size for suffix in ("", "-wal", "-shm") if (file := path.with_name(path.name + suffix)).exists()
    )
    found = f"{_size(usage.free)} of {_size(usage.total)} are free; the database takes {_size(size)}"
    if usage.free < _LEAST_FREE_BYTES or usage.free < usage.total * _LEAST_FREE_SHARE:
        move = "make room: when the disk is full, running plans stand still until there is some"
        return Check(name="disk", verdict=Verdict.PROBLEM, found=found, next_move=move)
    return Check(name="disk", verdict=Verdict.OK, found=found)


async def _driver(executor: "Executor", driver: "DriverInfo | None", place: Commands) -> Check:
    if driver is not None and driver.alive:
        return Check(name="driver", verdict=Verdict.OK, found=f"{driver.owner} drives since {moment(driver.since)} UTC")
    last = "nobody ever drove" if driver is None else f"nobody drives; the last was {driver.owner}"
    plans = (await executor.store.load_state()).plans
    waiting = [plan for plan in plans if plan.status is not PlanStatus.PAUSED and plan.unsettled > plan.idle]
    if not waiting:
        return Check(name="driver", verdict=Verdict.OK, found=f"{last}, and no plan waits for one")
    names = ", ".join(str(plan.plan_id) for plan in waiting[:_MOST_NAMED])
    return Check(
        name="driver",
        verdict=Verdict.NOTE,
        found=f"{last}, and {count(len(waiting), 'plan')} not settled: {names}",
        next_move=f"`{place.command('run', '--plan', str(waiting[0].plan_id))}`",
    )


async def _requests(executor: "Executor", driver: "DriverInfo | None", place: Commands) -> Check:
    requests = await executor.store.open_requests(0, _MOST_REQUESTS)
    if not requests:
        return Check(name="requests", verdict=Verdict.OK, found="every request has its answer")
    oldest = (datetime.now(UTC) - requests[0].submitted_at).total_seconds()
    more = "+" if len(requests) == _MOST_REQUESTS else ""
    found = f"{len(requests)}{more} requests without an answer, the oldest ({requests[0].verb}) since {elapsed(oldest)}"
    if oldest < _LATE_SECONDS:
        return Check(name="requests", verdict=Verdict.NOTE, found=found)
    if driver is not None and driver.alive:
        move = f"{driver.owner} drives and does not answer; see whether it hangs, and end it: another one takes over"
        return Check(name="requests", verdict=Verdict.PROBLEM, found=found, next_move=move)
    move = f"they are decided as soon as a process drives: `{place.command('run', 'FILE')}`"
    return Check(name="requests", verdict=Verdict.NOTE, found=found, next_move=move)


async def _line(executor: "Executor", place: Commands) -> Check:
    line = await executor.store.load_line()
    if line is None:
        return Check(name="line", verdict=Verdict.OK, found="it runs")
    return Check(
        name="line",
        verdict=Verdict.NOTE,
        found=f"stopped since {moment(line.since)} UTC: {line.reason}",
        next_move=f"`{place.command('start-line')}`",
    )


async def _holds(executor: "Executor", place: Commands) -> Check:
    holds = await executor.store.list_holds()
    if not holds:
        return Check(name="holds", verdict=Verdict.OK, found="no tenant is on hold")
    named = [f"{tenant} ({hold.reason})" for tenant, hold in list(holds.items())[:_MOST_NAMED]]
    more = f" and {len(holds) - len(named)} more" if len(holds) > len(named) else ""
    return Check(
        name="holds",
        verdict=Verdict.NOTE,
        found=f"{count(len(holds), 'tenant')} on hold: {', '.join(named)}{more}",
        next_move=f"`{place.command('unhold', '--tenant', 'TENANT', '--reason', 'WHY')}`",
    )


async def _clock(executor: "Executor", driver: "DriverInfo | None") -> Check:
    now = datetime.now(UTC)
    plans = await executor.store.list_plans(before=None, limit=1)
    written = [plan.updated_at for plan in plans] + ([driver.since] if driver is not None else [])
    ahead = max(((at - now).total_seconds() for at in written), default=0.0)
    move = "set the clock; moments in the log are wrong meanwhile, the work itself does not depend on them"
    if now < _EARLIEST:
        return Check(name="clock", verdict=Verdict.PROBLEM, found=f"it says {moment(now)} UTC", next_move=move)
    if ahead > _CLOCK_SLACK_SECONDS:
        found = f"the store was last written {elapsed(ahead)} in the future of this clock ({moment(now)} UTC)"
        return Check(name="clock", verdict=Verdict.PROBLEM, found=found, next_move=move)
    return Check(name="clock", verdict=Verdict.OK, found=f"{moment(now)} UTC, after everything that was written")


def surroundings() -> Sequence[Check]:
    """What does not depend on the store."""
    return [_redis()]


def _redis() -> Check:
    if importlib.util.find_spec("redis") is not None:
        return Check(name="redis", verdict=Verdict.OK, found="the driver for redis:// targets is installed")
    move = "pip install 'switchover[redis]', if a plan names such targets"
    found = "the driver for redis:// targets is not installed"
    return Check(name="redis", verdict=Verdict.NOTE, found=found, next_move=move)


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:  # noqa: PLR2004  # what the units are made of
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
