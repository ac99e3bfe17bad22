"""What is read, by which script, and how its answer is understood. Each answer is of one instant."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from switchover.adapters.stores.codec import decode_config, decode_json, decode_moment, decode_optional_config
from switchover.adapters.stores.redis.server import Server
from switchover.adapters.stores.redis.stage_lists import StageLists
from switchover.adapters.stores.redis.values import (
    ALL_MARKS,
    LIVE_MARKS,
    TaskRow,
    TenantRow,
    decode_event,
    decode_hold,
    decode_images,
    decode_line,
    decode_plan,
    decode_task,
    end_bound,
    image_place,
    marks_of,
    sort_key,
)
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.stage import PreImage
from switchover.domain.task import LARGEST_ID, PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
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

_STORED_TASK: Final = 8
"""Values of one task in the answer of ``tasks``."""


class Reader:
    """Reads through one server's connections."""

    def __init__(self, server: Server, stage_lists: StageLists) -> None:
        self._server = server
        self._stage_lists = stage_lists
        self._prefix = server.address.prefix

    # The store as a whole

    async def driver(self) -> DriverInfo | None:
        """Who drives, or drove last."""
        found = await self._server.read("reading who drives", "driver")
        if found is None:
            return None
        owner, epoch, since, alive = found
        return DriverInfo(owner=owner.decode(), epoch=int(epoch), since=decode_moment(int(since)), alive=bool(alive))

    async def load_state(self) -> StoreState:
        """What a driver must know."""
        arrival, newest, line, holds, plans = await self._server.read("reading what is to be driven", "state")
        return StoreState(
            plans=tuple(sorted(_plans(plans), key=lambda plan: plan.plan_id)),
            line=decode_line(line),
            holds=_holds(holds),
            last_arrival=int(arrival or 0),
            last_plan_id=int(newest or 0),
        )

    async def list_holds(self) -> Mapping[TenantId, Hold]:
        """Every tenant on hold."""
        return _holds(await self._server.command("reading holds", "HGETALL", f"{self._prefix}:holds"))

    async def load_line(self) -> StopLine | None:
        """The stop-line."""
        return decode_line(await self._server.command("reading the line", "HGET", f"{self._prefix}:meta", "line"))

    async def change_token(self) -> int:
        """How many commits and requests there were."""
        found = await self._server.command("looking for changes", "HGET", f"{self._prefix}:meta", "changes")
        return int(found or 0)

    async def last_commit(self) -> int:
        """The number of the last commit."""
        found = await self._server.command("reading the last commit", "HGET", f"{self._prefix}:meta", "commits")
        return int(found or 0)

    # Requests

    async def open_requests(self, after: int, limit: int) -> Sequence[Request]:
        """Those without an answer."""
        if limit <= 0:
            return []
        found = await self._server.read("reading requests", "open_requests", after, limit)
        return [_request(int(number), row, None) for number, row in _groups(found, 2)]

    async def load_request(self, request_id: int) -> Request | None:
        """One of them, with its answer."""
        fields = (request_id, f"answer:{request_id}")
        found = await self._server.command("reading a request", "HMGET", f"{self._prefix}:requests", *fields)
        row, answer = found
        return None if row is None else _request(request_id, row, answer)

    # Plans and tasks

    async def load_plan(self, plan_id: PlanId) -> PlanAggregate | None:
        """One plan."""
        key = f"{self._prefix}:plan:{plan_id}"
        row, definition = await self._server.command("reading a plan", "HMGET", key, "row", "definition")
        return None if row is None else decode_plan(plan_id, row, definition)

    async def list_plans(self, before: int | None, limit: int) -> Sequence[PlanAggregate]:
        """Newest first."""
        if limit <= 0 or (before is not None and before <= 0):
            return []
        bound = "+" if before is None or before > LARGEST_ID else f"({sort_key(before)}"
        return list(_plans(await self._server.read("reading plans", "plans", bound, limit)))

    async def load_live(self, plan_id: PlanId, after: int, limit: int) -> Sequence[LiveTask]:
        """Live tasks of a plan."""
        rows = await self._plan_tasks("reading live tasks", plan_id, after, limit, LIVE_MARKS)
        return [row.live(owner) for row, owner in rows]

    async def list_tasks(
        self, plan_id: PlanId, statuses: frozenset[TaskStatus] | None, after: int, limit: int
    ) -> Sequence[TaskAggregate]:
        """Tasks of a plan."""
        if statuses is not None and not statuses:
            return []
        marks = ALL_MARKS if statuses is None else marks_of(statuses)
        rows = await self._plan_tasks("reading tasks", plan_id, after, limit, marks)
        return await self._tasks(rows)

    async def load_tasks(self, keys: Sequence[TaskKey]) -> Sequence[StoredTask]:
        """Those that exist."""
        if not keys:
            return []
        arguments = [number for key in keys for number in key]
        found = list(_groups(await self._server.read("reading tasks", "tasks", *arguments), _STORED_TASK))
        rows = [decode_task(int(plan_id), int(ordinal), row) for plan_id, ordinal, row, *_ in found]
        names = await self._stage_lists.names({row.stage_list for row in rows})
        stored: list[StoredTask] = []
        for row, (_, _, _, config, previous, tenant, hold, known_good) in zip(rows, found, strict=True):
            record = TenantRow.decode(tenant).record(row.tenant_id, hold, known_good)
            stored.append(
                StoredTask(
                    task=row.task(names, record.owner),
                    config=decode_config(config),
                    previous=decode_optional_config(previous),
                    tenant=record,
                )
            )
        return stored

    async def load_tenants(self, tenant_ids: Sequence[TenantId]) -> Mapping[TenantId, TenantRecord]:
        """Those that are known."""
        if not tenant_ids:
            return {}
        found = await self._server.read("reading tenants", "tenants", *tenant_ids)
        records: dict[TenantId, TenantRecord] = {}
        for name, row, hold, known_good in _groups(found, 4):
            tenant_id = TenantId(name.decode())
            records[tenant_id] = TenantRow.decode(row).record(tenant_id, hold, known_good)
        return records

    async def tenant_history(self, tenant_id: TenantId, limit: int) -> Sequence[TaskAggregate]:
        """The tenant's tasks, the newest first."""
        if limit <= 0:
            return []
        tenant, *found = await self._server.read("reading tasks", "history", tenant_id, limit - 1)
        if tenant is None:
            return []
        owner = TenantRow.decode(tenant).owner_key
        rows = [decode_task(int(plan_id), int(ordinal), row) for plan_id, ordinal, row in _groups(found, 3)]
        return await self._tasks([(row, owner) for row in rows])

    async def find_idempotency(self, idempotency_key: str) -> KnownCreation | None:
        """What was created under this key."""
        key = idempotency_key.encode("utf-8", "replace")
        found = await self._server.command("reading a key", "HGET", f"{self._prefix}:idempotency", key)
        if found is None:
            return None
        plan_id, digest, findings = decode_json(found)
        return KnownCreation(PlanId(plan_id), digest, findings.encode("latin-1"))

    async def _plan_tasks(
        self, doing: str, plan_id: PlanId, after: int, limit: int, marks: str
    ) -> Sequence[tuple[TaskRow, TaskKey | None]]:
        if limit <= 0:
            return []
        found = await self._server.read(doing, "plan_tasks", plan_id, after, limit, marks)
        return [
            (decode_task(plan_id, int(ordinal), row), TenantRow.decode(tenant).owner_key)
            for ordinal, row, tenant in _groups(found, 3)
        ]

    async def _tasks(self, rows: Sequence[tuple[TaskRow, TaskKey | None]]) -> Sequence[TaskAggregate]:
        names = await self._stage_lists.names({row.stage_list for row, _ in rows})
        return [row.task(names, owner) for row, owner in rows]

    # Events and pre-images

    async def load_events(self, plan_id: PlanId, after: int, limit: int) -> Sequence[Event]:
        """Events of a plan and its tasks."""
        if limit <= 0:
            return []
        found = await self._server.read("reading events", "events", plan_id, max(after + 1, 0), limit)
        return [decode_event(plan_id, entry) for entry in found]

    async def load_task_events(self, key: TaskKey, after: int, limit: int) -> Sequence[Event]:
        """Events of one task."""
        if limit <= 0:
            return []
        found = await self._server.read("reading events", "task_events", *key, after, limit)
        return [decode_event(key.plan_id, entry) for entry in found]

    async def load_all_events(self, after: int, limit: int) -> EventPage:
        """Events of all plans."""
        newest, pruned, *found = await self._server.read("reading events", "all_events", after, max(limit, 0))
        events = [
            NumberedEvent(int(number), decode_event(int(plan_id), entry))
            for number, plan_id, entry in _groups(found, 3)
        ]
        return EventPage(events=events, newest=int(newest), pruned=int(pruned))

    async def load_event_spans(self, ended_before: datetime, limit: int) -> Sequence[EventSpan]:
        """Plans that have ended and have events to forget."""
        bound = f"({end_bound(ended_before)}"
        found = await self._server.read("reading what may be forgotten", "event_spans", bound, max(limit, 0))
        return [EventSpan(PlanId(int(plan_id)), int(first), int(last)) for plan_id, first, last in _groups(found, 3)]

    async def forgotten(self, plan_id: PlanId) -> int:
        """The position of the last event of the plan that was forgotten; 0 for none."""
        key = f"{self._prefix}:plan:{plan_id}:heads"
        return int(await self._server.command("reading a plan", "HGET", key, "pruned") or 0)

    async def load_pre_images(self, key: TaskKey, stage: str) -> Sequence[PreImage]:
        """What was kept for one stage of a task."""
        place = image_place(key.ordinal, stage).encode("utf-8", "replace")
        images = f"{self._prefix}:plan:{key.plan_id}:images"
        found = await self._server.command("reading pre-images", "HGET", images, place)
        return [] if found is None else decode_images(found)


def _groups(values: Sequence[Any], size: int) -> "list[Sequence[Any]]":
    return [values[start : start + size] for start in range(0, len(values), size)]


def _plans(values: Sequence[Any]) -> "list[PlanAggregate]":
    return [decode_plan(int(plan_id), row, definition) for plan_id, row, definition in _groups(values, 3)]


def _holds(values: Sequence[bytes]) -> dict[TenantId, Hold]:
    found = ((TenantId(name.decode()), decode_hold(text)) for name, text in _groups(values, 2))
    return {tenant_id: hold for tenant_id, hold in sorted(found) if hold is not None}


def encode_request(verb: str, payload: bytes, submitted_at: int) -> bytes:
    """A request as it is stored: when, the length of the verb, the verb, the payload."""
    name = verb.encode("utf-8", "replace")
    return b"%d %d %s%s" % (submitted_at, len(name), name, payload)


def _request(number: int, row: bytes, answer: bytes | None) -> Request:
    submitted_at, length, rest = row.split(b" ", 2)
    size = int(length)
    return Request(
        request_id=number,
        verb=rest[:size].decode(),
        payload=rest[size:],
        submitted_at=decode_moment(int(submitted_at)),
        answer=answer,
    )
