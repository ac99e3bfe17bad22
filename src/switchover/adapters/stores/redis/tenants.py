"""The tenants that a batch touches: read from Redis or from what the batch has made of them, decided in the book."""

from collections.abc import Iterable, Iterator
from typing import Final

from switchover.adapters.stores.codec import encode_json
from switchover.adapters.stores.redis.refusals import UNREADABLE, damaged
from switchover.adapters.stores.redis.server import Server
from switchover.adapters.stores.redis.steps import Steps
from switchover.adapters.stores.redis.values import TenantRow
from switchover.adapters.stores.tenant_book import TenantBook
from switchover.domain.task import TaskAggregate, TaskKey, TenantId

_AT_ONCE: Final = 500
"""Tenants that are read, and laid ready, in one call."""


class TenantShelf:
    """
    Tenants on their way through one batch.

    What has changed is kept as the short text that will be written: a plan of a hundred thousand tenants must not be a
    hundred thousand objects.
    """

    def __init__(self, server: Server) -> None:
        self.book = TenantBook()
        self._server = server
        self._changed: dict[TenantId, str] = {}
        self._arrived: list[tuple[TenantId, int, TaskKey]] = []
        self._at_hand: dict[TenantId, TenantRow] = {}
        self._noted = 0

    async def load(self, tenant_ids: Iterable[TenantId]) -> None:
        """Take them up into the book."""
        wanted = list(dict.fromkeys(tenant_ids))
        unread: list[TenantId] = []
        for tenant_id in wanted:
            changed = self._changed.get(tenant_id)
            if changed is None:
                unread.append(tenant_id)
            else:
                self._know(tenant_id, TenantRow.decode(changed))
        for start in range(0, len(unread), _AT_ONCE):
            page = unread[start : start + _AT_ONCE]
            prefix = self._server.address.prefix
            rows = await self._server.command("reading tenants", "HMGET", f"{prefix}:tenants", *page)
            try:
                for tenant_id, row in zip(page, rows, strict=True):
                    if row is not None:
                        self._know(tenant_id, TenantRow.decode(row))
            except UNREADABLE as error:
                raise damaged(self._server.place, error) from error

    def arrive(self, task: TaskAggregate) -> None:
        """A new task takes the lock, or queues."""
        self.book.arrive(task)
        self._arrived.append((task.tenant_id, task.arrival, task.key))

    def put_back(self) -> None:
        """Write down what the book has changed, and clear the desk."""
        changes = self.book.take_changes()
        rows = self._at_hand
        for tenant_id, generation, owner_plan, owner_ordinal, started_plan, started_ordinal in changes.tenants:
            row = rows.setdefault(tenant_id, TenantRow())
            row.generation = generation
            row.owner = None if owner_plan is None else (owner_plan, owner_ordinal)
            row.started = None if started_plan is None else (started_plan, started_ordinal)
        for tenant_id, *place in changes.joined:
            rows[tenant_id].queue.append((place[0], place[1], place[2]))
        for tenant_id, *place in changes.left:
            rows[tenant_id].queue.remove((place[0], place[1], place[2]))
        for tenant_id, arrival, key in self._arrived[self._noted :]:
            row = rows[tenant_id]
            row.newest = max(row.newest or (0, 0, 0), (arrival, key.plan_id, key.ordinal))
        for tenant_id in {change[0]: None for change in (*changes.tenants, *changes.left)}:
            row = rows[tenant_id]
            row.queue.sort()
            self._changed[tenant_id] = row.encode()
        self._noted = len(self._arrived)
        self._at_hand.clear()

    def written(self) -> Iterator[Steps]:
        """The operations that write everything, in parts of bounded size."""
        steps = Steps()
        for tenant_id, row in self._changed.items():
            steps.add("H", tenant_id, row)
            if len(steps) >= _AT_ONCE:
                yield steps
                steps = Steps()
        for tenant_id, arrival, key in self._arrived:
            steps.add("Z", tenant_id, arrival, key.task_id)
            if len(steps) >= _AT_ONCE:
                yield steps
                steps = Steps()
        if len(steps):
            yield steps

    def _know(self, tenant_id: TenantId, row: TenantRow) -> None:
        self._at_hand[tenant_id] = row
        owner = row.owner or (None, None)
        started = row.started or (None, None)
        self.book.know((tenant_id, row.generation, *owner, *started), row.queue)


def blob(steps: Steps) -> str:
    """Operations as one text, to be laid ready."""
    return encode_json([str(value) for value in steps.arguments])
