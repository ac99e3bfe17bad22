"""Rollback, retry and checkpoints: what is touched, in which order, under which generation."""

import pytest

from switchover.domain.plan import PlanStatus
from switchover.domain.task import StageMark, TaskStatus
from switchover.errors import ErrorCode
from tests.support.harness import Rig, open_rig


async def _last_known_good(rig: Rig, tenant_id: str) -> int | None:
    good = (await rig.tenant(tenant_id)).last_known_good
    return None if good is None else good.deploy_unit_id


# --- rollback ---


async def test_a_rollback_touches_the_stages_that_were_started_and_no_other_in_reverse_order() -> None:
    async with open_rig("A", "B", "C", "D") as rig:
        rig.script.fail("t1", "C")
        await rig.create("t1")
        await rig.settles()
        await rig.do("rollback", "t1")
        await rig.settles()
        assert rig.script.done() == ["t1 A", "t1 B", "t1 C", "t1 -C", "t1 -B", "t1 -A"]


async def test_stages_that_were_started_in_any_run_are_touched() -> None:
    """B was started in the first run; the retry from scratch never got there."""
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1")
        await rig.settles()
        rig.script.fail("t1", "A")
        await rig.do("retry", "t1", from_checkpoint=False)
        await rig.settles()
        await rig.do("rollback", "t1")
        await rig.settles()
        assert rig.script.done() == ["t1 A", "t1 B", "t1 A", "t1 -B", "t1 -A"]


