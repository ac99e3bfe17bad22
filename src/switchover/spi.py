"""
What outsiders implement: the store, the clock, targets and health clients.

A store keeps the truth; memory is a cache of it. Whoever writes one inherits the shipped contract suite
(``switchover.testing.contracts``) and need not read the engine. The rules that the engine builds on:

- ``commit`` applies a batch of entries in their order, all or nothing, and is durable when it returns.
- One process drives a store at a time. A commit carries the driver's epoch; a store refuses an old one
  (``StoreConflictError``), which makes a frozen process harmless.
- Every task and plan write carries the next ``version``; a store refuses a write that does not follow what it holds.
- Locks belong to tenants, have one owner, and are handed to the next waiting task, in order of arrival, in the very
  commit that releases them.
- Reads see committed state only, and each read sees one instant.
"""

from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from switchover.domain.access import AccessToken, LoginSession
from switchover.domain.audit import AuditEntry, AuditFilter, AuditRecord
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.policies import HealthCheckPolicy
from switchover.domain.stage import PreImage, StageStep, TaskRuntimeContext
from switchover.domain.task import (
    Operation,
    PlanId,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantDeployConfigSnapshot,
    TenantId,
)
from switchover.domain.values import new_list, quick
from switchover.errors import StageError

FOREIGN: Final = (Exception, CancelledError)
"""What a stranger's function may raise where it is called and not awaited: nobody can have cancelled it there."""


class Clock(Protocol):
    """All waiting and all reading of time goes through one of these, so that tests own time."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever rise; for waiting and measuring."""
        ...

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait; not at all when ``seconds`` is zero or less."""
        ...


# --- what a commit consists of -------------------------------------------------------------------------------------


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """
    A task on its way in.

    ``task.lock_held`` says whether it takes its tenant's lock (which must be free) or queues behind the owner. Where
    nobody owns the lock any more when it queues, it becomes the owner at once (reported as granted).
    """

    task: TaskAggregate
    config: TenantDeployConfigSnapshot
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlan:
    """
    A plan on its way in, with all its tasks.

    Attributes:
        tasks: Iterated once per attempt, possibly in another thread; must give the same tasks every time.
        idempotency_key: Kept as long as the plan; None when the caller gave none.
        content_digest: Of the request that created the plan; compared when the key comes again.
        findings: What its creator was told beside (JSON), kept with the key.
    """

    plan: PlanAggregate
    tasks: Iterable[NewTask]
    idempotency_key: str | None = None
    content_digest: str = ""
    findings: bytes = b"[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a tenant is on hold."""

    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLine:
    """Why the line stands still."""

    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class AcquireLock:
    """Take a free tenant lock for a task that exists; refused (conflict) when it has another owner."""

    tenant_id: TenantId
    key: TaskKey


@dataclass(frozen=True, slots=True)
class ReleaseLock:
    """
    Give the tenant's lock back, or leave its queue.

    When ``key`` owns the lock, the task that waits longest becomes the owner (reported as granted). When it waits, it
    leaves the queue. When it does neither, nothing happens: the late end of an old run cannot free a newer one's lock.
    """

    tenant_id: TenantId
    key: TaskKey


@dataclass(frozen=True, slots=True)
class BeginRun:
    """
    A run of the tenant begins under a new generation.

    Refused (conflict) unless ``key`` owns the lock and ``generation`` is higher than the tenant's.
    ``first`` marks the first start of the task: it becomes the tenant's ``last_started``.
    """

    tenant_id: TenantId
    key: TaskKey
    generation: int
    first: bool


@dataclass(frozen=True, slots=True)
class LiftGeneration:
    """Raise the tenant's generation to at least this (``adopt``); creates the tenant when nobody knows it."""

    tenant_id: TenantId
    generation: int


@dataclass(frozen=True, slots=True)
class RecordLastKnownGood:
    """The configuration that is now known to be effective for the tenant."""

    tenant_id: TenantId
    config: TenantDeployConfigSnapshot


