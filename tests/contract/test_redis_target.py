"""The contract of configuration targets, on a real Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from switchover.adapters.targets.redis import RedisTargets
from switchover.config import PRIVATE_NETWORKS
from switchover.domain.addresses import AllowList
from switchover.spi import ConfigTarget
from switchover.testing.target_contracts import ConfigTargetContract

DATABASE = 3


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ConfigTarget]:
    family = RedisTargets(AllowList(PRIVATE_NETWORKS))
    try:
        yield family.config_target(url)
    finally:
        await family.aclose()


class TestRedisHash(ConfigTargetContract):
    @pytest.fixture(autouse=True)
    async def _place(self, redis_server: str) -> AsyncIterator[None]:
        self.url = f"{redis_server}/{DATABASE}"
        self.back_door = Redis.from_url(self.url)
        await self.back_door.flushdb()
        yield
        await self.back_door.aclose()

    @pytest.fixture
    async def target(self, _place: None) -> AsyncIterator[ConfigTarget]:
        async with opened(self.url) as target:
            yield target

    @pytest.fixture
    async def other(self, _place: None) -> AsyncIterator[ConfigTarget]:
        async with opened(self.url) as target:
            yield target

    async def peek(self, key: str, field: str | None) -> bytes | None:
        found = await (self.back_door.get(key) if field is None else self.back_door.hget(key, field))
        assert found is None or isinstance(found, bytes)
        return found


class TestRedisPlainKey(TestRedisHash):
    field = None
