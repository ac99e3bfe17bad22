"""
TaskStateManager: the only writer of status, sequence ids and events.

Everything that changes goes through a ``Change``: a unit of work about one plan and some of its tasks, decided
without an await and submitted as one entry of the next commit. What must always hold is written once, here:

- an event takes the next number of its task or plan, and the next position of the plan;
- the plan's counters follow every task that changes;
- a task that settles gives its lock back, PlanProgress follows it, and the plan settles with the last one;
- a plan whose pause was requested is PAUSED when its last running task has reached a boundary.

Source: behaviour, sections 4, 5, 9 and 10.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from switchover.domain.events import NO_DATA, Event, EventType
from switchover.domain.plan import PlanStatus, evolve_plan
from switchover.domain.policies import Policies
from switchover.domain.state_machine import (
    PlanTransitionContext,
    TaskTransitionContext,
    TransitionOutcome,
    plan_state_machine,
    settled_status,
    task_state_machine,
)
from switchover.domain.task import FailureInfo, Operation, StageMark, TaskStatus, TenantId, evolve_task
from switchover.engine.commits import GroupCommit
from switchover.engine.records import PlanRecord, TaskRecord
from switchover.errors import ErrorCode, ErrorType, TransitionError
from switchover.logs import get_log
from switchover.spi import (
    FOREIGN,
    AcquireLock,
    BeginRun,
    Clock,
    Entry,
    FixPrevious,
    Hold,
    ReleaseLock,
    SetHold,
    StopLine,
)
from switchover.spi import Change as StoreChange

_log = get_log("switchover.state")

_STARTED = int(StageMark.STARTED)

_PLAN_EVENT_OF: Mapping[PlanStatus, EventType] = {
    PlanStatus.COMPLETED: EventType.PLAN_COMPLETED,
    PlanStatus.PARTIAL_FAILED: EventType.PLAN_FAILED,
    PlanStatus.FAILED: EventType.PLAN_FAILED,
    PlanStatus.CANCELLED: EventType.PLAN_CANCELLED,
    PlanStatus.ROLLED_BACK: EventType.PLAN_ROLLED_BACK,
    PlanStatus.ROLLBACK_FAILED: EventType.PLAN_ROLLBACK_FAILED,
}


@dataclass(slots=True)
class Brakes:
    """What a person stopped, for everybody who decides: the line, and single tenants."""

    line: StopLine | None = None
    holds: dict[TenantId, Hold] = field(default_factory=dict[TenantId, Hold])

    @property
    def line_stopped(self) -> bool:
        """No task starts or passes a stage boundary; rollbacks go on."""
        return self.line is not None


class TaskStateManager:
    """
    Makes changes.

    Args:
        policies: Put into the task table.
        clock: Gives every change its instant.
        commits: Where changes go.
        brakes: Shared with the scheduler.
    """

    def __init__(self, *, policies: Policies, clock: Clock, commits: GroupCommit, brakes: Brakes) -> None:
        self.policies = policies
        self.task_machine = task_state_machine(policies)
        self.plan_machine = plan_state_machine()
        self.clock = clock
        self.commits = commits
        self.brakes = brakes
        self.on_change: Callable[[PlanRecord], None] = _ignore
        """Called, without an await, after a change of a plan or its tasks: somebody may start now."""

    def change(self, plan: PlanRecord) -> "Change":
        """Begin a unit of work about a plan."""
        return Change(self, plan)


def _ignore(plan: PlanRecord) -> None:
    del plan


def _nothing_more() -> Sequence[StoreChange]:
    return ()


class Change:
    """What is decided at one instant about one plan and some of its tasks; nothing awaits while it is put together."""

    def __init__(self, manager: TaskStateManager, plan: PlanRecord) -> None:
        self.manager = manager
        self.plan = plan
        self.now: datetime = manager.clock.now()
        self.entry = Entry()
        self.records: list[TaskRecord] = []
        self._settled_any = False
        self._undo = (plan.plan, plan.sequence_id, plan.position, plan.started_tasks)

    @property
    def is_empty(self) -> bool:
        """Nothing was decided that would have to be written."""
        return self.plan.plan is self._undo[0] and not (self.records or self.entry.events or self.entry.changes)

    # Tasks

    def task(self, record: TaskRecord) -> "TaskEdit":
        """Begin to change a task; ``finish`` it before the next one."""
        return TaskEdit(self, record)

    def store(self, change: StoreChange) -> None:
        """Change something beside plans, tasks and events in the same commit."""
        self.entry.changes.append(change)

    def hold(self, tenant_id: TenantId, reason: str) -> None:
        """Put a tenant on hold, unless it is already: the first reason stays."""
        holds = self.manager.brakes.holds
        if tenant_id not in holds:
            holds[tenant_id] = Hold(reason=reason, since=self.now)
            self.store(SetHold(tenant_id, holds[tenant_id]))

    def abandon(self) -> None:
        """Forget what was put together, before any task was finished: no number is used up."""
        plan = self.plan
        plan.plan, plan.sequence_id, plan.position, plan.started_tasks = self._undo

    # The plan

    def emit_plan(
        self, kind: EventType, data: Mapping[str, object] = NO_DATA, failure: FailureInfo | None = None
    ) -> None:
        """A plan event with the next sequence id and position."""
        plan = self.plan
        plan.sequence_id += 1
        plan.position += 1
        self.entry.events.append(
            Event(
                type=kind,
                plan_id=plan.plan.plan_id,
                key=None,
                tenant_id=None,
                sequence_id=plan.sequence_id,
                position=plan.position,
                timestamp=self.now,
                status=plan.plan.status,
                current_stage=None,
                completed=plan.counts.get(TaskStatus.COMPLETED, 0),
                total=plan.plan.total,
                failure_info=failure,
                data=data,
            )
        )

    def change_plan(self, **values: Any) -> None:  # noqa: ANN401  # any field
        """Change fields of the plan that are no status and no counter."""
        self.plan.plan = evolve_plan(self.plan.plan, **values)

    def transition_plan(self, target: PlanStatus) -> None:
        """
        Take an edge of the plan's table.

        Raises:
            TransitionError: There is none, or its guard says no; nothing was changed.
        """
        plan = self.plan
        context = PlanTransitionContext(plan=plan.view(), now=self.now)
        edge = self.manager.plan_machine.edge(plan.plan.status, target)
        if edge is None or not edge.guard(context):
            msg = f"plan {plan.plan.plan_id} cannot go from {plan.plan.status} to {target}"
            raise TransitionError(msg)
        plan.plan = evolve_plan(plan.plan, status=target, **edge.action(context))

    def start_plan(self) -> None:
        """Begin a run of the plan: PlanStarted comes before the events of its tasks."""
        plan = self.plan
        run = plan.plan.run + 1
        if plan.plan.status is not PlanStatus.PAUSED:  # a task asked for by tenant starts in a paused plan, too
            self.transition_plan(PlanStatus.RUNNING)
        self.change_plan(run=run, started_at=plan.plan.started_at or self.now, failure_info=None)
        self.emit_plan(EventType.PLAN_STARTED, {"run": run})

    def progress(self) -> None:
        """PlanProgress, after every task that settles."""
        counts = {str(status): count for status, count in self.plan.counts.items() if count}
        self.emit_plan(
            EventType.PLAN_PROGRESS,
            {"completed": counts.get("COMPLETED", 0), "total": self.plan.plan.total, "counts": counts},
        )
        self._settled_any = True

    def submit(self) -> asyncio.Future[None]:
        """
        Settle or pause the plan where that follows, and put everything into the next commit.

        Returns:
            Done when it is durable.
        """
        return self.submit_with(_nothing_more)

    def submit_with(self, more: Callable[[], Sequence[StoreChange]]) -> asyncio.Future[None]:
        """Like ``submit``, with what follows from the outcome: it is asked for when everything else is decided."""
        plan = self.plan
        if self._settled_any and plan.unsettled == 0:
            self._settle_plan()
        elif plan.plan.pending_operation is Operation.PAUSE and not plan.counts.get(TaskStatus.RUNNING):
            self.transition_plan(PlanStatus.PAUSED)
            self.emit_plan(EventType.PLAN_PAUSED)
        self.entry.changes.extend(more())
        durable = self.manager.commits.submit(self.entry, self.records, (plan,))
        self.manager.on_change(plan)
        return durable

    def _settle_plan(self) -> None:
        plan = self.plan
        target = settled_status(plan.view())
        self.transition_plan(target)
        failed = plan.counts.get(TaskStatus.FAILED, 0) + plan.counts.get(TaskStatus.ROLLBACK_FAILED, 0)
        failure = None
        if target.is_failure:
            left = plan.plan.total - plan.counts.get(TaskStatus.COMPLETED, 0)
            what = (
                f"{failed} of {plan.plan.total} tenants need attention"
                if failed
                else f"no tenant failed, but {left} of {plan.plan.total} were rolled back or cancelled"
            )
            failure = FailureInfo(
                error_code=ErrorCode.STEP_FAILED
                if target is not PlanStatus.ROLLBACK_FAILED
                else ErrorCode.ROLLBACK_INCOMPLETE,
                error_type=ErrorType.BUSINESS_ERROR,
                message=f"{what}; see `switchover get tasks {plan.plan.plan_id}`",
                timestamp=self.now,
                retryable=target is not PlanStatus.ROLLBACK_FAILED,
            )
        self.change_plan(failure_info=failure)
        data = NO_DATA
        if target in {PlanStatus.PARTIAL_FAILED, PlanStatus.FAILED}:
            data = {"partial": target is PlanStatus.PARTIAL_FAILED}
        self.emit_plan(_PLAN_EVENT_OF[target], data, failure)


class TaskEdit:
    """The change of one task inside a ``Change``."""

    __slots__ = ("_before", "_first_started", "_undo", "change", "record", "sequence_id", "task")

    def __init__(self, change: Change, record: TaskRecord) -> None:
        self.change = change
        self.record = record
        self.task = self._before = record.task
        self.sequence_id = record.task.sequence_id
        self._undo = (record.generation, record.last_started, record.previous)
        self._first_started: int | None = None

    def abandon(self) -> None:
        """Forget the edit, and the change that it is the only one of."""
        record = self.record
        record.generation, record.last_started, record.previous = self._undo
        self.change.abandon()

    def set(self, **values: Any) -> None:  # noqa: ANN401  # any field
        """Change fields that are no status."""
        self.task = evolve_task(self.task, **values)

    def mark(self, index: int, add: int) -> None:
        """Know more about one stage: some of ``StageMark``, as a number."""
        marks = list(self.task.marks)
        if add & _STARTED and not marks[index] & _STARTED:
            self._first_started = index
        marks[index] |= add
        self.task = evolve_task(self.task, marks=tuple(marks))

    def transition(
        self,
        target: TaskStatus,
        *,
        failure: FailureInfo | None = None,
        generation: int = 0,
        from_checkpoint: bool = True,
        recovering: bool = False,
    ) -> TransitionOutcome:
        """
        Take an edge of the task's table, or none: what is not DONE has changed nothing.

        Args:
            generation: Of the run that begins with this edge; 0 when none does.
        """
        manager = self.change.manager
        plan = self.change.plan.plan
        source = self.task.status
        if self.record.runtime is None and (source.holds_slot or target.holds_slot):
            # Guards of what runs, or is about to, read the runtime context: without one nothing is attempted.
            _log.about(self.task).error(
                "no runtime context is registered for a task, so it does not change",
                source=str(source),
                target=str(target),
            )
            return TransitionOutcome.INCOMPLETE
        context = TaskTransitionContext(
            task=self.task,
            total_stages=len(self.task.stage_names),
            now=self.change.now,
            max_concurrency=plan.rules.max_concurrency,
            max_retry=plan.rules.max_retry,
            lock_held=self.task.lock_held,
            superseded=self.record.superseded,
            line_stopped=manager.brakes.line_stopped,
            recovering=recovering,
            from_checkpoint=from_checkpoint,
            generation=generation,
            failure=failure,
            runtime=self.record.runtime,
        )
        edge = manager.task_machine.edge(source, target)
        watchers = manager.policies.instrumentation
        for watcher in watchers:
            _shielded(watcher.before_guard, source, target, context)
        if edge is None:
            outcome = TransitionOutcome.ILLEGAL
        elif edge.guard(context):
            outcome = TransitionOutcome.DONE
            self.task = evolve_task(self.task, status=target, **edge.action(context))
        else:
            outcome = TransitionOutcome.REFUSED
        for watcher in watchers:
            _shielded(watcher.after_transition, source, target, outcome is TransitionOutcome.DONE, context)
        return outcome

    def begin_run(self, target: TaskStatus, *, from_checkpoint: bool = True) -> TransitionOutcome:
        """Take an edge with which a run begins: under the next generation, in the same commit."""
        record = self.record
        generation = record.generation + 1
        first = self.task.started_at is None
        outcome = self.transition(target, generation=generation, from_checkpoint=from_checkpoint)
        if outcome is TransitionOutcome.DONE:
            self._fence(first=first)  # the edge's action has put the generation into the task
            if first:
                self._first_start()
        return outcome

    def raise_generation(self) -> None:
        """Fence off whatever ran for the tenant before."""
        self._fence(first=False)
        self.set(generation=self.record.generation)

    def _fence(self, *, first: bool) -> None:
        record = self.record
        record.generation += 1
        self.change.store(BeginRun(record.tenant_id, self.task.key, record.generation, first))

    def _first_start(self) -> None:
        record, plan = self.record, self.change.plan
        record.last_started = self.task.key
        plan.started_tasks += 1
        if record.previous is None and record.last_known_good is not None:
            record.previous = record.last_known_good
            self.change.store(FixPrevious(self.task.key, record.last_known_good))
        self.set(started_order=plan.started_tasks, previous_known=record.previous is not None)
        if plan.plan.run == 0:
            self.change.start_plan()

    def acquire_lock(self) -> None:
        """Take the tenant's lock again, which is known to be free."""
        self.set(lock_held=True)
        self.change.store(AcquireLock(self.record.tenant_id, self.task.key))

    def emit(self, kind: EventType, data: Mapping[str, object] = NO_DATA, failure: FailureInfo | None = None) -> None:
        """A task event with the next sequence id and position."""
        plan = self.change.plan
        task = self.task
        self.sequence_id += 1
        plan.position += 1
        self.change.entry.events.append(
            Event(
                type=kind,
                plan_id=task.key.plan_id,
                key=task.key,
                tenant_id=task.tenant_id,
                sequence_id=self.sequence_id,
                position=plan.position,
                timestamp=self.change.now,
                status=task.status,
                current_stage=task.current_stage,
                completed=task.completed_stages,
                total=len(task.stage_names),
                failure_info=failure,
                data=data,
            )
        )

    def finish(self) -> None:
        """Make it the task's state, and let the plan follow."""
        before, change, record = self._before, self.change, self.record
        was_live, is_live = before.is_live, self.task.is_live
        settles = was_live and not is_live
        if settles:
            change.store(ReleaseLock(record.tenant_id, before.key))
        task = record.task = evolve_task(
            self.task,
            sequence_id=self.sequence_id,
            version=before.version + 1,
            updated_at=change.now,
            lock_held=self.task.lock_held and is_live,
            not_before=self.task.not_before if self.task.pending_operation is Operation.RETRY else None,
        )
        if self._first_started is not None:
            record.first_started = self._first_started
        runtime = record.runtime
        if runtime is not None:
            runtime.pause_requested = task.pending_operation is Operation.PAUSE
            runtime.cancel_requested = task.pending_operation is Operation.CANCEL
        plan = change.plan
        if task.status is not before.status:
            plan.counts[before.status] -= 1
            plan.counts[task.status] = plan.counts.get(task.status, 0) + 1
        plan.unsettled += is_live - was_live
        plan.idle += task.is_idle - before.is_idle
        plan.touched += task.any_stage_started - before.any_stage_started
        change.entry.tasks.append(task)
        change.records.append(record)
        if settles:
            change.progress()


def _shielded(watch: Callable[..., None], *args: object) -> None:
    """An instrumentation that raises harms nobody."""
    try:
        watch(*args)
    except FOREIGN:  # recorded below
        _log.exception("a transition instrumentation raised; it is ignored")