@dataclass(frozen=True, slots=True)
class SetHold:
    """Put the tenant on hold, or lift it (None); creates the tenant when nobody knows it."""

    tenant_id: TenantId
    hold: Hold | None


@dataclass(frozen=True, slots=True)
class FixPrevious:
    """Fix the task's previous good config, once, when it first starts; ignored when one is fixed already."""

    key: TaskKey
    config: TenantDeployConfigSnapshot


@dataclass(frozen=True, slots=True)
class KeepPreImage:
    """Keep what a target held before the task's first write there; ignored when one is kept already."""

    key: TaskKey
    stage: str
    pre_image: PreImage


@dataclass(frozen=True, slots=True)
class SetLine:
    """Stop the line, or start it again (None)."""

    line: StopLine | None


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """The answer to a request of another process (JSON), in the commit that carries it out; the first one counts."""

    request_id: int
    answer: bytes


@dataclass(frozen=True, slots=True)
class AppendAudit:
    """Tell the audit log of a write, in the commit that makes it."""

    entry: AuditEntry


@dataclass(frozen=True, slots=True)
class PruneEvents:
    """
    Forget the plan's events up to and with this position, in every place where they can be read.

    It is done when all else of the batch is. The plan's newest event always stays, whatever ``through`` says. Refused
    (conflict) for a plan that is not stored. Positions, sequence ids and store-wide numbers go on, and none is ever
    given again.
    """

    plan_id: PlanId
    through: int


Change = (
    AcquireLock
    | ReleaseLock
    | BeginRun
    | LiftGeneration
    | RecordLastKnownGood
    | SetHold
    | FixPrevious
    | KeepPreImage
    | SetLine
    | AnswerRequest
    | AppendAudit
    | PruneEvents
)
"""What a commit changes beside plans, tasks and events."""


@dataclass(slots=True)
class Entry:
    """
    What belongs together: applied as one, in the order new plan, plans, tasks, events, changes.

    Attributes:
        plans, tasks: The new values; each ``version`` is one above what the store holds. One key at most once.
    """

    new_plan: NewPlan | None = None
    plans: list[PlanAggregate] = field(default_factory=new_list)
    tasks: list[TaskAggregate] = field(default_factory=new_list)
    events: list[Event] = field(default_factory=new_list)
    changes: list[Change] = field(default_factory=new_list)


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What only the store could decide: which waiting tasks own their tenant's lock when the batch is through."""

    granted: tuple[TaskKey, ...] = ()


# --- what a store gives back ---------------------------------------------------------------------------------------


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRecord:
    """
    What the store knows about one tenant.

    Attributes:
        generation: The highest ever used or adopted; 0 when no run ever began.
        owner: The task that holds the lock.
        newest: The task that arrived last.
        last_started: The task that first started last: an older one is superseded by it.
        waiting: How many tasks queue behind the owner.
    """

    tenant_id: TenantId
    generation: int = 0
    owner: TaskKey | None = None
    newest: TaskKey | None = None
    last_started: TaskKey | None = None
    waiting: int = 0
    hold: Hold | None = None
    last_known_good: TenantDeployConfigSnapshot | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTask:
    """
    A task with what belongs to it.

    ``task.lock_held`` is read from the tenant: the owner decides, not the task.
    ``previous`` is what was fixed with ``FixPrevious``; the config's own source is not repeated here.
    """

    task: TaskAggregate
    config: TenantDeployConfigSnapshot
    previous: TenantDeployConfigSnapshot | None
    tenant: TenantRecord


class KnownCreation(NamedTuple):
    """What an idempotency key was used for: ``content_digest`` and ``findings`` as in ``NewPlan``."""

    plan_id: PlanId
    content_digest: str
    findings: bytes = b"[]"


