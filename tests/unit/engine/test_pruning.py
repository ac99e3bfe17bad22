"""Events of plans that have ended are forgotten: by hand and by the setting, in steps, and never the last one."""

import pytest

from switchover.domain.audit import EVERYTHING
from switchover.domain.task import PlanId, TaskKey
from switchover.engine import pruning
from switchover.errors import ErrorCode, EventsPrunedError
from tests.support.harness import Rig, open_rig


async def positions(rig: Rig, plan_id: int = 100) -> list[int]:
    return [event.position for event in await rig.store.load_events(PlanId(plan_id), 0, 1_000)]


async def test_all_but_the_newest_event_of_an_ended_plan_is_forgotten_and_how_it_stands_is_kept() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1", "t2")
        await rig.settles()
        before = await rig.plan(), await rig.statuses(), await rig.aggregate("100-1")
        last = (await positions(rig))[-1]
        result = await rig.facade.acting_as(reason="CHG-1").prune_plan(100)
        assert (result.success, result.target_id) == (True, 100)
        assert f"{last - 1} events are forgotten" in result.message
        assert await positions(rig) == [last]
        assert (await rig.plan(), await rig.statuses(), await rig.aggregate("100-1")) == before
        (entry, *_) = [record.entry for record in await rig.store.access.list_audit(EVERYTHING, before=None, limit=9)]
        assert (entry.verb, entry.target, entry.reason, entry.outcome) == ("prune", "100", "CHG-1", "accepted")
        again = await rig.facade.prune_plan(100)
        assert again.success
        assert await positions(rig) == [last]


async def test_a_large_plan_is_pruned_in_steps_that_keep_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_STEP", 7)
    async with open_rig("A") as rig:
        await rig.create(*(f"t{number}" for number in range(5)))
        await rig.settles()
        last = (await positions(rig))[-1]
        seen = rig.driver.commits.statistics.entries
        assert (await rig.facade.prune_plan(100)).success
        assert rig.driver.commits.statistics.entries - seen == -(-(last - 1) // 7)
        assert await positions(rig) == [last]


async def test_a_plan_that_has_work_is_not_pruned_and_goes_on_with_its_numbers_when_it_runs_again() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", "A")
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        refused = await rig.facade.prune_plan(100)
        assert refused.failure_info is not None
        assert refused.failure_info.error_code is ErrorCode.ILLEGAL_STATE
        unknown = await rig.facade.prune_plan(7)
        assert unknown.failure_info is not None
        assert unknown.failure_info.error_code is ErrorCode.UNKNOWN_PLAN
        rig.script.release_all()
        await rig.settles()
        await rig.facade.prune_plan(100)
        (last,) = await positions(rig)
        number = await rig.aggregate("100-1")
        rig.script.heal("t1", "A")
        await rig.do("retry", "t1")
        await rig.settles()
        after = await positions(rig)
        assert after == list(range(last, after[-1] + 1))
        told = await rig.store.load_task_events(TaskKey(PlanId(100), 1), 0, 99)
        assert told[0].sequence_id == number.sequence_id + 1


async def test_plans_that_ended_long_ago_are_foreseen_and_pruned_and_younger_ones_are_not() -> None:
    async with open_rig("A") as rig:
        assert rig.clock is not None
        for plan_id, name in ((100, "t1"), (200, "t2")):
            await rig.create(name, plan_id=plan_id)
            await rig.settles(plan_id)
            await rig.clock.advance(20)
        foreseen = await rig.facade.prunable(30)
        assert [plan.plan_id for plan in foreseen.plans] == [100]
        assert len(await positions(rig)) == foreseen.events + 1
        assert await rig.facade.prune_ended(30) == foreseen
        assert len(await positions(rig)) == 1
        assert len(await positions(rig, 200)) > 1
        assert (await rig.facade.prunable(30)).plans == ()
        with pytest.raises(EventsPrunedError):
            async for _ in rig.executor.events(100, follow=False):
                pass


async def test_the_setting_prunes_by_itself_once_an_hour_and_the_log_says_so() -> None:
    async with open_rig("A", event_retention_days=0) as rig:
        assert rig.clock is not None
        await rig.create("t1")
        await rig.settles()
        await rig.clock.advance(60)
        assert len(await positions(rig)) > 1
        await rig.clock.advance(3_601)

        async def pruned() -> bool:
            return len(await positions(rig)) == 1

        await rig.until(pruned, "the events are forgotten")
        (entry, *_) = [record.entry for record in await rig.store.access.list_audit(EVERYTHING, before=None, limit=9)]
        assert (entry.verb, entry.actor.name, entry.reason) == ("prune", "retention", "event_retention_days is 0")
