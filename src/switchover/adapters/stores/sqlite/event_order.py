"""
The order of the events of all plans: which number each has, and how they are forgotten. Belongs to the writing thread.

Events carry no number. What is committed in one piece follows one another in its plan and over all plans, so one row
(``event_run``) stands for all of it.
"""

import sqlite3
from collections.abc import Iterable
from typing import Final

from switchover.adapters.stores.sqlite.bulk import insert
from switchover.domain.events import Event
from switchover.errors import StoreConflictError
from switchover.spi import PruneEvents

_INSERT_RUNS = insert("event_run", ("number", "plan_id", "position", "length"))

_THROUGH: Final = "SELECT min(?2, max(position) - 1) FROM event WHERE plan_id = ?1"
_LAST_NUMBER: Final = """
SELECT max(number - max(position - ?2, 0)) FROM event_run WHERE plan_id = ?1 AND position - length < ?2
"""


class EventNumbers:
    """The last number that was given, as far as it is known."""

    def __init__(self) -> None:
        self._last: int | None = None

    def take(self, connection: sqlite3.Connection, count: int) -> int:
        """So many more; returns the last one before them."""
        before = self._last
        if before is None:
            before = int(connection.execute("SELECT coalesce(max(number), 0) FROM event_run").fetchone()[0])
        self._last = before + count
        return before

    def forget(self) -> None:
        """Ask the database again: a transaction failed, or another process has written."""
        self._last = None


class EventRuns:
    """Collects the runs of one batch."""

    def __init__(self) -> None:
        self._runs: list[list[int]] = []

    def add(self, events: Iterable[Event]) -> None:
        """The next ones, in commit order."""
        runs = self._runs
        plan_id, position = runs[-1][:2] if runs else (0, 0)
        for event in events:
            if event.plan_id == plan_id and event.position == position + 1:
                position += 1
                run = runs[-1]
                run[1] = position
                run[2] += 1
            else:
                plan_id, position = event.plan_id, event.position
                runs.append([plan_id, position, 1])

    def write(self, connection: sqlite3.Connection, numbers: EventNumbers) -> None:
        """Give them their numbers."""
        if not self._runs:
            return
        number = numbers.take(connection, sum(run[2] for run in self._runs))
        rows: list[tuple[int, int, int, int]] = []
        for plan_id, position, length in self._runs:
            number += length
            rows.append((number, plan_id, position, length))
        _INSERT_RUNS.run(connection, rows)


def prune(connection: sqlite3.Connection, changes: Iterable[PruneEvents]) -> None:
    """
    Forget events of plans, and for those who read all plans whatever lies before the last of them.

    Raises:
        StoreConflictError: There is no such plan.
    """
    for change in changes:
        _prune(connection, change)


def _prune(connection: sqlite3.Connection, change: PruneEvents) -> None:
    plan_id = change.plan_id
    if not connection.execute("SELECT 1 FROM plan WHERE plan_id = ?", (plan_id,)).fetchone():
        message = f"plan {plan_id} is not in the store"
        raise StoreConflictError(message)
    through = connection.execute(_THROUGH, (plan_id, change.through)).fetchone()[0]
    if through is None:
        return
    number = connection.execute(_LAST_NUMBER, (plan_id, through)).fetchone()[0]
    if not connection.execute("DELETE FROM event WHERE plan_id = ? AND position <= ?", (plan_id, through)).rowcount:
        return
    statement = "INSERT INTO pruned_plan VALUES (?, ?) ON CONFLICT (plan_id) DO UPDATE SET position = excluded.position"
    connection.execute(statement, (plan_id, through))
    connection.execute("DELETE FROM event_run WHERE number <= ?", (number,))
    # The run that the last one was in the middle of begins behind it now.
    connection.execute(
        "UPDATE event_run SET length = number - ?1"
        " WHERE number = (SELECT min(number) FROM event_run) AND number - length < ?1",
        (number,),
    )