class NumberedEvent(NamedTuple):
    """An event with its number over all plans."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """
    A part of the events of all plans, and how far they reach, read in one instant.

    Attributes:
        events: In commit order. Numbers rise and may have gaps; none turns up later below one that was read.
        newest: The number of the newest event; 0 when there never was any.
        pruned: The highest number that was forgotten; 0 for none. Who has read less far has missed something.
    """

    events: Sequence[NumberedEvent]
    newest: int
    pruned: int


class EventSpan(NamedTuple):
    """Which events of a plan are kept: the positions of the oldest and of the newest one."""

    plan_id: PlanId
    first: int
    last: int


class LiveTask(NamedTuple):
    """The little that the scheduler must know about every live task of an unsettled plan."""

    ordinal: int
    status: TaskStatus
    pending_operation: Operation | None
    held: bool
    line_held: bool
    own_request: bool
    lock_held: bool
    started_order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """What a driver must know before it drives, read in one instant."""

    plans: tuple[PlanAggregate, ...]  # those with live tasks (``unsettled``), by plan id
    line: StopLine | None
    holds: Mapping[TenantId, Hold]
    last_arrival: int
    last_plan_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What another process asks the driver to do. Payload and answer are JSON."""

    request_id: int
    verb: str
    payload: bytes
    submitted_at: datetime
    answer: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverInfo:
    """Who drives the store; ``alive`` as far as the store can tell."""

    owner: str
    epoch: int
    since: datetime
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverLease:
    """The right to commit. ``epoch`` rises with every holder; a commit under an older one is refused."""

    owner: str
    epoch: int


