"""A store that is away delays, and loses nothing; one that somebody else writes ends the driving."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import orjson
import pytest

from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, TaskStatus
from switchover.errors import StorageError, StoreClosedError, StoreConflictError
from tests.support.harness import Rig, open_rig


async def _through(rig: Rig) -> PlanStatus:
    """Let time pass until the plan is settled: a store that is away is tried again after a while."""
    assert rig.clock is not None
    for _ in range(200):
        await rig.clock.advance(1)
        status = (await rig.plan()).status
        if status is not None and status.is_settled:
            return status
    message = "the plan did not settle"
    raise AssertionError(message)


async def test_commits_that_find_the_store_away_are_tried_until_they_are_in() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        rig.store.fail("commit", times=7)
        rig.script.release("t1", "A")
        await rig.quiet()
        assert rig.script.done() == ["t1 A"], "nothing starts before what it follows from is durable"
        assert rig.driver.commits.health.unavailable_since is not None
        assert await _through(rig) is PlanStatus.COMPLETED
        assert rig.store.calls["commit"] - rig.store.commits == 7
        assert rig.driver.commits.health.unavailable_since is None
        assert rig.script.done() == ["t1 A", "t1 B", "t2 A", "t2 B"]


@pytest.mark.parametrize("attempt", range(12))
async def test_an_outage_at_any_commit_changes_nothing_but_the_time(attempt: int) -> None:
    async with open_rig("A", "B") as undisturbed:
        undisturbed.script.fail("t1", "B", times=1)
        await undisturbed.create("t1", "t2", max_concurrency=1)
        await _through(undisturbed)
        wanted = await undisturbed.whole_story()
    async with open_rig("A", "B") as rig:
        assert rig.clock is not None
        rig.script.fail("t1", "B", times=1)
        rig.store.fail("commit", skip=attempt, times=3)
        await rig.clock.run(rig.create("t1", "t2", max_concurrency=1))
        await _through(rig)
        assert await rig.whole_story() == wanted


async def test_a_request_during_an_outage_is_answered_when_it_is_durable() -> None:
    async with open_rig("A", "B") as rig:
        assert rig.clock is not None
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        rig.store.fail("commit", times=2)
        asked = asyncio.ensure_future(rig.ask("pause", "t1"))
        await rig.quiet()
        assert not asked.done()
        assert (await rig.task("t1")).pending_operation is None
        await rig.clock.advance(1)
        assert (await asked).success
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)


async def test_a_store_that_somebody_else_writes_ends_the_driving_and_whoever_waits_is_told() -> None:
    async with open_rig("A", "B", judged=False) as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        waiting = asyncio.ensure_future(rig.executor.wait_for_plan(100))
        asked = asyncio.ensure_future(rig.ask("pause", "t1"))
        rig.store.cut_off()
        with pytest.raises(StorageError):
            await asked
        with pytest.raises(StoreConflictError):
            await waiting
        rig.script.release("t1", "A")
        await rig.quiet()
        assert (await rig.task("t1")).status is TaskStatus.RUNNING, "as it was when the driving ended"
        assert rig.script.done() == ["t1 A"]
        with pytest.raises(StorageError):
            await rig.try_create("t9", plan_id=109)
        await rig.restart()
        assert await rig.settles() is PlanStatus.COMPLETED
        await rig.assert_sound()


@pytest.mark.parametrize("lost", ["the store says so", "it was frozen"])
async def test_a_process_that_may_write_no_more_answers_nobody_and_begins_nothing(lost: str) -> None:
    async with open_rig("A", "B", judged=False) as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        if lost == "it was frozen":
            await _take_the_lease(rig)
        else:
            rig.store.cut_off()
        asks: list[Callable[[], Awaitable[object]]] = [
            *(partial(rig.ask, verb, "t1") for verb in Operation),
            *(partial(rig.ask_plan, verb) for verb in Operation),
            partial(rig.facade.cancel_task, "100-1"),
            partial(rig.facade.cancel_task, "no task"),
            partial(rig.facade.hold_tenant, "t1", "a reason"),
            partial(rig.facade.unhold_tenant, "t1", "a reason"),
            partial(rig.facade.stop_line, "a reason"),
            rig.facade.start_line,
            partial(rig.facade.adopt_tenant, "t1"),
            partial(rig.facade.adopt_plan, 100),
            partial(rig.try_create, "t1", plan_id=101),
            partial(rig.try_create, "t9", plan_id=102),
        ]
        for number, ask in enumerate(asks):
            with pytest.raises(StorageError):
                await ask()
            if not number:
                rig.script.release("t1", "A")
                await rig.quiet()
        assert rig.script.done() == ["t1 A"]
        assert not rig.executor.driving


async def _take_the_lease(rig: Rig) -> None:
    """The driver looks dead; another one takes over, and it does not know."""
    inner = rig.store.inner
    await inner.aclose()
    await inner.open()
    assert await inner.acquire_driver("the other one") is not None


async def test_requests_of_other_processes_are_left_to_the_next_driver_when_the_lease_is_lost() -> None:
    async with open_rig("A", "B", judged=False) as rig:
        assert rig.clock is not None
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        rig.store.cut_off()
        payload = {"targetType": "TENANT", "target": "t1", "fromCheckpoint": True, "reason": ""}
        number = await rig.store.inner.put_request("pause", orjson.dumps(payload))
        for _ in range(100):
            await rig.clock.advance(0.05)
        assert rig.executor.driver_failure is not None
        left = await rig.store.inner.load_request(number)
        assert left is not None
        assert left.answer is None
        inbox = rig.executor._loops[0]
        assert inbox.done(), "it looks for nothing any more"
        assert inbox.exception() is None, "and says so itself"
        await rig.restart()
        rig.script.release("t1", "A")
        for _ in range(100):
            await rig.clock.advance(0.05)
        answered = await rig.store.inner.load_request(number)
        assert answered is not None
        assert answered.answer is not None
        assert orjson.loads(answered.answer)["success"]
        assert await rig.status("t1") is TaskStatus.PAUSED


async def test_whoever_waits_for_a_plan_is_told_when_the_executor_closes() -> None:
    """And does not look again and again, for ever."""
    async with open_rig("A", judged=False) as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        waiting = asyncio.ensure_future(rig.executor.wait_for_plan(100))
        await rig.quiet()
        await rig.stop()
        with pytest.raises(StoreClosedError, match="plan 100"):
            await waiting


async def test_a_process_that_was_frozen_cannot_write_when_it_wakes_up() -> None:
    """Another driver took over meanwhile: the store refuses the old lease (lesson 9)."""
    async with open_rig("A", "B", judged=False) as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await _take_the_lease(rig)
        before = await rig.events()
        rig.script.release("t1", "A")
        await rig.quiet()
        assert rig.executor.driver_failure is not None
        assert await rig.events() == before
        # In its memory the task has passed a boundary, which never became true: it must not answer from there.
        with pytest.raises(StorageError):
            await rig.ask("retry", "t1")
