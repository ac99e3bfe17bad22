"""
Opens what was damaged, and judges the outcome by what is promised.

- *harmless*: everything is there, and a driver finishes the work as if nothing had been.
- *refused*: opening it, or driving it, ends with one paragraph that says what is wrong and what to do.
- *told*: it opens, and reading what is damaged, or the full check of ``doctor``, says so.
- *changed*: it opens, nothing says so, and a stored value is another one. Only a database that was itself overwritten
  may come to this: its pages carry no checksums. That it lost an event, a task, a plan or a request is never allowed.
"""

import asyncio
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

from switchover import TaskStatus
from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.bootstrap import Executor, open_executor
from switchover.domain.task import PlanId, TenantId
from switchover.errors import StorageError
from tests.campaigns.crash.fate import Death, Fate
from tests.campaigns.crash.host import Host, Life, host
from tests.campaigns.crash.snapshot import Snapshot, take
from tests.campaigns.crash.stages import STAGES, prepare, stage_factory
from tests.campaigns.damage.wounds import WOUNDS

PLAN = 7
_LOST = ("plan", "task", "event", "request", "pre_image", "tenant_hold")
_COMMITS_BEFORE_DEATH = 14
_FIRST_JOURNAL_PAGES = 30


class Outcome(StrEnum):
    """See above."""

    HARMLESS = "harmless"
    REFUSED = "refused"
    TOLD = "told"
    CHANGED = "changed"


