"""One batch of entries in one transaction; see ``batch`` for what is decided in which order."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from switchover.adapters.stores.batch import Batch, does_not_follow
from switchover.adapters.stores.codec import encode_config, encode_json, encode_moment
from switchover.adapters.stores.postgres import access, event_order, tenants
from switchover.adapters.stores.postgres.bulk import BulkStatement, changed, insert, storable_text, update
from switchover.adapters.stores.postgres.rows import COLUMNS, typed_event_values
from switchover.adapters.stores.postgres.sql import Connection
from switchover.adapters.stores.rows import (
    PLAN_CHANGING,
    PLAN_FIXED,
    TASK_CHANGING,
    TASK_FIXED,
    Row,
    plan_definition,
    plan_values,
    task_values,
)
from switchover.adapters.stores.tenant_book import TenantBook
from switchover.domain.task import PlanId, TaskKey
from switchover.errors import StoreConflictError
from switchover.spi import Entry, NewPlan, NewTask, StopLine

_TASK_KEY: Final = ("plan_id", "ordinal")

_INSERT_TASKS = insert("task", (*_TASK_KEY, *TASK_FIXED, *TASK_CHANGING))
_UPDATE_TASKS = update("task", TASK_CHANGING, (*_TASK_KEY, "version"))
_INSERT_PLANS = insert("plan", ("plan_id", *PLAN_CHANGING))
_UPDATE_PLANS = update("plan", PLAN_CHANGING, ("plan_id", "version"))
_INSERT_DEFINITIONS = insert("plan_definition", ("plan_id", "last_arrival", *PLAN_FIXED))
_INSERT_CONFIGS = insert("task_config", (*_TASK_KEY, "config"))
_FIX_PREVIOUS = update("task_config", ("previous",), _TASK_KEY, "t.previous IS NULL")
_INSERT_EVENTS = insert("event", COLUMNS, stage="bigint")
_KEEP_PRE_IMAGES = insert("pre_image", (*_TASK_KEY, "stage", "key", "value"), "ON CONFLICT DO NOTHING")
_RECORD_LAST_KNOWN_GOOD = insert(
    "last_known_good", ("tenant_id", "config"), "ON CONFLICT (tenant_id) DO UPDATE SET config = excluded.config"
)
_SET_HOLD = insert(
    "tenant_hold",
    ("tenant_id", "reason", "since"),
    "ON CONFLICT (tenant_id) DO UPDATE SET reason = excluded.reason, since = excluded.since",
)
_LIFT_HOLD = BulkStatement(("tenant_id",), "DELETE FROM tenant_hold WHERE tenant_id IN (SELECT * FROM {rows})")
_ANSWER = "UPDATE request SET answer = $1 WHERE request_id = $2 AND answer IS NULL"
_MISSING: Final = """
SELECT k.plan_id, k.ordinal FROM unnest($1::bigint[], $2::bigint[]) AS k (plan_id, ordinal)
WHERE NOT EXISTS (SELECT 1 FROM task AS t WHERE t.plan_id = k.plan_id AND t.ordinal = k.ordinal) ORDER BY 1, 2 LIMIT 1
"""
_MISSING_PLAN: Final = """
SELECT k.plan_id FROM unnest($1::bigint[]) AS k (plan_id)
WHERE NOT EXISTS (SELECT 1 FROM plan AS p WHERE p.plan_id = k.plan_id) ORDER BY 1 LIMIT 1
"""

_CHUNK: Final = 500
"""Tasks of a new plan that are made ready between two turns of the event loop."""


class StageLists:
    """The known lists of stage names by their number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], int] = {}

    async def number(self, connection: Connection, names: tuple[str, ...]) -> int:
        """Of this list; a new one is written."""
        number = self._numbers.get(names)
        if number is None:
            text = encode_json(names)
            digest = sha256(text.encode()).digest()
            statement = "INSERT INTO stage_list (digest, names) VALUES ($1, $2) ON CONFLICT DO NOTHING"
            await connection.execute(statement, digest, text)
            found = await connection.fetchval("SELECT stage_list_id FROM stage_list WHERE digest = $1", digest)
            number = self._numbers[names] = int(found)
        return number

    def forget(self) -> None:
        """Ask the database again: what a failed transaction wrote is not there."""
        self._numbers.clear()


