"""
Plans, tasks and events as tests need them: right in every detail that a store looks at, and short to ask for.

A sample plan keeps its own books (positions, sequence ids, versions), so that what a test commits follows what is
stored.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from switchover.domain.events import NO_DATA, Event, EventType
from switchover.domain.plan import PlanAggregate, PlanRules, PlanStatus
from switchover.domain.stage import PreImage
from switchover.domain.task import (
    NetworkEndpointSnapshot,
    PlanId,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantDeployConfigSnapshot,
    TenantId,
)
from switchover.spi import NewPlan, NewTask

SAMPLE_MOMENT = datetime(2026, 3, 1, 12, 30, 45, 678901, tzinfo=UTC)
"""When everything in a sample happens, unless a test says otherwise."""

SAMPLE_STAGES = ("routing", "media")


def sample_config(tenant_id: str, *, version: int = 2) -> TenantDeployConfigSnapshot:
    """A config with one endpoint."""
    return TenantDeployConfigSnapshot(
        tenant_id=tenant_id,
        deploy_unit_id=17,
        deploy_unit_version=version,
        deploy_unit_name="blue",
        network_endpoints=(NetworkEndpointSnapshot(key="main", value="http://127.0.0.1:8080"),),
    )


def sample_pre_image(key: str, value: bytes | None) -> PreImage:
    """Shorter to write in a test."""
    return PreImage(key=key, value=value)


@dataclass(slots=True, kw_only=True)
class SamplePlan:
    """
    A plan and its tasks as they should be stored, with methods that make the next values of both.

    Attributes:
        plan: The latest value that was made.
        tasks: The latest values, by ordinal.
    """

    plan: PlanAggregate
    tasks: dict[int, TaskAggregate] = field(default_factory=dict[int, TaskAggregate])
    configs: dict[int, TenantDeployConfigSnapshot] = field(default_factory=dict[int, TenantDeployConfigSnapshot])
    created: dict[int, tuple[Event, ...]] = field(default_factory=dict[int, tuple[Event, ...]])

    def key(self, ordinal: int) -> TaskKey:
        """Of one task."""
        return self.tasks[ordinal].key

    def tenant(self, ordinal: int) -> TenantId:
        """Of one task."""
        return self.tasks[ordinal].tenant_id

    def new_plan(
        self, *, idempotency_key: str | None = None, content_digest: str = "", findings: bytes = b"[]"
    ) -> NewPlan:
        """What creates it as it is now; the tasks are made while they are iterated, as the engine's are."""
        return NewPlan(
            plan=self.plan,
            tasks=_Tasks(dict(self.tasks), self.configs, self.created),
            idempotency_key=idempotency_key,
            content_digest=content_digest,
            findings=findings,
        )

    def event(self, kind: EventType, ordinal: int | None = None, **values: object) -> Event:
        """The next event of the plan (no ordinal) or of a task; the counters of both move on."""
        position = self.plan.position + 1
        if ordinal is None:
            self.plan = replace(self.plan, position=position, sequence_id=self.plan.sequence_id + 1)
            event = _event(kind, self.plan, None, position)
        else:
            self.plan = replace(self.plan, position=position)
            task = self.tasks[ordinal] = replace(self.tasks[ordinal], sequence_id=self.tasks[ordinal].sequence_id + 1)
            event = _event(kind, self.plan, task, position)
        return replace(event, **values)  # type: ignore[arg-type]  # a test names fields that exist

    def write_task(self, ordinal: int, **values: object) -> TaskAggregate:
        """The next value of a task: the changes, and one version more."""
        task = self.tasks[ordinal]
        task = replace(task, version=task.version + 1, **values)  # type: ignore[arg-type]  # as above
        self.tasks[ordinal] = task
        return task

    def write_plan(self, **values: object) -> PlanAggregate:
        """The next value of the plan: the changes, counts as the tasks have them, and one version more."""
        counts: dict[TaskStatus, int] = {}
        for task in self.tasks.values():
            counts[task.status] = counts.get(task.status, 0) + 1
        live = sum(task.is_live for task in self.tasks.values())
        plan = replace(self.plan, counts=counts, unsettled=live, version=self.plan.version + 1)
        self.plan = replace(plan, **values)  # type: ignore[arg-type]  # as above
        return self.plan


def sample_plan(
    plan_id: int, tenant_ids: Iterable[str], *, after_arrival: int = 0, lock_held: bool = True
) -> SamplePlan:
    """
    A plan with one PENDING task per tenant, each with its first two events.

    Args:
        after_arrival: The last arrival that the store has seen; the tasks take the numbers that follow.
        lock_held: Whether the tasks take their tenants' locks or queue behind the owners.
    """
    names = list(tenant_ids)
    plan = PlanAggregate(
        plan_id=PlanId(plan_id),
        status=PlanStatus.READY,
        rules=PlanRules(),
        total=len(names),
        counts={TaskStatus.PENDING: len(names)} if names else {},
        created_at=SAMPLE_MOMENT,
        updated_at=SAMPLE_MOMENT,
        unsettled=len(names),
        position=2 * len(names),
        version=1,
    )
    sample = SamplePlan(plan=plan)
    for ordinal, name in enumerate(names, start=1):
        task = TaskAggregate(
            key=TaskKey(plan.plan_id, ordinal),
            tenant_id=TenantId(name),
            status=TaskStatus.PENDING,
            stage_names=SAMPLE_STAGES,
            marks=(0, 0),
            created_at=SAMPLE_MOMENT,
            updated_at=SAMPLE_MOMENT,
            sequence_id=2,
            version=1,
            lock_held=lock_held,
            arrival=after_arrival + ordinal,
        )
        first = _event(EventType.TASK_CREATED, plan, replace(task, sequence_id=1), 2 * ordinal - 1)
        second = _event(EventType.TASK_VALIDATED, plan, task, 2 * ordinal)
        sample.tasks[ordinal] = task
        sample.configs[ordinal] = sample_config(name)
        sample.created[ordinal] = (first, second)
    return sample


@dataclass(frozen=True, slots=True)
class _Tasks:
    """The tasks of a sample: ``NewPlan.tasks`` must give the same on every attempt."""

    tasks: dict[int, TaskAggregate]
    configs: dict[int, TenantDeployConfigSnapshot]
    created: dict[int, tuple[Event, ...]]

    def __iter__(self) -> Iterator[NewTask]:
        for ordinal, task in self.tasks.items():
            yield NewTask(task=task, config=self.configs[ordinal], events=self.created[ordinal])


def _event(kind: EventType, plan: PlanAggregate, task: TaskAggregate | None, position: int) -> Event:
    return Event(
        type=kind,
        plan_id=plan.plan_id,
        key=None if task is None else task.key,
        tenant_id=None if task is None else task.tenant_id,
        sequence_id=plan.sequence_id if task is None else task.sequence_id,
        position=position,
        timestamp=SAMPLE_MOMENT + timedelta(microseconds=position),
        status=plan.status if task is None else task.status,
        current_stage=None if task is None else task.current_stage,
        completed=plan.completed if task is None else task.completed_stages,
        total=plan.total if task is None else task.total_stages,
        data=NO_DATA,
    )
