"""Every read, as one statement or one transaction, so that each sees one instant."""
# ruff: noqa: S608  # statements are put together from our own column names; values are always bound

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from switchover.adapters.stores.codec import (
    TASK_STATUS_CODES,
    TASK_STATUSES,
    decode_config,
    decode_json,
    decode_moment,
    decode_optional_config,
    encode_moment,
)
from switchover.adapters.stores.postgres.bulk import storable_text
from switchover.adapters.stores.postgres.rows import COLUMNS, typed_event_from
from switchover.adapters.stores.postgres.sql import Connection
from switchover.adapters.stores.rows import (
    PLAN_CHANGING,
    PLAN_FIXED,
    TASK_CHANGING,
    TASK_FIXED,
    live_from,
    plan_from,
    task_from,
)
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.stage import PreImage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.spi import (
    EventPage,
    EventSpan,
    Hold,
    KnownCreation,
    LiveTask,
    NumberedEvent,
    Request,
    StopLine,
    StoredTask,
    StoreState,
    TenantRecord,
)


def _columns(alias: str, names: Iterable[str]) -> str:
    return ", ".join(f"{alias}.{name}" for name in names)


_OWNS: Final = (
    "EXISTS (SELECT 1 FROM tenant AS n WHERE n.tenant_id = t.tenant_id AND n.owner_plan = t.plan_id"
    " AND n.owner_ordinal = t.ordinal)"
)
_TASK: Final = f"{_columns('t', ('plan_id', 'ordinal', *TASK_FIXED, *TASK_CHANGING))}, {_OWNS}"
_STAGE_LIST: Final = 2 + TASK_FIXED.index("stage_list_id")
_PLAN: Final = f"p.plan_id, {_columns('d', PLAN_FIXED)}, {_columns('p', PLAN_CHANGING)}"
_PLANS: Final = "plan AS p JOIN plan_definition AS d ON d.plan_id = p.plan_id"
_EVENTS: Final = (
    f"SELECT {_columns('e', COLUMNS)}, t.tenant_id, t.stage_list_id"
    " FROM event AS e LEFT JOIN task AS t ON t.plan_id = e.plan_id AND t.ordinal = e.ordinal"
)
_LIVE_STATUSES: Final = ", ".join(str(TASK_STATUS_CODES[status]) for status in TASK_STATUSES if not status.is_settled)

_LOAD_LIVE: Final = f"""
SELECT t.ordinal, t.status, t.pending_operation, t.flags, t.started_order, {_OWNS}
FROM task AS t
WHERE t.plan_id = $1 AND t.ordinal > $2 AND (t.status IN ({_LIVE_STATUSES}) OR t.pending_operation IS NOT NULL)
ORDER BY t.ordinal LIMIT $3
"""

_TENANT: Final = """
n.tenant_id, n.generation, n.owner_plan, n.owner_ordinal, n.started_plan, n.started_ordinal,
    (SELECT t.plan_id || '-' || t.ordinal FROM task AS t WHERE t.tenant_id = n.tenant_id
     ORDER BY t.arrival DESC LIMIT 1),
    (SELECT count(*) FROM lock_queue AS q WHERE q.tenant_id = n.tenant_id),
    h.reason, h.since, g.config
"""
_BESIDE_TENANT: Final = """
LEFT JOIN tenant_hold AS h ON h.tenant_id = n.tenant_id
LEFT JOIN last_known_good AS g ON g.tenant_id = n.tenant_id
"""

_LOAD_TASKS: Final = f"""
SELECT c.config, c.previous, {_TENANT}, {_TASK}
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS k (plan_id, ordinal, place)
JOIN task AS t ON t.plan_id = k.plan_id AND t.ordinal = k.ordinal
JOIN task_config AS c ON c.plan_id = t.plan_id AND c.ordinal = t.ordinal
JOIN tenant AS n ON n.tenant_id = t.tenant_id
{_BESIDE_TENANT}
ORDER BY k.place
"""
_TENANT_WIDTH: Final = 11

