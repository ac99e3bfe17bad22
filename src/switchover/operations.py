"""
Where a request is carried out: in this process when it drives the store, else in the one that does.

Both ways give the same answers. A request to another process is a row in the store: durable when it is put, decided by
the driver in the order of arrival, and answered in the very commit that carries it out.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast

import orjson

from switchover.access.recording import creation_entry, operation_entry
from switchover.domain.audit import UNKNOWN_ACTOR, Actor, AuditEntry, Outcome
from switchover.domain.plan import PlanStatus
from switchover.domain.task import (
    FailureInfo,
    Operation,
    PlanId,
    TargetType,
    TaskId,
    TaskStatus,
    TenantId,
)
from switchover.dto import Finding, TaskCreationResult, TaskOperationResult, TaskOutcome, TenantDeployConfig
from switchover.engine.driver import Driver
from switchover.engine.hearing import hear, heard
from switchover.engine.outcomes import OperationOutcome
from switchover.errors import ErrorCode, ErrorType, StorageError, StoreUnavailableError
from switchover.factory import Draft, PlanFactory, StoreFacts
from switchover.factory.comparing import compare
from switchover.factory.validation import first_error
from switchover.logs import get_log
from switchover.redaction import without_secrets
from switchover.spi import AnswerRequest, AppendAudit, Change, Clock, ExecutionStore, Request, Topic

_log = get_log("switchover.operations")

_LARGE_PLAN = 500
_POLL_SECONDS = 0.05
_AWAY_POLL_SECONDS = 1.0
_PAGE = 50
_LOOK_SECONDS = 1.0
_AWAY_SECONDS = 10.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequest:
    """
    One verb about one target.

    Attributes:
        verb: pause, resume, cancel, retry, rollback, hold, unhold, adopt, prune, stop-line or start-line.
        target: The task's, tenant's or plan's id; empty for the line.
        reason: Kept for whoever comes next, so without what looks like a secret.
    """

    verb: str
    target_type: TargetType
    target: str = ""
    from_checkpoint: bool = True
    reason: str = ""
    actor: Actor = UNKNOWN_ACTOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", without_secrets(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationRequest:
    """A plan to be created, as the caller gave it."""

    configs: object
    options: object = None
    metadata: object = None
    idempotency_key: str | None = None
    reason: str = ""
    actor: Actor = UNKNOWN_ACTOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", without_secrets(self.reason))


class Operations(Protocol):
    """What carries requests out."""

    async def create(self, request: CreationRequest) -> TaskCreationResult:
        """Create a plan, or refuse it as a whole."""
        ...

    async def operate(self, request: OperationRequest) -> TaskOperationResult:
        """Carry out a verb, or refuse it."""
        ...


class LocalOperations:
    """Carries requests out with this process's driver."""

    def __init__(self, *, driver: Driver, factory: PlanFactory, store: ExecutionStore, clock: Clock) -> None:
        self._driver = driver
        self._factory = factory
        self._store = store
        self._clock = clock
        self._unanswered: set[asyncio.Task[Any]] = set()

    # Creating

    async def create(self, request: CreationRequest, request_id: int | None = None) -> TaskCreationResult:
        """Read, validate and create: all or nothing."""
        return await self._while_the_store_is_there(self._read_and_create(request, request_id))

    async def _read_and_create(self, request: CreationRequest, request_id: int | None) -> TaskCreationResult:
        configs = request.configs
        large = not isinstance(configs, Sized) or len(configs) > _LARGE_PLAN
        # A large plan takes seconds: the loop, and with it what runs, must not stand still meanwhile.
        if large:
            draft = await asyncio.to_thread(self._factory.read, configs, request.options, request.metadata)
        else:
            draft = self._factory.read(configs, request.options, request.metadata)
        orchestrator = self._driver.orchestrator
        async with orchestrator.admission():
            known = await self._known(request, draft)
            if known is not None:
                return await self._refused_or_known(request, known, request_id)
            facts = await self._facts(draft)
            if large:
                findings = await asyncio.to_thread(self._factory.validate, draft, facts)
            else:
                findings = self._factory.validate(draft, facts)
            error = first_error(findings)
            if error is not None:
                named = error.tenant_id is None or error.tenant_id in error.message
                message = error.message if named else f"tenant {error.tenant_id}: {error.message}"
                refusal = self._refusal(error.code, message, len(draft.configs), findings)
                return await self._refused_or_known(request, refusal, request_id)
            return await self._create(request, draft, facts, findings, request_id)

    async def _create(
        self,
        request: CreationRequest,
        draft: Draft,
        facts: StoreFacts,
        findings: tuple[Finding, ...],
        request_id: int | None,
    ) -> TaskCreationResult:
        driver = self._driver
        plan_id = draft.plan_id if draft.plan_id is not None else PlanId(driver.next_plan_id())
        new_plan = self._factory.create(
            draft,
            plan_id=plan_id,
            now=self._clock.now(),
            first_arrival=driver.last_arrival + 1,
            facts=facts,
            idempotency_key=request.idempotency_key,
        )
        if request.idempotency_key is not None:
            new_plan = replace(new_plan, findings=orjson.dumps([finding.to_dict() for finding in findings]))
        total = new_plan.plan.total
        driver.note_plan(plan_id, total)
        result = _created(plan_id, total, findings)
        await driver.orchestrator.submit(new_plan, self._told(request, result, request_id))
        return result

    async def _known(self, request: CreationRequest, draft: Draft) -> TaskCreationResult | None:
        """What the idempotency key was used for, before any other check."""
        key = request.idempotency_key
        found = None if key is None else await self._store.find_idempotency(key)
        if found is None:
            return None
        plan_id = found.plan_id
        plan = await self._store.load_plan(plan_id)
        if found.content_digest != draft.digest:
            message = f"this idempotency key created plan {plan_id} with other content; use a new key for a new plan"
            finding = Finding(tenant_id=None, field="", code=ErrorCode.IDEMPOTENCY_MISMATCH, message=message)
            refusal = self._refusal(finding.code, message, len(draft.configs), (finding,))
            return refusal if plan is None else replace(refusal, difference=await compare(self._store, plan, draft))
        findings = tuple(Finding.from_dict(finding) for finding in orjson.loads(found.findings))
        return _created(plan_id, len(draft.configs) if plan is None else plan.total, findings)

    async def _facts(self, draft: Draft) -> StoreFacts:
        tenant_ids = list(dict.fromkeys(TenantId(config.tenant_id) for config in draft.configs))
        exists = draft.plan_id is not None and await self._store.load_plan(draft.plan_id) is not None
        return StoreFacts(plan_exists=exists, tenants=await self._store.load_tenants(tenant_ids))

    def _refusal(self, code: ErrorCode, message: str, count: int, findings: tuple[Finding, ...]) -> TaskCreationResult:
        errors = sum(1 for finding in findings if finding.is_error)
        more = f" (and {errors - 1} more errors)" if errors > 1 else ""
        failure = FailureInfo(
            error_code=code, error_type=ErrorType.VALIDATION_ERROR, message=message, timestamp=self._clock.now()
        )
        return TaskCreationResult(
            plan_id=None,
            task_ids=[],
            validated_count=count,
            status=PlanStatus.FAILED,
            message=f"nothing was created: {message}{more}",
            failure_info=failure,
            findings=findings,
        )

    async def _refused_or_known(
        self, request: CreationRequest, result: TaskCreationResult, request_id: int | None
    ) -> TaskCreationResult:
        await self._driver.orchestrator.note(self._told(request, result, request_id, known=result.success))
        return result

    def _told(
        self, request: CreationRequest, result: TaskCreationResult, request_id: int | None, *, known: bool = False
    ) -> Sequence[Change]:
        """What is committed with a creation: its entry in the audit log, and the answer to another process."""
        now = self._clock.now()
        entry = creation_entry(at=now, by=request.actor, reason=request.reason, result=result, known=known)
        if request_id is None:
            return (AppendAudit(entry),)
        return AppendAudit(entry), AnswerRequest(request_id, orjson.dumps(result.to_dict()))

    async def fail(self, request: Request, error: Exception) -> None:
        """Answer a request that could not be carried out, so that nobody waits for it."""
        entry = AuditEntry(
            at=self._clock.now(),
            actor=UNKNOWN_ACTOR,
            verb=request.verb,
            target_type="REQUEST",
            target=str(request.request_id),
            outcome=Outcome.REFUSED,
            code=str(ErrorCode.INTERNAL_ERROR),
            message=f"a request of another process could not be carried out: {type(error).__name__}",
        )
        answer = AnswerRequest(request.request_id, orjson.dumps({"internalError": repr(error)}))
        await self._driver.orchestrator.note((AppendAudit(entry), answer))

    # Verbs

    async def operate(self, request: OperationRequest, request_id: int | None = None) -> TaskOperationResult:
        """Carry out a verb, or refuse it."""
        return await self._while_the_store_is_there(self._carry_out(request, request_id))

    async def _while_the_store_is_there(self, work: Coroutine[Any, Any, Result]) -> Result:
        """
        Wait for a request, but not for ever for a store that is away.

        Raises:
            StoreUnavailableError: The request goes on, and takes effect when the store is back, unless this process
                ends before; asking again is safe.
        """
        task = asyncio.ensure_future(work)
        # Whoever asked may go away; the request goes on, and nobody is there to take what it raises then.
        self._unanswered.add(task)
        task.add_done_callback(self._forget)
        health = self._driver.commits.health
        while True:
            done, _ = await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if done:
                return task.result()
            since = health.unavailable_since
            if since is not None and self._clock.monotonic() - since > _AWAY_SECONDS:
                msg = (
                    f"the store takes no commits ({health.reason}); the request takes effect when it is back, if this "
                    "process lives until then. Look at the status, and ask again if it did not"
                )
                raise StoreUnavailableError(msg)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._unanswered.discard(task)
        if not task.cancelled():
            task.exception()

    async def _carry_out(self, request: OperationRequest, request_id: int | None) -> TaskOperationResult:
        driver = self._driver
        reply = _Reply(request, request_id, self._clock)
        brakes, target = driver.brakes, request.target
        match request.verb:
            case "hold":
                outcome = await brakes.hold(TenantId(target), request.reason, reply)
            case "unhold":
                outcome = await brakes.unhold(TenantId(target), request.reason, reply)
            case "stop-line":
                outcome = await brakes.stop_line(request.reason, reply)
            case "start-line":
                outcome = await brakes.start_line(reply)
            case "adopt" if request.target_type is TargetType.PLAN:
                outcome = await brakes.adopt_plan(PlanId(int(target)), reply)
            case "prune":
                outcome = await driver.pruner.prune_plan(PlanId(int(target)), reply)
            case "adopt":
                outcome = await brakes.adopt_tenant(TenantId(target), reply)
            case verb:
                outcome = await self._on_work(request, Operation(verb), reply)
        return result_of(outcome)

    async def _on_work(self, request: OperationRequest, operation: Operation, reply: "_Reply") -> OperationOutcome:
        orchestrator = self._driver.orchestrator
        from_checkpoint = request.from_checkpoint
        match request.target_type:
            case TargetType.PLAN:
                return await orchestrator.on_plan(
                    PlanId(int(request.target)), operation, from_checkpoint=from_checkpoint, reply=reply
                )
            case TargetType.TASK:
                return await orchestrator.on_task_id(
                    request.target, operation, from_checkpoint=from_checkpoint, reply=reply
                )
            case TargetType.TENANT | TargetType.LINE:
                return await orchestrator.on_tenant(
                    TenantId(request.target), operation, from_checkpoint=from_checkpoint, reply=reply
                )


