"""Verbs by plan: what is accepted and refused, and where the plan's own status goes (behaviour, sections 5 and 7)."""

import asyncio

import pytest

from switchover.domain.events import EventType
from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, TaskStatus
from switchover.dto import TaskOperationResult
from switchover.errors import ErrorCode
from tests.support.harness import ANY, Rig, open_rig


def _tenants(result: TaskOperationResult) -> tuple[list[str], list[str]]:
    return [str(task.tenant_id) for task in result.accepted], [str(task.tenant_id) for task in result.refused]


def _refused(result: TaskOperationResult, code: ErrorCode = ErrorCode.ILLEGAL_STATE) -> None:
    assert not result.success
    assert result.accepted == ()
    assert result.failure_info is not None
    assert result.failure_info.error_code is code


async def _mixed(rig: Rig) -> None:
    """t1 COMPLETED, t2 FAILED, t3 RUNNING its first stage, t4 PENDING."""
    rig.script.fail("t2", "B", times=1)
    rig.script.block("t3", "A")
    await rig.create("t1", "t2", "t3", "t4", max_concurrency=1)
    await rig.entered("t3", "A")


# --- pause and resume ---


async def test_a_pause_waits_for_the_last_running_task_and_says_so_meanwhile() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        rig.script.block("t2", "A")
        await rig.create("t1", "t2", "t3", max_concurrency=2)
        await rig.entered("t1", "A")
        await rig.entered("t2", "A")
        result = await rig.do_plan("pause")
        assert result.final_status is PlanStatus.RUNNING
        assert _tenants(result) == (["t1", "t2", "t3"], [])
        plan = await rig.plan()
        assert (plan.status, plan.pending_operation) == (PlanStatus.RUNNING, Operation.PAUSE)
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        await rig.quiet()
        assert await rig.statuses() == ["PAUSED", "RUNNING", "PENDING"], "the slot that became free is not used"
        assert (await rig.plan()).status is PlanStatus.RUNNING
        rig.script.release("t2", "A")
        await rig.plan_reaches(PlanStatus.PAUSED)
        plan = await rig.plan()
        assert plan.pending_operation is None
        assert not (await rig.task("t3")).paused, "PENDING tasks of a paused plan stay PENDING, not held"
        assert await rig.plan_story() == ["PlanStarted", "PlanPaused"]
        await rig.do_plan("resume")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_plan_that_has_not_started_is_paused_at_once_and_resumed_to_ready() -> None:
    async with open_rig("A", mode="record") as rig:
        await rig.create("t1")
        assert (await rig.do_plan("pause")).final_status is PlanStatus.PAUSED
        assert (await rig.do_plan("resume")).final_status is PlanStatus.READY
        assert await rig.plan_story() == ["PlanPaused", "PlanResumed"]


async def test_a_paused_plan_starts_nothing_until_it_is_resumed() -> None:
    async with open_rig("A", mode="record") as rig:
        await rig.create("t1")
        await rig.do_plan("pause")
        rig.mode = "drive"
        await rig.restart(crash=False)
        await rig.quiet()
        assert rig.script.done() == []
        await rig.do_plan("resume")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_plan_whose_last_tasks_settle_instead_of_pausing_is_not_paused() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do_plan("pause")
        rig.script.release("t1")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert await rig.plan_story() == ["PlanStarted", "PlanProgress", "PlanCompleted"]


async def test_a_resume_withdraws_a_pause_that_has_not_taken_effect() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do_plan("pause")
        await rig.do_plan("resume")
        assert (await rig.plan()).pending_operation is None
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert await rig.plan_story() == ["PlanStarted", "PlanProgress", "PlanProgress", "PlanCompleted"]
        assert "TaskPaused" not in await rig.story("t1")