_LOAD_TENANTS: Final = f"""
SELECT {_TENANT} FROM unnest($1::text[]) AS k (tenant_id) JOIN tenant AS n ON n.tenant_id = k.tenant_id {_BESIDE_TENANT}
"""

_LIST_TASKS: Final = f"""
SELECT {_TASK} FROM task AS t
WHERE t.plan_id = $1 AND t.ordinal > $2 AND ($3::bigint[] IS NULL OR t.status = ANY($3::bigint[]))
ORDER BY t.ordinal LIMIT $4
"""

_TENANT_HISTORY: Final = f"SELECT {_TASK} FROM task AS t WHERE t.tenant_id = $1 ORDER BY t.arrival DESC LIMIT $2"
# The runs come by number and the events of each by position, so no more than a page is ever read.
_LOAD_ALL_EVENTS: Final = f"""
SELECT r.number - r.position + e.position, {_columns("e", COLUMNS)}, t.tenant_id, t.stage_list_id
FROM (SELECT * FROM event_run WHERE number > $1 ORDER BY number LIMIT $2) AS r
JOIN event AS e ON e.plan_id = r.plan_id
    AND e.position > greatest(r.position - r.length, r.position - r.number + $1) AND e.position <= r.position
LEFT JOIN task AS t ON t.plan_id = e.plan_id AND t.ordinal = e.ordinal
ORDER BY 1 LIMIT $2
"""

_EVENT_BOUNDS: Final = """
SELECT (SELECT last FROM counter WHERE name = 'event'),
    coalesce((SELECT number - length FROM event_run ORDER BY number LIMIT 1), 0)
"""

_LOAD_EVENT_SPANS: Final = """
SELECT plan_id, first, last FROM (
    SELECT p.plan_id, p.ended_at,
        (SELECT min(e.position) FROM event AS e WHERE e.plan_id = p.plan_id) AS first,
        (SELECT max(e.position) FROM event AS e WHERE e.plan_id = p.plan_id) AS last
    FROM plan AS p WHERE p.unsettled = 0 AND p.ended_at < $1
) AS spans WHERE first < last ORDER BY ended_at, plan_id LIMIT $2
"""

_REQUESTS: Final = "SELECT request_id, verb, payload, submitted_at, answer FROM request"
_LAST: Final = "SELECT coalesce(max(last_arrival), 0), coalesce(max(plan_id), 0) FROM plan_definition"
_LARGEST_PLAN_ID: Final = 2**63 - 1


