"""
Every read, as one statement or one transaction, so that each sees one instant.

A page of rows comes back as one JSON array that SQLite puts together. Fetching rows one by one lets go of the
interpreter at each of them and has to win it back from the event loop (see ``bulk``); parsing one text is also faster.
"""
# ruff: noqa: S608  # statements are put together from our own column names; values are always bound

import sqlite3
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from switchover.adapters.stores.codec import (
    TASK_STATUS_CODES,
    TASK_STATUSES,
    decode_config,
    decode_json,
    decode_moment,
    decode_optional_config,
    encode_json,
    encode_moment,
    storable,
)
from switchover.adapters.stores.rows import (
    EVENT_COLUMNS,
    PLAN_CHANGING,
    PLAN_FIXED,
    TASK_CHANGING,
    TASK_FIXED,
    event_from,
    live_from,
    plan_from,
    task_from,
)
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.stage import PreImage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.spi import (
    DriverInfo,
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
_PLAN: Final = f"p.plan_id, {_columns('d', PLAN_FIXED)}, {_columns('p', PLAN_CHANGING)}"
_PLANS: Final = "plan AS p JOIN plan_definition AS d ON d.plan_id = p.plan_id"
_EVENT: Final = f"{_columns('e', EVENT_COLUMNS)}, t.tenant_id, t.stage_list_id"

_LIVE_STATUSES: Final = ", ".join(str(TASK_STATUS_CODES[status]) for status in TASK_STATUSES if not status.is_settled)

_LOAD_LIVE: Final = f"""
SELECT json_group_array(json_array(ordinal, status, pending_operation, flags, started_order, owns)) FROM (
    SELECT t.ordinal, t.status, t.pending_operation, t.flags, t.started_order, {_OWNS} AS owns
    FROM task AS t
    WHERE t.plan_id = ? AND t.ordinal > ? AND (t.status IN ({_LIVE_STATUSES}) OR t.pending_operation IS NOT NULL)
    ORDER BY t.ordinal LIMIT ?
)
"""

_LOAD_TASKS: Final = f"""
SELECT json_group_array(json_array(c.config, c.previous, {_TASK}))
FROM json_each(?) AS k
CROSS JOIN task AS t ON t.plan_id = k.value ->> 0 AND t.ordinal = k.value ->> 1
JOIN task_config AS c ON c.plan_id = t.plan_id AND c.ordinal = t.ordinal
"""

_LIST_TASKS: Final = f"""
SELECT json_group_array(json(line)) FROM (
    SELECT json_array({_TASK}) AS line FROM task AS t
    WHERE t.plan_id = ? AND t.ordinal > ? AND (? IS NULL OR t.status IN (SELECT value FROM json_each(?)))
    ORDER BY t.ordinal LIMIT ?
)
"""

_TENANT_HISTORY: Final = f"""
SELECT json_group_array(json(line)) FROM (
    SELECT json_array({_TASK}) AS line FROM task AS t WHERE t.tenant_id = ? ORDER BY t.arrival DESC LIMIT ?
)
"""

_LOAD_PLAN: Final = f"SELECT json_array({_PLAN}) FROM {_PLANS} WHERE p.plan_id = ?"

_LIST_PLANS: Final = f"""
SELECT json_group_array(json(line)) FROM (
    SELECT json_array({_PLAN}) AS line FROM {_PLANS} WHERE p.plan_id < ? ORDER BY p.plan_id DESC LIMIT ?
)
"""

_UNSETTLED_PLANS: Final = f"""
SELECT json_group_array(json(line)) FROM (
    SELECT json_array({_PLAN}) AS line FROM {_PLANS} WHERE p.unsettled > 0 ORDER BY p.plan_id
)
"""

_LOAD_EVENTS: Final = f"""
SELECT json_group_array(json(line)) FROM (
    SELECT json_array({_EVENT}) AS line
    FROM event AS e LEFT JOIN task AS t ON t.plan_id = e.plan_id AND t.ordinal = e.ordinal
    WHERE e.plan_id = ? AND e.position > ? ORDER BY e.position LIMIT ?
)
"""

_LOAD_TASK_EVENTS: Final = f"""
SELECT json_group_array(json(line)) FROM (
    SELECT json_array({_EVENT}) AS line
    FROM event AS e LEFT JOIN task AS t ON t.plan_id = e.plan_id AND t.ordinal = e.ordinal
    WHERE e.plan_id = ? AND e.ordinal = ? AND e.sequence_id > ? ORDER BY e.sequence_id LIMIT ?
)
"""

# The runs come by number and the events of each by position, so no more than a page is ever read.
_LOAD_ALL_EVENTS: Final = f"""
SELECT json_group_array(json(line)) FROM (
    SELECT json_array(r.number - r.position + e.position, {_EVENT}) AS line
    FROM event_run AS r
    CROSS JOIN event AS e ON e.plan_id = r.plan_id
        AND e.position > max(r.position - r.length, r.position - r.number + ?1) AND e.position <= r.position
    LEFT JOIN task AS t ON t.plan_id = e.plan_id AND t.ordinal = e.ordinal
    WHERE r.number > ?1 ORDER BY r.number, e.position LIMIT ?2
)
"""

_EVENT_BOUNDS: Final = """
SELECT coalesce((SELECT max(number) FROM event_run), 0),
    coalesce((SELECT number - length FROM event_run ORDER BY number LIMIT 1), 0)
"""

_LOAD_EVENT_SPANS: Final = """
SELECT plan_id, first, last FROM (
    SELECT p.plan_id, p.ended_at,
        (SELECT min(e.position) FROM event AS e WHERE e.plan_id = p.plan_id) AS first,
        (SELECT max(e.position) FROM event AS e WHERE e.plan_id = p.plan_id) AS last
    FROM plan AS p WHERE p.unsettled = 0 AND p.ended_at < ?
) WHERE first < last ORDER BY ended_at, plan_id LIMIT ?
"""

_LOAD_TENANTS: Final = """
SELECT json_group_array(json_array(
    n.tenant_id, n.generation, n.owner_plan, n.owner_ordinal, n.started_plan, n.started_ordinal,
    (SELECT t.plan_id || '-' || t.ordinal FROM task AS t WHERE t.tenant_id = n.tenant_id
     ORDER BY t.arrival DESC LIMIT 1),
    (SELECT count(*) FROM lock_queue AS q WHERE q.tenant_id = n.tenant_id),
    h.reason, h.since, g.config
))
FROM json_each(?) AS k
CROSS JOIN tenant AS n ON n.tenant_id = k.value
LEFT JOIN tenant_hold AS h ON h.tenant_id = n.tenant_id
LEFT JOIN last_known_good AS g ON g.tenant_id = n.tenant_id
"""

_LIST_HOLDS: Final = "SELECT json_group_array(json_array(tenant_id, reason, since)) FROM tenant_hold"

_LARGEST_PLAN_ID: Final = 2**63 - 1
_TENANTS_AT_ONCE: Final = 5_000
"""What keeps the text of one answer small."""


class Reader:
    """All reads. Holds nothing but a cache of the immutable lists of stage names, so threads may share it."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[str, ...]] = {}

    # Recovery

    def load_state(self, connection: sqlite3.Connection) -> StoreState:
        """As the SPI says."""
        with _snapshot(connection):
            last = "SELECT coalesce(max(last_arrival), 0), coalesce(max(plan_id), 0) FROM plan_definition"
            last_arrival, last_plan_id = connection.execute(last).fetchone()
            return StoreState(
                plans=tuple(plan_from(row) for row in _page(connection, _UNSETTLED_PLANS)),
                line=self.load_line(connection),
                holds=self.list_holds(connection),
                last_arrival=last_arrival,
                last_plan_id=last_plan_id,
            )

    def load_live(self, connection: sqlite3.Connection, plan_id: PlanId, after: int, limit: int) -> list[LiveTask]:
        """As the SPI says."""
        return [live_from(row) for row in _page(connection, _LOAD_LIVE, plan_id, after, max(limit, 0))]

    def load_tasks(self, connection: sqlite3.Connection, keys: Sequence[TaskKey]) -> list[StoredTask]:
        """As the SPI says."""
        with _snapshot(connection):
            rows = _page(connection, _LOAD_TASKS, encode_json(keys))
            names = self._stage_names(connection, rows, 6)
            tasks = [task_from(row[2:], names) for row in rows]
            tenants = self._tenants(connection, [task.tenant_id for task in tasks])
        return [
            StoredTask(
                task=task,
                config=decode_config(row[0]),
                previous=decode_optional_config(row[1]),
                tenant=tenants[task.tenant_id],
            )
            for task, row in zip(tasks, rows, strict=True)
        ]

    # Plans and tasks

    def load_plan(self, connection: sqlite3.Connection, plan_id: PlanId) -> PlanAggregate | None:
        """As the SPI says."""
        row = connection.execute(_LOAD_PLAN, (plan_id,)).fetchone()
        return None if row is None else plan_from(decode_json(row[0]))

    def list_plans(self, connection: sqlite3.Connection, before: int | None, limit: int) -> list[PlanAggregate]:
        """As the SPI says."""
        end = _LARGEST_PLAN_ID if before is None else before
        return [plan_from(row) for row in _page(connection, _LIST_PLANS, end, max(limit, 0))]

    def list_tasks(
        self,
        connection: sqlite3.Connection,
        plan_id: PlanId,
        statuses: frozenset[TaskStatus] | None,
        after: int,
        limit: int,
    ) -> list[TaskAggregate]:
        """As the SPI says."""
        codes = None if statuses is None else encode_json([TASK_STATUS_CODES[status] for status in statuses])
        return self._tasks(connection, _LIST_TASKS, plan_id, after, codes, codes, max(limit, 0))

    def tenant_history(self, connection: sqlite3.Connection, tenant_id: TenantId, limit: int) -> list[TaskAggregate]:
        """As the SPI says."""
        return self._tasks(connection, _TENANT_HISTORY, storable(tenant_id), max(limit, 0))

    # Tenants

    def load_tenants(
        self, connection: sqlite3.Connection, tenant_ids: Sequence[TenantId]
    ) -> dict[TenantId, TenantRecord]:
        """As the SPI says."""
        with _snapshot(connection):
            return self._tenants(connection, tenant_ids)

    def list_holds(self, connection: sqlite3.Connection) -> dict[TenantId, Hold]:
        """As the SPI says."""
        rows = _page(connection, _LIST_HOLDS)
        return {TenantId(name): Hold(reason=reason, since=decode_moment(since)) for name, reason, since in rows}

    def load_line(self, connection: sqlite3.Connection) -> StopLine | None:
        """As the SPI says."""
        row = connection.execute("SELECT reason, since FROM stop_line").fetchone()
        return None if row is None else StopLine(reason=row[0], since=decode_moment(row[1]))

    # Events

    def load_events(self, connection: sqlite3.Connection, plan_id: PlanId, after: int, limit: int) -> list[Event]:
        """As the SPI says."""
        return self._events(connection, _LOAD_EVENTS, plan_id, after, max(limit, 0))

    def load_task_events(self, connection: sqlite3.Connection, key: TaskKey, after: int, limit: int) -> list[Event]:
        """As the SPI says."""
        return self._events(connection, _LOAD_TASK_EVENTS, *key, after, max(limit, 0)) if key.ordinal else []

    def load_all_events(self, connection: sqlite3.Connection, after: int, limit: int) -> EventPage:
        """As the SPI says."""
        with _snapshot(connection):
            newest, pruned = connection.execute(_EVENT_BOUNDS).fetchone()
            rows = _page(connection, _LOAD_ALL_EVENTS, max(after, pruned), max(limit, 0))
            names = self._stage_names(connection, rows, -1)
        events = [NumberedEvent(row[0], event_from(row[1:], names)) for row in rows]
        return EventPage(events=events, newest=newest, pruned=pruned)

    def load_event_spans(self, connection: sqlite3.Connection, ended_before: datetime, limit: int) -> list[EventSpan]:
        """As the SPI says."""
        rows = connection.execute(_LOAD_EVENT_SPANS, (encode_moment(ended_before), max(limit, 0))).fetchall()
        return [EventSpan(PlanId(plan_id), first, last) for plan_id, first, last in rows]

    def load_pre_images(self, connection: sqlite3.Connection, key: TaskKey, stage: str) -> list[PreImage]:
        """As the SPI says."""
        query = "SELECT key, value FROM pre_image WHERE plan_id = ? AND ordinal = ? AND stage = ? ORDER BY pre_image_id"
        rows = connection.execute(query, (*key, stage)).fetchall()
        return [PreImage(key=name, value=value) for name, value in rows]

    # The rest

    def find_idempotency(self, connection: sqlite3.Connection, idempotency_key: str) -> KnownCreation | None:
        """As the SPI says."""
        query = "SELECT plan_id, content_digest, findings FROM idempotency WHERE idempotency_key = ?"
        row = connection.execute(query, (storable(idempotency_key),)).fetchone()
        return None if row is None else KnownCreation(PlanId(row[0]), row[1], row[2])

    def open_requests(self, connection: sqlite3.Connection, after: int, limit: int) -> list[Request]:
        """As the SPI says."""
        query = (
            "SELECT request_id, verb, payload, submitted_at, answer FROM request"
            " WHERE answer IS NULL AND request_id > ? ORDER BY request_id LIMIT ?"
        )
        return [_request(row) for row in connection.execute(query, (after, max(limit, 0))).fetchall()]

    def load_request(self, connection: sqlite3.Connection, request_id: int) -> Request | None:
        """As the SPI says."""
        query = "SELECT request_id, verb, payload, submitted_at, answer FROM request WHERE request_id = ?"
        row = connection.execute(query, (request_id,)).fetchone()
        return None if row is None else _request(row)

    def driver(self, connection: sqlite3.Connection) -> DriverInfo | None:
        """Who acquired last, as if alive: whether it is, only the lock knows."""
        row = connection.execute("SELECT owner, epoch, since FROM driver").fetchone()
        return None if row is None else DriverInfo(owner=row[0], epoch=row[1], since=decode_moment(row[2]), alive=True)

    # Inside

    def _tasks(self, connection: sqlite3.Connection, query: str, *values: object) -> list[TaskAggregate]:
        rows = _page(connection, query, *values)
        names = self._stage_names(connection, rows, 4)
        return [task_from(row, names) for row in rows]

    def _events(self, connection: sqlite3.Connection, query: str, *values: object) -> list[Event]:
        rows = _page(connection, query, *values)
        names = self._stage_names(connection, rows, -1)
        return [event_from(row, names) for row in rows]

    def _stage_names(
        self, connection: sqlite3.Connection, rows: Iterable[Sequence[Any]], column: int
    ) -> Mapping[int, tuple[str, ...]]:
        """The lists that the rows name in this column. They never change, so reading them later does no harm."""
        names = self._names
        if any(row[column] not in names for row in rows if row[column] is not None):
            for number, text in connection.execute("SELECT stage_list_id, names FROM stage_list").fetchall():
                names.setdefault(number, tuple(decode_json(text)))
        return names

    def _tenants(self, connection: sqlite3.Connection, tenant_ids: Sequence[TenantId]) -> dict[TenantId, TenantRecord]:
        found: dict[TenantId, TenantRecord] = {}
        for start in range(0, len(tenant_ids), _TENANTS_AT_ONCE):
            part = encode_json(list(tenant_ids[start : start + _TENANTS_AT_ONCE]))
            for row in _page(connection, _LOAD_TENANTS, part):
                record = _tenant(row)
                found[record.tenant_id] = record
        return found


def _page(connection: sqlite3.Connection, query: str, *values: object) -> list[list[Any]]:
    rows: list[list[Any]] = decode_json(connection.execute(query, values).fetchone()[0])
    return rows


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Generator[None]:
    """One instant for several statements."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


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
        request_id=request_id,
        verb=verb,
        payload=payload,
        submitted_at=decode_moment(submitted_at),
        answer=answer,
    )
