"""
What answers look like, for OpenAPI.

The values are made by the DTOs' own ``to_dict``; nothing here is in their way. A test holds every real answer against
these models, with nothing missing and nothing more, so that the two cannot drift apart.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.config import JsonDict

from switchover.domain.access import PrincipalKind, Scope
from switchover.domain.audit import Outcome
from switchover.domain.events import EventType, SequenceType
from switchover.domain.plan import OnConflict, OnFailure, PlanStatus
from switchover.domain.task import Operation, TargetType, TaskStatus
from switchover.domain.verbs import Effect
from switchover.domain.wire import camel_case
from switchover.dto import TenantDeployConfig
from switchover.dto.findings import Severity
from switchover.errors import ErrorCode, ErrorType
from switchover.reports.checkup import Verdict

Item = TypeVar("Item")


class Answer(BaseModel):
    """Camel case, as everything on the wire."""

    model_config = ConfigDict(
        alias_generator=camel_case, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class Page(Answer, Generic[Item]):
    """A part of a list."""

    items: list[Item]
    next_cursor: str | None = Field(description="Ask with it as `cursor` for what follows; null at the end.")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """``PlanPage``, and not ``Page_Plan_``."""
        return f"{params[0].__name__}Page"


class FailurePoint(Answer):
    """Where it failed."""

    stage: str | None
    step: str | None


class Failure(Answer):
    """Why something failed or was refused."""

    error_code: ErrorCode
    error_type: ErrorType
    message: str
    failed_at: FailurePoint | None
    retryable: bool
    timestamp: datetime


class Timestamps(Answer):
    """When it was created, first started, ended and last changed."""

    created: datetime | None
    started: datetime | None
    ended: datetime | None
    updated: datetime | None


# --- plans and tasks -----------------------------------------------------------------------------------------------


class Plan(Answer):
    """A plan at one instant."""

    plan_id: int
    found: bool
    status: PlanStatus
    total: int
    counts: dict[TaskStatus, int]
    max_concurrency: int
    pending_operation: Operation | None
    failure_info: Failure | None
    timestamps: Timestamps


class RollbackRule(Answer):
    """What follows a failure."""

    on_failure: OnFailure
    hold: bool


class RetryRule(Answer):
    """How often a task may be retried."""

    max: int


class HealthRule(Answer):
    """How health checks ask, where a step says nothing else."""

    interval_seconds: float
    attempts: int
    timeout_seconds: float
    path: str
    version_key: str
    expect: str
    consecutive: int


class Rules(Answer):
    """The rules of a plan, every precedence applied."""

    max_concurrency: int
    on_conflict: OnConflict
    rollback: RollbackRule
    retry: RetryRule
    health: HealthRule
    services: list[JsonValue]


class PlanDetail(Answer):
    """What else is recorded of a plan."""

    name: str | None
    labels: dict[str, str]
    plan_version: int | None
    cancelled: bool
    run: int
    position: int
    sequence_id: int
    unsettled: int
    idle: int
    touched: int
    started_tasks: int
    rules: Rules


class PlanInFull(Plan):
    """A plan with all that is recorded of it (`view=full`)."""

    detail: PlanDetail


class Task(Answer):
    """A task at one instant."""

    task_id: str
    plan_id: int
    tenant_id: str
    found: bool
    status: TaskStatus
    current_stage: str | None
    completed_stages: int
    total_stages: int
    progress_percent: int = Field(ge=0, le=100)
    paused: bool
    cancelled: bool
    retry_count: int
    pending_operation: Operation | None
    failure_info: Failure | None
    generation: int
    timestamps: Timestamps


class Stage(Answer):
    """A stage and what became of it."""

    name: str
    marks: list[str]


class TaskDetail(Answer):
    """What else is recorded of a task."""

    lock_held: bool
    held: bool
    line_held: bool
    own_request: bool
    retrying: bool
    previous_known: bool
    pending_from_checkpoint: bool
    not_before: datetime | None
    sequence_id: int
    arrival: int
    started_order: int
    stages: list[Stage]


class TaskInFull(Task):
    """A task with all that is recorded of it (`view=full`)."""

    detail: TaskDetail


_PLACE_IN_FILE: JsonDict = {"required": ["tenantId", "field", "code", "message", "severity", "index"]}


class Finding(Answer):
    """Something that validation found; file, line and column are there when a text was read."""

    model_config = ConfigDict(json_schema_extra=_PLACE_IN_FILE)

    tenant_id: str | None
    field: str
    code: ErrorCode
    message: str
    severity: Severity
    index: int | None
    file: str | None = None
    line: int | None = None
    column: int | None = None


class Difference(Answer):
    """A place where a plan differs from the one that its idempotency key was used for; values are JSON texts."""

    pointer: str
    stored: str | None
    given: str | None


class Creation(Answer):
    """A plan that was created; it may have warnings."""

    plan_id: int
    task_ids: list[str]
    validated_count: int
    success: bool
    status: PlanStatus
    message: str
    failure_info: Failure | None
    findings: list[Finding]
    difference: list[Difference]


class Change(Answer):
    """A field of a config that will be another one."""

    field: str
    previous: JsonValue
    target: JsonValue


class TenantPreview(Answer):
    """What would become of a tenant."""

    tenant_id: str
    from_: str | None = Field(alias="from")
    to: str
    previous_from: str | None
    changes: list[Change]
    state: Literal["starts", "waits", "refused"]
    reason: str | None
    worst_case_seconds: float


class Preview(Answer):
    """What a plan would do."""

    plan_id: int | None
    name: str | None
    total: int
    max_concurrency: int
    on_conflict: OnConflict
    rollback_on_failure: bool
    max_retry: int
    stages: list[str]
    database_asked: bool
    worst_case_seconds: float
    states: dict[str, int]
    tenants: list[TenantPreview]
    findings: list[Finding]


class PreImage(Answer):
    """What a target held before; as text, or in base64 when it is none."""

    model_config = ConfigDict(json_schema_extra={"required": ["key"]})

    key: str
    value: str | None = None
    base64: str | None = None


class ExportedStage(Stage):
    """A stage with what its targets held before."""

    pre_images: list[PreImage]


class ExportedTask(Task):
    """A task with its configuration."""

    lock_held: bool
    held: bool
    stages: list[ExportedStage]
    config: TenantDeployConfig
    previous_config: TenantDeployConfig | None


class ExportedPlan(Plan):
    """A plan with its rules."""

    name: str | None
    labels: dict[str, str]
    plan_version: int | None
    cancelled: bool
    run: int
    position: int
    rules: Rules


class TaskOutcome(Answer):
    """What became of one task when its plan was asked for something."""

    task_id: str
    tenant_id: str
    failure_info: Failure | None


class OperationResult(Answer):
    """A request that was accepted, and is durable."""

    target_type: TargetType
    target_id: int | str
    success: bool
    final_status: str | None
    message: str
    failure_info: Failure | None
    accepted: list[TaskOutcome]
    refused: list[TaskOutcome]


class Explanation(Answer):
    """Why a task stands where it stands."""

    task_id: str
    tenant_id: str
    status: TaskStatus
    cause: str
    reason: str
    next_move: str


class Place(Answer):
    """A place that a stage writes; null in `before` and `observed` is nothing."""

    stage: str
    step: str
    place: str
    kept: bool
    before: str | None
    wanted: str | None
    observed: str | None
    generation: int
    problem: str | None


class EffectCount(Answer):
    """How many tasks something would happen to."""

    effect: Effect
    status: TaskStatus
    tasks: int


class RefusalCount(Answer):
    """How many tasks would be refused for one reason."""

    error_code: ErrorCode
    tasks: int
    example: str


class Forecast(Answer):
    """What would come of a request."""

    found: bool
    total: int
    refusal: str | None
    changing: int
    effects: list[EffectCount]
    refused: list[RefusalCount]


# --- events --------------------------------------------------------------------------------------------------------


class Event(Answer):
    """One numbered fact."""

    event_id: str
    type: EventType
    plan_id: int
    task_id: str | None
    tenant_id: str | None
    sequence_type: SequenceType
    sequence_id: int
    position: int
    timestamp: datetime
    status: str
    current_stage: str | None
    completed: int
    total: int
    failure_info: Failure | None
    data: dict[str, JsonValue]


class NumberedEvent(Event):
    """An event with its number over all plans."""

    number: int


class PrunedPlan(Answer):
    """A plan, and how many of its events."""

    plan_id: int
    events: int


class PruneReport(Answer):
    """What was forgotten, or would be: of each plan all events but the newest."""

    events: int
    plans: list[PrunedPlan]


class AllEvents(Answer):
    """A part of the history of all plans."""

    items: list[NumberedEvent]
    next_since: int = Field(description="Ask with it as `since` for what follows.")


class Events(Answer):
    """A part of the history."""

    items: list[Event]
    next_since: int = Field(description="Ask with it as `since` for what follows.")


class Export(Answer):
    """Everything about one plan."""

    format: Literal["switchover-export/1"]
    exported_at: datetime
    plan: ExportedPlan
    tasks: list[ExportedTask]
    events: list[Event]


# --- tenants and the line ------------------------------------------------------------------------------------------


class HoldReason(Answer):
    """Why a tenant is on hold."""

    reason: str
    since: datetime


class HeldTenant(HoldReason):
    """A tenant on hold."""

    tenant_id: str


class Tenant(Answer):
    """What is known about a tenant."""

    tenant_id: str
    found: bool
    generation: int
    owner: str | None
    newest: str | None
    waiting: int
    hold: HoldReason | None
    last_known_good: TenantDeployConfig | None
    failure_info: Failure | None


class Driver(Answer):
    """Who drives the store, or did last."""

    owner: str
    epoch: int
    since: datetime
    alive: bool


class Line(Answer):
    """Whether the line runs, and who drives."""

    stopped: bool
    reason: str | None
    since: datetime | None
    driver: Driver | None


class Worker(Answer):
    """A process that carries out stages."""

    worker: int
    name: str
    version: str
    concurrency: int
    tasks: int
    since: datetime
    last_heartbeat: datetime
    heartbeats: int
    stopping: bool


class Check(Answer):
    """One check of the store and its surroundings."""

    name: str
    verdict: Verdict
    found: str
    next_move: str | None


# --- access --------------------------------------------------------------------------------------------------------


class Token(Answer):
    """A token, without what it is."""

    name: str
    scopes: list[Scope]
    tenants: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    rotated_at: datetime | None
    previous_until: datetime | None
    revoked_at: datetime | None


class NewToken(Token):
    """A token, with what it is: this once."""

    token: str


class Session(Answer):
    """An open session of the console."""

    session_id: str
    name: str
    kind: PrincipalKind
    scopes: list[Scope]
    tenants: list[str]
    token: str | None
    origin: str
    created_at: datetime
    expires_at: datetime


class Ended(Answer):
    """How many sessions were ended."""

    ended: int


class Actor(Answer):
    """Who did it."""

    name: str
    kind: str
    origin: str
    via: str


class AuditRecord(Answer):
    """An entry of the audit log."""

    number: int
    at: datetime
    actor: Actor
    verb: str
    target_type: str
    target: str
    outcome: Outcome
    code: str | None
    message: str
    reason: str
    details: dict[str, JsonValue]


# --- the process ---------------------------------------------------------------------------------------------------


class Alive(Answer):
    """The process answers."""

    status: Literal["ok"]


class Ready(Alive):
    """The store is there and driven."""

    driving: bool


class Problem(Answer):
    """RFC 9457; a refusal has more members, under the names of the result."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})

    type: str = Field(pattern="^urn:switchover:problem:")
    title: str
    status: int = Field(ge=400, le=599)
    code: ErrorCode
    detail: str
