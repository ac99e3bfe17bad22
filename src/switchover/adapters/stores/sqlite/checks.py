"""Examines a whole database: whether the file is sound, and whether what it says agrees with itself."""
# ruff: noqa: S608  # statements are put together from our own column names; values are always bound

import sqlite3
from collections.abc import Iterator
from typing import Final

from switchover.adapters.stores.codec import TASK_STATUS_CODES, TASK_STATUSES, task_status
from switchover.adapters.stores.sqlite.reader import Reader
from switchover.domain.plan import PlanAggregate

_SETTLED: Final = ", ".join(str(TASK_STATUS_CODES[status]) for status in TASK_STATUSES if status.is_settled)
_IS_LIVE: Final = f"(t.status NOT IN ({_SETTLED}) OR t.pending_operation IS NOT NULL)"
_OWNS: Final = "(n.owner_plan IS t.plan_id AND n.owner_ordinal IS t.ordinal)"
_WAITS: Final = (
    "EXISTS (SELECT 1 FROM lock_queue AS q WHERE q.tenant_id = t.tenant_id AND q.arrival = t.arrival"
    " AND q.plan_id = t.plan_id AND q.ordinal = t.ordinal)"
)
_MOST: Final = 100
"""Problems of one kind that are told; a damaged store has thousands of the same."""

_ROWS: Final = {
    "task {0} has no configuration": """
        SELECT t.plan_id || '-' || t.ordinal FROM task AS t LEFT JOIN task_config AS c USING (plan_id, ordinal)
        WHERE c.config IS NULL LIMIT :most""",
    "task {0} has no plan": """
        SELECT t.plan_id || '-' || t.ordinal FROM task AS t LEFT JOIN plan AS p USING (plan_id)
        WHERE p.plan_id IS NULL LIMIT :most""",
    # What was pruned of a plan may be any number of a task's first events, or all of them.
    "task {0}: sequence ids of the {1} stored events run from {2} to {3}, and should run from {4} to {5}": """
        SELECT t.plan_id || '-' || t.ordinal, e.number, e.first, e.last,
            CASE WHEN c.plan_id IS NULL THEN 1 ELSE coalesce(e.first, t.sequence_id + 1) END, t.sequence_id
        FROM task AS t LEFT JOIN (
            SELECT plan_id, ordinal, count(*) AS number, min(sequence_id) AS first, max(sequence_id) AS last
            FROM event GROUP BY plan_id, ordinal
        ) AS e USING (plan_id, ordinal) LEFT JOIN pruned_plan AS c USING (plan_id)
        WHERE coalesce(e.number, 0) <> t.sequence_id + 1 - CASE
            WHEN c.plan_id IS NULL THEN coalesce(e.first, 1) ELSE coalesce(e.first, t.sequence_id + 1) END
            OR (c.plan_id IS NULL AND e.first <> 1) OR e.last <> t.sequence_id LIMIT :most""",
    "the order of all events has {2} of plan {1} up to number {0}, and {3} are stored": """
        SELECT number, plan_id, length, stored FROM (
            SELECT r.number, r.plan_id, r.length, (
                SELECT count(*) FROM event AS e
                WHERE e.plan_id = r.plan_id AND e.position > r.position - r.length AND e.position <= r.position
            ) AS stored
            FROM event_run AS r
        ) AS runs WHERE stored <> length LIMIT :most""",
    "plan {0} has {1} events, and {2} in the order of all events": """
        SELECT plan_id, stored, ordered FROM (
            SELECT p.plan_id, (SELECT count(*) FROM event AS e WHERE e.plan_id = p.plan_id) AS stored,
                coalesce(r.ordered, 0) AS ordered
            FROM plan AS p LEFT JOIN (
                SELECT plan_id, sum(length) AS ordered FROM event_run GROUP BY plan_id
            ) AS r USING (plan_id)
        ) AS plans WHERE stored <> ordered AND NOT EXISTS (SELECT 1 FROM pruned_plan) LIMIT :most""",
    "event at position {1} of plan {0} belongs to task {2}, which is not stored": """
        SELECT e.plan_id, e.position, e.ordinal FROM event AS e LEFT JOIN task AS t USING (plan_id, ordinal)
        WHERE e.ordinal > 0 AND t.plan_id IS NULL LIMIT :most""",
    "tenant {0}: task {1} is live, and neither owns the lock nor waits for it": f"""
        SELECT t.tenant_id, t.plan_id || '-' || t.ordinal FROM task AS t LEFT JOIN tenant AS n USING (tenant_id)
        WHERE {_IS_LIVE} AND NOT {_OWNS} AND NOT {_WAITS} LIMIT :most""",
    "tenant {0}: task {1} is settled, and still owns the lock or waits for it": f"""
        SELECT t.tenant_id, t.plan_id || '-' || t.ordinal FROM task AS t LEFT JOIN tenant AS n USING (tenant_id)
        WHERE NOT {_IS_LIVE} AND ({_OWNS} OR {_WAITS}) LIMIT :most""",
    "tenant {0}: {1} tasks wait for a lock that nobody owns": """
        SELECT q.tenant_id, count(*) FROM lock_queue AS q LEFT JOIN tenant AS n USING (tenant_id)
        WHERE n.owner_plan IS NULL GROUP BY q.tenant_id LIMIT :most""",
}


