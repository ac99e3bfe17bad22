"""
DeploymentTaskFacade: what callers ask, and what they are answered.

A refusal is a result, never an exception; an exception is broken infrastructure or misuse. Operations return when the
request is durable, not when it has taken effect. Source: interfaces, section 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from switchover.domain.audit import UNKNOWN_ACTOR, Actor
from switchover.domain.task import (
    FailureInfo,
    PlanId,
    TargetType,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantId,
    is_plan_id,
)
from switchover.domain.wire import config_to_dict
from switchover.dto import PlanStatusInfo, TaskCreationResult, TaskOperationResult, TaskStatusInfo
from switchover.dto.pruning import PrunedPlan, PruneReport
from switchover.engine.explain import Explanation, explain
from switchover.engine.outcomes import refused
from switchover.errors import ErrorCode
from switchover.operations import CreationRequest, OperationRequest, Operations
from switchover.spi import Clock, EventSpan, ExecutionStore, Hold, StopLine

_PAGE = 1_000
_HISTORY = 100
_PRUNED_AT_ONCE = 100
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantInfo:
    """
    What is known about one tenant.

    Attributes:
        owner: The task that holds the tenant's lock.
        newest: The tenant's task that arrived last.
        waiting: How many tasks queue behind the owner.
    """

    tenant_id: TenantId
    found: bool = True
    generation: int = 0
    owner: str | None = None
    newest: str | None = None
    waiting: int = 0
    hold: Hold | None = None
    last_known_good: Mapping[str, object] | None = None
    failure_info: FailureInfo | None = None

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        hold = self.hold
        return {
            "tenantId": self.tenant_id,
            "found": self.found,
            "generation": self.generation,
            "owner": self.owner,
            "newest": self.newest,
            "waiting": self.waiting,
            "hold": None if hold is None else {"reason": hold.reason, "since": hold.since.isoformat()},
            "lastKnownGood": self.last_known_good,
            "failureInfo": None if self.failure_info is None else self.failure_info.to_dict(),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "TenantInfo":
        """The inverse of ``to_dict``."""
        hold, failure = data["hold"], data["failureInfo"]
        return TenantInfo(
            tenant_id=data["tenantId"],
            found=data["found"],
            generation=data["generation"],
            owner=data["owner"],
            newest=data["newest"],
            waiting=data["waiting"],
            hold=None if hold is None else Hold(reason=hold["reason"], since=datetime.fromisoformat(hold["since"])),
            last_known_good=data["lastKnownGood"],
            failure_info=None if failure is None else FailureInfo.from_dict(failure),
        )


@dataclass(frozen=True, slots=True)
class DeploymentTaskFacade:
    """
    The stable facade; every method may be called from any task of the loop that the executor runs in.

    Args:
        operations: Says who carries requests out at this moment.
        actor: Whom the audit log names for every write.
        reason: What it says why, where a call gives no reason of its own.
    """

    _store: ExecutionStore
    _clock: Clock
    _operations: Callable[[], Operations]
    actor: Actor = UNKNOWN_ACTOR
    reason: str = ""
    _now: Callable[[], datetime] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_now", self._clock.now)

    def acting_as(self, actor: Actor | None = None, *, reason: str = "") -> "DeploymentTaskFacade":
        """This facade for somebody else, or for the same one (None) with a reason."""
        return replace(self, actor=self.actor if actor is None else actor, reason=reason)

    # Creating

    async def create_switch_task(
        self,
        configs: object,
        *,
        options: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
        metadata: object = None,
    ) -> TaskCreationResult:
        """
        Create a plan with one task per tenant: all or nothing.

        Args:
            configs: ``TenantDeployConfig`` models or plain mappings, in the order in which they shall start.
            options: The plan file's ``spec`` without tenants.
            idempotency_key: The same key with the same content gives the first result again.
            metadata: A mapping with ``name`` and ``labels``; judged like the rest, whatever it is.

        Raises:
            StoreUnavailableError: The outcome is unknown; ask for the plan before trying again.
        """
        request = CreationRequest(
            configs=configs,
            options=options,
            metadata=metadata,
            idempotency_key=idempotency_key,
            reason=self.reason,
            actor=self.actor,
        )
        return await self._operations().create(request)

    # Requests about running work

    async def pause_task_by_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Pause at the next stage boundary; before the first stage at once."""
        return await self._by_tenant("pause", tenant_id)

    async def pause_task_by_plan(self, plan_id: int) -> TaskOperationResult:
        """Start nothing more, and pause what runs at its next boundary."""
        return await self._by_plan("pause", plan_id)

    async def resume_task_by_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Go on after the last checkpoint, or withdraw a pending pause."""
        return await self._by_tenant("resume", tenant_id)

    async def resume_task_by_plan(self, plan_id: int) -> TaskOperationResult:
        """Start tasks again, and resume what is paused."""
        return await self._by_plan("resume", plan_id)

    async def rollback_task_by_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Restore the previous good config of every stage that was started."""
        return await self._by_tenant("rollback", tenant_id)

    async def rollback_task_by_plan(self, plan_id: int) -> TaskOperationResult:
        """Roll back every task to which that applies; what has not started is cancelled."""
        return await self._by_plan("rollback", plan_id)

    async def retry_task_by_tenant(self, tenant_id: str, from_checkpoint: bool = True) -> TaskOperationResult:  # noqa: FBT002  # as named in the interface
        """Run a failed task again, from its checkpoint or from scratch."""
        return await self._by_tenant("retry", tenant_id, from_checkpoint=from_checkpoint)

    async def retry_task_by_plan(self, plan_id: int, from_checkpoint: bool = True) -> TaskOperationResult:  # noqa: FBT002  # as named in the interface
        """Run every failed task again."""
        return await self._by_plan("retry", plan_id, from_checkpoint=from_checkpoint)

    async def cancel_task(self, task_id: str) -> TaskOperationResult:
        """Stop a task at its next boundary; what was switched stays."""
        return await self._operate(OperationRequest(verb="cancel", target_type=TargetType.TASK, target=str(task_id)))

    async def operate(self, request: OperationRequest) -> TaskOperationResult:
        """Any verb about any target, for callers that have both as data; a task's every verb goes this way."""
        return await self._operate(request)

    async def cancel_task_by_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Like ``cancel_task``, for the tenant's task."""
        return await self._by_tenant("cancel", tenant_id)

    async def cancel_task_by_plan(self, plan_id: int) -> TaskOperationResult:
        """Like ``cancel_task``, for every task that is not settled."""
        return await self._by_plan("cancel", plan_id)

    # Brakes

    async def hold_tenant(self, tenant_id: str, reason: str) -> TaskOperationResult:
        """Start nothing for the tenant until the hold is lifted."""
        return await self._operate(
            OperationRequest(verb="hold", target_type=TargetType.TENANT, target=tenant_id, reason=reason)
        )

    async def unhold_tenant(self, tenant_id: str, reason: str) -> TaskOperationResult:
        """Lift the hold."""
        return await self._operate(
            OperationRequest(verb="unhold", target_type=TargetType.TENANT, target=tenant_id, reason=reason)
        )

    async def stop_line(self, reason: str) -> TaskOperationResult:
        """Hold every task of every plan at its next boundary."""
        return await self._operate(OperationRequest(verb="stop-line", target_type=TargetType.LINE, reason=reason))

    async def start_line(self) -> TaskOperationResult:
        """Let everything go on."""
        return await self._operate(OperationRequest(verb="start-line", target_type=TargetType.LINE))

    async def adopt_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Lift the tenant's generation above what its targets hold, after the store was restored or is new."""
        return await self._operate(OperationRequest(verb="adopt", target_type=TargetType.TENANT, target=tenant_id))

    async def adopt_plan(self, plan_id: int) -> TaskOperationResult:
        """``adopt_tenant`` for every tenant of a plan."""
        return await self._by_plan("adopt", plan_id)

    # Forgetting events

    async def prune_plan(self, plan_id: int) -> TaskOperationResult:
        """Forget the events of a plan that has ended, but for its newest; how everything stands is kept."""
        return await self._by_plan("prune", plan_id)

    async def prune_ended(self, older_than_seconds: float) -> PruneReport:
        """``prune_plan`` for every plan that ended longer ago than this."""
        pruned: list[PrunedPlan] = []
        while spans := await self._ended(older_than_seconds, _PRUNED_AT_ONCE):
            done = [span for span in spans if (await self.prune_plan(span.plan_id)).success]
            if not done:
                break  # they all run again
            pruned += [PrunedPlan(plan_id=span.plan_id, events=span.last - span.first) for span in done]
        return PruneReport(plans=tuple(pruned))

    async def prunable(self, older_than_seconds: float) -> PruneReport:
        """What ``prune_ended`` would forget; changes nothing."""
        spans = await self._ended(older_than_seconds, _LARGEST)
        return PruneReport(
            plans=tuple(PrunedPlan(plan_id=span.plan_id, events=span.last - span.first) for span in spans)
        )

    async def _ended(self, older_than_seconds: float, limit: int) -> Sequence[EventSpan]:
        before = self._now() - timedelta(seconds=older_than_seconds)
        return await self._store.load_event_spans(ended_before=before, limit=limit)

    # Queries

    async def query_task_status(self, task_id: str) -> TaskStatusInfo:
        """One task; ``found`` is False for an id that nobody knows."""
        key = TaskKey.parse(str(task_id))
        found = await self._store.load_tasks([key]) if key is not None else ()
        if not found:
            return TaskStatusInfo.unknown(self._unknown_task(task_id), task_id=str(task_id))
        return TaskStatusInfo.of(found[0].task)

    async def query_task_status_by_tenant(self, tenant_id: str) -> TaskStatusInfo:
        """The task that holds the tenant's lock, else the tenant's newest one."""
        task = await self._task_of_tenant(tenant_id)
        if task is None:
            return TaskStatusInfo.unknown(self._unknown_tenant(tenant_id), tenant_id=tenant_id)
        return TaskStatusInfo.of(task)

    async def query_plan_status(self, plan_id: int) -> PlanStatusInfo:
        """One plan; ``found`` is False for an id that nobody knows."""
        plan = await self._store.load_plan(PlanId(plan_id)) if is_plan_id(plan_id) else None
        return (
            PlanStatusInfo.unknown(self.unknown_plan(plan_id), plan_id=plan_id)
            if plan is None
            else PlanStatusInfo.of(plan)
        )

    async def has_checkpoint(self, tenant_id: str) -> bool:
        """Whether a retry of the tenant's task could continue after a stage; False when the tenant is unknown."""
        task = await self._task_of_tenant(tenant_id)
        return task is not None and task.has_checkpoint

    async def list_plans(self, *, before: int | None = None, limit: int = 100) -> Sequence[PlanStatusInfo]:
        """Plans, the newest first."""
        return [PlanStatusInfo.of(plan) for plan in await self._store.list_plans(before=before, limit=limit)]

    async def list_tasks(
        self,
        plan_id: int,
        *,
        statuses: frozenset[TaskStatus] | None = None,
        after: int = 0,
        limit: int = _PAGE,
    ) -> Sequence[TaskStatusInfo]:
        """Tasks of a plan in plan order, from after the ``after``-th."""
        if not is_plan_id(plan_id):
            return []
        tasks = await self._store.list_tasks(PlanId(plan_id), statuses=statuses, after=after, limit=limit)
        return [TaskStatusInfo.of(task) for task in tasks]

    async def query_tenant(self, tenant_id: str) -> TenantInfo:
        """What is known about a tenant: lock, queue, hold, generation, last known good."""
        record = (await self._store.load_tenants([TenantId(tenant_id)])).get(TenantId(tenant_id))
        if record is None:
            return TenantInfo(tenant_id=TenantId(tenant_id), found=False, failure_info=self._unknown_tenant(tenant_id))
        good = record.last_known_good
        return TenantInfo(
            tenant_id=record.tenant_id,
            generation=record.generation,
            owner=None if record.owner is None else record.owner.task_id,
            newest=None if record.newest is None else record.newest.task_id,
            waiting=record.waiting,
            hold=record.hold,
            last_known_good=None if good is None else config_to_dict(good),
        )

    async def tenant_history(self, tenant_id: str, *, limit: int = _HISTORY) -> Sequence[TaskStatusInfo]:
        """The tenant's tasks, the newest first."""
        tasks = await self._store.tenant_history(TenantId(tenant_id), limit)
        return [TaskStatusInfo.of(task) for task in tasks]

    async def list_holds(self) -> Mapping[TenantId, Hold]:
        """Every tenant on hold, and why."""
        return await self._store.list_holds()

    async def query_line(self) -> StopLine | None:
        """Why the line stands still; None when it runs."""
        return await self._store.load_line()

    async def explain_task(self, task_id: str) -> Explanation | None:
        """The one cause that a task waits for; None for an unknown id."""
        key = TaskKey.parse(task_id)
        return None if key is None else await explain(self._store, key, now=self._clock.now())

    # Inside

    async def _by_tenant(self, verb: str, tenant_id: str, *, from_checkpoint: bool = True) -> TaskOperationResult:
        return await self._operate(
            OperationRequest(
                verb=verb, target_type=TargetType.TENANT, target=str(tenant_id), from_checkpoint=from_checkpoint
            )
        )

    async def _by_plan(self, verb: str, plan_id: int, *, from_checkpoint: bool = True) -> TaskOperationResult:
        if not is_plan_id(plan_id):
            failure = self.unknown_plan(plan_id)
            return TaskOperationResult(
                target_type=TargetType.PLAN,
                target_id=plan_id,
                success=False,
                final_status=None,
                message=failure.message,
                failure_info=failure,
            )
        return await self._operate(
            OperationRequest(
                verb=verb, target_type=TargetType.PLAN, target=str(plan_id), from_checkpoint=from_checkpoint
            )
        )

    async def _operate(self, request: OperationRequest) -> TaskOperationResult:
        return await self._operations().operate(
            replace(request, actor=self.actor, reason=request.reason or self.reason)
        )

    async def _task_of_tenant(self, tenant_id: str) -> TaskAggregate | None:
        record = (await self._store.load_tenants([TenantId(tenant_id)])).get(TenantId(tenant_id))
        key = None if record is None else record.owner or record.newest
        if key is None:
            return None
        found = await self._store.load_tasks([key])
        return found[0].task if found else None

    def _unknown_task(self, task_id: str) -> FailureInfo:
        message = f"no task {task_id!r} is known; task ids look like 100-7, see `switchover get plans`"
        return refused(ErrorCode.UNKNOWN_TASK, message, self._now())

    def _unknown_tenant(self, tenant_id: str) -> FailureInfo:
        message = f"no task of tenant {tenant_id!r} is known; see `switchover get plans`"
        return refused(ErrorCode.UNKNOWN_TENANT, message, self._now())

    def unknown_plan(self, plan_id: int) -> FailureInfo:
        """The failure that an unknown plan is answered with."""
        return refused(ErrorCode.UNKNOWN_PLAN, f"no plan {plan_id!r} is known; see `switchover get plans`", self._now())
