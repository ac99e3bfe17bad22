"""A process that dies and starts again over the same store (behaviour, section 9)."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from switchover.domain.events import EventType
from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, TaskStatus
from tests.support.harness import Rig, open_rig


async def test_running_tasks_go_on_under_a_new_generation_and_repeat_the_interrupted_stage_only() -> None:
    async with open_rig("A", "B", "C") as rig:
        rig.script.block("t1", "B")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "B")
        before = await rig.task("t1")
        await rig.restart()
        await rig.entered("t1", "B")
        await rig.quiet()
        after = await rig.task("t1")
        assert (after.status, after.completed_stages, after.current_stage) == (TaskStatus.RUNNING, 1, "B")
        assert (before.generation, after.generation) == (1, 2)
        assert after.timestamps.started == before.timestamps.started
        assert after.retry_count == 0
        rig.script.release("t1", "B")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert rig.script.done() == ["t1 A", "t1 B", "t1 B", "t1 C", "t2 A", "t2 B", "t2 C"]
        assert rig.script.generations("t1") == [1, 1, 2, 2]
        assert (await rig.story("t1")).count("TaskStarted") == 1


async def test_rollbacks_go_on_where_they_were() -> None:
    async with open_rig("A", "B", "C") as rig:
        await rig.create("t1")
        await rig.settles()
        rig.script.block("t1", "B", restoring=True)
        await rig.do("rollback", "t1")
        await rig.entered("t1", "B", restoring=True)
        await rig.restart()
        await rig.entered("t1", "B", restoring=True)
        rig.script.release("t1", "B", restoring=True)
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert rig.script.done()[3:] == ["t1 -C", "t1 -B", "t1 -B", "t1 -A"]
        assert rig.script.generations("t1") == [1, 1, 1, 2, 2, 3, 3]


async def test_recovery_pause_pauses_what_ran_and_lets_rollbacks_go_on() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")
        rig.script.block("t2", "A", restoring=True)
        await rig.create("t1", "t2")
        await rig.entered("t1", "B")
        await rig.reaches("t2", TaskStatus.COMPLETED)
        await rig.do("rollback", "t2")
        await rig.entered("t2", "A", restoring=True)
        await rig.restart(recovery="pause")
        await rig.reaches("t1", TaskStatus.PAUSED)
        assert (await rig.last(EventType.TASK_PAUSED)).data == {"reason": "restart"}
        await rig.entered("t2", "A", restoring=True)
        rig.script.release_all()
        await rig.reaches("t2", TaskStatus.ROLLED_BACK)
        info = await rig.executor.wait_for_plan(100)
        assert info.status is PlanStatus.RUNNING, "all that is unsettled is paused"
        assert rig.script.done("t1") == ["t1 A", "t1 B"]
        await rig.do("resume", "t1")
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        assert rig.script.done("t1") == ["t1 A", "t1 B", "t1 B"]


@pytest.mark.parametrize("verb", ["pause", "cancel", "rollback"])
async def test_a_pending_request_survives_and_waits_for_the_interrupted_stage(verb: str) -> None:
    """A restart is no stage boundary."""
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do(verb, "t1")
        await rig.restart()
        await rig.entered("t1", "A")
        task = await rig.task("t1")
        assert (task.status, task.pending_operation) == (TaskStatus.RUNNING, Operation(verb))
        rig.script.release("t1", "A")
        expected = {"pause": TaskStatus.PAUSED, "cancel": TaskStatus.CANCELLED, "rollback": TaskStatus.ROLLED_BACK}
        await rig.reaches("t1", expected[verb])
        assert rig.script.done()[:2] == ["t1 A", "t1 A"]
        if verb == "rollback":
            assert rig.script.done() == ["t1 A", "t1 A", "t1 -A"]


async def test_a_withdrawn_pause_stays_withdrawn() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do("pause", "t1")
        await rig.do("resume", "t1")
        await rig.restart()
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.COMPLETED


@pytest.mark.parametrize("verb", ["retry", "rollback"])
async def test_a_retry_or_rollback_that_waits_for_its_slot_survives(verb: str) -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "A", times=1)
        rig.script.block("t2", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t2", "A")
        await rig.do(verb, "t1")
        await rig.restart()
        await rig.entered("t2", "A")
        assert (await rig.task("t1")).pending_operation is Operation(verb)
        assert (await rig.tenant("t1")).owner is not None
        rig.script.release("t2", "A")
        await rig.settles()
        assert await rig.status("t1") is (TaskStatus.COMPLETED if verb == "retry" else TaskStatus.ROLLED_BACK)


async def test_paused_resuming_and_pending_keep_status_lock_and_place() -> None:
    async with open_rig("A", "B") as rig:
        for name in ("t1", "t2", "x"):
            rig.script.block(name, "A")
        await rig.create("t1", "t2", "x", "t4", max_concurrency=1)
        for name in ("t1", "t2"):
            await rig.entered(name, "A")
            await rig.do("pause", name)
            rig.script.release(name, "A")
        await rig.entered("x", "A")
        await rig.do("resume", "t2")
        await rig.restart()
        await rig.entered("x", "A")
        await rig.quiet()
        assert await rig.statuses() == ["PAUSED", "RESUMING", "RUNNING", "PENDING"]
        for name in ("t1", "t2", "x", "t4"):
            assert (await rig.tenant(name)).owner is not None
        rig.script.release("x", "A")
        await rig.reaches("t4", TaskStatus.COMPLETED)
        done = rig.script.done()
        assert done.index("t2 B") < done.index("t4 A"), "resumed before pending"
        assert rig.script.generations("t2") == [1, 1], "it did not run when the process died: no take-over"
        await rig.do("resume", "t1")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_pause_of_the_plan_survives() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do_plan("pause")
        await rig.restart()
        assert (await rig.plan()).pending_operation is Operation.PAUSE
        rig.script.release("t1", "A")
        await rig.plan_reaches(PlanStatus.PAUSED)
        await rig.restart()
        await rig.quiet()
        assert (await rig.plan()).status is PlanStatus.PAUSED
        await rig.do_plan("resume")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_queue_behind_a_lock_survives() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", plan_id=100)
        await rig.entered("t1", "A")
        for plan_id in (101, 102):
            await rig.create("t1", plan_id=plan_id, on_conflict="wait")
        await rig.restart()
        await rig.entered("t1", "A")
        rig.script.release("t1")
        await rig.settles(102)
        assert [call.task_id for call in rig.script.calls] == ["100-1", "100-1", "101-1", "102-1"]


async def test_numbers_go_on_after_a_restart() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")
        await rig.create("t1")
        await rig.entered("t1", "B")
        before = await rig.events()
        await rig.restart()
        rig.script.release("t1", "B")
        await rig.settles()
        after = await rig.events()
        assert after[: len(before)] == before, "nothing is repeated with another content"


async def test_a_process_that_ends_in_peace_leaves_everything_to_the_next() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.restart(crash=False)
        await rig.entered("t1", "A")
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_stages_that_are_not_those_of_the_plan_fail_the_task_and_say_so() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        rig.script.stages = ("A", "Z")
        await rig.restart()
        assert await rig.settles() is PlanStatus.FAILED
        failure = (await rig.task("t1")).failure_info
        assert failure is not None
        assert "A, Z" in failure.message
        assert "A, B" in failure.message


# --- the power fails at every commit ---


async def _eventful(rig: Rig) -> None:
    """A plan with a failure, a pause, a retry and a rollback, driven as far as the process lives."""
    rig.script.fail("t2", "B", times=1)
    await rig.create("t1", "t2", "t3", max_concurrency=2)
    await rig.settles()
    await rig.do("retry", "t2")
    await rig.settles()
    await rig.do_plan("rollback")
    await rig.settles()


async def _finish(rig: Rig) -> None:
    """What an operator does who wants to arrive at the same end, whatever was done already."""
    if not (await rig.plan()).found:
        await rig.create("t1", "t2", "t3", max_concurrency=2)
    await rig.settles()
    if (await rig.plan()).status is PlanStatus.PARTIAL_FAILED:
        await rig.do("retry", "t2")
        await rig.settles()
    if (await rig.plan()).status is not PlanStatus.ROLLED_BACK:
        await rig.do_plan("rollback")
        await rig.settles()


async def _dies_after(rig: Rig, commits: int) -> None:
    rig.store.cut_off_after = commits
    work = asyncio.ensure_future(_eventful(rig))
    while rig.executor.driver_failure is None:
        await rig.executor.changed(rig.executor.version)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await rig.crash()


async def test_a_process_that_dies_at_any_commit_ends_where_an_uninterrupted_one_does() -> None:
    """Every commit once; the tenants, locks, counts and the order of events are as without the crash."""
    async with open_rig("A", "B") as rig:
        await _eventful(rig)
        commits = rig.store.commits
        statuses, plan_story = await rig.statuses(), await rig.plan_story()
    assert commits >= 15
    for number in range(commits):
        async with open_rig("A", "B") as rig:
            await _dies_after(rig, number)
            await rig.store.inner.open()
            if "TaskStageFailed(B)" not in await rig.story("t2"):
                rig.script.fail("t2", "B", times=1)  # it failed, and nobody knows: it will fail again
            await rig.start()
            await _finish(rig)
            assert await rig.statuses() == statuses, f"died after commit {number}"
            assert Counter(await rig.plan_story()) == Counter(plan_story), f"died after commit {number}"
            assert (await rig.story("t2")).count("TaskRetryStarted") == 1
            for tenant_id in ("t1", "t2", "t3"):
                assert (await rig.tenant(tenant_id)).owner is None
                told = await rig.story(tenant_id)
                assert (told.count("TaskStarted"), told.count("TaskRolledBack")) == (1, 1)


async def test_sqlite_survives_the_same_death(tmp_path: Path) -> None:
    async with open_rig("A", "B", url=f"sqlite:///{tmp_path}/store.db", manual_clock=False) as rig:
        rig.script.block("t1", "B")
        rig.script.block("t2", "A")
        await rig.create("t1", "t2", "t3", max_concurrency=2)
        await rig.entered("t1", "B")
        await rig.entered("t2", "A")
        await rig.do("pause", "t2")
        await rig.restart()
        await rig.entered("t1", "B")
        await rig.entered("t2", "A")
        assert (await rig.task("t2")).pending_operation is Operation.PAUSE
        rig.script.release_all()
        await rig.reaches("t2", TaskStatus.PAUSED)
        await rig.do("resume", "t2")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert sorted(rig.script.done("t1")) == ["t1 A", "t1 B", "t1 B"]