class Reader:
    """All reads. Holds nothing but a cache of the immutable lists of stage names."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[str, ...]] = {}

    # Recovery

    async def load_state(self, connection: Connection) -> StoreState:
        """As the SPI says."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            last_arrival, last_plan_id = await connection.fetchrow(_LAST)
            query = f"SELECT {_PLAN} FROM {_PLANS} WHERE p.unsettled > 0 ORDER BY p.plan_id"
            return StoreState(
                plans=tuple(plan_from(row) for row in await connection.fetch(query)),
                line=await self.load_line(connection),
                holds=await self.list_holds(connection),
                last_arrival=last_arrival,
                last_plan_id=last_plan_id,
            )

    async def load_live(self, connection: Connection, plan_id: PlanId, after: int, limit: int) -> list[LiveTask]:
        """As the SPI says."""
        return [live_from(row) for row in await connection.fetch(_LOAD_LIVE, plan_id, after, max(limit, 0))]

    async def load_tasks(self, connection: Connection, keys: Sequence[TaskKey]) -> list[StoredTask]:
        """As the SPI says."""
        if not keys:
            return []
        rows = await connection.fetch(_LOAD_TASKS, *map(list, zip(*keys, strict=True)))
        start = 2 + _TENANT_WIDTH
        names = await self._stage_names(connection, (row[start + _STAGE_LIST] for row in rows))
        return [
            StoredTask(
                task=task_from(row[start:], names),
                config=decode_config(row[0]),
                previous=decode_optional_config(row[1]),
                tenant=_tenant(row[2:start]),
            )
            for row in rows
        ]

    # Plans and tasks

    async def load_plan(self, connection: Connection, plan_id: PlanId) -> PlanAggregate | None:
        """As the SPI says."""
        row = await connection.fetchrow(f"SELECT {_PLAN} FROM {_PLANS} WHERE p.plan_id = $1", plan_id)
        return None if row is None else plan_from(row)

    async def list_plans(self, connection: Connection, before: int | None, limit: int) -> list[PlanAggregate]:
        """As the SPI says."""
        end = _LARGEST_PLAN_ID if before is None else before
        query = f"SELECT {_PLAN} FROM {_PLANS} WHERE p.plan_id < $1 ORDER BY p.plan_id DESC LIMIT $2"
        return [plan_from(row) for row in await connection.fetch(query, end, max(limit, 0))]

    async def list_tasks(
        self,
        connection: Connection,
        plan_id: PlanId,
        statuses: frozenset[TaskStatus] | None,
        after: int,
        limit: int,
    ) -> list[TaskAggregate]:
        """As the SPI says."""
        codes = None if statuses is None else [TASK_STATUS_CODES[status] for status in statuses]
        return await self._tasks(connection, _LIST_TASKS, plan_id, after, codes, max(limit, 0))

    async def tenant_history(self, connection: Connection, tenant_id: TenantId, limit: int) -> list[TaskAggregate]:
        """As the SPI says."""
        return await self._tasks(connection, _TENANT_HISTORY, storable_text(tenant_id), max(limit, 0))

    # Tenants

    async def load_tenants(
        self, connection: Connection, tenant_ids: Sequence[TenantId]
    ) -> dict[TenantId, TenantRecord]:
        """As the SPI says."""
        rows = await connection.fetch(_LOAD_TENANTS, [storable_text(tenant_id) for tenant_id in set(tenant_ids)])
        return {record.tenant_id: record for record in map(_tenant, rows)}

    async def list_holds(self, connection: Connection) -> dict[TenantId, Hold]:
        """As the SPI says."""
        rows = await connection.fetch("SELECT tenant_id, reason, since FROM tenant_hold")
        return {TenantId(name): Hold(reason=reason, since=decode_moment(since)) for name, reason, since in rows}

    async def load_line(self, connection: Connection) -> StopLine | None:
        """As the SPI says."""
        row = await connection.fetchrow("SELECT reason, since FROM stop_line")
        return None if row is None else StopLine(reason=row[0], since=decode_moment(row[1]))

    # Events

    async def load_events(self, connection: Connection, plan_id: PlanId, after: int, limit: int) -> list[Event]:
        """As the SPI says."""
        query = f"{_EVENTS} WHERE e.plan_id = $1 AND e.position > $2 ORDER BY e.position LIMIT $3"
        return await self._events(connection, query, plan_id, after, max(limit, 0))

    async def load_task_events(self, connection: Connection, key: TaskKey, after: int, limit: int) -> list[Event]:
        """As the SPI says."""
        if not key.ordinal:
            return []
        query = (
            f"{_EVENTS} WHERE e.plan_id = $1 AND e.ordinal = $2 AND e.sequence_id > $3 ORDER BY e.sequence_id LIMIT $4"
        )
        return await self._events(connection, query, *key, after, max(limit, 0))

    async def load_all_events(self, connection: Connection, after: int, limit: int) -> EventPage:
        """As the SPI says."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            newest, pruned = await connection.fetchrow(_EVENT_BOUNDS)
            rows = await connection.fetch(_LOAD_ALL_EVENTS, max(after, pruned), max(limit, 0))
        names = await self._stage_names(connection, (row[-1] for row in rows))
        events = [NumberedEvent(row[0], typed_event_from(row[1:], names)) for row in rows]
        return EventPage(events=events, newest=newest, pruned=pruned)

    async def load_event_spans(self, connection: Connection, ended_before: datetime, limit: int) -> list[EventSpan]:
        """As the SPI says."""
        rows = await connection.fetch(_LOAD_EVENT_SPANS, encode_moment(ended_before), max(limit, 0))
        return [EventSpan(PlanId(plan_id), first, last) for plan_id, first, last in rows]

    async def load_pre_images(self, connection: Connection, key: TaskKey, stage: str) -> list[PreImage]:
        """As the SPI says."""
        query = (
            "SELECT key, value FROM pre_image WHERE plan_id = $1 AND ordinal = $2 AND stage = $3 ORDER BY pre_image_id"
        )
        rows = await connection.fetch(query, *key, storable_text(stage))
        return [PreImage(key=name, value=value) for name, value in rows]

    # The rest

    async def find_idempotency(self, connection: Connection, idempotency_key: str) -> KnownCreation | None:
        """As the SPI says."""
        query = "SELECT plan_id, content_digest, findings FROM idempotency WHERE idempotency_key = $1"
        row = await connection.fetchrow(query, storable_text(idempotency_key))
        return None if row is None else KnownCreation(PlanId(row[0]), row[1], row[2])

    async def open_requests(self, connection: Connection, after: int, limit: int) -> list[Request]:
        """As the SPI says."""
        query = f"{_REQUESTS} WHERE answer IS NULL AND request_id > $1 ORDER BY request_id LIMIT $2"
        return [_request(row) for row in await connection.fetch(query, after, max(limit, 0))]

    async def load_request(self, connection: Connection, request_id: int) -> Request | None:
        """As the SPI says."""
        row = await connection.fetchrow(f"{_REQUESTS} WHERE request_id = $1", request_id)
        return None if row is None else _request(row)

    # Inside

    async def _tasks(self, connection: Connection, query: str, *values: object) -> list[TaskAggregate]:
        rows = await connection.fetch(query, *values)
        names = await self._stage_names(connection, (row[_STAGE_LIST] for row in rows))
        return [task_from(row, names) for row in rows]

    async def _events(self, connection: Connection, query: str, *values: object) -> list[Event]:
        rows = await connection.fetch(query, *values)
        names = await self._stage_names(connection, (row[-1] for row in rows))
        return [typed_event_from(row, names) for row in rows]

    async def _stage_names(
        self, connection: Connection, numbers: Iterable[int | None]
    ) -> Mapping[int, tuple[str, ...]]:
        """The lists of these numbers. They never change, so reading them later does no harm."""
        names = self._names
        unknown = {number for number in numbers if number is not None} - names.keys()
        if unknown:
            query = "SELECT stage_list_id, names FROM stage_list WHERE stage_list_id = ANY($1::bigint[])"
            for number, text in await connection.fetch(query, list(unknown)):
                names[number] = tuple(decode_json(text))
        return names


def _tenant(row: Sequence[Any]) -> TenantRecord:
    (
        tenant_id,
        generation,
        owner_plan,
        owner_ordinal,
        started_plan,
        started_ordinal,
        newest,
        waiting,
        reason,
        since,
        config,
    ) = row
    return TenantRecord(
        tenant_id=tenant_id,
        generation=generation,
        owner=None if owner_plan is None else TaskKey(PlanId(owner_plan), owner_ordinal),
        newest=None if newest is None else TaskKey.parse(newest),
        last_started=None if started_plan is None else TaskKey(PlanId(started_plan), started_ordinal),
        waiting=waiting,
        hold=None if reason is None else Hold(reason=reason, since=decode_moment(since)),
        last_known_good=decode_optional_config(config),
    )


def _request(row: Sequence[Any]) -> Request:
    request_id, verb, payload, submitted_at, answer = row
    return Request(
        request_id=request_id, verb=verb, payload=payload, submitted_at=decode_moment(submitted_at), answer=answer
    )
