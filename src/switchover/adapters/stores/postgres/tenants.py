"""
The tenants that a batch touches, read and written in one statement for each kind of change.

What happens to them is decided by ``tenant_book``.
"""

from collections.abc import Iterable
from typing import Final

from switchover.adapters.stores.postgres.bulk import BulkStatement, insert
from switchover.adapters.stores.postgres.sql import Connection
from switchover.adapters.stores.tenant_book import QUEUE_COLUMNS, TENANT_COLUMNS, TenantBook
from switchover.domain.task import TenantId

_LOAD: Final = """
SELECT t.tenant_id, t.generation, t.owner_plan, t.owner_ordinal, t.started_plan, t.started_ordinal,
    (SELECT array_agg(ARRAY[q.arrival, q.plan_id, q.ordinal::bigint]) FROM lock_queue AS q
     WHERE q.tenant_id = t.tenant_id)
FROM unnest($1::text[]) AS k (tenant_id) JOIN tenant AS t ON t.tenant_id = k.tenant_id
"""

_WRITE = insert(
    "tenant",
    TENANT_COLUMNS,
    "ON CONFLICT (tenant_id) DO UPDATE SET generation = excluded.generation, owner_plan = excluded.owner_plan,"
    " owner_ordinal = excluded.owner_ordinal, started_plan = excluded.started_plan,"
    " started_ordinal = excluded.started_ordinal",
)

_QUEUE = insert("lock_queue", QUEUE_COLUMNS)

_LEAVE = BulkStatement(
    QUEUE_COLUMNS,
    f"DELETE FROM lock_queue WHERE ({', '.join(QUEUE_COLUMNS)}) IN (SELECT * FROM {{rows}})",  # noqa: S608  # names are ours
)


async def load(connection: Connection, book: TenantBook, tenant_ids: Iterable[TenantId]) -> None:
    """Read what the store holds about these."""
    for *columns, queue in await connection.fetch(_LOAD, list(set(tenant_ids))):
        book.know(tuple(columns), [(arrival, plan_id, ordinal) for arrival, plan_id, ordinal in queue or ()])


async def write(connection: Connection, book: TenantBook) -> None:
    """Write what has changed."""
    changes = book.take_changes()
    await _WRITE.run(connection, changes.tenants)
    await _QUEUE.run(connection, changes.joined)
    await _LEAVE.run(connection, changes.left)
