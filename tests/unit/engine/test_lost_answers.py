"""A commit that became durable while its answer was lost: the store is asked, and the work goes on."""

from pathlib import Path

import pytest

from switchover.domain.plan import PlanStatus
from switchover.errors import StoreConflictError, StoreUnavailableError
from switchover.testing.faults import Fault
from tests.support.harness import Rig, open_rig


async def _life(rig: Rig) -> list[str]:
    """Two plans that share a tenant, with a failure, a retry and a rollback; gives everything that was told."""
    clock = rig.clock
    assert clock is not None
    rig.script.fail("t1", "B", times=1)
    await clock.run(rig.create("t1", "t2", max_concurrency=1))
    await clock.run(rig.create("t1", plan_id=101, on_conflict="wait"))
    assert (await clock.run(rig.executor.wait_for_plan(100))).status is PlanStatus.PARTIAL_FAILED
    assert (await clock.run(rig.executor.wait_for_plan(101))).status is PlanStatus.COMPLETED
    assert (await clock.run(rig.ask("rollback", "t2"))).success
    assert (await clock.run(rig.executor.wait_for_plan(100))).status is PlanStatus.FAILED, "t1 stays as it is"
    await clock.advance(5)  # the last answer may be the one that was lost
    # Time passes while a store's threads work, so heartbeats differ from run to run.
    told = [*await rig.whole_story(100), *await rig.whole_story(101)]
    return [text for text in told if "Heartbeat" not in text]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_lost_answer_at_any_commit_changes_nothing(store: str, tmp_path: Path) -> None:
    def url(name: str) -> str:
        return "memory://" if store == "memory" else f"sqlite:///{tmp_path}/{name}.db"

    async with open_rig("A", "B", url=url("undisturbed")) as rig:
        wanted = await _life(rig)
    for number in range(100):
        async with open_rig("A", "B", url=url(str(number))) as rig:
            rig.store.faults[number + 1] = Fault.AFTER
            assert await _life(rig) == wanted, number
            assert rig.executor.driver_failure is None
            if rig.store.faults:
                break  # this life has no commit of that number
    assert number > 10, "as many as there are commits"


async def test_a_store_that_went_away_and_was_written_by_somebody_else_meanwhile_is_a_conflict() -> None:
    async with open_rig("A", "B", judged=False) as rig:
        assert rig.clock is not None
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        rig.store.fail("commit")
        rig.script.release("t1", "A")
        await rig.quiet()
        inner = rig.store.inner
        await inner.aclose()
        await inner.open()
        assert await inner.acquire_driver("the other one") is not None
        await rig.clock.advance(5)
        assert isinstance(rig.executor.driver_failure, StoreConflictError)
        assert not isinstance(rig.executor.driver_failure, StoreUnavailableError)