async def test_pausing_twice_has_one_effect() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do_plan("pause")
        changing = rig.store.changing
        await rig.do_plan("pause")
        assert rig.store.changing == changing
        rig.script.release("t1", "A")
        await rig.plan_reaches(PlanStatus.PAUSED)
        await rig.do_plan("pause")
        assert await rig.plan_story() == ["PlanStarted", "PlanPaused"]


async def test_a_pause_that_applies_to_no_task_changes_nothing() -> None:
    """A plan whose only live task is being rolled back: the request is refused, so the plan must not pause."""
    async with open_rig("A") as rig:
        rig.script.block("t1", "A", restoring=True)
        rig.script.block("t2", "A")
        await rig.create("t1", "t2")
        await rig.entered("t2", "A")
        await rig.do("rollback", "t1")
        await rig.entered("t1", "A", restoring=True)
        rig.script.release("t2", "A")
        await rig.reaches("t2", TaskStatus.COMPLETED)
        before = await rig.plan()
        _refused(await rig.ask_plan("pause"))
        assert await rig.plan() == before
        rig.script.release("t1", "A", restoring=True)
        await rig.settles()
        assert "PlanPaused" not in await rig.plan_story()


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_settled_plans_are_neither_paused_nor_resumed(verb: str) -> None:
    async with open_rig("A") as rig:
        await rig.create("t1")
        await rig.settles()
        before = await rig.plan()
        _refused(await rig.ask_plan(verb))
        assert await rig.plan() == before


async def test_resuming_a_plan_that_runs_is_refused() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        _refused(await rig.ask_plan("resume"))