def problems(connection: sqlite3.Connection, reader: Reader) -> list[str]:
    """One sentence per problem. Reads everything, in one transaction."""
    found = [f"the file: {problem}" for problem in _damage(connection)]
    if found:
        return found  # what a damaged file says about plans and tasks would only mislead
    connection.execute("BEGIN")
    try:
        for sentence, query in _ROWS.items():
            found.extend(sentence.format(*row) for row in connection.execute(query, {"most": _MOST}).fetchall())
        before: int | None = None
        while plans := reader.list_plans(connection, before, _MOST):
            for plan in plans:
                found.extend(_plan_problems(connection, plan))
            before = plans[-1].plan_id
    finally:
        connection.execute("COMMIT")
    return found


def _damage(connection: sqlite3.Connection) -> list[str]:
    try:
        return [row[0] for row in connection.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise
        return [str(error)]  # so damaged that not even the examination gets through


def _plan_problems(connection: sqlite3.Connection, plan: PlanAggregate) -> Iterator[str]:
    name = f"plan {plan.plan_id}"
    query = f"SELECT t.status, count(*), sum({_IS_LIVE}) FROM task AS t WHERE t.plan_id = ? GROUP BY t.status"
    rows = connection.execute(query, (plan.plan_id,)).fetchall()
    total = sum(row[1] for row in rows)
    if total != plan.total:
        yield f"{name}: {total} tasks are stored, its total says {plan.total}"
    live = sum(row[2] for row in rows)
    if live != plan.unsettled:
        yield f"{name}: {live} tasks are live, it says {plan.unsettled}"
    numbers = {task_status(row[0]): row[1] for row in rows}
    for status in TASK_STATUSES:
        if numbers.get(status, 0) != plan.count(status):
            yield f"{name}: {numbers.get(status, 0)} tasks are {status}, it says {plan.count(status)}"
    pruned = connection.execute("SELECT position FROM pruned_plan WHERE plan_id = ?", (plan.plan_id,)).fetchone()
    for what, column, condition, last in (
        ("positions", "position", "", plan.position),
        ("sequence ids", "sequence_id", " AND ordinal = 0", plan.sequence_id),
    ):
        query = f"SELECT count(*), min({column}), max({column}) FROM event WHERE plan_id = ?{condition}"
        count, first, final = connection.execute(query, (plan.plan_id,)).fetchone()
        start = 1
        if pruned is not None:
            start = pruned[0] + 1 if what == "positions" else first or last + 1
        if count != last - start + 1 or (count and (first != start or final != last)):
            span = f"{first} to {final}" if count else "none"
            yield f"{name}: {what} of the {count} stored events run from {span}, and should run from {start} to {last}"
