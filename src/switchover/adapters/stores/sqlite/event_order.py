"""The order of the events of all plans: which number each has, and how they are forgotten."""

import sqlite3
from collections.abc import Iterable
from typing import Final

from switchover.adapters.stores.event_runs import EventRuns
from switchover.adapters.stores.sqlite.bulk import insert
from switchover.errors import StoreConflictError
from switchover.spi import PruneEvents

_INSERT_RUNS = insert("event_run", ("number", "plan_id", "position", "length"))

_THROUGH: Final = "SELECT min(?2, max(position) - 1) FROM event WHERE plan_id = ?1"
_LAST_NUMBER: Final = """
SELECT max(number - max(position - ?2, 0)) FROM event_run WHERE plan_id = ?1 AND position - length < ?2
"""


class EventNumbers:
    """The last number that was given, as far as it is known. Belongs to the writing thread."""

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


def write(connection: sqlite3.Connection, runs: EventRuns, numbers: EventNumbers) -> None:
    """Give the events of a batch their numbers."""
    if runs.events:
        _INSERT_RUNS.run(connection, runs.numbered(numbers.take(connection, runs.events)))


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