async def test_a_resume_by_plan_resumes_what_was_paused_by_tenant_too() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        rig.script.block("t2", "A")
        await rig.create("t1", "t2", "t3", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do("pause", "t3")
        await rig.do("pause", "t1")
        rig.script.release("t1", "A")
        await rig.entered("t2", "A")
        result = await rig.do_plan("resume")
        assert _tenants(result) == (["t1", "t3"], ["t2"])
        rig.script.release("t2", "A")
        assert await rig.settles() is PlanStatus.COMPLETED


# --- requests by tenant in a paused plan ---


async def _paused_plan(rig: Rig) -> None:
    """t1 FAILED, t2 PAUSED, t3 PENDING; the plan PAUSED."""
    rig.script.fail("t1", "B", times=1)
    rig.script.block("t2", "A")
    await rig.create("t1", "t2", "t3", max_concurrency=1)
    await rig.entered("t2", "A")
    await rig.do_plan("pause")
    rig.script.release("t2", "A")
    await rig.plan_reaches(PlanStatus.PAUSED)


async def test_a_retry_by_tenant_runs_in_a_paused_plan_which_stays_paused() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        await rig.do("retry", "t1")
        await rig.reaches("t1", TaskStatus.COMPLETED)
        assert (await rig.plan()).status is PlanStatus.PAUSED
        assert await rig.statuses() == ["COMPLETED", "PAUSED", "PENDING"]


async def test_a_retry_by_plan_waits_for_the_resume() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        result = await rig.do_plan("retry")
        assert _tenants(result) == (["t1"], ["t2", "t3"])
        await rig.quiet()
        task = await rig.task("t1")
        assert (task.status, task.pending_operation) == (TaskStatus.FAILED, Operation.RETRY)
        await rig.do_plan("resume")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_retry_by_plan_waits_for_the_resume_across_a_restart() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        await rig.do_plan("retry")
        await rig.restart()
        await rig.quiet()
        assert (await rig.task("t1")).pending_operation is Operation.RETRY
        await rig.do_plan("resume")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_plan_in_which_only_retries_wait_can_be_resumed() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        await rig.do_plan("retry")
        await rig.do("cancel", "t2")
        await rig.do("cancel", "t3")
        assert (await rig.plan()).status is PlanStatus.PAUSED
        result = await rig.do_plan("resume")
        assert _tenants(result)[0] == ["t1"]
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED


async def test_a_retry_by_tenant_after_one_by_plan_runs_in_the_paused_plan() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        await rig.do_plan("retry")
        await rig.quiet()
        await rig.do("retry", "t1")
        await rig.reaches("t1", TaskStatus.COMPLETED)
        assert (await rig.plan()).status is PlanStatus.PAUSED


async def test_a_resume_by_tenant_runs_in_a_paused_plan_which_stays_paused() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        await rig.do("resume", "t2")
        await rig.reaches("t2", TaskStatus.COMPLETED)
        assert (await rig.plan()).status is PlanStatus.PAUSED
        assert await rig.statuses() == ["FAILED", "COMPLETED", "PENDING"]


async def test_a_rollback_by_tenant_runs_in_a_paused_plan_which_stays_paused() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        await rig.do("rollback", "t1")
        await rig.reaches("t1", TaskStatus.ROLLED_BACK)
        await rig.do("rollback", "t2")
        await rig.reaches("t2", TaskStatus.ROLLED_BACK)
        assert (await rig.plan()).status is PlanStatus.PAUSED


async def test_a_held_task_resumed_by_tenant_starts_in_a_paused_plan() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        await rig.do("pause", "t3")
        await rig.do("resume", "t3")
        await rig.reaches("t3", TaskStatus.COMPLETED)
        assert (await rig.plan()).status is PlanStatus.PAUSED


async def test_a_paused_plan_settles_when_its_last_task_does() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        await rig.do("cancel", "t2")
        await rig.do("cancel", "t3")
        assert await rig.settles() is PlanStatus.FAILED
        assert await rig.plan_story(after="PlanPaused") == ["PlanProgress", "PlanProgress", "PlanFailed"]


# --- cancel ---


async def test_cancel_by_plan_lists_what_it_applies_to() -> None:
    async with open_rig("A", "B") as rig:
        await _mixed(rig)
        result = await rig.do_plan("cancel")
        assert _tenants(result) == (["t3", "t4"], ["t1", "t2"])
        assert all(task.failure_info is not None for task in result.refused)
        assert await rig.statuses() == ["COMPLETED", "FAILED", "RUNNING", "CANCELLED"]
        rig.script.release("t3", "A")
        assert await rig.settles() is PlanStatus.CANCELLED
        assert (await rig.last(EventType.PLAN_CANCELLED)).completed == 1
        _refused(await rig.ask_plan("retry"))
        _refused(await rig.ask("retry", "t2"))
        assert (await rig.plan()).status is PlanStatus.CANCELLED


async def test_cancel_of_a_plan_that_has_not_started() -> None:
    async with open_rig("A", mode="record") as rig:
        await rig.create("t1", "t2")
        assert (await rig.do_plan("cancel")).final_status is PlanStatus.CANCELLED
        assert await rig.plan_story() == ["PlanProgress", "PlanProgress", "PlanCancelled"]


async def test_tasks_cancelled_one_by_one_do_not_cancel_a_plan_that_others_completed() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do("cancel", "t2")
        rig.script.release("t1")
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED


# --- retry ---


async def test_retry_by_plan_retries_the_failed_ones() -> None:
    async with open_rig("A", "B") as rig:
        await _mixed(rig)
        result = await rig.do_plan("retry")
        assert _tenants(result) == (["t2"], ["t1", "t3", "t4"])
        rig.script.release("t3", "A")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert rig.script.done("t2") == ["t2 A", "t2 B", "t2 B"]
        assert (await rig.plan_story()).count("PlanStarted") == 1, "it never stopped running"


async def test_retry_by_plan_from_scratch() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do_plan("retry", from_checkpoint=False)
        await rig.settles()
        assert rig.script.done() == ["t1 A", "t1 B", "t1 A", "t1 B"]


async def test_a_withdrawn_retry_settles_the_plan_again() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.settles()
        await rig.facade.stop_line("wait")
        await rig.do("retry", "t1")
        assert (await rig.plan()).status is PlanStatus.RUNNING
        await rig.do("cancel", "t1")
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        assert (await rig.task("t1")).retry_count == 0
        assert (await rig.tenant("t1")).owner is None
        assert await rig.plan_story(after="PlanStarted") == ["PlanProgress", "PlanFailed"]


# --- rollback ---


async def test_rollback_by_plan_cancels_what_has_not_started_and_rolls_back_the_rest() -> None:
    async with open_rig("A", "B") as rig:
        await _mixed(rig)
        result = await rig.do_plan("rollback")
        assert result.final_status is PlanStatus.ROLLING_BACK
        assert _tenants(result) == (["t1", "t2", "t3", "t4"], [])
        assert await rig.status("t4") is TaskStatus.CANCELLED
        rig.script.release("t3", "A")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert await rig.statuses() == ["ROLLED_BACK", "ROLLED_BACK", "ROLLED_BACK", "CANCELLED"]
        assert rig.script.done("t3") == ["t3 A", "t3 -A"]


async def test_rollback_of_a_paused_plan() -> None:
    async with open_rig("A", "B") as rig:
        await _paused_plan(rig)
        await rig.do_plan("rollback")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert await rig.statuses() == ["ROLLED_BACK", "ROLLED_BACK", "CANCELLED"]


async def test_rollback_wins_over_a_pause_that_is_pending() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do_plan("pause")
        await rig.do_plan("rollback")
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert "PlanPaused" not in await rig.plan_story()


async def test_rollback_of_a_plan_in_which_nothing_has_started_is_refused_when_ready() -> None:
    async with open_rig("A", mode="record") as rig:
        await rig.create("t1")
        before = await rig.plan()
        _refused(await rig.ask_plan("rollback"))
        assert await rig.plan() == before


async def test_a_rollback_by_tenant_of_a_settled_plan_leads_the_plan_back_but_only_all_make_it_rolled_back() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1", "t2")
        await rig.settles()
        rig.script.block("t1", "A", restoring=True)
        await rig.do("rollback", "t1")
        assert (await rig.plan()).status is PlanStatus.ROLLING_BACK
        await rig.entered("t1", "A", restoring=True)
        rig.script.release("t1", "A", restoring=True)
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        await rig.do("rollback", "t2")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        _refused(await rig.ask_plan("pause"))
        assert (await rig.ask_plan("rollback")).success, "what is rolled back already is accepted as such"
        assert (await rig.plan()).status is PlanStatus.ROLLED_BACK


async def test_a_rollback_by_tenant_in_a_running_plan_leaves_the_plan_running() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t2")
        await rig.create("t1", "t2")
        await rig.entered("t2", "A")
        await rig.do("rollback", "t1")
        await rig.reaches("t1", TaskStatus.ROLLED_BACK)
        assert (await rig.plan()).status is PlanStatus.RUNNING
        rig.script.release("t2")
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        assert "PlanRollingBack" not in await rig.plan_story()


async def test_no_retry_while_the_plan_rolls_back() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1")
        await rig.create("t1", "t2")
        await rig.settles()
        rig.script.block("t2", "A", restoring=True)
        await rig.do("rollback", "t2")
        await rig.entered("t2", "A", restoring=True)
        _refused(await rig.ask("retry", "t1"))
        rig.script.release("t2", "A", restoring=True)
        await rig.settles()


async def test_a_plan_settles_exactly_once_per_run() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=2)
        await rig.create("t1", "t2", "t3")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.settles()
        await rig.do_plan("rollback")
        await rig.settles()
        ends = {"PlanCompleted", "PlanFailed", "PlanCancelled", "PlanRolledBack", "PlanRollbackFailed"}
        begins = {"PlanStarted", "PlanRollingBack"}
        order = [kind for kind in await rig.plan_story() if kind in ends | begins]
        assert order == [
            "PlanStarted",
            "PlanFailed",
            "PlanStarted",
            "PlanFailed",
            "PlanStarted",
            "PlanCompleted",
            "PlanRollingBack",
            "PlanRolledBack",
        ]