async def test_a_failing_stage_does_not_stop_the_rest_and_only_it_is_repeated() -> None:
    async with open_rig("A", "B", "C") as rig:
        rig.script.fail("t1", "C", restoring=True, times=2)
        rig.script.fail("t1", "A", restoring=True, times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLBACK_FAILED
        task = await rig.task("t1")
        assert task.failure_info is not None
        assert task.failure_info.error_code is ErrorCode.ROLLBACK_INCOMPLETE
        assert "A" in task.failure_info.message
        assert "C" in task.failure_info.message
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLBACK_FAILED
        assert rig.script.done("t1")[3:] == ["t1 -C", "t1 -B", "t1 -A", "t1 -C", "t1 -A"]
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert rig.script.done("t1")[8:] == ["t1 -C"]
        assert (await rig.task("t1")).failure_info is None


async def test_what_a_rollback_sends_is_the_previous_config_under_a_higher_generation() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B", times=2)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.settles()
        await rig.do("rollback", "t1")
        await rig.settles()
        assert [(call.generation, call.unit) for call in rig.script.calls] == [(1, 2), (1, 2), (2, 2), (3, 1), (3, 1)]
        assert (await rig.task("t1")).generation == 3
        assert (await rig.tenant("t1")).generation == 3


async def test_the_previous_config_is_the_last_known_good_of_the_first_start() -> None:
    """A plan that waited takes what the one before it made good, and never its own config."""
    async with open_rig("A") as rig:
        rig.script.block("t1")
        assert (await rig.try_create("t1", plan_id=100, unit=5, source_unit=None)).success
        await rig.entered("t1", "A")
        assert (await rig.try_create("t1", plan_id=101, unit=6, source_unit=None, on_conflict="wait")).success
        rig.script.release("t1")
        await rig.settles(101)
        assert await _last_known_good(rig, "t1") == 6
        await rig.do("rollback", "t1")
        await rig.settles(101)
        assert [call.unit for call in rig.script.calls] == [5, 6, 5]
        assert await _last_known_good(rig, "t1") == 5


async def test_a_config_that_names_its_source_goes_back_to_that_and_not_to_the_last_known_good() -> None:
    async with open_rig("A") as rig:
        await rig.try_create("t1", plan_id=100, unit=5, source_unit=None)
        await rig.settles(100)
        await rig.create("t1", plan_id=101, source_unit=3)
        await rig.settles(101)
        await rig.do("rollback", "t1")
        await rig.settles(101)
        assert [call.unit for call in rig.script.calls] == [5, 2, 3]
        assert await _last_known_good(rig, "t1") == 3


async def test_last_known_good_changes_with_completed_and_rolled_back_only() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        assert await _last_known_good(rig, "t1") is None
        await rig.do("retry", "t1")
        await rig.settles()
        assert await _last_known_good(rig, "t1") == 2
        rig.script.fail("t1", restoring=True, times=1)
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLBACK_FAILED
        assert await _last_known_good(rig, "t1") == 2, "nobody knows what is effective"
        await rig.do("rollback", "t1")
        await rig.settles()
        assert await _last_known_good(rig, "t1") == 1


async def test_after_rollback_failed_the_tenant_is_always_on_hold() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", restoring=True)
        await rig.create("t1")
        await rig.settles()
        await rig.do("rollback", "t1")
        await rig.settles()
        assert list(await rig.facade.list_holds()) == ["t1"]
        assert not (await rig.try_create("t1", plan_id=101)).success
        rig.script.heal("t1", restoring=True)
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert list(await rig.facade.list_holds()) == ["t1"], "only a person lifts a hold"


@pytest.mark.parametrize("hold", [True, False])
async def test_after_rolled_back_the_tenant_is_on_hold_when_the_plan_says_so(hold: bool) -> None:
    async with open_rig("A") as rig:
        await rig.create("t1", rollback={"hold": hold})
        await rig.settles()
        await rig.do("rollback", "t1")
        await rig.settles()
        assert bool(await rig.facade.list_holds()) == hold
        await rig.restart()
        assert (await rig.try_create("t1", plan_id=101)).success != hold


async def test_what_waits_for_a_tenant_whose_rollback_failed_does_not_start_by_itself() -> None:
    """Automation never re-applies what a person rolled back while a hold is on."""
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", plan_id=100, rollback={"hold": True})
        await rig.entered("t1", "A")
        await rig.create("t1", plan_id=101, on_conflict="wait")
        await rig.do("rollback", "t1")
        rig.script.release("t1")
        await rig.settles(100)
        await rig.quiet()
        assert await rig.statuses(101) == ["PENDING"]
        await rig.facade.unhold_tenant("t1", "decided")
        assert await rig.settles(101) is PlanStatus.COMPLETED


async def test_automatic_rollback_keeps_lock_and_slot() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1")
        rig.script.block("t1", restoring=True)
        await rig.create("t1", "t2", max_concurrency=1, rollback={"on_failure": "auto"})
        await rig.entered("t1", "A", restoring=True)
        assert (await rig.aggregate("100-1")).lock_held
        await rig.quiet()
        assert await rig.statuses() == ["ROLLING_BACK", "PENDING"]
        rig.script.release("t1", restoring=True)
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED


async def test_where_an_automatic_rollback_is_not_allowed_the_task_stays_failed() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1")
        await rig.create("t1", source_unit=None, rollback={"on_failure": "auto"})
        assert await rig.settles() is PlanStatus.FAILED
        assert await rig.status("t1") is TaskStatus.FAILED
        assert (await rig.story("t1"))[-1] == "TaskFailed"


async def test_a_rollback_during_a_live_run_waits_for_the_boundary_and_never_runs_beside_it() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do("rollback", "t1")
        await rig.quiet()
        assert rig.script.done() == ["t1 A"]
        rig.script.release("t1", "A")
        await rig.settles()
        assert rig.script.done() == ["t1 A", "t1 -A"]
        assert rig.script.most_inside == 1


async def test_progress_never_leaves_0_to_100_and_counts_no_restored_stage() -> None:
    async with open_rig("A", "B", "C") as rig:
        rig.script.block("t1", "A", restoring=True)
        await rig.create("t1")
        await rig.settles()
        assert (await rig.task("t1")).progress_percent == 100
        await rig.do("rollback", "t1")
        await rig.entered("t1", "A", restoring=True)
        await rig.quiet()
        task = await rig.task("t1")
        assert (task.completed_stages, task.progress_percent, task.current_stage) == (1, 33, "A")
        rig.script.release("t1", "A", restoring=True)
        await rig.settles()
        task = await rig.task("t1")
        assert (task.completed_stages, task.progress_percent, task.current_stage) == (0, 0, None)


# --- checkpoints ---


def _checkpointed(marks: tuple[int, ...]) -> list[bool]:
    return [bool(mark & StageMark.CHECKPOINTED) for mark in marks]


async def test_a_retry_from_the_checkpoint_repeats_no_completed_stage() -> None:
    async with open_rig("A", "B", "C") as rig:
        rig.script.fail("t1", "C", times=2)
        await rig.create("t1")
        await rig.settles()
        assert await rig.facade.has_checkpoint("t1")
        await rig.do("retry", "t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.settles()
        assert rig.script.done() == ["t1 A", "t1 B", "t1 C", "t1 C", "t1 C"]


async def test_after_a_retry_from_scratch_no_stage_of_the_earlier_run_is_in_the_checkpoint() -> None:
    async with open_rig("A", "B", "C") as rig:
        rig.script.fail("t1", "C", times=1)
        await rig.create("t1")
        await rig.settles()
        assert _checkpointed((await rig.aggregate("100-1")).marks) == [True, True, False]
        rig.script.block("t1", "A")
        await rig.do("retry", "t1", from_checkpoint=False)
        await rig.entered("t1", "A")
        await rig.quiet()
        assert _checkpointed((await rig.aggregate("100-1")).marks) == [False, False, False]
        assert not await rig.facade.has_checkpoint("t1")
        assert (await rig.task("t1")).completed_stages == 0
        rig.script.fail("t1", "B", times=1)
        rig.script.release("t1", "A")
        await rig.settles()
        assert _checkpointed((await rig.aggregate("100-1")).marks) == [True, False, False]
        await rig.do("retry", "t1")
        await rig.settles()
        assert rig.script.done() == ["t1 A", "t1 B", "t1 C", "t1 A", "t1 B", "t1 B", "t1 C"]


async def test_after_a_resume_no_stage_is_missing_from_the_checkpoint_and_none_is_repeated() -> None:
    async with open_rig("A", "B", "C") as rig:
        for stage in ("A", "B"):
            rig.script.block("t1", stage)
        rig.script.fail("t1", "C", times=1)
        await rig.create("t1")
        for stage in ("A", "B"):
            await rig.entered("t1", stage)
            await rig.do("pause", "t1")
            rig.script.release("t1", stage)
            await rig.reaches("t1", TaskStatus.PAUSED)
            assert await rig.facade.has_checkpoint("t1")
            await rig.do("resume", "t1")
        await rig.settles()
        assert _checkpointed((await rig.aggregate("100-1")).marks) == [True, True, False]
        assert rig.script.done() == ["t1 A", "t1 B", "t1 C"]
        assert rig.script.generations("t1") == [1, 1, 1], "a resume keeps the generation"


async def test_the_checkpoint_is_cleared_on_completed() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")
        await rig.create("t1")
        await rig.entered("t1", "B")
        assert await rig.facade.has_checkpoint("t1")
        rig.script.release("t1", "B")
        await rig.settles()
        assert not await rig.facade.has_checkpoint("t1")


async def test_the_checkpoint_is_cleared_on_cancelled_and_what_was_switched_stays() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do("cancel", "t1")
        rig.script.release("t1", "A")
        await rig.settles()
        assert not await rig.facade.has_checkpoint("t1")
        assert (await rig.task("t1")).completed_stages == 1


async def test_the_checkpoint_is_kept_on_failed_and_cleared_when_a_rollback_begins() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B")
        rig.script.block("t1", "B", restoring=True)
        await rig.create("t1")
        await rig.settles()
        assert await rig.facade.has_checkpoint("t1")
        await rig.do("rollback", "t1")
        await rig.entered("t1", "B", restoring=True)
        await rig.quiet()
        assert not await rig.facade.has_checkpoint("t1")
        rig.script.release("t1", "B", restoring=True)
        await rig.settles()


async def test_a_pause_during_the_last_stage_lets_the_task_complete() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")
        await rig.create("t1")
        await rig.entered("t1", "B")
        await rig.do("pause", "t1")
        rig.script.release("t1", "B")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert (await rig.task("t1")).pending_operation is None


async def test_a_cancel_during_the_last_stage_lets_the_task_complete() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")
        await rig.create("t1")
        await rig.entered("t1", "B")
        await rig.do("cancel", "t1")
        rig.script.release("t1", "B")
        assert await rig.settles() is PlanStatus.COMPLETED


@pytest.mark.parametrize("verb", ["pause", "cancel"])
async def test_a_stage_that_fails_drops_a_pending_pause_or_cancel(verb: str) -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        rig.script.fail("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do(verb, "t1")
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.FAILED
        task = await rig.task("t1")
        assert (task.status, task.pending_operation) == (TaskStatus.FAILED, None)


async def test_cancel_wins_over_pause_and_the_lock_is_held_until_the_boundary() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do("pause", "t1")
        await rig.do("cancel", "t1")
        assert not (await rig.ask("pause", "t1")).success
        assert (await rig.tenant("t1")).owner is not None
        assert not (await rig.try_create("t1", plan_id=101)).success
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.CANCELLED
        assert "TaskPaused" not in await rig.story("t1")
        assert (await rig.tenant("t1")).owner is None


async def test_requested_and_paused_are_different_words() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        result = await rig.do("pause", "t1")
        assert result.final_status is TaskStatus.RUNNING
        assert "requested" in result.message
        assert not (await rig.task("t1")).paused
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        assert (await rig.task("t1")).paused
        assert "already" in (await rig.do("pause", "t1")).message
