"""Several processes on one database file: one drives, the others read, ask and wait for their turn. Lesson 9."""

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from switchover import PlanStatus, TaskStatus
from switchover.domain.task import PlanId
from tests.support.gated_processes import (
    PLAN,
    assert_generations_never_interleave,
    assert_sound,
    began,
    configs,
    driver,
    executions,
    executor,
    open_gate,
    opened,
    until,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gates").mkdir()
    return tmp_path


async def test_whoever_does_not_drive_reads_asks_and_hands_plans_over(repository: Path, folder: Path) -> None:
    with driver(repository, folder) as other:
        async with executor(folder) as here:
            assert not here.driving
            created = await here.facade.create_switch_task(configs("a", "b"), options={"planId": PLAN})
            assert created.success
            again = await here.facade.create_switch_task(configs("a"), options={"planId": PLAN})
            assert not again.success
            await until(lambda: began(folder, "a", "one", 1) and began(folder, "b", "one", 1))

            paused = await here.facade.pause_task_by_tenant("a")
            assert paused.success
            assert (await here.facade.query_task_status_by_tenant("a")).pending_operation == "pause"
            refused = await here.facade.retry_task_by_tenant("b", True)
            assert not refused.success
            assert refused.failure_info is not None
            assert refused.failure_info.error_code == "ILLEGAL_STATE"

            open_gate(folder, "all")
            rest = await here.wait_for_plan(PLAN)
            assert (rest.status, rest.counts) == (
                PlanStatus.RUNNING,
                {TaskStatus.PAUSED: 1, TaskStatus.COMPLETED: 1},
            )
            assert (await here.facade.resume_task_by_tenant("a")).success
            done = await here.wait_for_plan(PLAN)
            assert done.status is PlanStatus.COMPLETED
            assert {seen[3] for seen in executions(folder)} == {other.pid}, "only the driver touches targets"
            assert not here.driving
            await assert_sound(here)


async def test_the_next_process_takes_over_when_the_driver_is_killed(repository: Path, folder: Path) -> None:
    with driver(repository, folder) as other:
        async with executor(folder) as here:
            await here.facade.create_switch_task(configs("a", "b", "c"), options={"planId": PLAN, "maxConcurrency": 2})
            open_gate(folder, "a.one")
            await until(lambda: began(folder, "a", "two", 1) and began(folder, "b", "one", 1))
            assert (await here.facade.pause_task_by_tenant("b")).success
            before = await here.driver()
            assert before is not None

            other.kill()
            # Asked while nobody drives: left in the store, and decided by whoever drives next.
            held = await here.facade.pause_task_by_tenant("c")
            assert held.success
            await until(lambda: here.driving)
            after = await here.driver()
            assert after is not None
            assert after.epoch == before.epoch + 1

            await until(lambda: began(folder, "a", "two", 2) and began(folder, "b", "one", 2))
            open_gate(folder, "all")
            rest = await here.wait_for_plan(PLAN)
            assert rest.counts == {TaskStatus.COMPLETED: 1, TaskStatus.PAUSED: 1, TaskStatus.PENDING: 1}
            for tenant in ("b", "c"):
                assert (await here.facade.resume_task_by_tenant(tenant)).success
            assert (await here.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED
            assert {seen[3] for seen in executions(folder) if seen[2] == 2} == {os.getpid()}
            assert not [seen for seen in executions(folder) if seen[:3] == ("a", "one", 2)], "it was complete"
            assert_generations_never_interleave(folder)
            await assert_sound(here)


async def test_a_driver_that_is_frozen_for_a_while_harms_nothing(repository: Path, folder: Path) -> None:
    with driver(repository, folder) as other:
        async with executor(folder) as here:
            await here.facade.create_switch_task(configs("a", "b"), options={"planId": PLAN, "maxConcurrency": 1})
            await until(lambda: began(folder, "a", "one", 1))
            other.send(signal.SIGSTOP)
            open_gate(folder, "all")
            asked = asyncio.ensure_future(here.facade.pause_task_by_tenant("b"))
            # Long enough for many attempts to take over: what is frozen still holds the store.
            await asyncio.wait({asked}, timeout=1.5)
            assert not asked.done()
            assert not here.driving
            assert len(executions(folder)) == 1

            other.send(signal.SIGCONT)
            assert (await asked).success
            await here.wait_for_plan(PLAN)
            assert (await here.facade.resume_task_by_tenant("b")).success
            assert (await here.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED
            assert {seen[2] for seen in executions(folder)} == {1}, "no run began twice"
            await assert_sound(here)


async def test_of_many_processes_one_drives_and_the_last_one_finishes(repository: Path, folder: Path) -> None:
    with (
        driver(repository, folder, 1) as first,
        driver(repository, folder, 2) as second,
        driver(repository, folder, 3) as third,
    ):
        assert sorted(opened(folder).values()) == ["drives", "follows", "follows"]
        programs = {program.pid: program for program in (first, second, third)}
        async with executor(folder) as here:
            tenants = [f"t{number}" for number in range(8)]
            await here.facade.create_switch_task(configs(*tenants), options={"planId": PLAN, "maxConcurrency": 3})
            for generation in range(1, len(programs) + 2):
                await until(partial(began, folder, "t0", "one", generation))
                pid = next(seen[3] for seen in executions(folder) if seen[2] == generation)
                if pid == os.getpid():
                    break  # it was our turn
                programs[pid].kill()
            open_gate(folder, "all")
            assert (await here.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED
            info = await here.driver()
            assert info is not None
            plan = await here.store.load_plan(PlanId(PLAN))
            assert plan is not None
            assert plan.run == 1
            assert_generations_never_interleave(folder)
            await assert_sound(here)
