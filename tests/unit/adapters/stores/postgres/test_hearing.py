"""Who waits for what another process does is woken by the server; where that gets lost, looking goes on."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from switchover.adapters.stores.postgres import PostgresExecutionStore
from switchover.engine.hearing import hear, heard
from switchover.spi import Entry, Topic
from switchover.testing.clock import ManualClock
from switchover.testing.samples import sample_plan
from tests.support.postgres import run_sql

_LIMIT_SECONDS = 60.0


@pytest.fixture
async def pair(postgres_url: str) -> AsyncIterator[tuple[PostgresExecutionStore, PostgresExecutionStore]]:
    """Two stores in one place; the second one hears."""
    here, there = PostgresExecutionStore(postgres_url), PostgresExecutionStore(postgres_url)
    await here.open()
    await there.open()
    async with asyncio.timeout(_LIMIT_SECONDS):
        while not there.hears:  # noqa: ASYNC110  # the server decides
            await asyncio.sleep(0.01)
    yield here, there
    await here.aclose()
    await there.aclose()


Pair = tuple[PostgresExecutionStore, PostgresExecutionStore]


async def test_a_commit_is_heard_of_when_it_is_one(pair: Pair) -> None:
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
        waiting = asyncio.ensure_future(
            hear(there, ManualClock(), Topic.REQUESTS, seen[Topic.REQUESTS], poll_seconds=1.0)
        )
        number = await here.put_request("pause", b"{}")
        await waiting
    assert [request.request_id for request in await there.open_requests(0, 10)] == [number]
    assert heard(there, Topic.COMMITS) == seen[Topic.COMMITS]


async def test_what_was_heard_between_looking_and_waiting_is_not_waited_for(pair: Pair) -> None:
    here, there = pair
    seen = there.heard(Topic.REQUESTS)
    await here.put_request("pause", b"{}")
    async with asyncio.timeout(_LIMIT_SECONDS):
        while there.heard(Topic.REQUESTS) == seen:  # noqa: ASYNC110  # the server decides
            await asyncio.sleep(0.01)
        await there.hear(Topic.REQUESTS, seen)


async def test_a_lost_connection_is_made_anew_and_everybody_looks(pair: Pair, postgres_url: str) -> None:
    here, there = pair
    seen = there.heard(Topic.COMMITS)
    listeners = "FROM pg_stat_activity WHERE application_name = 'switchover' AND query LIKE '%pg_notify%'"
    assert await run_sql(postgres_url, f"SELECT pg_terminate_backend(pid) {listeners}")
    async with asyncio.timeout(_LIMIT_SECONDS):
        await there.hear(Topic.COMMITS, seen)
        seen = there.heard(Topic.REQUESTS)
        await here.put_request("pause", b"{}")
        await there.hear(Topic.REQUESTS, seen)


async def test_with_words_lost_looking_goes_on_only_slower(pair: Pair) -> None:
    _, there = pair
    clock = ManualClock()
    waiting = asyncio.ensure_future(hear(there, clock, Topic.COMMITS, there.heard(Topic.COMMITS), poll_seconds=0.05))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await clock.advance(0.5)
    assert not waiting.done()
    await clock.advance(0.5)
    async with asyncio.timeout(_LIMIT_SECONDS):
        await waiting
