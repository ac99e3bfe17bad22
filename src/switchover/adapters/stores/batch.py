"""
One batch of entries, gone through in order, as a relational store writes it.

What the entries change about tenants depends on their order and is decided on the way (see ``tenant_book``). All else
is collected, so that several writes of one task or plan become one (the first version is checked against the store, the
later ones against each other), and is written at the end in a few large statements.
"""

from collections.abc import Iterator
from typing import TypeVar, assert_never

from switchover.adapters.stores.event_runs import EventRuns
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
    PruneEvents,
    RecordLastKnownGood,
    ReleaseLock,
    SetHold,
    SetLine,
    StopLine,
)

_Key = TypeVar("_Key")
_Aggregate = TypeVar("_Aggregate", PlanAggregate, TaskAggregate)


class Batch:
    """
    What was collected.

    Attributes:
        plans, tasks: The version of the first write, and the last value.
        named: Tasks that changes name, which must therefore exist.
        runs: In which order events of all plans were added; those of new plans are added by whoever writes them.
        line: What the stop-line becomes, in a list of one; empty when it stays as it is.
    """

    def __init__(self) -> None:
        self.plans: dict[PlanId, tuple[int, PlanAggregate]] = {}
        self.tasks: dict[TaskKey, tuple[int, TaskAggregate]] = {}
        self.events: list[Event] = []
        self.runs = EventRuns()
        self.prunes: list[PruneEvents] = []
        self.known_good: dict[TenantId, TenantDeployConfigSnapshot] = {}
        self.holds: dict[TenantId, Hold | None] = {}
        self.previous: dict[TaskKey, TenantDeployConfigSnapshot] = {}
        self.pre_images: list[KeepPreImage] = []
        self.answers: list[AnswerRequest] = []
        self.audit: list[AuditEntry] = []
        self.line: list[StopLine | None] = []
        self.named: set[TaskKey] = set()
        self._tenant_changes: list[AcquireLock | ReleaseLock | BeginRun | LiftGeneration | TenantId] = []

    def add(self, entry: Entry) -> None:
        """
        Collect an entry, all but its new plan.

        Raises:
            StoreConflictError: A version does not follow the one before in the batch.
        """
        for plan in entry.plans:
            _follow(self.plans, plan.plan_id, plan)
        for task in entry.tasks:
            _follow(self.tasks, task.key, task)
        if entry.events:
            self.events += entry.events
            self.runs.add(entry.events)
        for change in entry.changes:
            self._collect(change)

    @property
    def touched_tenants(self) -> list[TenantId]:
        """Whom ``change_tenants`` would change: to be loaded before."""
        return [change if isinstance(change, str) else change.tenant_id for change in self._tenant_changes]

    def change_tenants(self, book: TenantBook) -> None:
        """Carry out what was collected about tenants, and forget it."""
        for change in self._tenant_changes:
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
        self._tenant_changes.clear()

    def check_is_new(self, plan_id: PlanId) -> None:
        """Refuse a plan that the batch changed before it creates it."""
        if plan_id in self.plans or any(key.plan_id == plan_id for key in self.tasks):
            message = f"plan {plan_id} is changed before it is created; create it first"
            raise StoreConflictError(message)

    def named_events(self) -> Iterator[tuple[Event, tuple[str, ...]]]:
        """The events with the names of their task's stages, where the batch knows them; tasks it does not are named."""
        for event in self.events:
            key = event.key
            written = None if key is None else self.tasks.get(key)
            if written is None and key is not None:
                self.named.add(key)
            yield event, () if written is None else written[1].stage_names

    @property
    def plans_of_events(self) -> set[PlanId]:
        """Plans with events of their own that the batch does not write, and which must therefore exist."""
        return {event.plan_id for event in self.events if event.key is None} - self.plans.keys()

    def _collect(self, change: Change) -> None:  # noqa: C901  # one case for each kind of change
        match change:
            case ReleaseLock() | BeginRun() | LiftGeneration():
                self._tenant_changes.append(change)
            case RecordLastKnownGood():
                self._tenant_changes.append(change.tenant_id)
                self.known_good[change.tenant_id] = change.config
            case AcquireLock():
                self.named.add(change.key)
                self._tenant_changes.append(change)
            case SetHold():
                self._tenant_changes.append(change.tenant_id)
                self.holds[change.tenant_id] = change.hold
            case FixPrevious():
                self.previous.setdefault(change.key, change.config)
            case KeepPreImage():
                self.named.add(change.key)
                self.pre_images.append(change)
            case SetLine():
                self.line = [change.line]
            case AnswerRequest():
                self.answers.append(change)
            case AppendAudit():
                self.audit.append(change.entry)
            case PruneEvents():
                self.prunes.append(change)
            case _:
                assert_never(change)


def does_not_follow(name: str, stored: int, written: int) -> StoreConflictError:
    """A version is not the next one."""
    return StoreConflictError(
        f"{name} has version {stored} in the store, so version {written} does not follow: somebody else wrote"
    )


def _follow(kept: dict[_Key, tuple[int, _Aggregate]], key: _Key, value: _Aggregate) -> None:
    """Put the latest value beside the version of the first."""
    before = kept.get(key)
    if before is None:
        kept[key] = (value.version, value)
        return
    first, last = before
    if value.version != last.version + 1:
        raise does_not_follow(f"{type(value).__name__} {key}", last.version, value.version)
    kept[key] = (first, value)
