"""
One batch of entries in one transaction.

The entries are gone through in order; what they change about tenants depends on that order and is decided on the way
(see ``tenants``). All else is collected, so that several writes of one task or plan become one (the first version is
checked against the store, the later ones against each other), and is written at the end in a few large statements.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar, assert_never

from switchover.adapters.stores.codec import decode_json, encode_config, encode_json, encode_moment
from switchover.adapters.stores.event_runs import EventRuns
from switchover.adapters.stores.rows import (
    EVENT_COLUMNS,
    PLAN_CHANGING,
    PLAN_FIXED,
    TASK_CHANGING,
    TASK_FIXED,
    Row,
    event_values,
    plan_definition,
    plan_values,
    task_values,
)
from switchover.adapters.stores.sqlite import access, event_order, tenants
from switchover.adapters.stores.sqlite.bulk import insert, update
from switchover.adapters.stores.sqlite.event_order import EventNumbers
from switchover.adapters.stores.tenant_book import TenantBook
from switchover.domain.audit import AuditEntry
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TenantDeployConfigSnapshot, TenantId
from switchover.errors import StoreConflictError
from switchover.spi import (
    AcquireLock,
    AnswerRequest,
    AppendAudit,
    BeginRun,
    Change,
    Entry,
    FixPrevious,
    Hold,
    KeepPreImage,
    LiftGeneration,
    NewPlan,
    NewTask,
    PruneEvents,
    RecordLastKnownGood,
    ReleaseLock,
    SetHold,
    SetLine,
    StopLine,
)

_TASK_KEY: Final = ("plan_id", "ordinal")

_INSERT_TASKS = insert("task", (*_TASK_KEY, *TASK_FIXED, *TASK_CHANGING))
_UPDATE_TASKS = update("task", TASK_CHANGING, (*_TASK_KEY, "version"))
_INSERT_PLANS = insert("plan", ("plan_id", *PLAN_CHANGING))
_UPDATE_PLANS = update("plan", PLAN_CHANGING, ("plan_id", "version"))
_INSERT_DEFINITIONS = insert("plan_definition", ("plan_id", "last_arrival", *PLAN_FIXED))
_INSERT_CONFIGS = insert("task_config", (*_TASK_KEY, "config"))
_FIX_PREVIOUS = update("task_config", ("previous",), _TASK_KEY, "task_config.previous IS NULL")
_INSERT_EVENTS = insert("event", EVENT_COLUMNS)
_KEEP_PRE_IMAGES = insert("pre_image", (*_TASK_KEY, "stage", "key", "value"), "ON CONFLICT DO NOTHING")
_RECORD_LAST_KNOWN_GOOD = insert(
    "last_known_good", ("tenant_id", "config"), "ON CONFLICT (tenant_id) DO UPDATE SET config = excluded.config"
)
_SET_HOLD = insert(
    "tenant_hold",
    ("tenant_id", "reason", "since"),
    "ON CONFLICT (tenant_id) DO UPDATE SET reason = excluded.reason, since = excluded.since",
)

_CHUNK: Final = 256
"""Tasks of a new plan that are in memory at once."""

_Key = TypeVar("_Key")
_Aggregate = TypeVar("_Aggregate", PlanAggregate, TaskAggregate)


class StageLists:
    """The known lists of stage names by their number. Belongs to the writing thread."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], int] = {}

    def number(self, connection: sqlite3.Connection, names: tuple[str, ...]) -> int:
        """Of this list; a new one is written."""
        number = self._numbers.get(names)
        if number is None:
            text = encode_json(names)
            connection.execute("INSERT INTO stage_list (names) VALUES (?) ON CONFLICT DO NOTHING", (text,))
            row = connection.execute("SELECT stage_list_id FROM stage_list WHERE names = ?", (text,)).fetchone()
            number = self._numbers[names] = int(row[0])
        return number

    def forget(self) -> None:
        """Ask the database again: what a failed transaction wrote is not there."""
        self._numbers.clear()


