"""A store that is away at the worst moment: delays, and nothing else."""

from collections.abc import Iterator

import pytest

from switchover.domain.task import PlanId, TaskKey
from switchover.errors import StoreUnavailableError
from tests.stateful.world import World, memory_store

STAGES = ("one", "two")


@pytest.fixture
def world() -> Iterator[World]:
    world = World(memory_store)
    world.start()
    yield world
    world.close()


def _create(world: World, *tenants: str, **options: object) -> PlanId:
    configs = [
        {"tenantId": tenant, "deployUnitId": 2, "deployUnitVersion": 42, "deployUnitName": ",".join(STAGES)}
        for tenant in tenants
    ]
    result = world.do(world.executor.facade.create_switch_task(configs, options=options))
    assert result.plan_id is not None, result
    world.note_plan(result.plan_id, STAGES, len(tenants))
    return result.plan_id


def test_a_step_that_cannot_read_its_pre_images_waits_and_the_task_goes_on(world: World) -> None:
    """Only a stage that some run began before can have pre-images, and only then are they asked for."""
    plan_id = _create(world, "a")
    first = TaskKey(plan_id, 1)
    world.open_gate(first, ok=False)
    world.settle()
    world.wire.failures["load_pre_images"] = 1
    assert world.do(world.executor.facade.retry_task_by_tenant("a", from_checkpoint=True)).success
    world.settle()
    assert world.wire.failures["load_pre_images"] == 0, "the outage was met"
    assert world.gates[first].stage == "one"


def test_a_stage_that_no_run_began_before_does_not_ask_for_pre_images(world: World) -> None:
    world.wire.failures["load_pre_images"] = 1
    plan_id = _create(world, "a")
    first = TaskKey(plan_id, 1)
    for stage in STAGES:
        assert world.gates[first].stage == stage
        world.open_gate(first, ok=True)
        world.settle()
    assert world.wire.failures["load_pre_images"] == 1, "nobody read"


def test_a_start_that_cannot_read_lets_go_of_the_lease_and_can_be_tried_again(world: World) -> None:
    plan_id = _create(world, "a")
    before = world.executor

    async def die_and_fail_to_start() -> None:
        await before.stop()
        world.gates.clear()
        world.wire.failures["load_state"] = 1
        with pytest.raises(StoreUnavailableError):
            await before.start()
        driver = await world.inner.driver()
        assert driver is not None
        assert not driver.alive
        await before.start()

    world.loop.run_until_complete(die_and_fail_to_start())
    world.settle()
    assert world.executor.driving
    assert world.gates[TaskKey(plan_id, 1)].generation == 2


def test_a_follower_that_cannot_read_takes_over_when_it_can(world: World) -> None:
    plan_id = _create(world, "a")
    follower = world.second_executor()
    world.loop.run_until_complete(follower.start())
    follower_wire = world.wires[-1]
    follower_wire.failures["load_state"] = 1
    world.loop.run_until_complete(world.executor.stop())
    world.gates.clear()
    world.advance(1.0)
    assert follower_wire.failures["load_state"] == 0, "the outage was met"
    assert follower.driving
    assert world.gates[TaskKey(plan_id, 1)].generation == 2


def test_a_line_that_starts_during_an_outage_resumes_what_it_held(world: World) -> None:
    plan_id = _create(world, "a", "b", maxConcurrency=2)
    world.do(world.executor.facade.stop_line("a test"))
    for key in list(world.gates):
        world.open_gate(key, ok=True)
    world.settle()
    assert not world.gates
    world.wire.failures["list_tasks"] = 1
    world.do(world.executor.facade.start_line())
    assert world.wire.failures["list_tasks"] == 0, "the outage was met"
    assert {key: gate.stage for key, gate in world.gates.items()} == {
        TaskKey(plan_id, 1): "two",
        TaskKey(plan_id, 2): "two",
    }
