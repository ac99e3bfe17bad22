"""Drivers and workers as processes of their own, over one PostgreSQL database: what no crash of either may break."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from switchover import PlanStatus, TaskStatus
from switchover.bootstrap import Executor, open_executor
from switchover.dispatch import Dispatching, WorkerInfo
from switchover.domain.events import Event, EventType
from tests.support.driving_program import STAGES, stages_of
from tests.support.event_grammar import assert_legal_log
from tests.support.postgres import run_sql
from tests.support.processes import Program, start

pytestmark = pytest.mark.slow

PLAN = 5
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, order=True)
class Execution:
    """One stage of a tenant, as one process carried it out."""

    tenant: str
    stage: str
    generation: int
    pid: int
    ended: bool


@dataclass
class Fleet:
    """The processes of one test, and what their steps have written down."""

    url: str
    folder: Path
    repository: Path
    stack: ExitStack = field(default_factory=ExitStack)
    started: int = 0

    def _start(self, role: str, *arguments: str, env: dict[str, str] | None = None) -> Program:
        self.started += 1
        log = self.folder / f"{self.started}-{role}.log"
        argv: list[str | Path] = [sys.executable, "-m", "tests.support.distributed_program", role, self.url]
        program = start([*argv, self.folder, *arguments], log=log, cwd=self.repository, env=env)
        self.stack.callback(program.stop)
        return program

    async def driver(self, *, patient: bool = True) -> Program:
        """``patient``: it takes no worker for dead, however busy the machine is."""
        program = self._start("driver", env={"SWITCHOVER_WORKER_TIMEOUT_SECONDS": "600"} if patient else None)
        await self.until(lambda: str(program.pid) in self.opened(), program)
        return program

    async def worker(self, concurrency: int = 8, *, grace: int = 600) -> Program:
        program = self._start("worker", str(concurrency), str(grace))
        await self.until(lambda: str(program.pid) in self.opened(), program)
        return program

    def opened(self) -> list[str]:
        path = self.folder / "opened"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    async def until(self, condition: Callable[[], bool], program: Program | None = None) -> None:
        """A fact that another process brings about."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not condition():  # noqa: ASYNC110  # another process brings it about
                    await asyncio.sleep(0.01)
        except TimeoutError:
            logs = [path.read_text()[-1500:] for path in sorted(self.folder.glob("*.log"))]
            raise AssertionError([self.executions(), program and program.tail(), *logs]) from None

    def open_gate(self, name: str) -> None:
        (self.folder / "gates" / name).touch()

    def executions(self) -> list[Execution]:
        """In the order of time."""
        path = self.folder / "executions"
        lines = path.read_text().splitlines() if path.exists() else []
        fields = [line.split() for line in lines]
        return [Execution(t, stage, int(g), int(pid), moment == "end") for t, stage, g, pid, moment in fields]

    def begun(self, tenant: str, stage: str, generation: int = 1) -> Execution | None:
        """When it has."""
        wanted = (tenant, stage, generation, False)
        return next((e for e in self.executions() if (e.tenant, e.stage, e.generation, e.ended) == wanted), None)

    def times(self) -> Counter[tuple[str, str]]:
        """How often each stage of each tenant was begun."""
        return Counter((e.tenant, e.stage) for e in self.executions() if not e.ended)


@pytest.fixture
def fleet(postgres_url: str, tmp_path: Path, repository: Path) -> Iterator[Fleet]:
    (tmp_path / "gates").mkdir()
    made = Fleet(postgres_url, tmp_path, repository)
    with made.stack:
        yield made


@asynccontextmanager
async def follower(fleet: Fleet) -> AsyncIterator[Executor]:
    """Somebody who asks and watches, and never drives."""
    async with open_executor(
        fleet.url, stage_factory=lambda config: stages_of(fleet.folder, config), mode="read"
    ) as executor:
        yield executor


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


async def create(here: Executor, *tenants: str, concurrency: int = 10) -> None:
    created = await here.facade.create_switch_task(
        configs(*tenants), options={"planId": PLAN, "maxConcurrency": concurrency}
    )
    assert created.success, created.message


async def workers(here: Executor) -> list[WorkerInfo]:
    assert isinstance(here.store, Dispatching)
    return list(await here.store.dispatch.workers())


