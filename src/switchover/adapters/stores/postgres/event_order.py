"""The order of the events of all plans: which number each has, and how they are forgotten."""

from collections.abc import Iterable
from typing import Final

from switchover.adapters.stores.event_runs import EventRuns
from switchover.adapters.stores.postgres.bulk import changed
from switchover.adapters.stores.postgres.sql import Connection
from switchover.errors import StoreConflictError
from switchover.spi import PruneEvents

# Whoever takes numbers holds the row until the end of the transaction, so a lower one never turns up later.
_WRITE: Final = """
WITH before AS (UPDATE counter SET last = last + $1 WHERE name = 'event' RETURNING last - $1 AS number)
INSERT INTO event_run (number, plan_id, position, length)
SELECT before.number + r.number, r.plan_id, r.position, r.length
FROM before, unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS r (number, plan_id, position, length)
"""

_THROUGH: Final = "SELECT least($2::bigint, max(position) - 1) FROM event WHERE plan_id = $1"
_LAST_NUMBER: Final = """
SELECT max(number - greatest(position - $2::bigint, 0)) FROM event_run WHERE plan_id = $1 AND position - length < $2
"""
_MARK: Final = (
    "INSERT INTO pruned_plan VALUES ($1, $2) ON CONFLICT (plan_id) DO UPDATE SET position = excluded.position"
)
# The run that the last one was in the middle of begins behind it now.
_CUT: Final = """
UPDATE event_run SET length = number - $1
WHERE number = (SELECT min(number) FROM event_run) AND number - length < $1
"""


async def write(connection: Connection, runs: EventRuns) -> None:
    """Give the events of a batch their numbers; best at its end, for the next one waits for it."""
    if runs.events:
        await connection.execute(_WRITE, runs.events, *map(list, zip(*runs.numbered(0), strict=True)))


async def prune(connection: Connection, changes: Iterable[PruneEvents]) -> None:
    """
    Forget events of plans, and for those who read all plans whatever lies before the last of them.

    Raises:
        StoreConflictError: There is no such plan.
    """
    for change in changes:
        await _prune(connection, change)


async def _prune(connection: Connection, change: PruneEvents) -> None:
    plan_id = change.plan_id
    if not await connection.fetchval("SELECT 1 FROM plan WHERE plan_id = $1", plan_id):
        message = f"plan {plan_id} is not in the store"
        raise StoreConflictError(message)
    through = await connection.fetchval(_THROUGH, plan_id, change.through)
    if through is None:
        return
    number = await connection.fetchval(_LAST_NUMBER, plan_id, through)
    gone = await connection.execute("DELETE FROM event WHERE plan_id = $1 AND position <= $2", plan_id, through)
    if changed(gone):
        await connection.execute(_MARK, plan_id, through)
        await connection.execute("DELETE FROM event_run WHERE number <= $1", number)
        await connection.execute(_CUT, number)