ALLOWED: dict[str, frozenset[Outcome]] = {
    **{
        name: frozenset({Outcome.HARMLESS, Outcome.REFUSED, Outcome.TOLD})
        for name in ("cut_at_page", "cut_in_page", "zero_page")
    },
    **{name: frozenset(Outcome) for name in ("old_page", "flip_bit")},
    **{
        name: frozenset({Outcome.HARMLESS, Outcome.REFUSED})
        for name in ("flip_bit_of_journal", "cut_journal_at_frame", "cut_journal_anywhere")
    },
    **{name: frozenset({Outcome.HARMLESS}) for name in ("lose_index", "foul_index")},
    **{
        name: frozenset({Outcome.REFUSED})
        for name in (
            "lose_journal",
            "zero_journal",
            "foreign_journal",
            "empty_database",
            "empty_database_without_journal",
            "lose_database",
            "directory",
        )
    },
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What was done, and what came of it; ``problem`` is empty when that is allowed."""

    case: str
    done: str
    outcome: Outcome | None
    said: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Ward:
    """What a process left behind when it was killed in the middle of its work, to be damaged again and again."""

    left: Path
    scratch: Path
    truth: Snapshot

    def attempt(self, case: str) -> Trial:
        """The case of this name: ``KIND:SEED``."""
        kind = case.split(":", maxsplit=1)[0]
        folder = self.scratch / "patient"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.left, folder)
        done = WOUNDS[kind](folder, Random(case))
        try:
            outcome, said = asyncio.run(self._open(folder))
        except Exception as error:  # noqa: BLE001  # that nothing else is raised is what is tried
            return Trial(case, done, None, "", f"raised {error!r}")
        problem = "" if outcome in ALLOWED[kind] else f"{outcome} is not allowed ({said})"
        if outcome is Outcome.REFUSED and not 60 < len(said) < 900:
            problem = f"no paragraph: {said!r}"
        return Trial(case, done, outcome, said, problem)

    async def _open(self, folder: Path) -> tuple[Outcome, str]:
        store = SqliteExecutionStore(folder / "switchover.db")
        try:
            await store.open()
        except StorageError as error:
            return Outcome.REFUSED, error.message
        try:
            found = await store.check()
            await _read_everything(store)
            problem = "; ".join(found)
        except StorageError as error:
            problem = error.message
        finally:
            await store.aclose()
        refusal = await _drive(folder, only_open=bool(problem))
        if refusal:
            return Outcome.REFUSED, refusal
        if problem:
            return Outcome.TOLD, ""
        return self._compare(folder)

    def _compare(self, folder: Path) -> tuple[Outcome, str]:
        now = take(folder)
        for table in _LOST:
            keys = {_key(table, row) for row in self.truth.rows(table)} - {_key(table, row) for row in now.rows(table)}
            assert not keys, f"silently lost from {table}: {sorted(keys)[:3]}"
        for plan_id, events in self.truth.events.items():
            if now.events[plan_id][: len(events)] != events:
                return Outcome.CHANGED, "events"
        images = [
            {(row["stage"], row["key"], row["value"]) for row in seen.rows("pre_image")} for seen in (self.truth, now)
        ]
        if not images[0] <= images[1]:
            return Outcome.CHANGED, "pre-images"
        for table in ("plan_definition", "request"):
            if now.rows(table)[: len(self.truth.rows(table))] != self.truth.rows(table):
                return Outcome.CHANGED, "rows that never change"
        states = [(row["status"], row["unsettled"]) for row in now.rows("plan")]
        whole = all(unsettled == 0 for _, unsettled in states) and bool(states)
        return (Outcome.HARMLESS, "") if whole else (Outcome.CHANGED, f"not settled: {states}")


def _images(seen: Snapshot) -> set[tuple[object, ...]]:
    return {(row["stage"], row["key"], row["value"]) for row in seen.rows("pre_image")}


def _key(table: str, row: dict[str, object]) -> tuple[str, ...]:
    columns = {
        "plan": ("plan_id",),
        "task": ("plan_id", "ordinal"),
        "event": ("plan_id", "position"),
        "request": ("request_id",),
        "pre_image": ("plan_id", "ordinal", "stage"),
        "tenant_hold": ("tenant_id",),
    }[table]
    return tuple(str(row[column]) for column in columns)


async def _read_everything(store: SqliteExecutionStore) -> None:
    """As somebody who looks at all of it."""
    await store.load_state()
    await store.list_holds()
    await store.open_requests(0, 100)
    for plan in await store.list_plans(before=None, limit=100):
        tasks = await store.list_tasks(plan.plan_id, statuses=None, after=0, limit=1_000)
        await store.load_tasks([task.key for task in tasks])
        await store.load_tenants([TenantId(task.tenant_id) for task in tasks])
        await store.load_events(PlanId(plan.plan_id), 0, 10_000)
        for task in tasks:
            await store.load_task_events(task.key, 0, 1_000)
            for stage in STAGES:
                await store.load_pre_images(task.key, stage)


async def _drive(folder: Path, *, only_open: bool) -> str:
    """Finish the work as a next process would; what it said when it may not."""
    fate = Fate(folder, None)
    (folder / "repaired").touch()
    try:
        async with open_executor(
            f"sqlite:///{folder}/switchover.db",
            stage_factory=stage_factory(fate, failing=("b", STAGES[1])),
            mode="record" if only_open else "drive",
            grace_seconds=0,
        ) as executor:
            if not only_open:
                await _until_quiet(executor)
    except StorageError as error:
        return error.message
    return ""


async def _until_quiet(executor: Executor) -> None:
    """Until no task runs. Not ``wait_for_plan``: a counter that was flipped would have it wait for ever."""
    facade = executor.facade
    while any(
        task.status in {TaskStatus.RUNNING, TaskStatus.PENDING, TaskStatus.ROLLING_BACK}
        for task in await facade.list_tasks(PLAN)
    ):
        if executor.driver_failure is not None:
            raise executor.driver_failure
        await asyncio.sleep(0.002)


@contextmanager
def ward(repository: Path, scratch: Path) -> Iterator[Ward]:
    """A killed process's files: some commits in the database, more in its journal, the latest among them."""
    left, other = scratch / "left", scratch / "other"
    with host(repository, scratch / "log") as lives:
        _killed(lives, other, _COMMITS_BEFORE_DEATH + 3)
        commits, truth = _COMMITS_BEFORE_DEATH, Snapshot()
        while len(truth.rows("event")) <= _events_without_journal(left):
            _killed(lives, left, commits)
            commits, truth = commits - 1, take(left)
    shutil.copy(other / "switchover.db-wal", left / "foreign-wal")
    shutil.rmtree(left / "look")
    yield Ward(left, scratch, truth)


def _killed(lives: Host, folder: Path, commits: int) -> None:
    """What a process leaves that dies after so many commits."""
    shutil.rmtree(folder, ignore_errors=True)
    prepare(folder)
    death = Death(point="answered", number=commits)
    lives.start(Life(folder=str(folder), script="story", death=death, checkpoint_pages=_FIRST_JOURNAL_PAGES))
    _, code = lives.wait()
    assert code == -signal.SIGKILL, lives.log.read_text()


def _events_without_journal(folder: Path) -> int:
    """As many as the last checkpoint brought into the database itself."""
    if not folder.exists():
        return 0
    alone = folder / "alone.db"
    shutil.copy(folder / "switchover.db", alone)
    with closing(sqlite3.connect(alone)) as connection:
        count = int(connection.execute("SELECT count(*) FROM event").fetchone()[0])
    for file in folder.glob("alone.db*"):
        file.unlink()
    return count