class AccessStore(ABC):
    """
    Who may come in, and what they did: tokens, sessions and the audit log.

    It is a part of the execution store, open when that is, and needs no driver's lease: the command line makes a token
    beside a running server. Whatever changes something takes the entry that tells of it, and both become durable
    together or not at all. Raises what ``ExecutionStore`` raises.
    """

    @abstractmethod
    async def put_token(self, token: AccessToken, audit: AuditEntry, *, first: bool = False) -> bool:
        """
        Keep a new token; False, and nothing is changed, when its name was ever used.

        Args:
            first: Also False when there is, or ever was, any token at all.
        """

    @abstractmethod
    async def replace_token(self, token: AccessToken, audit: AuditEntry) -> bool:
        """Write a token anew; False, and nothing is changed, unless its version follows the stored one."""

    @abstractmethod
    async def note_token_use(self, name: str, at: datetime) -> None:
        """Move ``last_used_at`` forwards, never back; without effect on a token that nobody knows."""

    @abstractmethod
    async def find_token(self, digest: str) -> AccessToken | None:
        """The token whose digest, or digest before the last rotation, is this one."""

    @abstractmethod
    async def load_token(self, name: str) -> AccessToken | None:
        """The token of this name."""

    @abstractmethod
    async def list_tokens(self) -> Sequence[AccessToken]:
        """All that ever were, by name."""

    @abstractmethod
    async def put_session(self, session: LoginSession, audit: AuditEntry) -> None:
        """Keep a new session."""

    @abstractmethod
    async def find_session(self, digest: str) -> LoginSession | None:
        """The session whose cookie has this digest."""

    @abstractmethod
    async def list_sessions(self) -> Sequence[LoginSession]:
        """All that are kept, the newest first."""

    @abstractmethod
    async def end_sessions(self, session_ids: Sequence[str], audit: AuditEntry) -> int:
        """Forget sessions; how many there were. When there are none nothing is changed, the log included."""

    @abstractmethod
    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Tell of what changed nothing else: writes that were refused before they reached the engine."""

    @abstractmethod
    async def list_audit(self, wanted: AuditFilter, *, before: int | None, limit: int) -> Sequence[AuditRecord]:
        """The log, the newest (highest number) first; ``before`` is an exclusive number."""

    @abstractmethod
    async def prune_access(self, *, sessions_before: datetime, audit_before: datetime | None) -> int:
        """
        Forget sessions that ended before the one moment and entries from before the other; how many entries.

        Numbers of the log are never given again.
        """


class ExecutionStore(ABC):
    """
    Plans, tasks, events, tenants, requests: the truth.

    Every method may raise ``StoreUnavailableError`` (try again: nothing was changed, or everything was and only the
    answer is lost), ``StoreUnusableError`` (a person must act) or ``StoreClosedError``. Methods are called from one
    event loop and must not block it.
    """

    @abstractmethod
    async def open(self) -> None:
        """Connect, check, and bring the schema up to date."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of everything, the driver's lease included; closing twice is fine."""

    @property
    @abstractmethod
    def access(self) -> AccessStore:
        """Tokens, sessions and the audit log, in the same place; the object may be asked for before ``open``."""

    # Driving

    @abstractmethod
    async def acquire_driver(self, owner: str) -> DriverLease | None:
        """
        Become the one process that commits; None while another one is.

        Args:
            owner: Who asks, for people: host, process id, start.
        """

    @abstractmethod
    async def release_driver(self, lease: DriverLease) -> None:
        """Stop being it; without effect when the lease is not the current one."""

    @abstractmethod
    async def driver(self) -> DriverInfo | None:
        """Who drives, or drove last; None when nobody ever did."""

    @abstractmethod
    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        """
        Apply the entries in order, in one atomic and durable transaction.

        Raises:
            StoreConflictError: The lease is not the current one, a version does not follow, a lock has another
                owner, or a plan id or idempotency key exists. Nothing was applied.
        """

    # Requests of other processes

    @abstractmethod
    async def put_request(self, verb: str, payload: bytes) -> int:
        """Leave a request for the driver, durably; needs no lease. Returns its id; ids rise."""

    @abstractmethod
    async def open_requests(self, after: int, limit: int) -> Sequence[Request]:
        """Requests without an answer and with an id above ``after``, oldest first."""

    @abstractmethod
    async def load_request(self, request_id: int) -> Request | None:
        """One request, with its answer when there is one."""

    # Reading

    @abstractmethod
    async def load_state(self) -> StoreState:
        """What a driver must know before it drives."""

    @abstractmethod
    async def load_live(self, plan_id: PlanId, after: int, limit: int) -> Sequence[LiveTask]:
        """Live tasks of a plan with an ordinal above ``after``, in order."""

    @abstractmethod
    async def load_tasks(self, keys: Sequence[TaskKey]) -> Sequence[StoredTask]:
        """Those that exist, in the order asked for."""

    @abstractmethod
    async def load_plan(self, plan_id: PlanId) -> PlanAggregate | None:
        """One plan."""

    @abstractmethod
    async def list_plans(self, *, before: int | None, limit: int) -> Sequence[PlanAggregate]:
        """Newest (highest id) first; ``before`` is exclusive."""

    @abstractmethod
    async def list_tasks(
        self, plan_id: PlanId, *, statuses: frozenset[TaskStatus] | None, after: int, limit: int
    ) -> Sequence[TaskAggregate]:
        """Tasks of a plan with an ordinal above ``after``, in order; only those in ``statuses`` unless None."""

    @abstractmethod
    async def load_tenants(self, tenant_ids: Sequence[TenantId]) -> Mapping[TenantId, TenantRecord]:
        """Those that are known; asked for in tens of thousands at once."""

    @abstractmethod
    async def list_holds(self) -> Mapping[TenantId, Hold]:
        """Every tenant on hold."""

    @abstractmethod
    async def load_line(self) -> StopLine | None:
        """The stop-line, when the line stands still."""

    @abstractmethod
    async def tenant_history(self, tenant_id: TenantId, limit: int) -> Sequence[TaskAggregate]:
        """The tenant's tasks, the newest (last to arrive) first."""

    @abstractmethod
    async def load_events(self, plan_id: PlanId, after: int, limit: int) -> Sequence[Event]:
        """Events of a plan and its tasks with a position above ``after``, in order."""

    @abstractmethod
    async def load_task_events(self, key: TaskKey, after: int, limit: int) -> Sequence[Event]:
        """Events of a task with a sequence id above ``after``, in order."""

    @abstractmethod
    async def load_all_events(self, after: int, limit: int) -> EventPage:
        """
        Events of all plans with a store-wide number above ``after``, in commit order.

        The number is given in the commit. Within a commit the order is that of its entries: of each the events of the
        new plan's tasks, then its own. Only what lies behind everything that was forgotten is given: nothing with a
        number up to ``pruned``, although a plan that was not pruned may still have it.
        """

    @abstractmethod
    async def load_event_spans(self, *, ended_before: datetime, limit: int) -> Sequence[EventSpan]:
        """
        Plans that have more than their newest event to forget; the one that ended first comes first.

        Only those without live tasks that ended (``ended_at``) before the moment.
        """

    @abstractmethod
    async def load_pre_images(self, key: TaskKey, stage: str) -> Sequence[PreImage]:
        """What was kept for one stage of a task, in the order in which it was kept."""

    @abstractmethod
    async def find_idempotency(self, idempotency_key: str) -> KnownCreation | None:
        """What was created under this key."""

    @abstractmethod
    async def change_token(self) -> int:
        """A number that is different after any commit by any process; cheap enough to ask twenty times a second."""

    @abstractmethod
    async def check(self) -> Sequence[str]:
        """Examine the whole store; one sentence per problem, none when it is sound. May take long."""