async def settles(here: Executor) -> PlanStatus | None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        return (await here.wait_for_plan(PLAN)).status


async def log_of(here: Executor) -> list[Event]:
    return [event async for event in here.events(PLAN, follow=False)]


async def assert_sound(fleet: Fleet, here: Executor) -> None:
    """The log is legal and without gap, the store sound, and nobody is left with anything."""
    log = await log_of(here)
    assert_legal_log(log, stages=list(STAGES))
    assert [event.position for event in log] == list(range(1, len(log) + 1))
    assert list(await here.store.check()) == []
    assert await run_sql(fleet.url, "SELECT * FROM stage_order") == []


async def test_workers_share_the_tasks_of_a_plan(fleet: Fleet) -> None:
    await fleet.driver()
    one, two = await fleet.worker(3), await fleet.worker(3)
    tenants = [f"t{number}" for number in range(6)]
    async with follower(fleet) as here:
        await create(here, *tenants)
        await fleet.until(lambda: len(fleet.executions()) == len(tenants))
        assert Counter(e.pid for e in fleet.executions()) == {one.pid: 3, two.pid: 3}, "neither takes more than it may"
        assert [worker.tasks for worker in await workers(here)] == [3, 3]
        fleet.open_gate("all")
        assert await settles(here) is PlanStatus.COMPLETED
        assert fleet.times() == {(tenant, stage): 1 for tenant in tenants for stage in STAGES}
        assert (await here.facade.rollback_task_by_plan(PLAN)).success
        assert await settles(here) is PlanStatus.ROLLED_BACK
        await assert_sound(fleet, here)


async def test_what_a_killed_worker_had_begins_again_elsewhere_under_a_higher_generation(fleet: Fleet) -> None:
    await fleet.driver(patient=False)
    first = await fleet.worker()
    async with follower(fleet) as here:
        await create(here, "a", "b")
        fleet.open_gate("a.one")
        await fleet.until(lambda: bool(fleet.begun("a", "two") and fleet.begun("b", "one")))
        second = await fleet.worker()
        first.kill()
        await fleet.until(lambda: bool(fleet.begun("a", "two", 2) and fleet.begun("b", "one", 2)))
        fleet.open_gate("all")
        assert await settles(here) is PlanStatus.COMPLETED
        assert fleet.times() == {("a", "one"): 1, ("a", "two"): 2, ("b", "one"): 2, ("b", "two"): 1}
        assert {e.pid for e in fleet.executions() if e.generation == 2} == {second.pid}
        again = [event for event in await log_of(here) if event.data.get("recovered")]
        assert [event.type for event in again] == [EventType.TASK_STAGE_STARTED] * 2
        await assert_sound(fleet, here)


async def test_a_worker_that_was_frozen_can_say_nothing_any_more_and_begins_again_as_a_new_one(fleet: Fleet) -> None:
    await fleet.driver(patient=False)
    first = await fleet.worker()
    async with follower(fleet) as here:
        await create(here, "a")
        await fleet.until(lambda: fleet.begun("a", "one") is not None)
        first.send(signal.SIGSTOP)
        second = await fleet.worker()
        await fleet.until(lambda: fleet.begun("a", "one", 2) is not None)
        known = {worker.worker for worker in await workers(here)}
        first.send(signal.SIGCONT)
        # Taken for dead, it lets go of what it had, and becomes known under another number.
        await fleet.until(lambda: "taken for dead" in first.output())
        while not {worker.worker for worker in await workers(here)} - known:  # noqa: ASYNC110  # as ``until``
            await asyncio.sleep(0.01)
        fleet.open_gate("all")
        assert await settles(here) is PlanStatus.COMPLETED
        assert [e.pid for e in fleet.executions() if e.ended] == [second.pid, second.pid]
        second.stop()
        assert (await here.facade.rollback_task_by_tenant("a")).success
        assert await settles(here) is PlanStatus.ROLLED_BACK, "the one that was frozen works again"
        await assert_sound(fleet, here)


