"""Every verb in every status, over a real Redis: the table is that of the engine's own test."""

import asyncio
from collections.abc import Callable
from itertools import count, product
from typing import Any

import pytest

from switchover.adapters.stores.redis import RedisExecutionStore
from switchover.adapters.stores.redis.server import Server
from switchover.domain.task import Operation
from switchover.spi import ExecutionStore
from tests.support import harness
from tests.unit.engine import test_state_and_verb as table

_NUMBERS = count(1)


@pytest.fixture
def on_redis(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rigs keep their record in Redis; they are quiet when the server has answered everything that it was asked."""
    in_flight = 0
    call: Callable[..., Any] = Server._call

    async def counted(server: Server, *arguments: object) -> object:
        nonlocal in_flight
        in_flight += 1
        try:
            return await call(server, *arguments)
        finally:
            in_flight -= 1

    async def quiet(rig: harness.Rig) -> None:
        assert rig.clock is not None
        await rig.clock.settle()
        while in_flight:
            await asyncio.sleep(0.0005)
            await rig.clock.settle()

    def make_store(_: str) -> ExecutionStore:
        return RedisExecutionStore(f"{redis_server}/2?appendfsync=everysec&prefix=table-{next(_NUMBERS)}")

    monkeypatch.setattr(Server, "_call", counted)
    monkeypatch.setattr(harness.Rig, "quiet", quiet)
    monkeypatch.setattr(harness, "make_store", make_store)
    monkeypatch.setattr(harness, "_PATIENCE_SECONDS", 60.0)


@pytest.mark.parametrize(("situation", "verb"), list(product(table.SITUATIONS, Operation)), ids=str)
async def test_a_verb_does_what_the_table_says(on_redis: None, situation: table.Situation, verb: Operation) -> None:
    await table.test_a_verb_does_what_the_table_says(situation, verb)
