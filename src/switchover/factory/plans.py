"""
PlanFactory: read, validate, create.

The three are apart because the store is asked in between: ``read`` needs nothing, ``validate`` what the store knows
about the plan and its tenants, ``create`` the numbers that the driver hands out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from switchover.config import ExecutorSettings
from switchover.domain.addresses import AllowList
from switchover.domain.events import NO_DATA, Event, EventType
from switchover.domain.plan import HealthSettings, OnConflict, OnFailure, PlanAggregate, PlanRules, PlanStatus
from switchover.domain.task import (
    PlanId,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantDeployConfigSnapshot,
    TenantId,
    is_plan_id,
)
from switchover.dto import Finding
from switchover.dto.options import HealthOptions, PlanOptions
from switchover.errors import InvalidPlanError
from switchover.factory.reading import Draft, read_configs, read_metadata, read_options
from switchover.factory.validation import (
    StageFactory,
    StoreFacts,
    Surroundings,
    expected_number,
    is_taken,
    validate,
)
from switchover.spi import NewPlan, NewTask
from switchover.stages.catalogue import CompiledCatalogue, StageCatalogue


class PlanFactory:
    """
    Makes plans.

    Args:
        catalogue: Compiles ``services:``.
        stage_factory: Gives the stages of a plan that brings no ``services`` of its own; goes before the settings'.

    Raises:
        ValueError: ``settings.endpoint_allow_list`` is no list of networks.
    """

    def __init__(
        self,
        settings: ExecutorSettings,
        catalogue: StageCatalogue,
        stage_factory: StageFactory | None = None,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._stage_factory = stage_factory
        self._allow_list = AllowList(settings.endpoint_allow_list)

    def read(self, configs: object, options: object = None, metadata: object = None) -> Draft:
        """
        Take what a caller hands in; never raises for bad input, and holds nothing of it.

        Args:
            configs: An iterable of ``TenantDeployConfig`` or plain mappings, in either spelling.
            options: The plan file's ``spec`` without tenants.
            metadata: ``name`` and ``labels``.
        """
        plan_options, option_findings = read_options(options)
        plan_metadata, metadata_findings = read_metadata(metadata)
        read = read_configs(configs)
        rules, catalogue = self._rules(plan_options)
        plan_id = expected_number("plan_id", plan_options, read.configs)
        return Draft(
            configs=tuple(read.configs),
            wrong=read.wrong,
            findings=(*metadata_findings, *option_findings, *read.findings),
            options=plan_options,
            rules=rules,
            catalogue=catalogue,
            name=plan_metadata.name,
            labels=dict(plan_metadata.labels or {}),
            # What no store can hold is asked of no store; validation reports it.
            plan_id=PlanId(plan_id) if plan_id is not None and is_plan_id(plan_id) else None,
            plan_version=expected_number("plan_version", plan_options, read.configs),
        )

    def validate(self, draft: Draft, facts: StoreFacts | None = None) -> tuple[Finding, ...]:
        """
        Everything that is wrong, or worth knowing, with errors first.

        Args:
            facts: What the store knows; without them only what needs no store is judged.
        """
        around = Surroundings(
            facts=StoreFacts() if facts is None else facts,
            allow_list=self._allow_list,
            stage_factory=self._stage_factory,
            services_from_settings=draft.options.services is None,
        )
        return validate(draft, around)

    def create(
        self,
        draft: Draft,
        *,
        plan_id: PlanId,
        now: datetime,
        first_arrival: int,
        facts: StoreFacts,
        idempotency_key: str | None = None,
    ) -> NewPlan:
        """
        The plan in READY and its tasks in PENDING, ready for one commit.

        Args:
            draft: Validated by this factory, without an error.
            first_arrival: Of the first task; the others follow.
            facts: Those that it was validated with.

        Raises:
            InvalidPlanError: The draft is empty, could not be read, or was never validated: a bug of the caller.
        """
        if not draft.configs or draft.findings or (draft.catalogue is None and not draft.stage_names):
            raise InvalidPlanError(f"plan {plan_id} was not validated, or has errors", findings=draft.findings)
        tasks = NewTasks(draft, plan_id=plan_id, now=now, first_arrival=first_arrival, facts=facts)
        count = len(tasks)
        plan = PlanAggregate(
            plan_id=plan_id,
            status=PlanStatus.READY,
            rules=draft.rules,
            total=count,
            counts={TaskStatus.PENDING: count},
            created_at=now,
            updated_at=now,
            name=draft.name,
            labels=draft.labels,
            plan_version=draft.plan_version,
            unsettled=count,
            position=count * EVENTS_PER_TASK,
            version=1,
        )
        return NewPlan(
            plan=plan,
            tasks=tasks,
            idempotency_key=idempotency_key,
            content_digest="" if idempotency_key is None else draft.digest,
        )

    def _rules(self, options: PlanOptions) -> tuple[PlanRules, CompiledCatalogue | None]:
        """Every precedence applied: the plan's options, then the settings."""
        settings = self._settings
        rollback, retry = options.rollback, options.retry
        health = _health(options.health or HealthOptions(), settings)
        services: Sequence[Mapping[str, object]] | None = options.services
        if services is None and self._stage_factory is None and settings.services:
            services = settings.services
        catalogue: CompiledCatalogue | None = None
        kept: tuple[Mapping[str, object], ...] = ()
        if services is not None:
            catalogue = self._catalogue.compile(list(services), health)
            # With findings it may hold what JSON cannot, and nobody will run it.
            kept = () if catalogue.findings else tuple(orjson.loads(orjson.dumps(services)))
        rules = PlanRules(
            max_concurrency=settings.max_concurrency if options.max_concurrency is None else options.max_concurrency,
            on_conflict=OnConflict(options.on_conflict or OnConflict.REJECT),
            on_failure=OnFailure((rollback and rollback.on_failure) or OnFailure.MANUAL),
            hold_after_rollback=bool(rollback and rollback.hold),
            max_retry=settings.max_retry if retry is None or retry.max is None else retry.max,
            health=health,
            services=kept,
        )
        return rules, catalogue