async def test_progress_is_told_after_every_task_that_settles_with_counts_that_are_true_then() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t2", times=1)
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.settles()
        await rig.do("retry", "t2")
        await rig.settles()
        await rig.do_plan("rollback")
        await rig.settles()
        counts = [event.data["counts"] for event in await rig.events() if event.type is EventType.PLAN_PROGRESS]
        assert counts == [
            {"COMPLETED": 1, "PENDING": 1},
            {"COMPLETED": 1, "FAILED": 1},
            {"COMPLETED": 2},
            {"COMPLETED": 1, "ROLLED_BACK": 1},
            {"ROLLED_BACK": 2},
        ]


async def test_a_request_that_finds_a_new_plan_before_its_creator_knows_that_it_is_durable() -> None:
    """Another reader of the store may be quicker than the answer to the commit."""
    asked: list[asyncio.Future[TaskOperationResult]] = []

    async def ask_in_between() -> None:
        rig.store.after_commit = None
        asked.append(asyncio.ensure_future(rig.ask("cancel", "t1")))
        for _ in range(20):
            await asyncio.sleep(0)

    async with open_rig("A", "B") as rig:
        rig.script.block(ANY)
        rig.store.after_commit = ask_in_between
        await rig.create("t1", "t2", max_concurrency=1)
        assert (await asked[0]).success
        rig.script.release_all()
        await rig.settles()
        assert await rig.statuses() == ["CANCELLED", "COMPLETED"]
        assert rig.executor.driver_failure is None


