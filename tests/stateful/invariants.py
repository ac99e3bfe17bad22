"""What is true whenever nothing moves, whatever was asked, failed or died before."""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from switchover.bootstrap import Executor
from switchover.domain.events import Event, EventType
from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, PlanId, StageMark, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.engine.explain import explain
from switchover.spi import ExecutionStore
from tests.stateful.grammar import PlanGrammar
from tests.stateful.oracle import Picture, settled_status, startable, started, waiting_rank

_Result = TypeVar("_Result")

_S = TaskStatus


class Standing(Protocol):
    """A step that runs."""

    @property
    def tenant_id(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def generation(self) -> int: ...


class Examined(Protocol):
    """What is looked at: an engine in whichever surroundings."""

    @property
    def violations(self) -> Sequence[str]: ...
    @property
    def loop_errors(self) -> Sequence[str]: ...
    @property
    def executor(self) -> Executor: ...
    @property
    def grammars(self) -> Mapping[PlanId, PlanGrammar]: ...
    @property
    def events(self) -> Mapping[PlanId, Sequence[Event]]: ...
    @property
    def gates(self) -> Mapping[TaskKey, Standing]: ...
    @property
    def followed(self) -> Mapping[PlanId, Sequence[Event]]: ...
    @property
    def versions(self) -> Mapping[PlanId, tuple[int, int | None]]: ...
    @property
    def inner(self) -> ExecutionStore: ...
    def look(self, work: Coroutine[Any, Any, _Result], /) -> _Result: ...
    def read_events(self) -> None: ...
    def picture(self) -> Picture: ...
    def problems(self) -> Sequence[str]: ...


def examine(world: Examined, before: Picture, *, idle: bool = True) -> Picture:
    """
    Look at everything; gives what was seen, for the next time.

    Args:
        before: What was seen last.
        idle: The engine drives and has had its time: whoever can run does.
    """
    assert not world.violations, world.violations
    assert not world.loop_errors, world.loop_errors
    assert world.executor.driver_failure is None, "nothing that is asked stops the process from driving"
    world.read_events()
    picture = world.picture()
    _tasks(world, picture)
    _plans(world, picture)
    _locks(world, picture)
    _known_good(world, picture)
    _against(before, picture)
    if idle:
        _idle(world, picture)
    problems = world.problems()
    assert not problems, problems
    return picture


def _tasks(world: Examined, picture: Picture) -> None:
    for task in picture.tasks.values():
        plan = picture.plans[task.plan_id]
        grammar = world.grammars[task.plan_id].tasks[task.key.ordinal]
        events = [event for event in world.events[task.plan_id] if event.key == task.key]
        assert task.sequence_id == grammar.sequence_id, (task, "numbers of the task and of its events")
        assert str(task.status) == _told_status(events[-1].status, task), (task, events[-1])
        assert task.retry_count == grammar.retries <= plan.rules.max_retry, task
        complete = [name for name, mark in zip(task.stage_names, task.marks, strict=True) if mark & StageMark.COMPLETED]
        assert complete == grammar.complete, (task, grammar)
        assert {
            n for n, m in zip(task.stage_names, task.marks, strict=True) if m & StageMark.STARTED
        } == grammar.started
        assert {
            n for n, m in zip(task.stage_names, task.marks, strict=True) if m & StageMark.RESTORED
        } == grammar.restored
        assert (task.ended_at is not None) == task.status.is_settled or task.pending_operation is not None, task
        assert (task.failure_info is None) or task.status in {
            _S.FAILED,
            _S.ROLLBACK_FAILED,
            _S.ROLLING_BACK,
            _S.ROLLED_BACK,
        }, task
        if task.status in {_S.COMPLETED, _S.CANCELLED, _S.ROLLING_BACK, _S.ROLLED_BACK, _S.ROLLBACK_FAILED}:
            assert not task.has_checkpoint, task
        if task.status in {_S.FAILED, _S.PAUSED}:
            kept = {n for n, m in zip(task.stage_names, task.marks, strict=True) if m & StageMark.CHECKPOINTED}
            assert kept == set(complete), (task, "the checkpoint holds what is complete")


def _told_status(told: str, task: TaskAggregate) -> str:
    # PAUSED <-> RESUMING have no event.
    if task.status is _S.RESUMING and told == "PAUSED":
        return "RESUMING"
    return told


def _plans(world: Examined, picture: Picture) -> None:
    for plan in picture.plans.values():
        tasks = picture.of_plan(plan.plan_id)
        grammar = world.grammars[plan.plan_id]
        counts = {status: count for status in _S if (count := sum(task.status is status for task in tasks))}
        assert {status: count for status, count in plan.counts.items() if count} == counts, plan
        assert plan.unsettled == sum(task.is_live for task in tasks), plan
        assert plan.idle == sum(task.is_idle for task in tasks), plan
        assert plan.touched == sum(started(task) for task in tasks), plan
        assert plan.started_tasks == sum(task.started_at is not None for task in tasks), plan
        assert sum(task.status.holds_slot for task in tasks) <= plan.rules.max_concurrency, plan
        assert (plan.position, plan.sequence_id, plan.run) == (grammar.position, grammar.sequence_id, grammar.run), plan
        assert plan.status.is_settled == (plan.unsettled == 0) == grammar.settled, (plan, grammar.settled)
        if plan.status.is_settled:
            expected = settled_status(tasks, rolling_back=grammar.rolling_back, cancelled=plan.cancelled)
            assert plan.status is expected, (plan, expected)
            assert plan.pending_operation is None, plan
        if plan.status is PlanStatus.READY:
            assert plan.run == 0, plan
        if plan.pending_operation is not None:
            assert plan.pending_operation is Operation.PAUSE, plan
            assert plan.status is PlanStatus.RUNNING, plan
            assert plan.count(_S.RUNNING), (plan, "PlanPaused comes when the last running task has reached a boundary")
        assert (plan.status is PlanStatus.PAUSED) == grammar.paused, plan


def _locks(world: Examined, picture: Picture) -> None:
    for tenant_id, tenant in picture.tenants.items():
        tasks = picture.of_tenant(tenant_id)
        live = [task for task in tasks if task.is_live]
        running = [task for task in tasks if task.status.holds_slot]
        assert len(running) <= 1, (tenant_id, running)
        waiting = [task for task in live if task.key != tenant.owner]
        for task in waiting:
            assert task.status is _S.PENDING, (tenant, task, "only what never started waits for the lock")
            assert task.started_at is None, task
            assert tenant.owner is not None, (tenant, "nobody owns a lock that somebody waits for")
        assert tenant.waiting == len(waiting), tenant
        if tenant.owner is not None:
            owner = picture.tasks[tenant.owner]
            assert owner.is_live, (tenant, owner, "a settled task holds nothing")
            assert all(owner.arrival < task.arrival for task in waiting), (tenant, waiting, "in order of arrival")
        for task in tasks:
            assert task.lock_held == (task.key == tenant.owner), task
        runs = sum(world.grammars[task.plan_id].tasks[task.key.ordinal].runs for task in tasks)
        assert tenant.generation == runs, (tenant, "one generation for each run")


def _known_good(world: Examined, picture: Picture) -> None:
    """The last known good is what completed last, or what a rollback restored; tasks of a tenant never overlap."""
    for tenant_id, tenant in picture.tenants.items():
        good: int | None = None
        for task in picture.of_tenant(tenant_id):
            version, source = world.versions[task.plan_id]
            previous = source
            for event in world.events[task.plan_id]:
                if event.key != task.key:
                    continue
                match event.type:
                    case EventType.TASK_STARTED:
                        previous = source or good
                    case EventType.TASK_COMPLETED:
                        good = version
                    case EventType.TASK_ROLLED_BACK:
                        good = previous
                    case _:
                        pass
            if task.started_at is not None:  # that is when it is fixed
                assert task.previous_known == (previous is not None), task
        found = tenant.last_known_good
        assert (None if found is None else found.deploy_unit_version) == good, tenant


def _against(before: Picture, after: Picture) -> None:
    for tenant_id, tenant in before.tenants.items():
        assert after.tenants[tenant_id].generation >= tenant.generation, tenant
    for key, task in before.tasks.items():
        assert after.tasks[key].version >= task.version, task
        assert after.tasks[key].retry_count >= task.retry_count, task
        if task.status.is_terminal:
            assert after.tasks[key].status is task.status, task
    for plan_id, plan in before.plans.items():
        assert after.plans[plan_id].version >= plan.version, plan


def _idle(world: Examined, picture: Picture) -> None:
    running = {task.key for task in picture.tasks.values() if task.status.holds_slot}
    assert running == set(world.gates), ("each running task runs one step", running, set(world.gates))
    for key, gate in world.gates.items():
        assert gate.generation == picture.tenants[TenantId(gate.tenant_id)].generation, gate
        assert gate.stage == picture.tasks[key].current_stage, gate
    assert world.followed == world.events, "a subscriber has seen everything once, in order"
    for plan in picture.plans.values():
        if not plan.status.is_settled:
            assert not startable(picture, plan), (plan, "these could run, and do not", startable(picture, plan))
    for task in picture.tasks.values():
        if waiting_rank(task) is not None:
            _explained(world, picture, task)


def _explained(world: Examined, picture: Picture, task: TaskAggregate) -> None:
    """Whoever waits is told of one cause, and it is a true one."""
    plan = picture.plans[task.plan_id]
    explanation = world.look(explain(world.inner, task.key, now=task.updated_at))
    assert explanation is not None
    true = {
        "HELD": task.held,
        "TENANT_LOCK": not task.lock_held,
        "TENANT_HOLD": TenantId(task.tenant_id) in picture.holds,
        "LINE_STOPPED": picture.line is not None,
        "PLAN_PAUSED": plan.status is PlanStatus.PAUSED or plan.pending_operation is not None,
        "SLOT": plan.occupied_slots == plan.rules.max_concurrency,
        "ORDER": plan.rules.max_concurrency == 1 and plan.occupied_slots == 0,
    }
    assert true[explanation.cause], (task, explanation)
