"""What waits for a commit, and what happens to it when somebody else gives up waiting."""

import asyncio

import pytest

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.engine.commits import GroupCommit
from switchover.engine.records import Residents
from switchover.errors import StorageError, StoreConflictError
from switchover.spi import Entry
from switchover.testing.clock import ManualClock
from tests.support.harness import FragileStore


async def _commits(store: FragileStore) -> GroupCommit:
    await store.inner.open()
    lease = await store.inner.acquire_driver("a test")
    assert lease is not None
    return GroupCommit(
        store=store,
        lease=lease,
        clock=ManualClock(),
        residents=Residents(store.inner),
        on_durable=lambda entries, result: None,
        on_fatal=lambda error: None,
    )


async def test_whoever_waits_for_everything_is_not_disturbed_by_one_who_gives_up() -> None:
    """A step that is interrupted while its pre-image is on its way gives up the wait for that commit."""
    store = FragileStore(MemoryExecutionStore())
    commits = await _commits(store)
    loop = asyncio.ensure_future(commits.run())
    store.hold()
    step = asyncio.ensure_future(_await(commits.submit(Entry())))
    await asyncio.sleep(0)
    request = asyncio.ensure_future(commits.flush())
    await asyncio.sleep(0)
    step.cancel()
    await asyncio.wait({step})
    assert not request.done(), "what it waits for is not durable yet"
    store.let_go()
    await request
    assert store.commits == 1
    loop.cancel()


async def test_whoever_waits_for_everything_is_told_that_it_never_will_be_durable() -> None:
    store = FragileStore(MemoryExecutionStore())
    commits = await _commits(store)
    loop = asyncio.ensure_future(commits.run())
    store.hold()
    commits.submit(Entry())
    await asyncio.sleep(0)
    request = asyncio.ensure_future(commits.flush())
    await asyncio.sleep(0)
    store.cut_off()
    store.let_go()
    with pytest.raises(StoreConflictError):
        await request
    with pytest.raises(StorageError):
        await commits.flush()
    await loop


async def _await(durable: asyncio.Future[None]) -> None:
    await durable
