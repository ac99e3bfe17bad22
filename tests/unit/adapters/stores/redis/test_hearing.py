"""Who waits for what another process does is woken by the server; where that gets lost, looking goes on."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis

from switchover.adapters.stores.redis import RedisExecutionStore
from switchover.engine.hearing import hear, heard
from switchover.spi import Entry, HearingStore, Topic
from switchover.testing.clock import ManualClock
from switchover.testing.samples import sample_plan

_LIMIT_SECONDS = 60.0
_NUMBERS = count(1)

Pair = tuple[RedisExecutionStore, RedisExecutionStore]


@pytest.fixture
async def pair(redis_store_server: str) -> AsyncIterator[Pair]:
    """Two stores in one place; the second one hears."""
    url = f"{redis_store_server}/0?prefix=hearing-{next(_NUMBERS)}"
    here, there = RedisExecutionStore(url), RedisExecutionStore(url)
    assert isinstance(here, HearingStore)
    await here.open()
    await there.open()
    async with asyncio.timeout(_LIMIT_SECONDS):
        while not there.hears:  # noqa: ASYNC110  # the server decides
            await asyncio.sleep(0.01)
    yield here, there
    await here.aclose()
    await there.aclose()


async def test_a_commit_is_heard_of(pair: Pair) -> None:
    here, there = pair
    lease = await here.acquire_driver("here")
    assert lease is not None
    seen = there.heard(Topic.COMMITS)
    sample = sample_plan(1, ["acme"])
    async with asyncio.timeout(_LIMIT_SECONDS):
        waiting = asyncio.ensure_future(hear(there, ManualClock(), Topic.COMMITS, seen, poll_seconds=1.0))
        await here.commit(lease, [Entry(new_plan=sample.new_plan())])
        await waiting
    assert await there.load_plan(sample.plan.plan_id) == sample.plan


async def test_a_request_is_heard_of_by_whoever_waits_for_requests(pair: Pair) -> None:
    here, there = pair
    seen = {topic: heard(there, topic) for topic in Topic}
    async with asyncio.timeout(_LIMIT_SECONDS):
        number = await here.put_request("pause", b"{}")
        await there.hear(Topic.REQUESTS, seen[Topic.REQUESTS])
    assert [request.request_id for request in await there.open_requests(0, 10)] == [number]
    assert heard(there, Topic.COMMITS) == seen[Topic.COMMITS]


async def test_a_lost_connection_is_made_anew_and_everybody_looks(pair: Pair, redis_store_server: str) -> None:
    here, there = pair
    seen = there.heard(Topic.COMMITS)
    client: Any = Redis.from_url(redis_store_server)
    async with client, asyncio.timeout(_LIMIT_SECONDS):
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await there.hear(Topic.COMMITS, seen)
        seen = there.heard(Topic.REQUESTS)
        await here.put_request("pause", b"{}")
        await there.hear(Topic.REQUESTS, seen)


async def test_a_store_that_is_closed_hears_nothing_and_may_still_be_asked(pair: Pair) -> None:
    _, there = pair
    await there.aclose()
    assert (there.hears, there.heard(Topic.COMMITS) >= 1) == (False, True)
