"""Several processes on one database file: one drives, the others read, ask and wait for their turn. Lesson 9."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from switchover import ExecutorSettings, PlanStatus, TaskStatus
from switchover.bootstrap import Executor, open_executor
from switchover.domain.task import PlanId
from tests.support.driving_program import STAGES, stages_of
from tests.support.event_grammar import assert_legal_log
from tests.support.processes import Program, running, wait_until

pytestmark = pytest.mark.slow

PLAN = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gates").mkdir()
    return tmp_path


@contextmanager
def driver(repository: Path, folder: Path, number: int = 1) -> Iterator[Program]:
    argv: list[str | Path] = [sys.executable, "-m", "tests.support.driving_program", folder]
    with running(argv, log=folder / f"driver-{number}.log", cwd=repository) as program:
        wait_until(lambda: str(program.pid) in opened(folder), what=f"the driver; {program.tail()}")
        yield program


@asynccontextmanager
async def executor(folder: Path) -> AsyncIterator[Executor]:
    url = f"sqlite:///{folder}/switchover.db"
    async with open_executor(
        url, settings=ExecutorSettings(), stage_factory=lambda config: stages_of(folder, config), grace_seconds=0
    ) as opened_here:
        yield opened_here


def opened(folder: Path) -> dict[str, str]:
    """Who drove and who followed when it opened the store, by process id."""
    path = folder / "opened"
    return dict(line.split(maxsplit=1) for line in path.read_text().splitlines()) if path.exists() else {}


def configs(*tenants: str) -> list[dict[str, Any]]:
    return [
        {
            "tenantId": tenant,
            "deployUnitId": 2,
            "deployUnitVersion": 42,
            "sourceTenantDeployConfig": {"tenantId": tenant, "deployUnitId": 1, "deployUnitVersion": 41},
        }
        for tenant in tenants
    ]


def open_gate(folder: Path, name: str) -> None:
    (folder / "gates" / name).touch()


def executions(folder: Path) -> list[tuple[str, str, int, int, str]]:
    """Tenant, stage, generation, process and moment of everything that ran, in the order of time."""
    path = folder / "executions"
    lines = path.read_text().splitlines() if path.exists() else []
    fields = [line.split() for line in lines]
    return [(tenant, stage, int(generation), int(pid), moment) for tenant, stage, generation, pid, moment in fields]


def began(folder: Path, tenant: str, stage: str, generation: int) -> bool:
    return any(seen[:3] == (tenant, stage, generation) and seen[4] == "begin" for seen in executions(folder))


def assert_generations_never_interleave(folder: Path) -> None:
    """Once a higher generation of a tenant has touched the target, no lower one does; and each has one process."""
    highest: dict[str, int] = {}
    owners: dict[tuple[str, int], int] = {}
    for tenant, _, generation, pid, _ in executions(folder):
        assert generation >= highest.get(tenant, 0), executions(folder)
        highest[tenant] = generation
        assert owners.setdefault((tenant, generation), pid) == pid, executions(folder)


async def assert_sound(here: Executor, plan_id: int = PLAN) -> None:
    log = [event async for event in here.events(plan_id, follow=False)]
    assert_legal_log(log, stages=list(STAGES))
    assert [event.position for event in log] == list(range(1, len(log) + 1))
    assert list(await here.store.check()) == []


async def until(condition: Any) -> None:  # noqa: ANN401  # a callable, awaited or not
    """A fact that another process brings about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


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
