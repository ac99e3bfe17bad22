"""How plans, tasks, events and tenants are written down in Redis: a version or what is looked for, then JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from switchover.adapters.stores.codec import (
    TASK_STATUS_CODES,
    decode_json,
    decode_moment,
    decode_optional_config,
    encode_json,
    encode_moment,
)
from switchover.adapters.stores.rows import (
    event_from,
    event_values,
    live_from,
    plan_definition,
    plan_from,
    plan_values,
    task_from,
    task_values,
)
from switchover.adapters.stores.tenant_book import QueuePlace
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.stage import PreImage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.spi import Hold, LiveTask, StopLine, TenantRecord

_LIVE_MARK: Final = ord("@")
_SETTLED_MARK: Final = ord("`")
_SORT_DIGITS: Final = 19

StageNames = dict[int, tuple[str, ...]]

# --- plans ---------------------------------------------------------------------------------------------------------


def sort_key(plan_id: int) -> str:
    """Plan ids as text that sorts like them: a score of Redis would round large ones."""
    return str(plan_id).zfill(_SORT_DIGITS)


def end_key(plan: PlanAggregate) -> str:
    """The moment at which it ended, and the plan, as text that sorts like them; nothing when it has not ended."""
    return "" if plan.ended_at is None else f"{end_bound(plan.ended_at)}:{sort_key(plan.plan_id)}"


def end_bound(moment: datetime) -> str:
    """What the keys of plans that ended at this moment, or later, are not below."""
    return str(encode_moment(moment)).zfill(_SORT_DIGITS)


def encode_plan(plan: PlanAggregate) -> str:
    """What changes; the version first."""
    version, *values = plan_values(plan)
    return f"{version} {encode_json(values)}"


def encode_definition(plan: PlanAggregate) -> str:
    """What never changes."""
    return encode_json(plan_definition(plan))


def decode_plan(plan_id: int, row: bytes, definition: bytes) -> PlanAggregate:
    """The inverse of both."""
    version, values = row.split(b" ", 1)
    return plan_from((plan_id, *decode_json(definition), int(version), *decode_json(values)))


# --- tasks ---------------------------------------------------------------------------------------------------------


def encode_task(task: TaskAggregate, stage_list: int) -> str:
    """The version, the tenant, and the rest."""
    version, *values = task_values(task)
    fixed = (task.arrival, stage_list, encode_moment(task.created_at))
    return f"{version} {task.tenant_id} {encode_json([*fixed, *values])}"


class TaskRow(NamedTuple):
    """A task as it is stored."""

    key: TaskKey
    tenant_id: TenantId
    version: int
    values: Sequence[Any]

    @property
    def stage_list(self) -> int:
        """The number of the list of its stages' names."""
        return int(self.values[1])

    def task(self, names: StageNames, owner: TaskKey | None) -> TaskAggregate:
        """The task, when this one owns its tenant's lock."""
        arrival, stage_list, created_at, *changing = self.values
        fixed = (self.tenant_id, arrival, stage_list, created_at)
        return task_from((*self.key, *fixed, self.version, *changing, owner == self.key), names)

    def live(self, owner: TaskKey | None) -> LiveTask:
        """The little that the scheduler must know of it."""
        _, _, _, status, _, _, _, _, _, pending, flags, started_order, *_ = self.values
        return live_from((self.key.ordinal, status, pending, flags, started_order, owner == self.key))


def decode_task(plan_id: int, ordinal: int, row: bytes) -> TaskRow:
    """The inverse of ``encode_task``, but for the stages' names."""
    version, tenant_id, values = row.split(b" ", 2)
    return TaskRow(TaskKey(PlanId(plan_id), ordinal), TenantId(tenant_id.decode()), int(version), decode_json(values))


def mark_of(task: TaskAggregate) -> str:
    """One character: the status, as a capital letter while the task is live."""
    return chr((_LIVE_MARK if task.is_live else _SETTLED_MARK) + TASK_STATUS_CODES[task.status])


ALL_MARKS: Final = "%a"
LIVE_MARKS: Final = "%u"


