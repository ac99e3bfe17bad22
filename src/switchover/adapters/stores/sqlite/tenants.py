"""
The tenants that a batch touches, read and written in as few statements as there are kinds of change.

What happens to them is decided by ``tenant_book``.
"""

import sqlite3
from collections.abc import Iterable

from switchover.adapters.stores.codec import decode_json, encode_json
from switchover.adapters.stores.sqlite.bulk import insert
from switchover.adapters.stores.tenant_book import QUEUE_COLUMNS, TENANT_COLUMNS, TenantBook
from switchover.domain.task import TenantId

_LOAD = """
SELECT json_group_array(json_array(
    t.tenant_id, t.generation, t.owner_plan, t.owner_ordinal, t.started_plan, t.started_ordinal,
    (SELECT json_group_array(json_array(q.arrival, q.plan_id, q.ordinal)) FROM lock_queue AS q
     WHERE q.tenant_id = t.tenant_id)
))
FROM json_each(?) AS k CROSS JOIN tenant AS t ON t.tenant_id = k.value
"""

_WRITE = insert(
    "tenant",
    TENANT_COLUMNS,
    "ON CONFLICT (tenant_id) DO UPDATE SET generation = excluded.generation, owner_plan = excluded.owner_plan,"
    " owner_ordinal = excluded.owner_ordinal, started_plan = excluded.started_plan,"
    " started_ordinal = excluded.started_ordinal",
)

_QUEUE = insert("lock_queue", QUEUE_COLUMNS)

_LEAVE = "DELETE FROM lock_queue WHERE tenant_id = ? AND arrival = ? AND plan_id = ? AND ordinal = ?"


def load(connection: sqlite3.Connection, book: TenantBook, tenant_ids: Iterable[TenantId]) -> None:
    """Read what the store holds about these."""
    text = connection.execute(_LOAD, (encode_json(sorted(set(tenant_ids))),)).fetchone()[0]
    for *columns, queue in decode_json(text):
        book.know(tuple(columns), decode_json(queue) if isinstance(queue, str) else queue)


def write(connection: sqlite3.Connection, book: TenantBook) -> None:
    """Write what has changed."""
    changes = book.take_changes()
    if changes.tenants:
        _WRITE.run(connection, changes.tenants)
    if changes.joined:
        _QUEUE.run(connection, changes.joined)
    for place in changes.left:
        connection.execute(_LEAVE, place)