class BatchWriter:
    """Writes one batch. Must be used inside a transaction, once; any exception must end in its rollback."""

    def __init__(self, connection: Connection, stage_lists: StageLists) -> None:
        self._connection = connection
        self._stage_lists = stage_lists
        self._book = TenantBook()
        self._batch = Batch()

    async def write(self, batch: Sequence[Entry]) -> tuple[TaskKey, ...]:
        """
        Write it all.

        Returns:
            The waiting tasks that now own their tenant's lock.

        Raises:
            StoreConflictError: As the SPI says.
        """
        for entry in batch:
            if entry.new_plan is not None:
                await self._change_tenants()
                await self._insert_plan(entry.new_plan)
            self._batch.add(entry)
        await self._change_tenants()
        await self._update_aggregates()
        await self._write_events()
        await self._write_rest()
        await self._check_named()
        await event_order.write(self._connection, self._batch.runs)
        await event_order.prune(self._connection, self._batch.prunes)
        await access.append(self._connection, self._batch.audit)
        return tuple(self._book.granted)

    # New plans

    async def _insert_plan(self, new: NewPlan) -> None:
        connection = self._connection
        plan = new.plan
        plan_id = plan.plan_id
        if await connection.fetchval("SELECT 1 FROM plan WHERE plan_id = $1", plan_id):
            message = f"plan {plan_id} exists already; take another id"
            raise StoreConflictError(message)
        self._batch.check_is_new(plan_id)
        if new.idempotency_key is not None:
            statement = "INSERT INTO idempotency VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
            key = storable_text(new.idempotency_key)
            values = (key, plan_id, new.content_digest, new.findings)
            if not changed(await connection.execute(statement, *values)):
                message = "the idempotency key was used before; read the plan that it created"
                raise StoreConflictError(message)
        last_arrival = 0
        chunk: list[NewTask] = []
        for task in new.tasks:
            chunk.append(task)
            last_arrival = max(last_arrival, task.task.arrival)
            if len(chunk) == _CHUNK:
                await self._insert_tasks(plan_id, chunk)
                chunk.clear()
        if chunk:
            await self._insert_tasks(plan_id, chunk)
        await _INSERT_PLANS.run(connection, [(plan_id, *plan_values(plan))])
        await _INSERT_DEFINITIONS.run(connection, [(plan_id, last_arrival, *plan_definition(plan))])

    async def _insert_tasks(self, plan_id: PlanId, chunk: Sequence[NewTask]) -> None:
        connection = self._connection
        book = self._book
        await tenants.load(connection, book, (new.task.tenant_id for new in chunk))
        tasks: list[Row] = []
        configs: list[Row] = []
        events: list[Row] = []
        for new in chunk:
            task = new.task
            key = task.key
            if key.plan_id != plan_id:
                message = f"task {key.task_id} does not belong into plan {plan_id}"
                raise StoreConflictError(message)
            book.arrive(task)
            names = task.stage_names
            number = await self._stage_lists.number(connection, names)
            fixed = (task.tenant_id, task.arrival, number, encode_moment(task.created_at))
            tasks.append((*key, *fixed, *task_values(task)))
            configs.append((*key, encode_config(new.config)))
            events.extend([typed_event_values(event, names) for event in new.events])
            self._batch.runs.add(new.events)
        await tenants.write(connection, book)
        await _INSERT_TASKS.run(connection, tasks)
        await _INSERT_CONFIGS.run(connection, configs)
        await _INSERT_EVENTS.run(connection, events)

    # What was collected

    async def _change_tenants(self) -> None:
        touched = self._batch.touched_tenants
        if touched:
            await tenants.load(self._connection, self._book, touched)
            self._batch.change_tenants(self._book)
            await tenants.write(self._connection, self._book)

    async def _update_aggregates(self) -> None:
        plans, tasks = self._batch.plans, self._batch.tasks
        rows = [(*plan_values(plan), plan_id, first - 1) for plan_id, (first, plan) in plans.items()]
        if await _UPDATE_PLANS.run(self._connection, rows) != len(rows):
            await self._find_conflict("plan", [((i,), first, plan.version) for i, (first, plan) in plans.items()])
        rows = [(*task_values(task), *key, first - 1) for key, (first, task) in tasks.items()]
        if await _UPDATE_TASKS.run(self._connection, rows) != len(rows):
            await self._find_conflict("task", [(key, first, task.version) for key, (first, task) in tasks.items()])

    async def _find_conflict(self, table: str, written: Iterable[tuple[tuple[int, ...], int, int]]) -> None:
        """Name what did not follow. The rows that did are changed already, so their version is the written one."""
        condition = "plan_id = $1" if table == "plan" else "plan_id = $1 AND ordinal = $2"
        for key, first, last in written:
            name = f"{table} {'-'.join(map(str, key))}"
            version = await self._connection.fetchval(f"SELECT version FROM {table} WHERE {condition}", *key)  # noqa: S608  # names are ours
            if version is None:
                message = f"{name} is not in the store"
                raise StoreConflictError(message)
            if version != last:
                raise does_not_follow(name, version, first)
        message = f"a {table} has in the store the very version that was to be written: somebody else wrote"
        raise StoreConflictError(message)

    async def _write_events(self) -> None:
        batch = self._batch
        rows = [typed_event_values(event, names) for event, names in batch.named_events()]
        plan_ids = batch.plans_of_events
        if plan_ids:
            missing = await self._connection.fetchval(_MISSING_PLAN, list(plan_ids))
            if missing is not None:
                message = f"plan {missing} is not in the store"
                raise StoreConflictError(message)
        await _INSERT_EVENTS.run(self._connection, rows)

    async def _write_rest(self) -> None:
        connection = self._connection
        batch = self._batch
        goods = [(tenant_id, encode_config(config)) for tenant_id, config in batch.known_good.items()]
        await _RECORD_LAST_KNOWN_GOOD.run(connection, goods)
        previous = [(encode_config(config), *key) for key, config in batch.previous.items()]
        if await _FIX_PREVIOUS.run(connection, previous) != len(previous):
            batch.named.update(batch.previous)  # fixed before, which is fine, or no such task
        images = [(*keep.key, keep.stage, keep.pre_image.key, keep.pre_image.value) for keep in batch.pre_images]
        await _KEEP_PRE_IMAGES.run(connection, images)
        holds: Mapping[Any, Any] = batch.holds
        await _LIFT_HOLD.run(connection, [(tenant_id,) for tenant_id, hold in holds.items() if hold is None])
        kept = [(tenant_id, hold.reason, encode_moment(hold.since)) for tenant_id, hold in holds.items() if hold]
        await _SET_HOLD.run(connection, kept)
        for line in batch.line:
            await self._set_line(line)
        for answer in batch.answers:
            await connection.execute(_ANSWER, answer.answer, answer.request_id)

    async def _set_line(self, line: StopLine | None) -> None:
        await self._connection.execute("DELETE FROM stop_line")
        if line is not None:
            statement = "INSERT INTO stop_line VALUES (1, $1, $2)"
            await self._connection.execute(statement, storable_text(line.reason), encode_moment(line.since))

    async def _check_named(self) -> None:
        """Changes name tasks; whatever the batch itself wrote is known to exist, the rest must."""
        asked = [key for key in self._batch.named if key not in self._batch.tasks]
        if not asked:
            return
        missing = await self._connection.fetchrow(_MISSING, *map(list, zip(*asked, strict=True)))
        if missing is not None:
            message = f"task {TaskKey(*missing).task_id} is not in the store"
            raise StoreConflictError(message)