@runtime_checkable
class ServedStore(Protocol):
    """
    A store that lives in a server, and not in a file that can be looked for.

    Attributes:
        place: Its URL, as it may be shown: without a password.
    """

    place: str

    async def is_empty(self) -> bool:
        """Whether nothing was ever kept there; may be asked before ``open``, and makes nothing. Raises as a store."""
        ...

    async def describe(self) -> str:
        """What answers there, for people: program and version, size."""
        ...


class Topic(StrEnum):
    """What a store may hear of."""

    COMMITS = "commits"
    REQUESTS = "requests"


@runtime_checkable
class HearingStore(Protocol):
    """
    A store that is told what other processes do, so that whoever waits for it is woken and need not look all the time.

    What is heard is a hint and may get lost: whoever waits still looks by itself, only less often.
    """

    @property
    def hears(self) -> bool:
        """Whether it would be told now."""
        ...

    def heard(self, topic: Topic) -> int:
        """A number that rises when something is heard: take it before looking, and wait with it afterwards."""
        ...

    async def hear(self, topic: Topic, seen: int) -> None:
        """Wait until ``heard`` is not ``seen`` any more."""
        ...


# --- watching ------------------------------------------------------------------------------------------------------


class RunTracing(Protocol):
    """Tells of runs and of what happens in them, to whoever collects traces; it is an observer of commits, too."""

    def committed(self, entries: Sequence[Entry], seconds: float) -> None:
        """As ``CommitObserver``."""
        ...

    def traced(self, services: "StepServices") -> "StepServices":
        """The same services, which tell of each call."""
        ...

    def step(self, context: TaskRuntimeContext, step: StageStep, /) -> AbstractContextManager[None]:
        """Open while a step runs."""
        ...

    def step_of(
        self, task: TaskAggregate, /
    ) -> Callable[[TaskRuntimeContext, StageStep], AbstractContextManager[None]]:
        """The same, for a task whose commits are not told here: another process drives it."""
        ...

    def inject(self, headers: MutableMapping[str, str]) -> None:
        """Put into the headers of a request who sends it."""
        ...


