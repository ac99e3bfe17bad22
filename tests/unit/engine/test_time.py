"""Heartbeats and deadlines on a clock that the test moves, and steps that misbehave."""

import asyncio

import pytest

from switchover.domain.events import Event, EventType
from switchover.domain.plan import PlanStatus
from switchover.domain.task import TaskStatus
from switchover.errors import ErrorCode, ErrorType
from tests.support.harness import Rig, open_rig


async def _heartbeats(rig: Rig, tenant_id: str = "t1") -> list[Event]:
    return [e for e in await rig.events() if e.type is EventType.TASK_HEARTBEAT and e.tenant_id == tenant_id]


async def _advance(rig: Rig, seconds: float) -> None:
    assert rig.clock is not None
    await rig.clock.advance(seconds)
    await rig.quiet()


# --- heartbeats ---


async def test_a_heartbeat_every_ten_seconds_the_first_after_ten_during_one_long_step() -> None:
    async with open_rig("A", "B", step_timeout_seconds=1000) as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await _advance(rig, 9.9)
        assert await _heartbeats(rig) == []
        await _advance(rig, 0.2)
        assert len(await _heartbeats(rig)) == 1
        await _advance(rig, 30)
        beats = await _heartbeats(rig)
        assert len(beats) == 4
        assert [beat.sequence_id for beat in beats] == [5, 6, 7, 8], "numbered like the rest"
        assert {(beat.status, beat.current_stage, beat.completed) for beat in beats} == {("RUNNING", "A", 0)}
        rig.script.release("t1", "A")
        await rig.settles()
        await _advance(rig, 100)
        assert len(await _heartbeats(rig)) == 4, "none when it is settled"


async def test_no_heartbeat_while_paused_and_a_fresh_interval_after_the_resume() -> None:
    async with open_rig("A", "B", step_timeout_seconds=1000) as rig:
        rig.script.block("t1", "A")
        rig.script.block("t1", "B")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await _advance(rig, 5)
        await rig.do("pause", "t1")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        await _advance(rig, 100)
        assert await _heartbeats(rig) == []
        await rig.do("resume", "t1")
        await rig.entered("t1", "B")
        await _advance(rig, 9.9)
        assert await _heartbeats(rig) == []
        await _advance(rig, 0.2)
        assert len(await _heartbeats(rig)) == 1
        rig.script.release("t1", "B")
        await rig.settles()


@pytest.mark.parametrize("on_failure", ["manual", "auto"])
async def test_a_rollback_beats_too_the_first_ten_seconds_after_it_began(on_failure: str) -> None:
    async with open_rig("A", step_timeout_seconds=1000) as rig:
        rig.script.block("t1", "A")
        rig.script.fail("t1", "A")
        rig.script.block("t1", "A", restoring=True)
        await rig.create("t1", rollback={"on_failure": on_failure})
        await rig.entered("t1", "A")
        await _advance(rig, 7)
        rig.script.release("t1", "A")
        if on_failure == "manual":
            await rig.settles()
            await rig.do("rollback", "t1")
        await rig.entered("t1", "A", restoring=True)
        await _advance(rig, 9.9)
        assert await _heartbeats(rig) == []
        await _advance(rig, 0.2)
        beats = await _heartbeats(rig)
        assert [beat.status for beat in beats] == ["ROLLING_BACK"]
        rig.script.release("t1", "A", restoring=True)
        await rig.settles()


async def test_heartbeats_are_numbered_across_a_restart() -> None:
    async with open_rig("A", step_timeout_seconds=1000) as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await _advance(rig, 21)
        await rig.restart()
        await rig.entered("t1", "A")
        await _advance(rig, 21)
        rig.script.release("t1", "A")
        await rig.settles()
        assert [beat.sequence_id for beat in await _heartbeats(rig)] == [5, 6, 8, 9], "7 is the stage, announced again"


async def test_while_a_heartbeat_is_not_durable_none_follows_it() -> None:
    async with open_rig("A") as rig:
        assert rig.clock is not None
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        rig.store.hold()
        for _ in range(6):
            await rig.clock.advance(10)
        rig.store.let_go()
        await rig.quiet()
        assert (await rig.story("t1")).count("TaskHeartbeat") == 1
        rig.script.release("t1", "A")
        await rig.settles()


async def test_the_interval_is_a_setting() -> None:
    async with open_rig("A", task_progress_interval_seconds=2, step_timeout_seconds=1000) as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await _advance(rig, 7)
        assert len(await _heartbeats(rig)) == 3
        rig.script.release("t1", "A")
        await rig.settles()


# --- deadlines ---


async def test_a_step_that_overruns_its_deadline_fails_with_a_timeout() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2")
        await rig.entered("t1", "A")
        await _advance(rig, 59)
        assert await rig.status("t1") is TaskStatus.RUNNING
        await _advance(rig, 2)
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        failure = (await rig.task("t1")).failure_info
        assert failure is not None
        assert (failure.error_code, failure.error_type) == (ErrorCode.STEP_TIMEOUT, ErrorType.TIMEOUT_ERROR)
        assert "60" in failure.message
        assert "t1" in failure.message
        rig.script.release("t1", "A")
        await rig.do("retry", "t1")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_deadline_is_per_step_and_not_per_task() -> None:
    async with open_rig("A", "B", "C", step_timeout_seconds=10) as rig:
        for stage in "ABC":
            rig.script.block("t1", stage)
        await rig.create("t1")
        for stage in "ABC":
            await rig.entered("t1", stage)
            await _advance(rig, 9)
            rig.script.release("t1", stage)
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_restore_has_the_deadline_of_its_steps() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1")
        await rig.settles()
        rig.script.block("t1", "A", restoring=True)
        await rig.do("rollback", "t1")
        await rig.entered("t1", "A", restoring=True)
        await _advance(rig, 61)
        assert await rig.settles() is PlanStatus.ROLLBACK_FAILED


# --- steps that misbehave ---


@pytest.mark.parametrize(
    "error", [ValueError("bad"), OSError("no route"), TimeoutError(), StopAsyncIteration()], ids=repr
)
async def test_whatever_a_step_raises_fails_the_task_and_leaves_nothing_behind(error: Exception) -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", error=error)
        await rig.create("t1", "t2", max_concurrency=1)
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        failure = (await rig.task("t1")).failure_info
        assert failure is not None
        assert "t1" in failure.message
        assert failure.failed_at is not None


async def test_a_step_that_is_cancelled_by_what_it_waits_for_fails_like_any_other() -> None:
    """A library that cancels its own future raises CancelledError; nobody cancelled the run."""
    async with open_rig("A") as rig:
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()

        async def perform(context: object) -> None:
            await cancelled

        rig.script.perform = perform  # type: ignore[method-assign]  # a step that misbehaves
        await rig.create("t1", "t2", max_concurrency=1)
        assert await rig.settles() is PlanStatus.FAILED
        assert (await rig.tenant("t1")).owner is None


async def test_a_restore_that_is_cancelled_by_what_it_waits_for_fails_like_any_other() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1")
        await rig.settles()
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()

        async def perform(context: object) -> None:
            await cancelled

        rig.script.perform = perform  # type: ignore[method-assign]  # a step that misbehaves
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLBACK_FAILED
