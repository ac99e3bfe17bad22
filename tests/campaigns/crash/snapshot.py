"""
What the database of a process that is dead says, read with nothing but ``sqlite3``.

The files are copied first: to open them where they lie would repair them, which is the next process's business. The
codes are written down here once more, so that a code that changed its meaning would be noticed.
"""

import json
import shutil
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Task = tuple[int, int]
StageRun = tuple[str, str, str]
"""Task id, stage, and forth or back."""

SETTLED = frozenset({3, 8, 9, 10, 12, 13})
RUNNING = frozenset({5, 11})
OPERATIONS = {"pause": 1, "resume": 2, "cancel": 3, "retry": 4, "rollback": 5}
EFFECTS = {"pause": 14, "resume": 15, "cancel": 18, "retry": 22, "rollback": 24}
RETRY_STARTED, HEARTBEAT = 22, 30
STAGE_STARTED, STAGE_SUCCEEDED, STAGE_FAILED = 19, 20, 21
STAGE_BACK, STAGE_IS_BACK, STAGE_NOT_BACK = 27, 28, 29
COMPLETED_MARK = 2

_TABLES = (
    "driver",
    "plan",
    "plan_definition",
    "task",
    "event",
    "tenant",
    "lock_queue",
    "tenant_hold",
    "last_known_good",
    "request",
    "stage_list",
    "pre_image",
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything, as rows; without tables, when the process died before it had made them."""

    tables: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])

    def rows(self, table: str) -> list[Row]:
        """In the order of its key."""
        return self.tables.get(table, [])

    @property
    def events(self) -> dict[int, list[Row]]:
        """By plan, by position."""
        found: dict[int, list[Row]] = defaultdict(list)
        for row in self.rows("event"):
            found[row["plan_id"]].append(row)
        return found

    def stage_of(self, event: Row, names: list[str]) -> str:
        """The stage that an event of a stage names."""
        data = event["data"]
        return names[data] if isinstance(data, int) else str(json.loads(data)["stage"])

    def names_of_stages(self) -> dict[Task, list[str]]:
        """Of each task."""
        lists = {row["stage_list_id"]: json.loads(row["names"]) for row in self.rows("stage_list")}
        return {(row["plan_id"], row["ordinal"]): lists[row["stage_list_id"]] for row in self.rows("task")}

    def stage_runs(self) -> "StageRuns":
        """What the events say of the stages."""
        names = self.names_of_stages()
        runs = StageRuns()
        for row in self.rows("event"):
            kind, key = row["type"], (row["plan_id"], row["ordinal"])
            if kind == RETRY_STARTED and not json.loads(row["data"])["fromCheckpoint"]:
                runs.done = {run for run in runs.done if run[0] != f"{key[0]}-{key[1]}"}
            if kind not in _STAGE_EVENTS:
                continue
            way, what = _STAGE_EVENTS[kind]
            run = (f"{key[0]}-{key[1]}", self.stage_of(row, names[key]), way)
            if what == "begins":
                runs.open.add(run)
                if not is_recovered(row):
                    runs.announced[run] += 1
            else:
                runs.open.discard(run)
                if what == "done":
                    runs.done.add(run)
        return runs


@dataclass(slots=True)
class StageRuns:
    """Which stages are under way, which are done, and how often each was announced, take-overs apart."""

    open: set[StageRun] = field(default_factory=set[StageRun])
    done: set[StageRun] = field(default_factory=set[StageRun])
    announced: Counter[StageRun] = field(default_factory=Counter[StageRun])


_STAGE_EVENTS = {
    STAGE_STARTED: ("forth", "begins"),
    STAGE_SUCCEEDED: ("forth", "done"),
    STAGE_FAILED: ("forth", "failed"),
    STAGE_BACK: ("back", "begins"),
    STAGE_IS_BACK: ("back", "done"),
    STAGE_NOT_BACK: ("back", "failed"),
}


def is_recovered(event: Row) -> bool:
    """An announcement that comes again because a process died."""
    return isinstance(event["data"], str) and bool(json.loads(event["data"]).get("recovered"))


def take_beside(folder: Path) -> Snapshot:
    """
    While another process has the database open, and stands still: what that one sees.

    A commit whose writer died before it had told the others of it is none for them: their next one takes its place.
    """
    url = f"{(folder / 'switchover.db').as_uri()}?mode=ro"
    try:
        # Whoever stands still gives no lock back, so there is nothing to wait for.
        with closing(sqlite3.connect(url, uri=True, timeout=0)) as connection:
            return _read(connection)
    except sqlite3.OperationalError:  # it stands still while it opens or closes the database
        return take(folder)


def take(folder: Path) -> Snapshot:
    """Of the database in this folder, which nobody has open."""
    copy = folder / "look"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for suffix in ("", "-wal"):
        file = folder / f"switchover.db{suffix}"
        if file.exists():
            shutil.copy(file, copy / file.name)
    with closing(sqlite3.connect(copy / "switchover.db")) as connection:
        return _read(connection)


def _read(connection: sqlite3.Connection) -> Snapshot:
    connection.row_factory = sqlite3.Row
    connection.execute("BEGIN")
    present = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    if not present.issuperset(_TABLES):
        assert not present, f"half a schema: {present}"
        return Snapshot()
    return Snapshot({table: [dict(row) for row in connection.execute(_query(table))] for table in _TABLES})


def _query(table: str) -> str:
    order = {"event": "plan_id, position", "task": "plan_id, ordinal", "request": "request_id"}.get(table, "1")
    return f"SELECT * FROM {table} ORDER BY {order}"