def marks_of(statuses: frozenset[TaskStatus]) -> str:
    """A pattern for the marks of tasks in these statuses."""
    codes = sorted(TASK_STATUS_CODES[status] for status in statuses)
    return f"[{''.join(chr(_LIVE_MARK + code) + chr(_SETTLED_MARK + code) for code in codes)}]"


# --- events --------------------------------------------------------------------------------------------------------


def encode_event(event: Event) -> str:
    """All but plan and position, which are where it lies; the stages' names are spelt out."""
    _, _, *values = event_values(event)
    return encode_json([*values, event.tenant_id])


def decode_event(plan_id: int, entry: tuple[bytes, Sequence[bytes]]) -> Event:
    """The inverse, of an entry of the plan's stream."""
    entry_id, fields = entry
    position = int(entry_id.split(b"-", 1)[0])
    return event_from((plan_id, position, *decode_json(fields[1]), None), {})


# --- tenants -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TenantRow:
    """
    One tenant.

    Attributes:
        queue: Who waits, in order of arrival.
        newest: The task that arrived last, with its arrival.
    """

    generation: int = 0
    owner: tuple[int, int] | None = None
    started: tuple[int, int] | None = None
    queue: list[QueuePlace] = field(default_factory=list[QueuePlace])
    newest: QueuePlace | None = None

    def encode(self) -> str:
        """As it is stored."""
        return encode_json((self.generation, self.owner, self.started, self.queue, self.newest))

    @staticmethod
    def decode(text: bytes | str) -> "TenantRow":
        """The inverse."""
        generation, owner, started, queue, newest = decode_json(text)
        return TenantRow(
            generation,
            None if owner is None else (owner[0], owner[1]),
            None if started is None else (started[0], started[1]),
            [(arrival, plan_id, ordinal) for arrival, plan_id, ordinal in queue],
            None if newest is None else (newest[0], newest[1], newest[2]),
        )

    def record(self, tenant_id: TenantId, hold: bytes | None, known_good: bytes | None) -> TenantRecord:
        """As the SPI has it."""
        return TenantRecord(
            tenant_id=tenant_id,
            generation=self.generation,
            owner=self.owner_key,
            newest=None if self.newest is None else _key(self.newest[1:]),
            last_started=_key(self.started),
            waiting=len(self.queue),
            hold=decode_hold(hold),
            last_known_good=decode_optional_config(known_good),
        )

    @property
    def owner_key(self) -> TaskKey | None:
        """Who has the lock."""
        return _key(self.owner)


def _key(pair: tuple[int, int] | None) -> TaskKey | None:
    return None if pair is None else TaskKey(PlanId(pair[0]), pair[1])


def encode_hold(hold: Hold | StopLine) -> str:
    """Reason and moment: of a hold, or of the stop-line."""
    return encode_json((hold.reason, encode_moment(hold.since)))


def decode_hold(text: bytes | None) -> Hold | None:
    """The inverse."""
    if text is None:
        return None
    reason, since = decode_json(text)
    return Hold(reason=reason, since=decode_moment(since))


def decode_line(text: bytes | None) -> StopLine | None:
    """The inverse."""
    hold = decode_hold(text)
    return None if hold is None else StopLine(reason=hold.reason, since=hold.since)


# --- pre-images ----------------------------------------------------------------------------------------------------


def image_place(ordinal: int, stage: str) -> str:
    """The field where the pre-images of one stage of a task are kept."""
    return f"{ordinal} {stage}"


def decode_images(records: bytes) -> list[PreImage]:
    """What the commit script has put together: ``<length>:<key><+ or -><length>:<value>``, one after the other."""
    found: list[PreImage] = []
    at = 0
    while at < len(records):
        colon = records.index(b":", at)
        end = colon + 1 + int(records[at:colon])
        key, sign = records[colon + 1 : end].decode(), records[end : end + 1]
        colon = records.index(b":", end)
        at = colon + 1 + int(records[end + 1 : colon])
        found.append(PreImage(key=key, value=records[colon + 1 : at] if sign == b"+" else None))
    return found
