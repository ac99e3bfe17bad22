"""
What is looked at whenever a database is opened: as much as costs next to nothing. ``checks`` examines all of it.

A small file is examined whole; of a large one the ends of what runs, which is where a file that was cut off, or a part
of it that was never written, shows.
"""

import sqlite3
from pathlib import Path
from typing import Final

from switchover.errors import StoreUnusableError

_SMALL_BYTES: Final = 4 * 1024 * 1024
_PLANS: Final = 20

_ENDS: Final = """
SELECT p.plan_id, p.position, d.total,
    (SELECT max(position) FROM event AS e WHERE e.plan_id = p.plan_id),
    (SELECT max(ordinal) FROM task AS t WHERE t.plan_id = p.plan_id)
FROM plan AS p LEFT JOIN plan_definition AS d USING (plan_id)
WHERE p.unsettled > 0 ORDER BY p.plan_id DESC LIMIT ?
"""


def look(connection: sqlite3.Connection, path: Path) -> None:
    """
    See that nothing is obviously missing.

    Raises:
        StoreUnusableError: Something is.
        sqlite3.DatabaseError: SQLite says so itself.
    """
    pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
    page_size = int(connection.execute("PRAGMA page_size").fetchone()[0])
    found = ""
    if pages * page_size <= _SMALL_BYTES:
        answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        found = "" if answer == "ok" else answer.replace("\n", " ")
    if not found and connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'plan_definition'").fetchone():
        for plan_id, position, total, last_event, last_task in connection.execute(_ENDS, (_PLANS,)).fetchall():
            if last_event != position:
                found = f"plan {plan_id} says that its last event has position {position}, and that is {last_event}"
            elif last_task != total:
                found = f"plan {plan_id} says that it has {total} tasks, and the last one is {last_task}"
    if found:
        message = (
            f"{path} is damaged ({found}), so nothing was touched. Keep a copy of it and of the files beside it, and "
            f"restore the last backup; generations are lifted with `switchover adopt` then"
        )
        raise StoreUnusableError(message)