@runtime_checkable
class CommitObserver(Protocol):
    """
    Is told of everything that becomes durable in this process: what metrics, traces and logs are made from.

    It is called between two commits, so it must be quick and must not wait. What it raises is logged, and harms nobody.
    """

    def committed(self, entries: Sequence[Entry], seconds: float) -> None:
        """
        One commit is durable.

        Args:
            entries: In the order in which they were applied; their events are in commit order. What came with
                ``new_plan`` is to be left alone: it may be made anew each time that it is looked at.
            seconds: From the first attempt to the answer, so an outage of the store is part of it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """
    How this process is at one instant.

    Attributes:
        driving: It is the one that commits.
        running: Tasks that hold a slot.
        waiting: Live tasks without one that are neither paused nor held: the queues of all plans.
        live_plans: Plans that have unsettled tasks.
        heartbeat_lag_seconds: How late heartbeats are.
        driver_lost: It was the one that commits, and may commit no more.
        store_outage_seconds: For how long the store has taken no commits; 0 while it takes them.
    """

    driving: bool = False
    running: int = 0
    waiting: int = 0
    live_plans: int = 0
    heartbeat_lag_seconds: float = 0.0
    store_outage_seconds: float = 0.0
    driver_lost: bool = False


# --- runs ----------------------------------------------------------------------------------------------------------


class Runtime(Protocol):
    """Who carries out runs: a run is a coroutine that ends when the task gives its slot back."""

    def launch(self, key: TaskKey, run: Coroutine[Any, Any, None]) -> None:
        """Carry out a run."""
        ...

    async def finish(self, clock: Clock, seconds: float) -> None:
        """Wait for runs to end, but no longer than this; then interrupt them."""
        ...


# --- targets and health --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldValue:
    """What a target holds under one key: the exact bytes (None: nothing) and the generation beside them (0: none)."""

    value: bytes | None
    generation: int


@runtime_checkable
class ConfigTarget(Protocol):
    """
    A place where configuration lives.

    Every method raises ``TargetError`` (or a subclass of ``StepError``) with the target, the key and the cause.
    """

    async def read(self, key: str, field: str | None) -> HeldValue:
        """What is there now."""
        ...

    async def write(self, key: str, field: str | None, value: bytes, generation: int) -> None:
        """
        Put value and generation, checked and written in one atomic operation of the target.

        Raises:
            StaleGenerationError: The target holds a higher generation; nothing was written.
        """
        ...

    async def remove(self, key: str, field: str | None, generation: int) -> None:
        """Take the value away and leave the generation; refuses like ``write``."""
        ...


@runtime_checkable
class BroadcastTarget(Protocol):
    """A place that tells running instances that something changed."""

    async def publish(self, channel: str | None, message: bytes) -> int | None:
        """Send; how many listened, None when the target cannot tell. Raises ``TargetError``."""
        ...


class TargetProvider(Protocol):
    """Finds the target behind a URL; equal URLs share connections."""

    def config_target(self, url: str) -> ConfigTarget:
        """Raises ``StageError`` for a scheme that nobody serves."""
        ...

    def broadcast_target(self, url: str) -> BroadcastTarget:
        """Raises ``StageError`` for a scheme that nobody serves."""
        ...


@runtime_checkable
class HealthCheckClient(Protocol):
    """Asks one URL for the version that it serves."""

    async def get(self, url: str) -> Mapping[str, object]:
        """The body; raises on non-2xx, time-out or an unreadable body. Never answers from a cache."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepServices:
    """What built-in steps work with; the engine puts it into every ``TaskRuntimeContext``."""

    targets: TargetProvider
    health_client: HealthCheckClient
    clock: Clock
    health_policy: HealthCheckPolicy | None = None

    @staticmethod
    def of(context: TaskRuntimeContext) -> "StepServices":
        """
        What the context carries.

        Raises:
            StageError: It carries none: the context was made by hand, without ``services``.
        """
        if isinstance(context.services, StepServices):
            return context.services
        msg = (
            f"stage {context.stage!r}: the context has no services (targets, health client, clock); "
            "give TaskRuntimeContext(services=StepServices(...))"
        )
        raise StageError(msg)