class BatchWriter:
    """Writes one batch. Must be used inside a transaction, once; any exception must end in its rollback."""

    def __init__(self, connection: sqlite3.Connection, stage_lists: StageLists, numbers: EventNumbers) -> None:
        self._connection = connection
        self._stage_lists = stage_lists
        self._numbers = numbers
        self._runs = EventRuns()
        self._prunes: list[PruneEvents] = []
        self._book = TenantBook()
        self._plans: dict[PlanId, tuple[int, PlanAggregate]] = {}
        self._tasks: dict[TaskKey, tuple[int, TaskAggregate]] = {}
        self._events: list[Event] = []
        self._tenant_changes: list[AcquireLock | ReleaseLock | BeginRun | LiftGeneration | TenantId] = []
        self._known_good: dict[TenantId, TenantDeployConfigSnapshot] = {}
        self._holds: dict[TenantId, Hold | None] = {}
        self._previous: dict[TaskKey, TenantDeployConfigSnapshot] = {}
        self._pre_images: list[KeepPreImage] = []
        self._answers: list[AnswerRequest] = []
        self._audit: list[AuditEntry] = []
        self._lines: list[StopLine | None] = []
        self._named: set[TaskKey] = set()
        self._new_positions: dict[PlanId, int] = {}

    def write(self, batch: Sequence[Entry]) -> tuple[TaskKey, ...]:
        """
        Write it all.

        Returns:
            The waiting tasks that now own their tenant's lock.

        Raises:
            StoreConflictError: As the SPI says.
            sqlite3.Error: Whatever SQLite could not do.
        """
        for entry in batch:
            if entry.new_plan is not None:
                self._change_tenants()
                self._insert_plan(entry.new_plan)
            for plan in entry.plans:
                _follow(self._plans, plan.plan_id, plan)
            for task in entry.tasks:
                _follow(self._tasks, task.key, task)
            if entry.events:
                self._events += entry.events
                self._runs.add(entry.events)
            for change in entry.changes:
                self._collect(change)
        self._change_tenants()
        self._update_aggregates()
        self._write_events()
        event_order.write(self._connection, self._runs, self._numbers)
        self._write_rest()
        access.append(self._connection, self._audit)
        self._check_named()
        event_order.prune(self._connection, self._prunes)
        return tuple(self._book.granted)

    @property
    def positions(self) -> Mapping[PlanId, int]:
        """How many events each plan of the batch has when it is written."""
        return {**self._new_positions, **{plan_id: plan.position for plan_id, (_, plan) in self._plans.items()}}

    # New plans

    def _insert_plan(self, new: NewPlan) -> None:
        connection = self._connection
        plan = new.plan
        plan_id = plan.plan_id
        if connection.execute("SELECT 1 FROM plan WHERE plan_id = ?", (plan_id,)).fetchone():
            message = f"plan {plan_id} exists already; take another id"
            raise StoreConflictError(message)
        if plan_id in self._plans or any(key.plan_id == plan_id for key in self._tasks):
            message = f"plan {plan_id} is changed before it is created; create it first"
            raise StoreConflictError(message)
        if new.idempotency_key is not None:
            statement = "INSERT INTO idempotency VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            values = (new.idempotency_key, plan_id, new.content_digest, new.findings)
            if not connection.execute(statement, values).rowcount:
                message = "the idempotency key was used before; read the plan that it created"
                raise StoreConflictError(message)
        last_arrival = 0
        chunk: list[NewTask] = []
        for task in new.tasks:
            chunk.append(task)
            last_arrival = max(last_arrival, task.task.arrival)
            if len(chunk) == _CHUNK:
                self._insert_tasks(plan_id, chunk)
                chunk.clear()
        if chunk:
            self._insert_tasks(plan_id, chunk)
        _INSERT_PLANS.run(connection, [(plan_id, *plan_values(plan))])
        self._new_positions[plan_id] = plan.position
        _INSERT_DEFINITIONS.run(connection, [(plan_id, last_arrival, *plan_definition(plan))])

    def _insert_tasks(self, plan_id: PlanId, chunk: Sequence[NewTask]) -> None:
        book = self._book
        tenants.load(self._connection, book, (new.task.tenant_id for new in chunk))
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
            fixed = (
                task.tenant_id,
                task.arrival,
                self._stage_lists.number(self._connection, names),
                encode_moment(task.created_at),
            )
            tasks.append((*key, *fixed, *task_values(task)))
            configs.append((*key, encode_config(new.config)))
            events.extend([event_values(event, names) for event in new.events])
            self._runs.add(new.events)
        tenants.write(self._connection, book)
        _INSERT_TASKS.run(self._connection, tasks)
        _INSERT_CONFIGS.run(self._connection, configs)
        _INSERT_EVENTS.run(self._connection, events)

    # Changes

    def _collect(self, change: Change) -> None:  # noqa: C901  # one case for each kind of change
        match change:
            case ReleaseLock() | BeginRun() | LiftGeneration():
                self._tenant_changes.append(change)
            case RecordLastKnownGood():
                self._tenant_changes.append(change.tenant_id)
                self._known_good[change.tenant_id] = change.config
            case AcquireLock():
                self._named.add(change.key)
                self._tenant_changes.append(change)
            case SetHold():
                self._tenant_changes.append(change.tenant_id)
                self._holds[change.tenant_id] = change.hold
            case FixPrevious():
                self._previous.setdefault(change.key, change.config)
            case KeepPreImage():
                self._named.add(change.key)
                self._pre_images.append(change)
            case SetLine():
                self._lines.append(change.line)
            case AnswerRequest():
                self._answers.append(change)
            case AppendAudit():
                self._audit.append(change.entry)
            case PruneEvents():
                self._prunes.append(change)
            case _:
                assert_never(change)

    def _change_tenants(self) -> None:
        changes = self._tenant_changes
        if not changes:
            return
        book = self._book
        tenants.load(
            self._connection, book, [change if isinstance(change, str) else change.tenant_id for change in changes]
        )
        for change in changes:
            match change:
                case BeginRun():
                    book.begin_run(change)
                case ReleaseLock():
                    book.release(change)
                case AcquireLock():
                    book.acquire(change)
                case LiftGeneration():
                    book.lift(change.tenant_id, change.generation)
                case _:
                    book.touch(change)
        tenants.write(self._connection, book)
        changes.clear()

    # What was collected

    def _update_aggregates(self) -> None:
        if self._plans:
            rows = [(*plan_values(plan), plan_id, first - 1) for plan_id, (first, plan) in self._plans.items()]
            if _UPDATE_PLANS.run(self._connection, rows) != len(rows):
                self._find_conflict("plan", [((i,), first) for i, (first, _) in self._plans.items()])
        if self._tasks:
            rows = [(*task_values(task), *key, first - 1) for key, (first, task) in self._tasks.items()]
            if _UPDATE_TASKS.run(self._connection, rows) != len(rows):
                self._find_conflict("task", [(key, first) for key, (first, _) in self._tasks.items()])

    def _find_conflict(self, table: str, written: Iterable[tuple[tuple[int, ...], int]]) -> None:
        """Name what did not follow. The rows that did are changed already, so their version is the written one."""
        latest: Mapping[tuple[int, ...], int] = {
            **{(i,): plan.version for i, (_, plan) in self._plans.items()},
            **{tuple(key): task.version for key, (_, task) in self._tasks.items()},
        }
        condition = "plan_id = ?" if table == "plan" else "plan_id = ? AND ordinal = ?"
        for key, first in written:
            name = f"{table} {'-'.join(map(str, key))}"
            row = self._connection.execute(f"SELECT version FROM {table} WHERE {condition}", key).fetchone()  # noqa: S608  # names are ours
            if row is None:
                message = f"{name} is not in the store"
                raise StoreConflictError(message)
            if row[0] != latest[tuple(key)]:
                raise _does_not_follow(name, row[0], first)
        message = f"a {table} has in the store the very version that was to be written: somebody else wrote"
        raise StoreConflictError(message)

    def _write_events(self) -> None:
        if not self._events:
            return
        tasks = self._tasks
        rows: list[Row] = []
        for event in self._events:
            key = event.key
            written = None if key is None else tasks.get(key)
            if written is not None:
                rows.append(event_values(event, written[1].stage_names))
            else:
                rows.append(event_values(event))
                if key is not None:
                    self._named.add(key)
                elif event.plan_id not in self._plans:
                    self._check_plan(event.plan_id)
        _INSERT_EVENTS.run(self._connection, rows)

    def _write_rest(self) -> None:
        connection = self._connection
        if self._known_good:
            goods = [(tenant_id, encode_config(config)) for tenant_id, config in self._known_good.items()]
            _RECORD_LAST_KNOWN_GOOD.run(connection, goods)
        if self._previous:
            rows = [(encode_config(config), *key) for key, config in self._previous.items()]
            if _FIX_PREVIOUS.run(connection, rows) != len(rows):
                self._named.update(self._previous)  # fixed before, which is fine, or no such task
        if self._pre_images:
            images = [(*keep.key, keep.stage, keep.pre_image.key, keep.pre_image.value) for keep in self._pre_images]
            _KEEP_PRE_IMAGES.run(connection, images)
        for tenant_id, hold in self._holds.items():
            if hold is None:
                connection.execute("DELETE FROM tenant_hold WHERE tenant_id = ?", (tenant_id,))
            else:
                _SET_HOLD.run(connection, [(tenant_id, hold.reason, encode_moment(hold.since))])
        if self._lines:
            line = self._lines[-1]
            connection.execute("DELETE FROM stop_line")
            if line is not None:
                values = (line.reason, encode_moment(line.since))
                connection.execute("INSERT INTO stop_line VALUES (1, ?, ?)", values)
        for answer in self._answers:
            statement = "UPDATE request SET answer = ? WHERE request_id = ? AND answer IS NULL"
            connection.execute(statement, (answer.answer, answer.request_id))

    def _check_named(self) -> None:
        """Changes name tasks; whatever the batch itself wrote is known to exist, the rest must."""
        asked = [key for key in self._named if key not in self._tasks]
        if not asked:
            return
        found = self._connection.execute(
            "SELECT json_group_array(json_array(t.plan_id, t.ordinal)) FROM json_each(?) AS k CROSS JOIN task AS t"
            " ON t.plan_id = k.value ->> 0 AND t.ordinal = k.value ->> 1",
            (encode_json(asked),),
        ).fetchone()[0]
        missing = set(asked).difference(TaskKey(PlanId(plan_id), ordinal) for plan_id, ordinal in decode_json(found))
        if missing:
            message = f"task {min(missing).task_id} is not in the store"
            raise StoreConflictError(message)

    def _check_plan(self, plan_id: PlanId) -> None:
        if not self._connection.execute("SELECT 1 FROM plan WHERE plan_id = ?", (plan_id,)).fetchone():
            message = f"plan {plan_id} is not in the store"
            raise StoreConflictError(message)


def _follow(kept: dict[_Key, tuple[int, _Aggregate]], key: _Key, value: _Aggregate) -> None:
    """Put the latest value beside the version of the first."""
    before = kept.get(key)
    if before is None:
        kept[key] = (value.version, value)
        return
    first, last = before
    if value.version != last.version + 1:
        raise _does_not_follow(f"{type(value).__name__} {key}", last.version, value.version)
    kept[key] = (first, value)


def _does_not_follow(name: str, stored: int, written: int) -> StoreConflictError:
    return StoreConflictError(
        f"{name} has version {stored} in the store, so version {written} does not follow: somebody else wrote"
    )
