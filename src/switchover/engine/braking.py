"""Brakes that a person pulls: holds of single tenants, the stop-line, and ``adopt`` after a store was restored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from switchover.domain.stage import GenerationSource
from switchover.domain.task import FailureInfo, PlanId, TargetType, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.engine.boundaries import work_of
from switchover.engine.executor import StageSource
from switchover.engine.orchestrator import PlanOrchestrator, Reply
from switchover.engine.outcomes import OperationOutcome, TaskReference, refused
from switchover.engine.patience import patiently
from switchover.engine.records import PlanRecord, TaskRecord
from switchover.errors import ErrorCode, ExecutorError, StageError, text_of
from switchover.logs import get_log
from switchover.spi import FOREIGN, Change, Hold, LiftGeneration, SetHold, SetLine, StepServices, StopLine

_log = get_log("switchover.brakes")

_PAGE = 1_000


@dataclass(slots=True, eq=False)
class BrakeService:
    """
    Pulls and releases brakes.

    Args:
        orchestrator: Its store, memory and order of commits are used.
        stages: Where ``adopt`` finds the targets of a tenant.
        services: What the steps work with when they are asked.
    """

    orchestrator: PlanOrchestrator
    stages: StageSource
    services: StepServices

    async def hold(self, tenant_id: TenantId, reason: str, reply: Reply) -> OperationOutcome:
        """Nothing new starts for the tenant; a hold that is there already stays, with its reason."""
        brakes = self.orchestrator.manager.brakes
        held = brakes.holds.get(tenant_id)
        if held is not None:
            message = f"tenant {tenant_id} is on hold already, since {held.since:%Y-%m-%d %H:%M:%S} UTC: {held.reason}"
            return await self._done(TargetType.TENANT, tenant_id, "ON_HOLD", message, reply)
        hold = Hold(reason=reason, since=self.orchestrator.clock.now())
        brakes.holds[tenant_id] = hold
        message = f"tenant {tenant_id} is on hold; what runs goes on, nothing new starts until `switchover unhold`"
        _log.info("hold", tenant_id=tenant_id, reason=reason)
        return await self._done(TargetType.TENANT, tenant_id, "ON_HOLD", message, reply, SetHold(tenant_id, hold))

    async def unhold(self, tenant_id: TenantId, reason: str, reply: Reply) -> OperationOutcome:
        """What waited for the tenant may start."""
        brakes = self.orchestrator.manager.brakes
        if tenant_id not in brakes.holds:
            message = f"tenant {tenant_id} is not on hold"
            return await self._refused(TargetType.TENANT, tenant_id, ErrorCode.ILLEGAL_STATE, message, reply)
        del brakes.holds[tenant_id]
        _log.info("unhold", tenant_id=tenant_id, reason=reason)
        message = f"the hold of tenant {tenant_id} is lifted"
        outcome = await self._done(TargetType.TENANT, tenant_id, "FREE", message, reply, SetHold(tenant_id, None))
        self.orchestrator.scheduler.released_hold(tenant_id)
        return outcome

    async def stop_line(self, reason: str, reply: Reply) -> OperationOutcome:
        """Every task of every plan stops at its next stage boundary and none starts; rollbacks go on."""
        brakes = self.orchestrator.manager.brakes
        if brakes.line is not None:
            message = (
                f"the line is stopped already, since {brakes.line.since:%Y-%m-%d %H:%M:%S} UTC: {brakes.line.reason}"
            )
            return await self._done(TargetType.LINE, "line", "STOPPED", message, reply)
        brakes.line = StopLine(reason=reason, since=self.orchestrator.clock.now())
        _log.warning("the line is stopped", reason=reason)
        message = (
            "the line is stopped: running tasks are held at their next stage boundary, none starts; rollbacks go on"
        )
        return await self._done(TargetType.LINE, "line", "STOPPED", message, reply, SetLine(brakes.line))

    async def start_line(self, reply: Reply) -> OperationOutcome:
        """Whatever the stop-line held goes on, in the order from before."""
        orchestrator = self.orchestrator
        brakes = orchestrator.manager.brakes
        if brakes.line is None:
            message = "the line is not stopped"
            return await self._refused(TargetType.LINE, "line", ErrorCode.ILLEGAL_STATE, message, reply)
        brakes.line = None
        _log.info("the line starts")
        message = "the line runs again"
        outcome = await self._done(TargetType.LINE, "line", "RUNNING", message, reply, SetLine(None))
        await self.resume_line_held()
        orchestrator.scheduler.wake_all()
        return outcome

    async def resume_line_held(self) -> None:
        """Resume what the stop-line paused, and nothing that an operator paused; an outage only delays it."""
        orchestrator = self.orchestrator
        for plan in list(orchestrator.residents.plans.values()):
            after = 0
            with orchestrator.residents.pin(plan):
                while page := await patiently(orchestrator.clock, partial(self._page, plan, after)):
                    after = page[-1].key.ordinal
                    self._resume_page(plan, [orchestrator.residents.tasks.get(task.key) for task in page])

    async def _page(self, plan: PlanRecord, after: int) -> Sequence[TaskAggregate]:
        """Tasks that the stop-line may have paused, those that it has made resident."""
        orchestrator = self.orchestrator
        page = await orchestrator.store.list_tasks(
            plan.plan.plan_id,
            statuses=frozenset({TaskStatus.PAUSED, TaskStatus.RUNNING}),
            after=after,
            limit=_PAGE,
        )
        await orchestrator.residents.load([task.key for task in page if task.line_held])
        return page

    def _resume_page(self, plan: PlanRecord, records: Sequence[TaskRecord | None]) -> None:
        orchestrator = self.orchestrator
        held = [
            record
            for record in records
            if record is not None and record.task.line_held and record.task.status is TaskStatus.PAUSED
        ]
        if not held or orchestrator.manager.brakes.line_stopped:
            return
        change = orchestrator.manager.change(plan)
        for record in held:
            edit = change.task(record)
            edit.transition(TaskStatus.RESUMING)
            edit.finish()
        change.submit()
        for record in held:
            orchestrator.scheduler.enqueue(plan, record)

    # adopt

    async def adopt_tenant(self, tenant_id: TenantId, reply: Reply) -> OperationOutcome:
        """Lift the tenant's generation above what its targets hold, so that the next run may write."""
        key = await self.orchestrator.task_of_tenant(tenant_id)
        if key is None:
            message = f"no task of tenant {tenant_id!r} is known, so nobody knows its targets; run a plan for it first"
            return await self._refused(TargetType.TENANT, tenant_id, ErrorCode.UNKNOWN_TENANT, message, reply)
        outcome = OperationOutcome(TargetType.TENANT, tenant_id, final_status="ADOPTED")
        changes: list[Change] = []
        await self._adopt(key, outcome, changes)
        if outcome.refused:
            outcome.refuse(outcome.refused[0][1])
        return await self._concluded(outcome, changes, reply)

    async def adopt_plan(self, plan_id: PlanId, reply: Reply) -> OperationOutcome:
        """``adopt_tenant`` for every tenant of a plan."""
        orchestrator = self.orchestrator
        plan = await orchestrator.residents.plan(plan_id)
        if plan is None:
            message = f"no plan {plan_id} is known; see `switchover get plans`"
            return await self._refused(TargetType.PLAN, str(plan_id), ErrorCode.UNKNOWN_PLAN, message, reply)
        outcome = OperationOutcome(TargetType.PLAN, str(plan_id), final_status=str(plan.plan.status))
        changes: list[Change] = []
        after = 0
        while page := await orchestrator.store.list_tasks(plan_id, statuses=None, after=after, limit=_PAGE):
            after = page[-1].key.ordinal
            for task in page:
                await self._adopt(task.key, outcome, changes)
        outcome.conclude_plan("adopt", plan.plan.total)
        return await self._concluded(outcome, changes, reply)

    async def _adopt(self, key: TaskKey, outcome: OperationOutcome, changes: list[Change]) -> None:
        orchestrator = self.orchestrator
        plan = await orchestrator.residents.plan(key.plan_id)
        if plan is None:
            return
        with orchestrator.residents.pin(plan):
            record = await orchestrator.residents.task(key)
            if record is None:
                return
            reference = TaskReference(key.task_id, record.tenant_id)
            if record.task.status.holds_slot:
                message = f"task {key.task_id} of tenant {record.tenant_id} runs; pause it, then adopt"
                outcome.refused.append((reference, self._failure(ErrorCode.ILLEGAL_STATE, message)))
                return
            try:
                held = await self._held_generation(plan, record)
            except Exception as error:  # noqa: BLE001  # stages belong to users: whatever they raise refuses
                code = error.code if isinstance(error, ExecutorError) else ErrorCode.STEP_FAILED
                text = error.message if isinstance(error, ExecutorError) else text_of(error)
                message = f"tenant {record.tenant_id}: a target cannot be asked for its generation: {text}"
                outcome.refused.append((reference, self._failure(code, message)))
                return
            if work_of(record) is not None:  # it started while the targets were asked
                message = f"task {key.task_id} of tenant {record.tenant_id} has just started; pause it, then adopt"
                outcome.refused.append((reference, self._failure(ErrorCode.ILLEGAL_STATE, message)))
                return
            record.generation = max(record.generation, held)
            changes.append(LiftGeneration(record.tenant_id, held))
            outcome.accepted.append(reference)
            outcome.message = (
                f"tenant {record.tenant_id}: its targets hold generation {held}, its next run takes "
                f"{record.generation + 1}"
            )

    async def _held_generation(self, plan: PlanRecord, record: TaskRecord) -> int:
        highest = 0
        try:
            stages = tuple(self.stages(plan, record))
        except FOREIGN as error:
            message = f"the stages cannot be made: {text_of(error)}"
            raise StageError(message, code=ErrorCode.INVALID_STAGES) from error
        for stage in stages:
            for step in stage.steps:
                if isinstance(step, GenerationSource):
                    highest = max(highest, await step.held_generation(record.config, self.services))
        return highest

    # Inside

    def _failure(self, code: ErrorCode, message: str) -> FailureInfo:
        return refused(code, message, self.orchestrator.clock.now())

    async def _done(
        self,
        target_type: TargetType,
        target_id: str,
        status: str,
        message: str,
        reply: Reply,
        *changes: Change,
    ) -> OperationOutcome:
        outcome = OperationOutcome(target_type, target_id, final_status=status, message=message)
        return await self._concluded(outcome, changes, reply)

    async def _refused(
        self, target_type: TargetType, target_id: str, code: ErrorCode, message: str, reply: Reply
    ) -> OperationOutcome:
        outcome = OperationOutcome(target_type, target_id)
        outcome.refuse(self._failure(code, message))
        return await self._concluded(outcome, (), reply)

    async def _concluded(self, outcome: OperationOutcome, changes: Sequence[Change], reply: Reply) -> OperationOutcome:
        await self.orchestrator.note((*changes, *reply(outcome)))
        return outcome