async def test_the_end_of_a_driver_interrupts_no_stage(fleet: Fleet) -> None:
    first = await fleet.driver()
    await fleet.worker()
    async with follower(fleet) as here:
        await create(here, "a", "b", "c", concurrency=2)
        await fleet.until(lambda: bool(fleet.begun("a", "one") and fleet.begun("b", "one")))
        second = await fleet.driver()
        first.kill()
        fleet.open_gate("a.one")
        await fleet.until(lambda: fleet.begun("a", "two") is not None)
        assert second.is_running
        assert fleet.begun("c", "one") is None, "the limit holds over drivers"
        fleet.open_gate("all")
        assert await settles(here) is PlanStatus.COMPLETED
        assert set(fleet.times().values()) == {1}
        assert {e.generation for e in fleet.executions()} == {1}
        await assert_sound(fleet, here)


async def test_all_workers_are_replaced_one_by_one_without_a_failed_or_repeated_stage(fleet: Fleet) -> None:
    await fleet.driver()
    old = [await fleet.worker(4) for _ in range(3)]
    tenants = [f"t{number}" for number in range(9)]
    async with follower(fleet) as here:
        await create(here, *tenants)
        await fleet.until(lambda: len(fleet.executions()) == len(tenants))
        for worker in old:
            await fleet.worker(9)
            worker.send(signal.SIGTERM)
            # It waits for the stages that it has, and gives the rest of their runs back.
            had = [e for e in fleet.executions() if e.pid == worker.pid]
            assert had
            for execution in had:
                fleet.open_gate(f"{execution.tenant}.{execution.stage}")
            await asyncio.to_thread(worker.wait)
        fleet.open_gate("all")
        assert await settles(here) is PlanStatus.COMPLETED
        assert fleet.times() == {(tenant, stage): 1 for tenant in tenants for stage in STAGES}
        assert {e.generation for e in fleet.executions()} == {1}
        assert len({e.pid for e in fleet.executions()}) > len(old), "the new ones went on where the old ones left off"
        await assert_sound(fleet, here)


async def test_a_stage_that_does_not_end_before_its_worker_has_to_go_begins_again(fleet: Fleet) -> None:
    await fleet.driver()
    first = await fleet.worker(grace=0)
    async with follower(fleet) as here:
        await create(here, "a")
        await fleet.until(lambda: fleet.begun("a", "one") is not None)
        await fleet.worker()
        first.send(signal.SIGTERM)
        await fleet.until(lambda: fleet.begun("a", "one", 2) is not None)
        fleet.open_gate("all")
        assert await settles(here) is PlanStatus.COMPLETED
        await assert_sound(fleet, here)


async def test_wiped_job_tables_lose_nothing(fleet: Fleet) -> None:
    await fleet.driver()
    async with follower(fleet) as here:
        await create(here, "a", "b")
        worker = await fleet.worker(1)
        await fleet.until(lambda: len(fleet.executions()) == 1)
        for table in ("procrastinate_jobs", "procrastinate_workers"):
            await run_sql(fleet.url, f"DELETE FROM {table}")
        fleet.open_gate("all")
        assert await settles(here) is PlanStatus.COMPLETED
        assert worker.is_running
        assert fleet.times() == {(tenant, stage): 1 for tenant in ("a", "b") for stage in STAGES}
        await assert_sound(fleet, here)


async def test_requests_of_anybody_reach_what_workers_carry_out(fleet: Fleet) -> None:
    await fleet.driver()
    await fleet.worker()
    async with follower(fleet) as here:
        await create(here, "a", "b", "c", "d", concurrency=3)
        await fleet.until(lambda: len(fleet.executions()) == 3)
        assert (await here.facade.pause_task_by_tenant("a")).success
        assert (await here.facade.cancel_task_by_tenant("b")).success
        assert (await here.facade.rollback_task_by_tenant("c")).success
        fleet.open_gate("all")
        info = await here.wait_for_plan(PLAN)
        wanted = {TaskStatus.PAUSED, TaskStatus.CANCELLED, TaskStatus.ROLLED_BACK, TaskStatus.COMPLETED}
        assert set(info.counts) == wanted
        assert (await here.facade.resume_task_by_tenant("a")).success
        await settles(here)
        assert (await here.facade.query_task_status_by_tenant("a")).status is TaskStatus.COMPLETED
        assert set(fleet.times().values()) <= {1, 2}
        await assert_sound(fleet, here)
