"""PlanFactory.create: what goes into the store."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given

from switchover.domain.events import EventType
from switchover.domain.plan import PlanStatus
from switchover.domain.task import PlanId, TaskKey, TaskStatus, TenantId
from switchover.dto import TenantDeployConfig
from switchover.errors import InvalidPlanError
from switchover.factory import PlanFactory, StoreFacts
from switchover.spi import NewPlan, TenantRecord
from switchover.stages.service import CompositeServiceStage
from switchover.testing import strategies
from tests.support.plans import SERVICES, config, make_factory, source

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = TenantId("a"), TenantId("b"), TenantId("c")


def create(factory: PlanFactory, configs: object, options: object = None, facts: StoreFacts | None = None) -> NewPlan:
    draft = factory.read(configs, {"services": SERVICES} if options is None else options, {"name": "w48"})
    known = StoreFacts() if facts is None else facts
    factory.validate(draft, known)
    return factory.create(draft, plan_id=PlanId(9), now=NOW, first_arrival=41, facts=known)


def test_the_plan_is_ready(factory: PlanFactory) -> None:
    new = create(factory, [config("a"), config("b"), config("c")], {"services": SERVICES, "planVersion": 7})
    plan = new.plan
    assert (plan.plan_id, plan.status, plan.plan_version, plan.name) == (9, PlanStatus.READY, 7, "w48")
    assert (plan.total, plan.unsettled, plan.counts) == (3, 3, {TaskStatus.PENDING: 3})
    assert (plan.version, plan.sequence_id, plan.position, plan.run) == (1, 0, 6, 0)
    assert (plan.created_at, plan.updated_at, plan.started_at) == (NOW, NOW, None)
    assert (new.idempotency_key, new.content_digest) == (None, "")


def test_the_tasks_are_pending_in_the_order_given(factory: PlanFactory) -> None:
    tasks = [new.task for new in create(factory, [config("a"), config("b")]).tasks]
    assert [(task.task_id, task.tenant_id, task.arrival) for task in tasks] == [("9-1", "a", 41), ("9-2", "b", 42)]
    first = tasks[0]
    assert (first.status, first.sequence_id, first.version, first.generation) == (TaskStatus.PENDING, 2, 1, 0)
    assert (first.stage_names, first.marks) == (("gateway", "media"), (0, 0))
    assert first.stage_names is tasks[1].stage_names
    assert first.lock_held
    assert first.previous_known


def test_each_task_has_its_two_events_in_commit_order(factory: PlanFactory) -> None:
    events = [event for new in create(factory, [config("a"), config("b")]).tasks for event in new.events]
    assert [(event.type, event.task_id, event.sequence_id, event.position) for event in events] == [
        (EventType.TASK_CREATED, "9-1", 1, 1),
        (EventType.TASK_VALIDATED, "9-1", 2, 2),
        (EventType.TASK_CREATED, "9-2", 1, 3),
        (EventType.TASK_VALIDATED, "9-2", 2, 4),
    ]
    assert [event.status for event in events[:2]] == ["CREATED", "PENDING"]
    for event in events:
        assert (event.completed, event.total, event.current_stage, event.timestamp) == (0, 2, None, NOW)
        assert event.tenant_id in {"a", "b"}
        assert event.to_dict()["data"] == {}


def test_the_config_carries_the_plan_and_no_source_of_its_source(factory: PlanFactory) -> None:
    given = config("a", sourceTenantDeployConfig={**source(), "tenantId": "a", "sourceTenantDeployConfig": source()})
    stored = next(iter(create(factory, [given], {"services": SERVICES, "planVersion": 3}).tasks)).config
    assert (stored.plan_id, stored.plan_version) == (9, 3)
    assert stored.source_tenant_deploy_config is not None
    assert stored.source_tenant_deploy_config.source_tenant_deploy_config is None
    assert stored.network_endpoints[0].target_ip == "10.0.0.1:8080"


def test_tasks_can_be_iterated_again_and_are_the_same(factory: PlanFactory) -> None:
    tasks = create(factory, [config("a"), config("b")]).tasks
    assert list(tasks) == list(tasks)


def test_a_waiting_plan_queues_behind_owners(factory: PlanFactory) -> None:
    other = TaskKey(PlanId(1), 1)
    facts = StoreFacts(
        tenants={
            A: TenantRecord(tenant_id=A, owner=other),
            B: TenantRecord(tenant_id=B),
        }
    )
    options = {"services": SERVICES, "onConflict": "wait"}
    held = [
        new.task.lock_held for new in create(factory, [config("a"), config("b"), config("c")], options, facts).tasks
    ]
    assert held == [False, True, True]


def test_a_last_known_good_is_a_way_back(factory: PlanFactory) -> None:
    known = TenantDeployConfig.model_validate(source()).to_snapshot()
    facts = StoreFacts(tenants={A: TenantRecord(tenant_id=A, last_known_good=known), B: TenantRecord(tenant_id=B)})
    configs = [config(name, sourceTenantDeployConfig=None) for name in ("a", "b", "c")]
    assert [new.task.previous_known for new in create(factory, configs, facts=facts).tasks] == [True, False, False]


def test_stages_of_a_stage_factory_are_per_tenant() -> None:
    def stages(given: TenantDeployConfig) -> list[CompositeServiceStage]:
        return [CompositeServiceStage(f"only-{given.tenant_id}", [])]

    tasks = list(create(make_factory(stages), [config("a"), config("b")], {}).tasks)
    assert [new.task.stage_names for new in tasks] == [("only-a",), ("only-b",)]
    assert tasks[1].events[0].total == 1


def test_an_idempotency_key_comes_with_the_digest(factory: PlanFactory) -> None:
    draft = factory.read([config()], {"services": SERVICES})
    new = factory.create(draft, plan_id=PlanId(1), now=NOW, first_arrival=1, facts=StoreFacts(), idempotency_key="once")
    assert (new.idempotency_key, new.content_digest) == ("once", draft.digest)


@pytest.mark.parametrize("configs", [[], [5], [config(deployUnitId="x")]])
def test_what_was_refused_is_not_created(factory: PlanFactory, configs: object) -> None:
    draft = factory.read(configs, {"services": SERVICES})
    with pytest.raises(InvalidPlanError):
        factory.create(draft, plan_id=PlanId(1), now=NOW, first_arrival=1, facts=StoreFacts())


@given(strategies.config_lists(), strategies.options())
def test_positions_have_no_gap(configs: list[dict[str, object]], options: dict[str, object]) -> None:
    new = create(make_factory(), configs, options)
    tasks = list(new.tasks)
    positions = [event.position for item in tasks for event in item.events]
    assert positions == list(range(1, new.plan.position + 1))
    assert [item.task.key.ordinal for item in tasks] == list(range(1, len(configs) + 1))
    for item, given_config in zip(tasks, configs, strict=True):
        expected = TenantDeployConfig.model_validate(given_config).to_snapshot()
        assert replace(item.config, plan_id=None, plan_version=None) == replace(
            expected, plan_id=None, plan_version=None
        )
