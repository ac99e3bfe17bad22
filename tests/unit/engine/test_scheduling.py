"""Who starts when: order, limits, priorities, conflicts, holds and the line (behaviour, section 8)."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from switchover.domain.plan import PlanStatus
from switchover.domain.task import TaskStatus, TenantId
from switchover.errors import ErrorCode
from switchover.spi import TenantRecord
from tests.support.harness import ANY, Rig, open_rig


async def _starts(rig: Rig, plan_id: int = 100) -> list[str]:
    return [text.split()[0] for text in await rig.whole_story(plan_id) if text.endswith("TaskStarted")]


def _names(count: int) -> list[str]:
    return [f"t{number}" for number in range(1, count + 1)]


# --- order and limits ---


async def test_with_one_slot_tasks_run_strictly_one_after_another_in_the_order_given() -> None:
    async with open_rig("A", "B") as rig:
        names = _names(40)
        rig.script.fail("t7")
        await rig.create(*reversed(names), max_concurrency=1)
        await rig.settles()
        done = [f"{name} {stage}" for name in reversed(names) for stage in "AB"]
        done.remove("t7 B")
        assert rig.script.done() == done
        assert rig.script.most_inside == 1


@pytest.mark.parametrize("limit", [2, 3, 10])
async def test_no_more_than_the_limit_run_at_once_and_a_longer_plan_finishes(limit: int) -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block(ANY, "B")
        await rig.create(*_names(35), max_concurrency=limit)
        await rig.quiet()
        assert (await rig.plan()).counts[TaskStatus.RUNNING] == limit
        rig.script.release_all()
        assert await rig.settles() is PlanStatus.COMPLETED
        assert rig.script.most_inside <= limit
        assert await _starts(rig) == _names(35)


async def test_two_plans_neither_share_slots_nor_borrow_them() -> None:
    async with open_rig("A") as rig:
        rig.script.block(ANY)
        await rig.create("a1", "a2", "a3", plan_id=100, max_concurrency=1)
        await rig.create("b1", "b2", "b3", plan_id=101, max_concurrency=2)
        await rig.quiet()
        assert await rig.statuses(100) == ["RUNNING", "PENDING", "PENDING"]
        assert await rig.statuses(101) == ["RUNNING", "RUNNING", "PENDING"]
        rig.script.release_all()
        await rig.settles(100)
        await rig.settles(101)


async def test_a_failed_task_stops_no_other() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t2")
        await rig.create(*_names(5), max_concurrency=2)
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        assert (await rig.plan()).counts == {TaskStatus.COMPLETED: 4, TaskStatus.FAILED: 1}


async def test_a_paused_task_frees_its_slot_at_once() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do("pause", "t1")
        rig.script.release("t1", "A")
        await rig.reaches("t2", TaskStatus.COMPLETED)
        assert await rig.status("t1") is TaskStatus.PAUSED
        await rig.do("resume", "t1")
        await rig.settles()


async def test_each_queued_task_runs_its_own_work_exactly_once() -> None:
    async with open_rig("A") as rig:
        names = _names(200)
        await rig.create(*names, max_concurrency=7)
        await rig.settles()
        assert sorted(rig.script.done()) == sorted(f"{name} A" for name in names)
        by_task = {call.task_id: call.place.tenant_id for call in rig.script.calls}
        assert by_task == {f"100-{number}": f"t{number}" for number in range(1, 201)}


# --- priorities ---


async def test_free_slots_go_to_rollbacks_last_started_first_then_resumed_then_retried_then_pending() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("gate", "A")
        for name in ("p1", "p2"):
            rig.script.block(name, "A")
        rig.script.fail("f1", "A", times=1)
        rig.script.fail("f2", "A", times=1)
        rig.script.block("new", "A")
        await rig.create("c1", "c2", "f1", "f2", "p1", "p2", "gate", "new", max_concurrency=1)
        for name in ("p1", "p2"):
            await rig.entered(name, "A")
            await rig.do("pause", name)
            rig.script.release(name, "A")
        await rig.entered("gate", "A")
        # Asked for in the wrong order, one after another.
        for verb, name in [
            ("retry", "f2"),
            ("retry", "f1"),
            ("resume", "p2"),
            ("resume", "p1"),
            ("rollback", "c1"),
            ("rollback", "c2"),
        ]:
            await rig.do(verb, name)
        position = (await rig.events())[-1].position
        rig.script.release("gate", "A")
        await rig.entered("new", "A")
        begun = [
            text
            for text in await rig.whole_story(after_position=position)
            if text.endswith(("TaskStarted", "TaskResumed", "TaskRetryStarted", "TaskRollingBack"))
        ]
        assert begun == [
            "c2 TaskRollingBack",
            "c1 TaskRollingBack",
            "p1 TaskResumed",
            "p2 TaskResumed",
            "f1 TaskRetryStarted",
            "f2 TaskRetryStarted",
            "new TaskStarted",
        ]
        rig.script.release("new", "A")
        await rig.settles()


async def test_recovered_tasks_keep_their_slots_before_everybody_who_waits() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t2")
        await rig.create("t1", "t2", "t3", max_concurrency=1)
        await rig.entered("t2", "A")
        await rig.do("rollback", "t1")
        await rig.restart()
        await rig.entered("t2", "A")
        await rig.quiet()
        assert await rig.statuses() == ["COMPLETED", "RUNNING", "PENDING"]
        rig.script.release("t2")
        await rig.settles()
        assert rig.script.done() == ["t1 A", "t2 A", "t2 A", "t1 -A", "t3 A"]


# --- the tenant's lock ---


async def test_a_plan_that_waits_is_pending_without_the_lock_and_served_in_order_of_arrival() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", plan_id=100)
        await rig.entered("t1", "A")
        for plan_id in (101, 102, 103):
            await rig.create("t1", plan_id=plan_id, on_conflict="wait")
        await rig.quiet()
        tenant = await rig.tenant("t1")
        assert tenant.owner is not None
        assert (tenant.owner.task_id, tenant.waiting) == ("100-1", 3)
        assert not (await rig.aggregate("101-1")).lock_held
        assert (await rig.facade.cancel_task("102-1")).success, "one that waits leaves the queue"
        rig.script.release("t1")
        await rig.settles(103)
        assert [call.task_id for call in rig.script.calls] == ["100-1", "101-1", "103-1"]
        tenant = await rig.tenant("t1")
        assert (tenant.owner, tenant.waiting) == (None, 0)
        assert rig.script.generations("t1") == [1, 2, 3]


async def test_a_plan_that_rejects_is_refused_while_the_tenant_lives() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", plan_id=100)
        await rig.entered("t1", "A")
        result = await rig.try_create("t1", "t2", plan_id=101)
        assert result.failure_info is not None
        assert result.failure_info.error_code is ErrorCode.TENANT_CONFLICT
        assert [finding.tenant_id for finding in result.findings if finding.is_error] == ["t1"]
        assert "t1" in result.failure_info.message
        assert "100-1" in result.failure_info.message
        assert not (await rig.plan(101)).found
        rig.script.release("t1")
        await rig.settles(100)
        await rig.create("t1", plan_id=101)
        await rig.settles(101)


async def test_a_pause_never_frees_the_lock() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", plan_id=100)
        await rig.entered("t1", "A")
        await rig.do("pause", "t1")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        assert not (await rig.try_create("t1", plan_id=101)).success
        await rig.create("t1", plan_id=102, on_conflict="wait")
        await rig.quiet()
        assert rig.script.done() == ["t1 A"]
        await rig.do("cancel", "t1")
        assert await rig.settles(102) is PlanStatus.COMPLETED


async def test_a_task_in_the_queue_holds_the_lock_from_its_admission() -> None:
    async with open_rig("A") as rig:
        rig.script.block("x")
        await rig.create("x", "t1", plan_id=100, max_concurrency=1)
        await rig.entered("x", "A")
        assert (await rig.aggregate("100-2")).lock_held
        assert not (await rig.try_create("t1", plan_id=101)).success
        await rig.do("cancel", "t1")
        await rig.create("t1", plan_id=101)
        await rig.settles(101)


async def test_what_waits_for_a_lock_is_passed_over_with_more_than_one_slot() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", plan_id=100)
        await rig.entered("t1", "A")
        await rig.create("t1", "t2", "t3", plan_id=101, on_conflict="wait", max_concurrency=2)
        await rig.quiet()
        assert await rig.statuses(101) == ["PENDING", "COMPLETED", "COMPLETED"]
        rig.script.release("t1")
        assert await rig.settles(101) is PlanStatus.COMPLETED


async def test_with_one_slot_a_wait_for_a_lock_blocks_those_behind() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t2")
        await rig.create("t2", plan_id=100)
        await rig.entered("t2", "A")
        await rig.create("t1", "t2", "t3", plan_id=101, on_conflict="wait", max_concurrency=1)
        await rig.quiet()
        assert await rig.statuses(101) == ["COMPLETED", "PENDING", "PENDING"]
        rig.script.release("t2")
        assert await rig.settles(101) is PlanStatus.COMPLETED
        assert await _starts(rig, 101) == ["t1", "t2", "t3"]


async def test_with_one_slot_a_rollback_passes_one_that_waits_for_a_lock() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t2")
        await rig.create("t2", plan_id=100)
        await rig.entered("t2", "A")
        await rig.create("t1", "t2", plan_id=101, on_conflict="wait", max_concurrency=1)
        await rig.reaches("t1", TaskStatus.COMPLETED)
        await rig.do("rollback", "t1")
        await rig.reaches("t1", TaskStatus.ROLLED_BACK)
        rig.script.release("t2")
        await rig.settles(101)


async def test_two_plans_that_wait_for_each_others_tenants_cannot_block_each_other() -> None:
    async with open_rig("A") as rig:
        rig.script.block("x")
        await rig.create("x", plan_id=99)
        await rig.entered("x", "A")
        await rig.create("x", "a", "b", plan_id=100, on_conflict="wait", max_concurrency=1)
        await rig.create("x", "b", "a", plan_id=101, on_conflict="wait", max_concurrency=1)
        rig.script.release("x")
        assert await rig.settles(100) is PlanStatus.COMPLETED
        assert await rig.settles(101) is PlanStatus.COMPLETED


async def test_the_late_end_of_an_old_run_frees_no_newer_runs_lock() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1", plan_id=100)
        await rig.settles(100)
        rig.script.block("t1")
        await rig.create("t1", plan_id=101)
        await rig.entered("t1", "A")
        for verb in ("cancel", "rollback", "retry"):
            await rig.ask_plan(verb, 100)
        await rig.quiet()
        owner = (await rig.tenant("t1")).owner
        assert owner is not None
        assert owner.task_id == "101-1"
        rig.script.release("t1")
        await rig.settles(101)


async def test_a_held_task_is_passed_over_keeps_its_place_and_its_lock() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", "t2", "t3", "t4", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do("pause", "t2")
        rig.script.block("t3")
        rig.script.release("t1")
        await rig.entered("t3", "A")
        assert (await rig.tenant("t2")).owner is not None
        await rig.do("resume", "t2")
        rig.script.release("t3")
        await rig.settles()
        assert await _starts(rig) == ["t1", "t3", "t2", "t4"], "its place is before t4"


async def test_a_held_task_stays_held_across_a_restart() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", "t2", "t3", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do("pause", "t2")
        await rig.restart()
        rig.script.release("t1")
        await rig.reaches("t3", TaskStatus.COMPLETED)
        await rig.quiet()
        assert (await rig.task("t2")).paused
        await rig.do("resume", "t2")
        assert await rig.settles() is PlanStatus.COMPLETED


# --- holds of tenants ---


async def test_on_hold_no_plan_is_accepted_and_what_waits_does_not_start_until_the_hold_is_lifted() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", "t2", "t3", max_concurrency=1)
        await rig.entered("t1", "A")
        assert (await rig.facade.hold_tenant("t3", "under repair")).final_status == "ON_HOLD"
        result = await rig.try_create("t4", "t3", plan_id=101, on_conflict="wait")
        assert result.failure_info is not None
        assert result.failure_info.error_code is ErrorCode.TENANT_ON_HOLD
        assert "under repair" in result.failure_info.message
        rig.script.release("t1")
        await rig.reaches("t2", TaskStatus.COMPLETED)
        await rig.quiet()
        assert await rig.status("t3") is TaskStatus.PENDING
        assert (await rig.facade.unhold_tenant("t3", "repaired")).success
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_with_one_slot_a_hold_blocks_those_behind_and_with_two_it_is_passed_over() -> None:
    for limit, expected in ((1, ["PENDING", "PENDING"]), (2, ["PENDING", "COMPLETED"])):
        async with open_rig("A", mode="record") as rig:
            await rig.create("t1", "t2", max_concurrency=limit)
            await rig.facade.hold_tenant("t1", "wait")
            rig.mode = "drive"
            await rig.restart(crash=False)
            await rig.quiet()
            assert await rig.statuses() == expected
            await rig.facade.unhold_tenant("t1", "go")
            assert await rig.settles() is PlanStatus.COMPLETED


async def test_what_runs_goes_on_and_a_rollback_is_never_refused_for_a_hold() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.facade.hold_tenant("t1", "look")
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.COMPLETED
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLED_BACK


async def test_a_hold_of_an_unknown_tenant_is_kept_and_a_second_one_keeps_the_first_reason() -> None:
    async with open_rig("A") as rig:
        await rig.facade.hold_tenant("later", "first")
        await rig.facade.hold_tenant("later", "second")
        await rig.restart()
        holds = await rig.facade.list_holds()
        assert {str(tenant_id): hold.reason for tenant_id, hold in holds.items()} == {"later": "first"}
        assert not (await rig.try_create("later")).success
        await rig.facade.unhold_tenant("later", "done")
        refused = await rig.facade.unhold_tenant("later", "again")
        assert refused.failure_info is not None
        assert refused.failure_info.error_code is ErrorCode.ILLEGAL_STATE
        await rig.create("later")
        await rig.settles()


async def test_a_retry_waits_for_the_hold_to_be_lifted() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.facade.hold_tenant("t1", "no")
        await rig.do("retry", "t1")
        await rig.quiet()
        assert await rig.status("t1") is TaskStatus.FAILED
        await rig.facade.unhold_tenant("t1", "yes")
        assert await rig.settles() is PlanStatus.COMPLETED


# --- the line ---


async def test_the_stop_line_holds_every_task_of_every_plan_at_its_boundary_and_lets_none_start() -> None:
    async with open_rig("A", "B") as rig:
        for name in ("a1", "b1"):
            rig.script.block(name, "A")
        await rig.create("a1", "a2", plan_id=100, max_concurrency=1)
        await rig.create("b1", "b2", plan_id=101, max_concurrency=1)
        await rig.entered("a1", "A")
        await rig.entered("b1", "A")
        assert (await rig.facade.stop_line("fire")).final_status == "STOPPED"
        line = await rig.facade.query_line()
        assert line is not None
        assert line.reason == "fire"
        rig.script.release_all()
        await rig.quiet()
        assert await rig.statuses(100) == ["PAUSED", "PENDING"]
        assert await rig.statuses(101) == ["PAUSED", "PENDING"]
        await rig.create("c1", plan_id=102)
        await rig.quiet()
        assert await rig.statuses(102) == ["PENDING"]
        assert (await rig.facade.start_line()).success
        for plan_id in (100, 101, 102):
            assert await rig.settles(plan_id) is PlanStatus.COMPLETED
        assert rig.script.done("a1") == ["a1 A", "a1 B"]
        assert await _starts(rig, 100) == ["a1", "a2"]
        assert rig.script.done().index("a1 B") < rig.script.done().index("a2 A"), "the order is as before"


async def test_rollbacks_go_on_while_the_line_is_stopped() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t2", times=1)
        await rig.create("t1", "t2")
        await rig.settles()
        await rig.facade.stop_line("stop")
        await rig.do("retry", "t2")
        await rig.do("rollback", "t1")
        await rig.reaches("t1", TaskStatus.ROLLED_BACK)
        await rig.quiet()
        assert await rig.status("t2") is TaskStatus.FAILED
        await rig.facade.start_line()
        await rig.reaches("t2", TaskStatus.COMPLETED)


async def test_a_last_stage_completes_under_a_stopped_line() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.facade.stop_line("stop")
        rig.script.release("t1")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_the_line_stays_stopped_across_a_restart_and_starts_what_it_held() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.facade.stop_line("stop")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        await rig.restart()
        await rig.quiet()
        assert await rig.statuses() == ["PAUSED", "PENDING"]
        assert not (await rig.facade.stop_line("twice")).failure_info
        await rig.facade.start_line()
        assert await rig.settles() is PlanStatus.COMPLETED
        refused = await rig.facade.start_line()
        assert refused.failure_info is not None
        assert refused.failure_info.error_code is ErrorCode.ILLEGAL_STATE


async def test_a_start_line_that_was_recorded_while_nobody_drove_takes_effect_with_the_next_driver() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.facade.stop_line("stop")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        rig.mode = "record"
        await rig.restart()
        await rig.facade.start_line()
        rig.mode = "drive"
        await rig.restart()
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_the_start_line_resumes_nothing_that_an_operator_paused() -> None:
    async with open_rig("A", "B") as rig:
        for name in ("t1", "t2", "t3"):
            rig.script.block(name, "A")
        await rig.create("t1", "t2", "t3")
        for name in ("t1", "t2", "t3"):
            await rig.entered(name, "A")
        await rig.do("pause", "t1")
        await rig.facade.stop_line("stop")
        rig.script.release_all()
        await rig.reaches("t3", TaskStatus.PAUSED)
        await rig.do("resume", "t2")
        await rig.do("pause", "t2")
        await rig.facade.start_line()
        await rig.reaches("t3", TaskStatus.COMPLETED)
        await rig.quiet()
        assert await rig.statuses() == ["PAUSED", "PAUSED", "COMPLETED"]
        await rig.do_plan("resume")
        await rig.settles()


async def test_what_the_line_held_in_a_plan_that_was_paused_meanwhile_waits_for_the_plan() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        rig.script.block("t2", "A")
        await rig.create("t1", "t2")
        await rig.entered("t1", "A")
        await rig.entered("t2", "A")
        await rig.facade.stop_line("stop")
        rig.script.release_all()
        await rig.reaches("t2", TaskStatus.PAUSED)
        await rig.do_plan("pause")
        await rig.facade.start_line()
        await rig.quiet()
        assert (await rig.plan()).status is PlanStatus.PAUSED
        assert await rig.statuses() == ["PAUSED", "PAUSED"]
        await rig.do("resume", "t1")
        await rig.reaches("t1", TaskStatus.COMPLETED)
        await rig.do_plan("resume")
        assert await rig.settles() is PlanStatus.COMPLETED


# --- two requests at the same instant ---


@pytest.mark.parametrize(
    ("first", "second"),
    [("retry", "rollback"), ("rollback", "retry"), ("retry", "retry"), ("rollback", "rollback"), ("retry", "cancel")],
)
async def test_two_requests_for_a_failed_task_end_as_one_after_the_other(first: str, second: str) -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1")
        await rig.settles()
        results = await asyncio.gather(rig.ask(first, "t1"), rig.ask(second, "t1"))
        await rig.settles()
        await rig.quiet()
        final = await rig.status("t1")
        story = await rig.story("t1", after="TaskFailed")
        assert results[0].success
        if "rollback" in {first, second}:
            assert final is TaskStatus.ROLLED_BACK
            assert story.count("TaskRollingBack") == 1
        elif second == "cancel":
            assert final in {TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.COMPLETED}
        else:
            assert final is TaskStatus.COMPLETED
            assert story.count("TaskRetryStarted") == 1
            assert (await rig.task("t1")).retry_count == 1


@pytest.mark.parametrize(("first", "second"), [("resume", "cancel"), ("cancel", "resume"), ("resume", "rollback")])
async def test_two_requests_for_a_paused_task_end_as_one_after_the_other(first: str, second: str) -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do("pause", "t1")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        await asyncio.gather(rig.ask(first, "t1"), rig.ask(second, "t1"))
        await rig.settles()
        final = await rig.status("t1")
        story = await rig.story("t1", after="TaskPaused")
        if "rollback" in {first, second}:
            assert final is TaskStatus.ROLLED_BACK
        elif final is TaskStatus.CANCELLED:
            assert story in (["TaskCancelled"], ["TaskResumed", "TaskStageStarted(B)", "TaskCancelled"])
        else:
            assert story[-1] == "TaskCompleted"
        assert rig.script.done().count("t1 B") <= 1


async def test_many_requests_at_one_instant_leave_a_sound_store() -> None:
    """Every verb about every tenant at once, again and again; the rig judges what is left."""
    async with open_rig("A", "B") as rig:
        rig.script.fail("t2", "B", times=2)
        await rig.create("t1", "t2", "t3", max_concurrency=2)
        for _ in range(6):
            verbs = ["pause", "rollback", "retry", "cancel", "resume"]
            asked = [rig.ask(verb, name) for verb in verbs for name in ("t1", "t2", "t3")]
            await asyncio.gather(*asked, rig.ask_plan("pause"), rig.ask_plan("resume"))
        await rig.settles()


# --- adopt ---


async def test_adopt_of_the_unknown_is_refused() -> None:
    async with open_rig("A") as rig:
        by_tenant = await rig.facade.adopt_tenant("nobody")
        assert by_tenant.failure_info is not None
        assert by_tenant.failure_info.error_code is ErrorCode.UNKNOWN_TENANT
        by_plan = await rig.facade.adopt_plan(5)
        assert by_plan.failure_info is not None
        assert by_plan.failure_info.error_code is ErrorCode.UNKNOWN_PLAN


async def test_adopt_lifts_the_generation_above_what_the_targets_hold() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", times=1)
        rig.script.held = {"t1": 7, "t2": 3}
        await rig.create("t1", "t2")
        await rig.settles()
        result = await rig.facade.adopt_plan(100)
        assert result.success
        assert [str(task.tenant_id) for task in result.accepted] == ["t1", "t2"]
        assert (await rig.tenant("t1")).generation == 7
        await rig.restart()
        await rig.do("retry", "t1")
        await rig.settles()
        assert rig.script.generations("t1") == [1, 8]
        rig.script.held["t1"] = 5
        assert (await rig.facade.adopt_tenant("t1")).final_status == "ADOPTED"
        assert (await rig.tenant("t1")).generation == 8, "never lowered"


async def test_adopt_of_a_task_that_runs_is_refused() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1")
        await rig.entered("t1", "A")
        changing = rig.store.changing
        result = await rig.facade.adopt_tenant("t1")
        assert result.failure_info is not None
        assert result.failure_info.error_code is ErrorCode.ILLEGAL_STATE
        assert rig.store.changing == changing
        rig.script.release("t1")
        await rig.settles()


# --- whom a request by tenant is about ---


async def test_by_tenant_means_the_owner_of_the_lock_at_the_instant_of_the_decision() -> None:
    """The lock passes to the task behind while the request is on its way."""
    async with open_rig("A", "B") as rig:
        rig.script.block(ANY)
        await rig.create("t0", "t1", max_concurrency=1)
        await rig.create("t1", plan_id=101, on_conflict="wait")
        rig.store.hold()
        cancelled = asyncio.ensure_future(rig.facade.cancel_task("100-2"))
        await rig.quiet()
        paused = asyncio.ensure_future(rig.ask("pause", "t1"))
        await rig.quiet()
        rig.store.let_go()
        assert (await cancelled).success
        assert (await paused).success
        assert (await paused).target_id == "101-1"
        rig.script.release_all()
        await rig.settles()


async def test_a_task_that_starts_while_a_request_about_it_is_decided_is_not_superseded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was read of the tenant may be from before the start."""
    async with open_rig("A", "B") as rig:
        await rig.create("t1")
        await rig.settles()
        rig.script.block(ANY)
        await rig.facade.stop_line("a test")
        await rig.create("t1", plan_id=101)
        reads = 0

        async def slow(tenant_ids: Sequence[TenantId]) -> Mapping[TenantId, TenantRecord]:
            nonlocal reads
            answer = await rig.store.inner.load_tenants(tenant_ids)
            reads += 1
            if reads == 2:
                await rig.facade.start_line()
                await rig.entered("t1", "A")
            return answer

        monkeypatch.setattr(rig.store, "load_tenants", slow, raising=False)
        result = await rig.ask("rollback", "t1")
        assert (result.success, result.target_id) == (True, "101-1"), result.message
        rig.script.release_all()
        await rig.settles(101)
        assert await rig.status("t1") is TaskStatus.ROLLED_BACK