@dataclass(frozen=True, slots=True)
class _Reply:
    """Turns an outcome into its entry in the audit log and, for another process, into the answer."""

    request: OperationRequest
    request_id: int | None
    clock: Clock

    def __call__(self, outcome: OperationOutcome) -> Sequence[Change]:
        result = result_of(outcome)
        entry = AppendAudit(self._entry(result))
        if self.request_id is None:
            return (entry,)
        return entry, AnswerRequest(self.request_id, orjson.dumps(result.to_dict()))

    def so_far(self, outcome: OperationOutcome) -> Sequence[Change]:
        """A part of a request about a large plan."""
        message = f"{self.request.verb}: so far accepted for {len(outcome.accepted)} tasks; the rest follows"
        return (AppendAudit(self._entry(replace(result_of(outcome), message=message))),)

    def _entry(self, result: TaskOperationResult) -> AuditEntry:
        request = self.request
        return operation_entry(
            at=self.clock.now(),
            by=request.actor,
            verb=request.verb,
            target_type=request.target_type,
            target=request.target,
            reason=request.reason,
            result=result,
        )


class RemoteOperations:
    """
    Leaves requests for the process that drives the store, and waits for its answers.

    Args:
        patience_seconds: How long an answer may take before the caller is told that the request is recorded, but not
            decided.
    """

    def __init__(self, *, store: ExecutionStore, clock: Clock, factory: PlanFactory, patience_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._factory = factory
        self._patience_seconds = patience_seconds

    async def create(self, request: CreationRequest) -> TaskCreationResult:
        """Hand a plan over; what is wrong with it on its face is said here."""
        payload = {
            "configs": _plain_configs(request.configs),
            "options": request.options,
            "metadata": request.metadata,
            "idempotencyKey": request.idempotency_key,
            "reason": request.reason,
            "actor": request.actor.to_dict(),
        }
        try:
            data = orjson.dumps(payload)
        except TypeError as error:
            draft = self._factory.read(payload["configs"], request.options, request.metadata)
            finding = first_error(self._factory.validate(draft))
            message = f"the plan is not JSON: {error}" if finding is None else finding.message
            failure = FailureInfo(
                error_code=ErrorCode.INVALID_FIELD if finding is None else finding.code,
                error_type=ErrorType.VALIDATION_ERROR,
                message=message,
                timestamp=self._clock.now(),
            )
            refusal = TaskCreationResult(
                plan_id=None,
                task_ids=[],
                validated_count=len(draft.configs),
                status=PlanStatus.FAILED,
                message=f"nothing was created: {message}",
                failure_info=failure,
                findings=self._factory.validate(draft),
            )
            now = self._clock.now()
            entry = creation_entry(at=now, by=request.actor, reason=request.reason, result=refusal, known=False)
            await self._store.access.append_audit([entry])
            return refusal
        return TaskCreationResult.from_dict(await self._ask("create", data))

    async def operate(self, request: OperationRequest) -> TaskOperationResult:
        """Leave the verb, and wait for what the driver says."""
        payload = {
            "targetType": str(request.target_type),
            "target": request.target,
            "fromCheckpoint": request.from_checkpoint,
            "reason": request.reason,
            "actor": request.actor.to_dict(),
        }
        return TaskOperationResult.from_dict(await self._ask(request.verb, orjson.dumps(payload)))

    async def _ask(self, verb: str, payload: bytes) -> Mapping[str, Any]:
        request_id = await self._store.put_request(verb, payload)
        since = self._clock.monotonic()
        while True:
            seen = heard(self._store, Topic.COMMITS)
            request = await self._store.load_request(request_id)
            if request is not None and request.answer is not None:
                answer: dict[str, Any] = orjson.loads(request.answer)
                if "internalError" in answer:
                    raise StoreUnavailableError(
                        f"the driving process could not carry out {verb}: {answer['internalError']}"
                    )
                return answer
            if self._clock.monotonic() - since >= self._patience_seconds:
                driver = await self._store.driver()
                who = "the driving process" if driver is None else driver.owner
                msg = (
                    f"{verb} is recorded as request {request_id}, but {who} has not decided it within "
                    f"{self._patience_seconds:g} s; it will be decided when that process goes on or another one takes "
                    "over. Look at the status before asking again"
                )
                raise StoreUnavailableError(msg)
            await hear(self._store, self._clock, Topic.COMMITS, seen, poll_seconds=_POLL_SECONDS)


class Inbox:
    """Carries out, in their order, the requests that other processes left in the store."""

    def __init__(self, *, store: ExecutionStore, operations: LocalOperations, clock: Clock) -> None:
        self._store = store
        self._operations = operations
        self._clock = clock

    async def run(self) -> None:
        """Look for requests until cancelled, or until this process may write no more."""
        try:
            await self._serve()
        except StorageError as error:
            _log.warning("requests of other processes are left to the next driver", reason=str(error))

    async def _serve(self) -> None:
        last = 0
        while True:
            seen = heard(self._store, Topic.REQUESTS)
            try:
                requests = await self._store.open_requests(last, _PAGE)
            except StoreUnavailableError:
                await self._clock.sleep(_AWAY_POLL_SECONDS)
                continue
            for request in requests:
                last = request.request_id
                await self._carry_out(request)
            if not requests:
                await hear(self._store, self._clock, Topic.REQUESTS, seen, poll_seconds=_POLL_SECONDS)

    async def _carry_out(self, request: Request) -> None:
        try:
            payload: dict[str, Any] = orjson.loads(request.payload)
            if request.verb == "create":
                creation = CreationRequest(
                    configs=payload["configs"],
                    options=payload["options"],
                    metadata=payload["metadata"],
                    idempotency_key=payload["idempotencyKey"],
                    reason=payload.get("reason", ""),
                    actor=_actor(payload),
                )
                await self._operations.create(creation, request.request_id)
            else:
                operation = OperationRequest(
                    verb=request.verb,
                    target_type=TargetType(payload["targetType"]),
                    target=payload["target"],
                    from_checkpoint=payload["fromCheckpoint"],
                    reason=payload["reason"],
                    actor=_actor(payload),
                )
                await self._operations.operate(operation, request.request_id)
        except Exception as error:  # noqa: BLE001  # a service loop: one bad request must not end it
            _log.exception("a request of another process failed", request_id=request.request_id, verb=request.verb)
            await self._operations.fail(request, error)


def _actor(payload: Mapping[str, Any]) -> Actor:
    """Who asks; a request that an older program left does not say."""
    return Actor.from_dict(payload["actor"]) if "actor" in payload else UNKNOWN_ACTOR


def result_of(outcome: OperationOutcome) -> TaskOperationResult:
    """The outcome in the shape that callers see."""
    status = outcome.final_status
    is_plan = outcome.target_type is TargetType.PLAN
    final_status: TaskStatus | PlanStatus | str | None = status
    if status is not None and is_plan:
        final_status = PlanStatus(status)
    elif status is not None and outcome.target_type is TargetType.TASK:
        final_status = TaskStatus(status)
    return TaskOperationResult(
        target_type=outcome.target_type,
        target_id=int(outcome.target_id) if is_plan else outcome.target_id,
        success=outcome.success,
        final_status=final_status,
        message=outcome.message,
        failure_info=outcome.failure,
        accepted=tuple(
            TaskOutcome(task_id=TaskId(task.task_id), tenant_id=TenantId(task.tenant_id)) for task in outcome.accepted
        ),
        refused=tuple(
            TaskOutcome(task_id=TaskId(task.task_id), tenant_id=TenantId(task.tenant_id), failure_info=failure)
            for task, failure in outcome.refused
        ),
    )


def _created(plan_id: PlanId, total: int, findings: tuple[Finding, ...]) -> TaskCreationResult:
    tasks = "1 task" if total == 1 else f"{total} tasks"
    warnings = "" if not findings else ", 1 warning" if len(findings) == 1 else f", {len(findings)} warnings"
    return TaskCreationResult(
        plan_id=plan_id,
        task_ids=[TaskId(f"{plan_id}-{ordinal}") for ordinal in range(1, total + 1)],
        validated_count=total,
        status=PlanStatus.READY,
        message=f"plan {plan_id} is created with {tasks}{warnings}",
        findings=findings,
    )


def _plain_configs(configs: object) -> object:
    """What can travel as JSON: models become mappings, the rest stays what it is."""
    given: object = configs
    if isinstance(configs, str | bytes | Mapping) or not isinstance(configs, Iterable):
        return given
    items = cast("Iterable[object]", configs)
    return [item.to_dict() if isinstance(item, TenantDeployConfig) else item for item in items]
