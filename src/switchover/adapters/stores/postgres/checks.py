"""Examines a whole store: whether what it says agrees with itself, and whether the server keeps what it promises."""
# ruff: noqa: S608  # statements are put together from our own column names; values are always bound

from collections.abc import AsyncIterator
from typing import Final

from switchover.adapters.stores.codec import TASK_STATUS_CODES, TASK_STATUSES, task_status
from switchover.adapters.stores.postgres.reader import Reader
from switchover.adapters.stores.postgres.sql import Connection
from switchover.domain.plan import PlanAggregate

_SETTLED: Final = ", ".join(str(TASK_STATUS_CODES[status]) for status in TASK_STATUSES if status.is_settled)
_IS_LIVE: Final = f"(t.status NOT IN ({_SETTLED}) OR t.pending_operation IS NOT NULL)"
_OWNS: Final = "(n.owner_plan IS NOT DISTINCT FROM t.plan_id AND n.owner_ordinal IS NOT DISTINCT FROM t.ordinal)"
_WAITS: Final = (
    "EXISTS (SELECT 1 FROM lock_queue AS q WHERE q.tenant_id = t.tenant_id AND q.arrival = t.arrival"
    " AND q.plan_id = t.plan_id AND q.ordinal = t.ordinal)"
)
_MOST: Final = 100
"""Problems of one kind that are told; a damaged store has thousands of the same."""

_ROWS: Final = {
    "task {0} has no configuration": """
        SELECT t.plan_id || '-' || t.ordinal FROM task AS t LEFT JOIN task_config AS c USING (plan_id, ordinal)
        WHERE c.config IS NULL LIMIT $1""",
    "task {0} has no plan": """
        SELECT t.plan_id || '-' || t.ordinal FROM task AS t LEFT JOIN plan AS p USING (plan_id)
        WHERE p.plan_id IS NULL LIMIT $1""",
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
            OR (c.plan_id IS NULL AND e.first <> 1) OR e.last <> t.sequence_id LIMIT $1""",
    "the order of all events has {2} of plan {1} up to number {0}, and {3} are stored": """
        SELECT number, plan_id, length, stored FROM (
            SELECT r.number, r.plan_id, r.length, (
                SELECT count(*) FROM event AS e
                WHERE e.plan_id = r.plan_id AND e.position > r.position - r.length AND e.position <= r.position
            ) AS stored
            FROM event_run AS r
        ) AS runs WHERE stored <> length LIMIT $1""",
    "plan {0} has {1} events, and {2} in the order of all events": """
        SELECT plan_id, stored, ordered FROM (
            SELECT p.plan_id, (SELECT count(*) FROM event AS e WHERE e.plan_id = p.plan_id) AS stored,
                coalesce(r.ordered, 0) AS ordered
            FROM plan AS p LEFT JOIN (
                SELECT plan_id, sum(length) AS ordered FROM event_run GROUP BY plan_id
            ) AS r USING (plan_id)
        ) AS plans WHERE stored <> ordered AND NOT EXISTS (SELECT 1 FROM pruned_plan) LIMIT $1""",
    "event at position {1} of plan {0} belongs to task {2}, which is not stored": """
        SELECT e.plan_id, e.position, e.ordinal FROM event AS e LEFT JOIN task AS t USING (plan_id, ordinal)
        WHERE e.ordinal > 0 AND t.plan_id IS NULL LIMIT $1""",
    "tenant {0}: task {1} is live, and neither owns the lock nor waits for it": f"""
        SELECT t.tenant_id, t.plan_id || '-' || t.ordinal FROM task AS t LEFT JOIN tenant AS n USING (tenant_id)
        WHERE {_IS_LIVE} AND NOT {_OWNS} AND NOT {_WAITS} LIMIT $1""",
    "tenant {0}: task {1} is settled, and still owns the lock or waits for it": f"""
        SELECT t.tenant_id, t.plan_id || '-' || t.ordinal FROM task AS t LEFT JOIN tenant AS n USING (tenant_id)
        WHERE NOT {_IS_LIVE} AND ({_OWNS} OR {_WAITS}) LIMIT $1""",
    "tenant {0}: {1} tasks wait for a lock that nobody owns": """
        SELECT q.tenant_id, count(*) FROM lock_queue AS q LEFT JOIN tenant AS n USING (tenant_id)
        WHERE n.owner_plan IS NULL GROUP BY q.tenant_id LIMIT $1""",
    "the server runs with {0} = off: after a power failure, commits that were acknowledged may be gone": """
        SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' LIMIT $1""",
}


async def problems(connection: Connection, reader: Reader) -> list[str]:
    """One sentence per problem. Reads everything, in one transaction."""
    found: list[str] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for sentence, query in _ROWS.items():
            found.extend(sentence.format(*row) for row in await connection.fetch(query, _MOST))
        before: int | None = None
        while plans := await reader.list_plans(connection, before, _MOST):
            for plan in plans:
                found.extend([problem async for problem in _plan_problems(connection, plan)])
            before = plans[-1].plan_id
    return found


async def _plan_problems(connection: Connection, plan: PlanAggregate) -> AsyncIterator[str]:
    name = f"plan {plan.plan_id}"
    query = (
        f"SELECT t.status, count(*), count(*) FILTER (WHERE {_IS_LIVE}) FROM task AS t"
        " WHERE t.plan_id = $1 GROUP BY t.status"
    )
    rows = await connection.fetch(query, plan.plan_id)
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
    pruned = await connection.fetchval("SELECT position FROM pruned_plan WHERE plan_id = $1", plan.plan_id)
    for what, column, condition, last in (
        ("positions", "position", "", plan.position),
        ("sequence ids", "sequence_id", " AND ordinal = 0", plan.sequence_id),
    ):
        query = f"SELECT count(*), min({column}), max({column}) FROM event WHERE plan_id = $1{condition}"
        count, first, final = await connection.fetchrow(query, plan.plan_id)
        start = 1
        if pruned is not None:
            start = pruned + 1 if what == "positions" else first or last + 1
        if count != last - start + 1 or (count and (first != start or final != last)):
            span = f"{first} to {final}" if count else "none"
            yield f"{name}: {what} of the {count} stored events run from {span}, and should run from {start} to {last}"