async def test_a_request_is_judged_by_what_the_plan_is_when_its_tasks_have_been_read() -> None:
    """The plan settles meanwhile; t1 is CANCELLED already, which must not make a success of it."""
    async with open_rig("A", "B") as rig:
        assert rig.clock is not None
        rig.store.clock = rig.clock
        rig.script.block("t1", "A")
        rig.script.block("t2", "B")
        await rig.create("t1", "t2")
        await rig.entered("t1", "A")
        await rig.do("cancel", "t1")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.CANCELLED)
        rig.store.slow(1.0, "list_tasks")
        await rig.entered("t2", "B")
        asked = asyncio.ensure_future(rig.ask_plan("cancel"))
        await rig.quiet()
        rig.script.release("t2", "B")
        await rig.plan_reaches(PlanStatus.PARTIAL_FAILED)
        assert not asked.done(), "it still reads the tasks"
        await rig.clock.advance(1.0)
        result = await asked
        _refused(result)
        assert result.final_status is PlanStatus.PARTIAL_FAILED
        assert await rig.statuses() == ["CANCELLED", "COMPLETED"]


@pytest.mark.parametrize("by", ["tenant", "plan"])
async def test_in_a_cancelled_plan_nothing_is_retried_and_what_failed_can_be_rolled_back(by: str) -> None:
    """The plan's table has no edge from CANCELLED to RUNNING, so the request on its task is refused."""
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B")
        rig.script.block("t2", "A")
        await rig.create("t1", "t2")
        await rig.reaches("t1", TaskStatus.FAILED)
        await rig.entered("t2", "A")
        await rig.do_plan("cancel")
        rig.script.release("t2", "A")
        assert await rig.settles() is PlanStatus.CANCELLED
        before = len(await rig.events())
        _refused(await (rig.ask("retry", "t1") if by == "tenant" else rig.ask_plan("retry")))
        assert len(await rig.events()) == before
        assert (await rig.tenant("t1")).owner is None
        await rig.do("rollback", "t1")
        await rig.settles()
        assert await rig.statuses() == ["ROLLED_BACK", "CANCELLED"]


async def test_a_pause_of_a_plan_whose_last_task_settles_first_is_no_pause() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do_plan("pause")
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert await rig.plan_story() == ["PlanStarted", "PlanProgress", "PlanCompleted"]
        assert (await rig.plan()).pending_operation is None