def _health(options: HealthOptions, settings: ExecutorSettings) -> HealthSettings:
    defaults = HealthSettings(
        interval_seconds=settings.health_check_interval_seconds,
        attempts=settings.health_check_max_attempts,
        timeout_seconds=settings.health_check_timeout_seconds,
    )
    given: dict[str, Any] = {
        "interval_seconds": options.interval,
        "attempts": options.attempts,
        "timeout_seconds": options.timeout,
        "path": options.path,
        "version_key": options.version_key,
        "expect": options.expect,
        "consecutive": options.consecutive,
    }
    return replace(defaults, **{name: value for name, value in given.items() if value is not None})


EVENTS_PER_TASK = 2
"""TaskCreated and TaskValidated."""


class NewTasks:
    """
    The tasks of a new plan, made one by one whenever they are asked for.

    Iterating again gives the same tasks again: a store may have to try twice.
    """

    def __init__(self, draft: Draft, *, plan_id: PlanId, now: datetime, first_arrival: int, facts: StoreFacts) -> None:
        self._configs = draft.configs
        self._names: Sequence[tuple[str, ...]] = draft.stage_names
        if draft.catalogue is not None:
            self._names = (tuple(stage.name for stage in draft.catalogue.stages),)
        self._plan_id = plan_id
        self._plan_version = draft.plan_version
        self._first_arrival = first_arrival
        queues = draft.rules.on_conflict is OnConflict.WAIT
        self._waiting = frozenset(key for key, tenant in facts.tenants.items() if queues and is_taken(tenant))
        self._with_last_known_good = frozenset(
            key for key, tenant in facts.tenants.items() if tenant.last_known_good is not None
        )
        self._now = now

    def __len__(self) -> int:
        return len(self._configs)

    def __iter__(self) -> Iterator[NewTask]:
        names = self._names
        same = len(names) == 1
        for index, config in enumerate(self._configs):
            yield self._new_task(index, config, names[0] if same else names[index])

    def _new_task(self, index: int, config: TenantDeployConfigSnapshot, stage_names: tuple[str, ...]) -> NewTask:
        source = config.source_tenant_deploy_config
        if source is not None and source.source_tenant_deploy_config is not None:
            source = replace(source, source_tenant_deploy_config=None)
        tenant_id = TenantId(config.tenant_id)
        task = TaskAggregate(
            key=TaskKey(self._plan_id, index + 1),
            tenant_id=tenant_id,
            status=TaskStatus.PENDING,
            stage_names=stage_names,
            marks=(0,) * len(stage_names),
            created_at=self._now,
            updated_at=self._now,
            sequence_id=EVENTS_PER_TASK,
            version=1,
            lock_held=tenant_id not in self._waiting,
            previous_known=source is not None or tenant_id in self._with_last_known_good,
            arrival=self._first_arrival + index,
        )
        planned = TenantDeployConfigSnapshot(
            tenant_id=config.tenant_id,
            deploy_unit_id=config.deploy_unit_id,
            deploy_unit_version=config.deploy_unit_version,
            deploy_unit_name=config.deploy_unit_name,
            network_endpoints=config.network_endpoints,
            nacos_name_space=config.nacos_name_space,
            default_flag=config.default_flag,
            called_number_rules=config.called_number_rules,
            trunk_group=config.trunk_group,
            plan_id=self._plan_id,
            plan_version=self._plan_version,
            source_tenant_deploy_config=source,
        )
        return NewTask(task=task, config=planned, events=_first_events(task, index * EVENTS_PER_TASK + 1))


def _first_events(task: TaskAggregate, position: int) -> tuple[Event, Event]:
    created = Event(
        type=EventType.TASK_CREATED,
        plan_id=task.key.plan_id,
        key=task.key,
        tenant_id=task.tenant_id,
        sequence_id=1,
        position=position,
        timestamp=task.created_at,
        status=TaskStatus.CREATED,
        current_stage=None,
        completed=0,
        total=len(task.stage_names),
        data=NO_DATA,
    )
    validated = Event(
        type=EventType.TASK_VALIDATED,
        plan_id=task.key.plan_id,
        key=task.key,
        tenant_id=task.tenant_id,
        sequence_id=2,
        position=position + 1,
        timestamp=task.created_at,
        status=TaskStatus.PENDING,
        current_stage=None,
        completed=0,
        total=len(task.stage_names),
        data=NO_DATA,
    )
    return created, validated
