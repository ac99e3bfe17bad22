"""
PlanOrchestrator: carries out what operators ask, by task, by tenant and by plan.

A request is decided by ``verbs.decide`` on what is true at one instant and is durable when the answer is given.
Whatever takes a tenant's lock (a new plan, a retry or rollback of a settled task) does so one after another, each on
what the one before has committed; everything that only gives locks back needs no such order.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from switchover.domain.admission import queue_class
from switchover.domain.events import EventType
from switchover.domain.plan import PlanStatus
from switchover.domain.task import (
    Operation,
    PlanId,
    TargetType,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantId,
)
from switchover.domain.verbs import Effect, VerbFacts, Verdict, decide, decide_by_plan, plan_refusal
from switchover.engine.boundaries import Boundaries
from switchover.engine.forecast import stored_facts
from switchover.engine.outcomes import OperationOutcome, TaskReference, accepted_message, refused
from switchover.engine.records import PlanRecord, Residents, TaskRecord
from switchover.engine.scheduler import TaskScheduler
from switchover.engine.state_manager import Change, TaskStateManager
from switchover.errors import ErrorCode
from switchover.logs import get_log
from switchover.spi import FOREIGN, Clock, Entry, ExecutionStore, NewPlan, TenantRecord
from switchover.spi import Change as StoreChange

_log = get_log("switchover.orchestrator")

_CHUNK = 5_000


class Reply(Protocol):
    """
    What is committed with what a request does, or refuses to do: never nothing.

    That is its entry in the audit log and, when another process left it, the answer to that one.
    """

    def __call__(self, outcome: OperationOutcome) -> Sequence[StoreChange]:
        """With the last commit of the request, or with its refusal."""
        ...

    def so_far(self, outcome: OperationOutcome) -> Sequence[StoreChange]:
        """With each commit before the last: every one of them is told of by itself."""
        ...


_ACQUIRES_LOCK = frozenset({Operation.RETRY, Operation.ROLLBACK})
_RUNS_IN_A_PAUSED_PLAN = frozenset({Operation.RESUME, Operation.RETRY, Operation.ROLLBACK})


@dataclass(slots=True, eq=False)
class PlanOrchestrator:
    """
    Submits plans and carries out requests.

    Args:
        retry_allowed, retry_delay_seconds, rollback_allowed: What the policies say of a task.
    """

    store: ExecutionStore
    residents: Residents
    manager: TaskStateManager
    boundaries: Boundaries
    scheduler: TaskScheduler
    clock: Clock
    retry_allowed: Callable[[TaskAggregate], bool]
    retry_delay_seconds: Callable[[TaskAggregate], float]
    rollback_allowed: Callable[[TaskAggregate], bool]
    _acquiring: asyncio.Lock = field(default_factory=asyncio.Lock)

    # New plans

    @asynccontextmanager
    async def admission(self) -> AsyncGenerator[None]:
        """While open, nobody else takes a lock, and what the store says about locks is complete."""
        async with self._acquiring:
            await self.manager.commits.flush()
            yield

    async def submit(self, new_plan: NewPlan, changes: Sequence[StoreChange] = ()) -> None:
        """Make a validated plan durable and let it start; call it inside ``admission``."""
        # Known before it is durable: who finds it in the store a moment earlier must not make a second record of it.
        plan = self.residents.plans[new_plan.plan.plan_id] = PlanRecord(new_plan.plan)
        await self.manager.commits.submit(Entry(new_plan=new_plan, changes=list(changes)))
        if plan.unsettled:
            self.scheduler.enqueue_new(plan, range(1, new_plan.plan.total + 1))

    async def note(self, changes: Sequence[StoreChange]) -> None:
        """Commit what is told of a request; with it, everything that was decided before is durable."""
        await self.manager.commits.submit(Entry(changes=list(changes)))

    # By task and by tenant

    async def task_of_tenant(self, tenant_id: TenantId) -> TaskKey | None:
        """The task that holds the tenant's lock, else the tenant's newest one; None for a tenant without tasks."""
        tenant = (await self.store.load_tenants([tenant_id])).get(tenant_id)
        return None if tenant is None else tenant.owner or tenant.newest

    async def on_tenant(
        self, tenant_id: TenantId, operation: Operation, *, reply: Reply, from_checkpoint: bool = True
    ) -> OperationOutcome:
        """
        One request about the tenant's task.

        Which task that is, is decided at the same instant as the request: a lock may pass to the next task meanwhile.
        """
        async with self._in_order(operation):
            while True:
                tenant = (await self.store.load_tenants([tenant_id])).get(tenant_id)
                key = None if tenant is None else tenant.owner or tenant.newest
                if key is None:
                    message = f"no task of tenant {tenant_id!r} is known; see `switchover get plans`"
                    return await self._refuse(TargetType.TASK, str(tenant_id), ErrorCode.UNKNOWN_TENANT, message, reply)
                outcome = await self._on_task(key, operation, tenant, from_checkpoint=from_checkpoint, reply=reply)
                if outcome is not None:
                    return outcome
                await self.manager.commits.flush()

    async def on_task_id(
        self, task_id: str, operation: Operation, *, reply: Reply, from_checkpoint: bool = True
    ) -> OperationOutcome:
        """One request about a task that is named by its id."""
        key = TaskKey.parse(task_id)
        if key is None:
            message = f"no task {task_id!r} is known; task ids look like 100-7"
            return await self._refuse(TargetType.TASK, task_id, ErrorCode.UNKNOWN_TASK, message, reply)
        return await self.on_task(key, operation, from_checkpoint=from_checkpoint, reply=reply)

    async def on_task(
        self, key: TaskKey, operation: Operation, *, reply: Reply, from_checkpoint: bool = True
    ) -> OperationOutcome:
        """One request about one task."""
        async with self._in_order(operation):
            outcome = await self._on_task(key, operation, None, from_checkpoint=from_checkpoint, reply=reply)
            assert outcome is not None  # noqa: S101  # nobody named it by its tenant
            return outcome

    @asynccontextmanager
    async def _in_order(self, operation: Operation) -> AsyncGenerator[None]:
        """What may take a lock comes one after another."""
        async with AsyncExitStack() as stack:
            if operation in _ACQUIRES_LOCK:
                await stack.enter_async_context(self.admission())
            yield

    async def _on_task(
        self,
        key: TaskKey,
        operation: Operation,
        named_by: TenantRecord | None,
        *,
        from_checkpoint: bool,
        reply: Reply,
    ) -> OperationOutcome | None:
        """
        Decide a request about one task, and make it durable.

        Args:
            named_by: The tenant in whose name the task was found.

        Returns:
            None when the tenant's name means another task by now: nothing was decided.
        """
        with ExitStack() as stack:
            plan = await self.residents.plan(key.plan_id)
            if plan is not None:
                stack.enter_context(self.residents.pin(plan))
            record = await self.residents.task(key) if plan is not None else None
            if plan is None or record is None:
                message = f"no task {key.task_id} is known; see `switchover get plans`"
                return await self._refuse(TargetType.TASK, key.task_id, ErrorCode.UNKNOWN_TASK, message, reply)
            tenant = await self._tenant_of(record) if operation in _ACQUIRES_LOCK else None
            if named_by is not None and _has_left(record, named_by):
                return None
            verdict = self._decide(plan, record.task, operation, tenant, from_checkpoint=from_checkpoint)
            if verdict.code is not None:
                failure = refused(verdict.code, verdict.message, self.clock.now())
                outcome = OperationOutcome(TargetType.TASK, key.task_id, final_status=str(record.task.status))
                outcome.refuse(failure)
                await self._answer(outcome, reply)
                return outcome
            change = self.manager.change(plan)
            self._lead_plan(change, operation, verdict)
            self._apply(change, record, operation, verdict, own=True, from_checkpoint=from_checkpoint)
            outcome = OperationOutcome(
                TargetType.TASK,
                key.task_id,
                final_status=str(record.task.status),
                message=accepted_message(record.task, operation, verdict),
            )
            await self._make_durable(change, outcome, reply)
            self.scheduler.enqueue(plan, record)
            return outcome

    async def _tenant_of(self, record: TaskRecord) -> TenantRecord | None:
        """The tenant as it is now: who owns its lock is known."""
        while True:
            tenant = (await self.store.load_tenants([record.tenant_id])).get(record.tenant_id)
            if not _has_left(record, tenant):
                return tenant
            await self.manager.commits.flush()

    # By plan

    async def on_plan(
        self, plan_id: PlanId, operation: Operation, *, reply: Reply, from_checkpoint: bool = True
    ) -> OperationOutcome:
        """
        The same request about every task of a plan to which it applies.

        A plan of up to 5,000 tasks changes in one commit; a larger one in several, the answer with the last.
        """
        async with AsyncExitStack() as stack:
            # Always in the order of those that take locks: the plan's own state must not change between two chunks.
            await stack.enter_async_context(self.admission())
            plan = await self.residents.plan(plan_id)
            if plan is None:
                message = f"no plan {plan_id} is known; see `switchover get plans`"
                return await self._refuse(TargetType.PLAN, str(plan_id), ErrorCode.UNKNOWN_PLAN, message, reply)
            stack.enter_context(self.residents.pin(plan))
            outcome = OperationOutcome(TargetType.PLAN, str(plan_id), final_status=str(plan.plan.status))
            if self._refuses(plan, operation, outcome):
                await self._answer(outcome, reply)
                return outcome
            plan.suspended = True
            stack.callback(self._go_on, plan)
            request = _PlanRequest(
                operation=operation,
                from_checkpoint=from_checkpoint,
                resumes_plan=operation is Operation.RESUME and not plan.plan.starts_tasks,
            )
            after, last = 0, False
            while not (last or outcome.failure):
                page = await self.store.list_tasks(plan_id, statuses=None, after=after, limit=_CHUNK)
                first, last = not after, len(page) < _CHUNK
                after = page[-1].key.ordinal if page else after
                await self._on_chunk(plan, request, page, outcome, reply=reply, first=first, last=last)
            return outcome

    def _refuses(self, plan: PlanRecord, operation: Operation, outcome: OperationOutcome) -> bool:
        """Whether the request does not apply to the plan as a whole."""
        refusal = plan_refusal(plan.plan.plan_id, plan.plan.status, operation)
        if refusal is not None:
            outcome.final_status = str(plan.plan.status)
            outcome.refuse(refused(ErrorCode.ILLEGAL_STATE, refusal, self.clock.now()))
        return refusal is not None

    def _go_on(self, plan: PlanRecord) -> None:
        plan.suspended = False
        self.scheduler.wake(plan)

    async def _on_chunk(
        self,
        plan: PlanRecord,
        request: "_PlanRequest",
        page: Sequence[TaskAggregate],
        outcome: OperationOutcome,
        *,
        reply: Reply,
        first: bool,
        last: bool,
    ) -> None:
        """One commit of a request by plan."""
        tasks, operation = self.residents.tasks, request.operation
        tenants = await self._load_changing(plan, request, page)
        # Its last task may have settled meanwhile; what begins in one commit of several is carried through.
        if first and self._refuses(plan, operation, outcome):
            await self._answer(outcome, reply)
            return
        current = [record.task if (record := tasks.get(task.key)) is not None else task for task in page]
        verdicts = [(task, self._on_plan_task(plan, task, request, tenants)) for task in current]
        change = self.manager.change(plan)
        # A settled plan follows only what will settle again: a task that is rolled back already never would.
        settled = plan.plan.status.is_settled
        follows = any(verdict.changes_something if settled else verdict.accepted for _, verdict in verdicts)
        self._plan_itself(change, operation, any_accepted=follows)
        changed: list[TaskRecord] = []
        for task, verdict in verdicts:
            reference = TaskReference(task.task_id, task.tenant_id)
            if verdict.code is not None:
                outcome.refused.append((reference, refused(verdict.code, verdict.message, change.now)))
                continue
            outcome.accepted.append(reference)
            if verdict.changes_something:
                record = tasks[task.key]
                self._apply(change, record, operation, verdict, own=False, from_checkpoint=request.from_checkpoint)
                changed.append(record)
        if last:
            outcome.conclude_plan(operation, plan.plan.total)
        if change.is_empty:
            outcome.final_status = str(plan.plan.status)  # nothing to write, not even the plan's version
            if last:
                await self._answer(outcome, reply)
            return
        durable = change.submit_with(lambda: self._told(plan, outcome, reply, last=last))
        for record in changed:
            self.scheduler.enqueue(plan, record)
        await durable

    async def _load_changing(
        self, plan: PlanRecord, request: "_PlanRequest", page: Sequence[TaskAggregate]
    ) -> Mapping[TenantId, TenantRecord]:
        """Load whole what will change; gives the tenants as they are then, when locks matter."""
        tasks = self.residents.tasks
        tenants: Mapping[TenantId, TenantRecord] = {}
        while True:
            if request.operation in _ACQUIRES_LOCK:
                tenants = await self.store.load_tenants([TenantId(task.tenant_id) for task in page])
            # Nothing is forgotten meanwhile, because the plan is pinned.
            changing = [
                task.key
                for task in page
                if task.key in tasks or self._on_plan_task(plan, task, request, tenants).changes_something
            ]
            await self.residents.load(changing)
            if not any(_has_left(tasks[key], tenants.get(tasks[key].tenant_id)) for key in changing if key in tasks):
                return tenants
            await self.manager.commits.flush()

    def _told(self, plan: PlanRecord, outcome: OperationOutcome, reply: Reply, *, last: bool) -> Sequence[StoreChange]:
        outcome.final_status = str(plan.plan.status)
        return reply(outcome) if last else reply.so_far(outcome)

    def _on_plan_task(
        self,
        plan: PlanRecord,
        task: TaskAggregate,
        request: "_PlanRequest",
        tenants: Mapping[TenantId, TenantRecord],
    ) -> Verdict:
        """What a request by plan means for one task."""
        facts = self._facts(
            plan,
            task,
            request.operation,
            tenants.get(TenantId(task.tenant_id)),
            from_checkpoint=request.from_checkpoint,
        )
        return decide_by_plan(task, request.operation, facts, resumes_plan=request.resumes_plan)

    def _plan_itself(  # noqa: C901  # one case a verb
        self, change: Change, operation: Operation, *, any_accepted: bool
    ) -> None:
        """What the request does to the plan; its events come before those of the tasks."""
        plan = change.plan.plan
        match operation:
            case Operation.PAUSE:
                waits = plan.pending_operation is not None
                if any_accepted and not waits and plan.status in {PlanStatus.READY, PlanStatus.RUNNING}:
                    change.change_plan(pending_operation=Operation.PAUSE)
            case Operation.RESUME if not any_accepted:
                pass
            case Operation.RESUME:
                if plan.status is PlanStatus.PAUSED:
                    change.transition_plan(PlanStatus.RUNNING if plan.run else PlanStatus.READY)
                    change.emit_plan(EventType.PLAN_RESUMED)
                elif plan.pending_operation is not None:
                    change.change_plan(pending_operation=None)
            case Operation.CANCEL:
                if any_accepted and not plan.status.is_settled and not plan.cancelled:
                    change.change_plan(cancelled=True)
            case Operation.RETRY:
                if any_accepted and plan.status.is_settled:
                    change.start_plan()
            case Operation.ROLLBACK:
                settled_back = plan.status in {PlanStatus.ROLLING_BACK, PlanStatus.ROLLED_BACK}
                if any_accepted and not settled_back:
                    change.transition_plan(PlanStatus.ROLLING_BACK)
                    change.emit_plan(EventType.PLAN_ROLLING_BACK)

    # Inside

    def _lead_plan(self, change: Change, operation: Operation, verdict: Verdict) -> None:
        """What a request about one task does to its plan: only a settled plan follows."""
        if verdict.effect is Effect.REQUEST and change.plan.plan.status.is_settled:
            if operation is Operation.RETRY:
                change.start_plan()
            else:
                change.transition_plan(PlanStatus.ROLLING_BACK)
                change.emit_plan(EventType.PLAN_ROLLING_BACK)

    def _decide(
        self,
        plan: PlanRecord,
        task: TaskAggregate,
        operation: Operation,
        tenant: TenantRecord | None,
        *,
        from_checkpoint: bool,
    ) -> Verdict:
        return decide(task, operation, self._facts(plan, task, operation, tenant, from_checkpoint=from_checkpoint))

    def _facts(
        self,
        plan: PlanRecord,
        task: TaskAggregate,
        operation: Operation,
        tenant: TenantRecord | None,
        *,
        from_checkpoint: bool,
    ) -> VerbFacts:
        return replace(
            stored_facts(plan.plan, task, tenant, from_checkpoint=from_checkpoint),
            retry_allowed=operation is not Operation.RETRY or _ask(self.retry_allowed, task),
            rollback_allowed=operation is not Operation.ROLLBACK or _ask(self.rollback_allowed, task),
        )

    def _apply(  # noqa: C901  # one case an effect
        self,
        change: Change,
        record: TaskRecord,
        operation: Operation,
        verdict: Verdict,
        *,
        own: bool,
        from_checkpoint: bool,
    ) -> None:
        """Carry out an accepted request about one task."""
        edit = change.task(record)
        match verdict.effect:
            case None | Effect.NOTHING:
                if not (own and operation in _RUNS_IN_A_PAUSED_PLAN and _waits_for_its_plan(change.plan, record.task)):
                    return
                edit.set(own_request=True)
            case Effect.HOLD:
                if record.task.status is TaskStatus.PENDING:
                    edit.set(held=True)
                else:
                    edit.set(line_held=False)
            case Effect.RELEASE:
                edit.set(held=False, own_request=own)
            case Effect.REQUEST:
                edit.set(
                    pending_operation=operation,
                    pending_from_checkpoint=from_checkpoint,
                    not_before=self._not_before(operation, edit.task, change.now),
                    own_request=own,
                )
                if not edit.task.lock_held:
                    edit.acquire_lock()
            case Effect.WITHDRAW:
                edit.set(pending_operation=None, own_request=False)
            case Effect.RESUME:
                edit.transition(TaskStatus.RESUMING)
                edit.set(own_request=own)
            case Effect.PAUSE_NOW:
                edit.transition(TaskStatus.PAUSED)
            case Effect.CANCEL_NOW:
                self.boundaries.cancel_now(edit)
        edit.finish()

    def _not_before(self, operation: Operation, task: TaskAggregate, now: datetime) -> datetime | None:
        """When what was accepted may start; None for at once, which is so for all but retries."""
        if operation is not Operation.RETRY:
            return None
        try:
            seconds = self.retry_delay_seconds(task)
            return now + timedelta(seconds=seconds) if seconds > 0 else None
        except FOREIGN:  # recorded here; the retry is accepted, so it must not be lost
            _log.about(task).exception("the retry policy raised; the retry is not delayed")
            return None

    async def _make_durable(self, change: Change, outcome: OperationOutcome, reply: Reply) -> None:
        if not change.records:
            await self._answer(outcome, reply)  # accepted, and already so
            return
        await change.submit_with(lambda: reply(outcome))

    async def _answer(self, outcome: OperationOutcome, reply: Reply) -> None:
        """
        Answer a request that changed nothing.

        What it rests on may be decided and not yet durable. What is told of the request is committed behind it: when
        that is durable, so is the reason, and when it never will be, nobody is told of the request either.
        """
        await self.note(reply(outcome))

    async def _refuse(
        self, target_type: TargetType, target_id: str, code: ErrorCode, message: str, reply: Reply
    ) -> OperationOutcome:
        outcome = OperationOutcome(target_type, target_id)
        outcome.refuse(refused(code, message, self.clock.now()))
        await self._answer(outcome, reply)
        return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlanRequest:
    """A request by plan; ``resumes_plan``: the plan itself was paused, or about to be."""

    operation: Operation
    from_checkpoint: bool
    resumes_plan: bool


def _has_left(record: TaskRecord, tenant: TenantRecord | None) -> bool:
    """
    The task gave its lock back while the tenant was read.

    The store did not know it yet; by now another task may own the lock.
    """
    task = record.task
    # One that is PENDING has left nothing: the store knows earlier than memory that it was granted the lock.
    left = task.status is not TaskStatus.PENDING and not task.lock_held
    return left and tenant is not None and tenant.owner == task.key


def _ask(policy: Callable[[TaskAggregate], bool], task: TaskAggregate) -> bool:
    """A policy that raises refuses."""
    try:
        return policy(task)
    except FOREIGN:  # a policy may raise anything
        _log.about(task).exception("a policy raised; the request is refused")
        return False


def _waits_for_its_plan(plan: PlanRecord, task: TaskAggregate) -> bool:
    """Asked for by plan, and the plan is paused: asked for by tenant it runs all the same."""
    return queue_class(task) is not None and not task.own_request and not plan.plan.starts_tasks
