"""Errors that nobody foresaw: they fail the task or end the driving, and never leave work lying silently."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from switchover.domain.plan import PlanStatus
from switchover.domain.task import TaskStatus, TaskView
from switchover.engine import scheduler
from switchover.engine.boundaries import Boundaries
from switchover.engine.executor import TaskExecutor, _Run
from switchover.engine.records import Residents
from switchover.errors import DrivingError, ErrorCode, StorageError
from tests.support.harness import Rig, open_rig


def _break(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, *, times: int = 1, skip: int = 0) -> None:
    """Let some calls raise what nobody foresees."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def broken(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if skip < calls <= skip + times:
            message = "a defect on purpose"
            raise ZeroDivisionError(message)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, broken)


async def _failed_with_a_reason(rig: Rig, tenant_id: str, status: TaskStatus = TaskStatus.FAILED) -> None:
    task = await rig.task(tenant_id)
    assert task.status is status
    assert task.failure_info is not None
    assert "a defect on purpose" in task.failure_info.message
    assert (await rig.tenant(tenant_id)).owner is None


@pytest.mark.parametrize(
    ("owner", "name"),
    [(_Run, "_enter"), (_Run, "_conclude"), (Boundaries, "stage_succeeded"), (Boundaries, "_complete")],
    ids=["_enter", "_conclude", "stage_succeeded", "in the middle of a decision"],
)
async def test_a_defect_in_a_run_fails_its_task_and_no_other(
    owner: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig("A", "B") as rig:
        _break(monkeypatch, owner, name, times=2 if name == "_complete" else 1)
        await rig.create("t1", "t2", max_concurrency=1)
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        task = await rig.task("t1")
        assert task.status is TaskStatus.FAILED
        assert task.failure_info is not None
        assert task.failure_info.error_code is ErrorCode.INTERNAL_ERROR
        assert "a defect on purpose" in task.failure_info.message
        assert (await rig.task("t2")).status is TaskStatus.COMPLETED
        assert (await rig.do("retry", "t1")).success
        assert await rig.settles() is PlanStatus.COMPLETED


@pytest.mark.parametrize("name", ["_enter", "_conclude"])
async def test_a_defect_while_restoring_leaves_that_stage_unrestored_and_restores_the_others(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig("A", "B") as rig:
        await rig.create("t1")
        await rig.settles()
        _break(monkeypatch, _Run, name)
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLBACK_FAILED
        await _failed_with_a_reason(rig, "t1", TaskStatus.ROLLBACK_FAILED)
        assert (await rig.do("rollback", "t1")).success
        assert await rig.settles() is PlanStatus.ROLLED_BACK


@pytest.mark.parametrize("verb", ["start", "retry", "resume", "rollback"])
async def test_a_defect_in_a_start_fails_its_task_and_no_other(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_rig("A", "B") as rig:
        if verb == "start":
            _break(monkeypatch, Boundaries, "start")
        elif verb == "retry":
            rig.script.fail("t1", "B", times=1)
        elif verb == "resume":
            rig.script.block("t1", "A")
        await rig.create("t1", "t2")
        if verb == "resume":
            await rig.entered("t1", "A")
            await rig.do("pause", "t1")
            rig.script.release("t1", "A")
            await rig.reaches("t1", TaskStatus.PAUSED)
        elif verb != "start":
            await rig.settles()
        if verb != "start":
            _break(monkeypatch, Boundaries, "start")
            await rig.do(verb, "t1")
        await rig.settles()
        assert (await rig.task("t2")).status is TaskStatus.COMPLETED
        if verb == "rollback":  # it goes on: what was in the way is gone
            assert await rig.status("t1") is TaskStatus.ROLLED_BACK
            return
        await _failed_with_a_reason(rig, "t1")
        await rig.do("retry", "t1")
        assert await rig.settles() is PlanStatus.COMPLETED


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (scheduler, "admit"),
        (TaskExecutor, "prepare"),
        (Residents, "load"),
    ],
)
async def test_a_defect_in_the_engine_ends_the_driving_for_everybody_to_see(
    owner: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig("A", "B", judged=False) as rig:
        with monkeypatch.context() as broken:
            _break(broken, owner, name)
            await rig.create("t1", "t2", max_concurrency=1)
            with pytest.raises(DrivingError, match="a defect on purpose"):
                await rig.executor.wait_for_plan(100)
            await rig.quiet()
        assert not rig.executor.driving
        driver = await rig.executor.driver()
        assert driver is not None
        assert not driver.alive, "the lease is free for whoever comes next"
        with pytest.raises(StorageError):
            await rig.ask_plan("pause")
        await rig.restart(crash=False)
        assert await rig.settles() is PlanStatus.COMPLETED
        await rig.assert_sound()


async def test_a_start_that_cannot_even_begin_ends_the_driving(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_rig("A", judged=False) as rig:
        _break(monkeypatch, Boundaries, "start")
        _break(monkeypatch, Boundaries, "_begin", times=1_000)
        await rig.create("t1")
        with pytest.raises(DrivingError, match="a defect on purpose"):
            await rig.executor.wait_for_plan(100)


async def test_a_tenant_whose_stages_can_no_longer_be_made_is_picked_up_fails_and_stops_nobody() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        rig.script.block("t2", "A")
        await rig.create("t1", "t2")
        await rig.entered("t1", "A")
        await rig.entered("t2", "A")
        await rig.crash()
        rig.script.release_all()
        rig.script.poison = "t1"
        await rig.start()
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        assert (await rig.task("t2")).status is TaskStatus.COMPLETED
        failure = (await rig.task("t1")).failure_info
        assert failure is not None
        assert failure.error_code is ErrorCode.INVALID_STAGES


async def test_adopt_for_a_tenant_whose_stages_can_no_longer_be_made_is_refused() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1", "t2")
        await rig.settles()
        rig.script.poison = "t1"
        refused = await rig.facade.adopt_tenant("t1")
        assert refused.failure_info is not None
        assert refused.failure_info.error_code is ErrorCode.INVALID_STAGES
        assert "tenant t1" in refused.message
        assert (await rig.facade.adopt_tenant("t2")).success


async def test_a_policy_that_raises_a_cancellation_refuses_and_cancels_nobody() -> None:
    class Weird:
        def allow_retry(self, task: TaskView) -> bool:
            raise asyncio.CancelledError

        def next_delay(self, task: TaskView) -> float:
            return 0.0

    async with open_rig("A", policies=[Weird()]) as rig:
        rig.script.fail("t1")
        await rig.create("t1")
        await rig.settles()
        assert not (await rig.ask("retry", "t1")).success


async def test_a_defect_in_a_heartbeat_ends_the_driving_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_rig("A", "B", judged=False) as rig:
        assert rig.clock is not None
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        with monkeypatch.context() as broken:
            _break(broken, Boundaries, "heartbeat")
            await rig.clock.advance(11)
        assert isinstance(rig.executor.driver_failure, DrivingError)
        assert not rig.executor.driving
