import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.errors import StoreConflictError, StoreUnavailableError
from switchover.spi import DriverLease, Entry, ExecutionStore
from switchover.testing.clock import ManualClock
from switchover.testing.fakes import Fault, FaultyStore
from switchover.testing.samples import SamplePlan, sample_plan


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FaultyStore]:
    inner: ExecutionStore = (
        MemoryExecutionStore() if request.param == "memory" else SqliteExecutionStore(tmp_path / "store.db")
    )
    store = FaultyStore(inner=inner)
    await store.open()
    yield store
    await store.aclose()


async def prepared(store: FaultyStore) -> tuple[DriverLease, SamplePlan]:
    lease = await store.acquire_driver("test")
    assert lease is not None
    sample = sample_plan(1, ["acme"])
    await store.commit(lease, [Entry(new_plan=sample.new_plan())])
    return lease, sample


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.DURING])
async def test_a_commit_that_failed_left_nothing_and_may_be_tried_again(store: FaultyStore, fault: Fault) -> None:
    lease, sample = await prepared(store)
    before = sample.tasks[1]
    batch = [Entry(tasks=[sample.write_task(1, retry_count=1)], plans=[sample.write_plan()])]
    store.faults[2] = fault
    with pytest.raises(StoreUnavailableError):
        await store.commit(lease, batch)
    assert (await store.load_tasks([before.key]))[0].task == before
    assert store.commits == 1
    await store.commit(lease, batch)
    assert (await store.load_tasks([before.key]))[0].task == sample.tasks[1]
    assert store.commits == 2
    assert list(await store.check()) == []


async def test_an_answer_that_was_lost_leaves_everything(store: FaultyStore) -> None:
    lease, sample = await prepared(store)
    batch = [Entry(tasks=[sample.write_task(1, retry_count=1)])]
    store.faults[2] = Fault.AFTER
    with pytest.raises(StoreUnavailableError):
        await store.commit(lease, batch)
    assert (await store.load_tasks([sample.key(1)]))[0].task == sample.tasks[1]
    with pytest.raises(StoreConflictError):  # it is in already, and that is what a second attempt is told
        await store.commit(lease, batch)


async def test_hooks_are_told_the_number_at_each_moment(store: FaultyStore) -> None:
    told: list[tuple[str, int, int]] = []

    def note(moment: str, number: int, batch: Sequence[Entry]) -> None:
        told.append((moment, number, len(batch)))

    store.before = lambda number, batch: note("before", number, batch)
    store.during = lambda number, batch: note("during", number, batch)
    store.after = lambda number, batch: note("after", number, batch)
    store.faults[2] = Fault.DURING
    lease, sample = await prepared(store)
    batch = [Entry(tasks=[sample.write_task(1)]), Entry()]
    with pytest.raises(StoreUnavailableError):
        await store.commit(lease, batch)
    await store.commit(lease, batch)
    assert told == [
        ("before", 1, 1),
        ("after", 1, 1),
        ("before", 2, 2),
        ("during", 2, 2),
        ("before", 2, 2),
        ("after", 2, 2),
    ]


async def test_a_store_that_is_away_answers_nothing_and_comes_back(store: FaultyStore) -> None:
    lease, sample = await prepared(store)
    store.away = True
    for call in (
        store.load_state(),
        store.commit(lease, [Entry(tasks=[sample.write_task(1)])]),
        store.put_request("pause", b"{}"),
    ):
        with pytest.raises(StoreUnavailableError):
            await call
    store.away = False
    assert (await store.load_state()).plans == (sample.plan,)
    assert store.calls["load_state"] == 2


async def test_a_slow_store_is_slow_by_the_clock_of_the_test() -> None:
    clock = ManualClock()
    store = FaultyStore(inner=MemoryExecutionStore(), clock=clock, delay_seconds=5)
    await store.open()
    lease = await store.acquire_driver("test")
    assert lease is not None
    commit = asyncio.create_task(store.commit(lease, [Entry(new_plan=sample_plan(1, ["acme"]).new_plan())]))
    await clock.advance(4.9)
    assert not commit.done()
    assert await store.load_plan(sample_plan(1, []).plan.plan_id) is None
    await clock.advance(0.1)
    await commit
