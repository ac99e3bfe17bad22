"""A store that is ill: each row of the table is one test. It delays, and nothing is lost."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from switchover import ExecutorSettings
from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.bootstrap import Executor, StoreOutage, open_executor
from switchover.domain.plan import PlanStatus
from switchover.domain.stage import StageStep, TaskRuntimeContext
from switchover.domain.task import PlanId, TaskStatus
from switchover.errors import StepError, StoreConflictError, StoreUnavailableError
from switchover.stages.service import CompositeServiceStage
from switchover.testing.clock import ManualClock
from switchover.testing.fakes import FaultyStore
from switchover.testing.faults import Fault, RandomFaults
from tests.support.fault_table import STORE
from tests.support.harness import Rig, config_of, open_rig
from tests.support.small_disk import fill, small_disk

NOT_DONE = (Fault.BEFORE, Fault.LOCKED, Fault.DURING, Fault.DISK_FULL)
PLAN = PlanId(100)
LONG_SECONDS = 600.0


def row(key: str) -> Callable[..., object]:
    """Says which row of the table a test is about."""
    assert key in {row.key for row in STORE}
    TESTED.add(key)
    return pytest.mark.parametrize("row", [key])


TESTED: set[str] = set()


def test_every_row_is_tested() -> None:
    assert {row.key for row in STORE} == TESTED


@asynccontextmanager
async def faulty_rig(step_timeout_seconds: float = 60) -> AsyncIterator[tuple[Rig, FaultyStore]]:
    """A rig whose store fails when the test wants it to."""
    async with open_rig("A", "B", step_timeout_seconds=step_timeout_seconds) as rig:
        faulty = FaultyStore(inner=rig.store.inner, clock=rig.clock)
        rig.store.inner = faulty
        try:
            yield rig, faulty
        finally:
            faulty.heal()


async def _settled(rig: Rig, faulty: FaultyStore) -> PlanStatus:
    """Let time pass until the plan is settled; what is durable is looked up past the faults."""
    assert rig.clock is not None
    for _ in range(1000):
        await rig.clock.advance(1)
        plan = await faulty.inner.load_plan(PLAN)
        if plan is not None and plan.status.is_settled:
            return plan.status
    message = f"the plan did not settle; executed: {rig.script.done()}"
    raise AssertionError(message)


def _outage_of(rig: Rig) -> StoreOutage | None:
    return rig.executor.store_outage


async def _story(rig: Rig) -> list[str]:
    return [text for text in await rig.whole_story() if not text.endswith("TaskHeartbeat")]


async def _undisturbed() -> list[str]:
    async with faulty_rig() as (rig, faulty):
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1", "t2", max_concurrency=1)
        await _settled(rig, faulty)
        return await _story(rig)


@row("commit")
@pytest.mark.parametrize("fault", NOT_DONE, ids=lambda fault: fault.name)
@pytest.mark.parametrize("number", range(1, 8))
async def test_whatever_happens_to_any_commit_changes_nothing_but_the_time(row: str, fault: Fault, number: int) -> None:
    wanted = await _undisturbed()
    async with faulty_rig() as (rig, faulty):
        assert rig.clock is not None
        rig.script.fail("t1", "B", times=1)
        faulty.faults[number] = fault
        await rig.clock.run(rig.create("t1", "t2", max_concurrency=1))
        await _settled(rig, faulty)
        assert not faulty.faults, "the fault was met"
        assert await _story(rig) == wanted


@row("lost")
@pytest.mark.parametrize("number", range(1, 8))
async def test_an_answer_that_is_lost_at_any_commit_changes_nothing_but_the_time(row: str, number: int) -> None:
    wanted = await _undisturbed()
    async with faulty_rig() as (rig, faulty):
        assert rig.clock is not None
        rig.script.fail("t1", "B", times=1)
        faulty.faults[number] = Fault.AFTER
        await rig.clock.run(rig.create("t1", "t2", max_concurrency=1))
        await _settled(rig, faulty)
        assert not faulty.faults, "the fault was met"
        assert await _story(rig) == wanted
        assert rig.executor.driver_failure is None


@row("chance")
@pytest.mark.parametrize("seed", range(12))
async def test_a_third_of_all_calls_may_fail(row: str, seed: int) -> None:
    wanted = await _undisturbed()
    async with faulty_rig() as (rig, faulty):
        rig.script.fail("t1", "B", times=1)
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        faulty.chance = RandomFaults(seed=seed, rate=0.35, faults=tuple(Fault))
        rig.script.release("t1", "A")
        await _settled(rig, faulty)
        faulty.heal()
        assert await _story(rig) == wanted


@row("slow")
async def test_a_slow_store_is_waited_for(row: str) -> None:
    wanted = await _undisturbed()
    async with faulty_rig() as (rig, faulty):
        assert rig.clock is not None
        rig.script.fail("t1", "B", times=1)
        faulty.slow(30, "commit", times=None)
        await rig.clock.run(rig.create("t1", "t2", max_concurrency=1))
        await _settled(rig, faulty)
        faulty.heal()
        assert await _story(rig) == wanted


@row("long")
async def test_a_store_that_is_away_for_long_holds_everything_and_says_so(row: str) -> None:
    tenants = [f"t{number}" for number in range(1, 6)]
    async with faulty_rig(step_timeout_seconds=10 * LONG_SECONDS) as (rig, faulty):
        assert rig.clock is not None
        for tenant in ("t1", "t2"):
            rig.script.block(tenant, "A")
        await rig.create(*tenants, max_concurrency=2)
        await rig.entered("t1", "A")
        await rig.entered("t2", "A")
        assert _outage_of(rig) is None
        began = rig.clock.now()
        faulty.away = True
        waiting = asyncio.ensure_future(rig.executor.wait_for_plan(PLAN))
        rig.script.release("t1", "A")
        await rig.clock.advance(LONG_SECONDS)
        assert rig.script.done() == ["t1 A", "t2 A"], "nothing starts, and nothing that has ended goes on"
        outage = _outage_of(rig)
        assert outage is not None
        assert (outage.since - began).total_seconds() <= 10, "it was seen with the first commit"
        assert "away" in outage.reason
        assert outage.attempts > 250
        assert len(rig.driver.commits._waiting) <= 2, "heartbeats do not pile up"
        assert not waiting.done(), "whoever waits for the plan waits on"
        faulty.away = False
        rig.script.release("t2", "A")
        await rig.clock.advance(10)
        assert (await waiting).status is PlanStatus.COMPLETED
        assert _outage_of(rig) is None
        assert sorted(rig.script.done()) == sorted(f"{tenant} {stage}" for tenant in tenants for stage in "AB")
        beats = [text for text in await rig.whole_story() if text.endswith("TaskHeartbeat")]
        assert len(beats) <= 4


@row("events")
async def test_whoever_follows_events_misses_nothing(row: str) -> None:
    async with faulty_rig() as (rig, faulty):
        assert rig.clock is not None
        seen: list[int] = []

        async def follow() -> None:
            async for event in rig.executor.events(PLAN):
                seen.append(event.position)  # noqa: PERF401  # what is seen so far counts

        following = asyncio.ensure_future(follow())
        faulty.fail("load_events", times=3)
        await rig.create("t1", "t2")
        await _settled(rig, faulty)
        await rig.clock.advance(5)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert faulty.calls["load_events"] > 3
        assert seen == [event.position for event in await rig.events()]


@row("request")
async def test_a_request_is_answered_when_it_is_durable_or_told_that_it_waits(row: str) -> None:
    async with faulty_rig() as (rig, faulty):
        assert rig.clock is not None
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        faulty.fail("commit", times=None, seconds=5)
        asked = asyncio.ensure_future(rig.ask("pause", "t1"))
        await rig.clock.advance(4)
        assert not asked.done()
        await rig.clock.advance(4)
        assert (await asked).success
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)


@row("start")
@pytest.mark.parametrize("method", ["open", "acquire_driver", "load_state", "load_live"])
async def test_a_store_that_is_away_at_the_start_is_an_error_and_the_next_start_succeeds(row: str, method: str) -> None:
    inner = MemoryExecutionStore()
    store = FaultyStore(inner=inner)
    clock = ManualClock()
    steps = Steps()
    async with open_executor("memory://", stage_factory=steps.factory, clock=clock, store=store) as executor:
        steps.gate.clear()
        await _create(executor)
    store.fail(method)
    with pytest.raises(StoreUnavailableError):
        async with open_executor("memory://", stage_factory=steps.factory, clock=clock, store=store):
            pass
    steps.gate.set()
    async with open_executor("memory://", stage_factory=steps.factory, clock=clock, store=store) as executor:
        assert executor.driving
        await clock.settle()
        assert (await executor.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED


@row("conflict")
async def test_a_store_that_somebody_else_drives_ends_the_driving(row: str) -> None:
    async with open_rig("A", "B", judged=False) as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        rig.store.cut_off()
        waiting = asyncio.ensure_future(rig.executor.wait_for_plan(PLAN))
        rig.script.release("t1", "A")
        await rig.quiet()
        with pytest.raises(StoreConflictError):
            await waiting
        assert rig.script.done() == ["t1 A"]


# --- what steps see ------------------------------------------------------------------------------------------------


@dataclass
class Steps:
    """One stage ``one`` and one ``two``; each step waits for the gate, keeps a pre-image, and then writes."""

    name: str = "write"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    began: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    before_keeping: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.gate.set()

    async def execute(self, context: TaskRuntimeContext) -> None:
        self.began.append(context.stage)
        self.entered.set()
        await self.gate.wait()
        if self.before_keeping is not None:
            self.before_keeping()
        await context.pre_images.keep("place", b"old")
        self.written.append(context.stage)

    def factory(self, config: object) -> Sequence[CompositeServiceStage]:
        steps: Sequence[StageStep] = [self]
        return [CompositeServiceStage(name, steps) for name in ("one", "two")]


async def _create(executor: Executor) -> None:
    result = await executor.facade.create_switch_task([config_of("t1")], options={"plan_id": PLAN})
    assert result.success, result.message


@row("deadline")
@pytest.mark.parametrize("method", ["commit", "load_pre_images"])
async def test_a_step_writes_nothing_before_its_pre_image_is_durable_and_that_time_is_not_its_own(
    row: str, method: str
) -> None:
    """Pre-images are read where an earlier run began the stage, hence a first run that fails."""
    clock = ManualClock()
    store = FaultyStore(inner=MemoryExecutionStore(), clock=clock)
    steps = Steps()

    def fail() -> None:
        steps.before_keeping = store_goes_away
        message = "the first run fails before it keeps anything"
        raise StepError(message)

    def store_goes_away() -> None:
        steps.before_keeping = None
        store.fail(method, times=None, seconds=600)

    steps.before_keeping = fail
    settings = ExecutorSettings(step_timeout_seconds=60)
    async with open_executor(
        "memory://", settings=settings, stage_factory=steps.factory, clock=clock, store=store, grace_seconds=0
    ) as executor:
        await _create(executor)
        await clock.settle()
        assert (await executor.facade.retry_task_by_tenant("t1", from_checkpoint=True)).success
        await clock.advance(590)
        assert steps.began == ["one", "one"]
        assert steps.written == []
        await clock.advance(20)
        assert (await executor.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED
        assert steps.written == ["one", "two"]


async def test_a_step_that_hangs_by_itself_still_meets_its_deadline_after_an_outage() -> None:
    clock = ManualClock()
    store = FaultyStore(inner=MemoryExecutionStore(), clock=clock)

    class Hangs:
        name = "hangs"

        async def execute(self, context: TaskRuntimeContext) -> None:
            store.fail("commit", times=None, seconds=600)
            await context.pre_images.keep("place", b"old")
            await asyncio.Event().wait()

    async with open_executor(
        "memory://",
        settings=ExecutorSettings(step_timeout_seconds=60),
        stage_factory=lambda _: [CompositeServiceStage("one", [Hangs()])],
        clock=clock,
        store=store,
        grace_seconds=0,
    ) as executor:
        await _create(executor)
        await clock.advance(650)
        task = await executor.facade.query_task_status_by_tenant("t1")
        assert task.status is TaskStatus.RUNNING
        await clock.advance(30)
        task = await executor.facade.query_task_status_by_tenant("t1")
        assert task.failure_info is not None
        assert str(task.failure_info.error_code) == "STEP_TIMEOUT"


# --- real ones -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def on_disk(path: Path, steps: Steps) -> AsyncIterator[Executor]:
    store = SqliteExecutionStore(path, busy_timeout_seconds=0.05)
    async with open_executor(
        f"sqlite:///{path}", stage_factory=steps.factory, store=store, grace_seconds=0
    ) as executor:
        steps.gate.clear()
        await _create(executor)
        async with asyncio.timeout(30):
            await steps.entered.wait()
        yield executor


async def _outage(executor: Executor, attempts: int) -> str:
    """Wait until the store has refused so many commits; why."""
    async with asyncio.timeout(30):
        while True:
            outage = executor.store_outage
            if outage is not None and outage.attempts >= attempts:
                return outage.reason
            await asyncio.sleep(0.01)


async def _and_back(executor: Executor, steps: Steps) -> None:
    assert (await executor.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED
    assert executor.store_outage is None
    assert steps.written == ["one", "two"]
    assert list(await executor.store.check()) == []


@row("locked")
async def test_a_database_that_another_program_locks_is_waited_for(row: str, tmp_path: Path) -> None:
    path = tmp_path / "switchover.db"
    steps = Steps()
    async with on_disk(path, steps) as executor:
        with closing(sqlite3.connect(path, isolation_level=None)) as foreign:
            foreign.execute("BEGIN EXCLUSIVE")
            steps.gate.set()
            assert "another program kept the database locked" in await _outage(executor, 3)
            assert (await executor.facade.query_plan_status(PLAN)).status is PlanStatus.RUNNING, "reading goes on"
            assert (steps.began, steps.written) == (["one"], [])
            foreign.execute("ROLLBACK")
        await _and_back(executor, steps)


@row("full")
async def test_a_disk_that_is_full_is_waited_for(row: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="2m") as disk:
        steps = Steps()
        async with on_disk(disk / "switchover.db", steps) as executor:
            ballast = fill(disk)
            steps.gate.set()
            reason = await _outage(executor, 3)
            assert "full" in reason or "system reported an error" in reason
            assert steps.began == ["one"]
            ballast.unlink()
            await _and_back(executor, steps)
