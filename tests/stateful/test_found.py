"""Defects that the machine found, each as the shortest way to it."""

import asyncio
from collections.abc import Iterator

import pytest

from switchover.domain.plan import PlanStatus
from switchover.domain.task import PlanId, TargetType, TaskKey
from switchover.engine.records import Residents
from switchover.errors import ErrorCode
from switchover.operations import OperationRequest
from tests.stateful.world import World, memory_store


@pytest.fixture
def world() -> Iterator[World]:
    world = World(memory_store)
    world.start()
    yield world
    world.close()


def create(world: World, *tenants: str, stages: tuple[str, ...] = ("one",), **options: object) -> PlanId:
    configs = [
        {
            "tenantId": tenant,
            "deployUnitId": 2,
            "deployUnitVersion": 42,
            "deployUnitName": ",".join(stages),
            "sourceTenantDeployConfig": {"tenantId": tenant, "deployUnitId": 1, "deployUnitVersion": 41},
        }
        for tenant in tenants
    ]
    result = world.do(world.executor.facade.create_switch_task(configs, options=options))
    assert result.plan_id is not None, result
    world.note_plan(result.plan_id, stages, len(tenants))
    return result.plan_id


def end_steps(world: World, *, ok: bool = True) -> None:
    for key in list(world.gates):
        world.open_gate(key, ok=ok)
    world.settle()


def test_a_rollback_by_plan_that_changes_nothing_leaves_a_settled_plan_settled(world: World) -> None:
    facade = world.executor.facade
    plan_id = create(world, "a", "b", maxConcurrency=2)
    end_steps(world)
    world.do(facade.rollback_task_by_tenant("a"))
    end_steps(world)
    create(world, "b")
    status = world.picture().plans[plan_id].status
    assert status.is_settled

    result = world.do(facade.rollback_task_by_plan(plan_id))

    assert [outcome.task_id for outcome in result.accepted] == [f"{plan_id}-1"], "rolled back already"
    assert [outcome.failure_info.error_code for outcome in result.refused if outcome.failure_info] == [
        ErrorCode.SUPERSEDED
    ]
    assert world.picture().plans[plan_id].status is status is not PlanStatus.ROLLING_BACK
    world.read_events()


def test_a_task_that_is_asked_for_twice_at_once_is_loaded_once(world: World) -> None:
    """Its place in the plan's queue and its own request may both be near; both are loaded in one call."""
    plan_id = create(world, "a", "b", maxConcurrency=1)
    key = TaskKey(plan_id, 2)

    async def load() -> list[TaskKey]:
        residents = Residents(world.inner)
        await residents.load([key, key])
        return list(residents.tasks)

    assert world.loop.run_until_complete(load()) == [key]


@pytest.mark.parametrize("by", [TargetType.TENANT, TargetType.TASK, TargetType.PLAN])
@pytest.mark.parametrize("turns", range(12))
def test_a_rollback_that_meets_the_end_of_its_task_takes_no_lock_that_has_an_heir(
    world: World, turns: int, by: TargetType
) -> None:
    """The cancel gives the lock to the next task while the rollback looks who owns it."""
    facade = world.executor.facade
    first = create(world, "a", stages=("one", "two"))
    second = create(world, "a", onConflict="wait")
    world.do(facade.pause_task_by_tenant("a"))
    end_steps(world)

    target = {TargetType.TENANT: "a", TargetType.TASK: f"{first}-1", TargetType.PLAN: str(first)}[by]

    async def at_once() -> None:
        request = OperationRequest(verb="rollback", target_type=by, target=target)
        rollback = asyncio.ensure_future(facade.operate(request))
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(rollback, facade.cancel_task(f"{first}-1"))

    world.do(at_once())
    end_steps(world)
    end_steps(world)
    assert world.executor.driver_failure is None
    picture = world.picture()
    assert all(task.status.is_settled for task in picture.tasks.values()), picture
    assert picture.tasks[TaskKey(second, 1)].started_at is not None
