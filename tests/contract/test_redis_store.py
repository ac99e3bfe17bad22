from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis

from switchover.adapters.stores.redis import RedisExecutionStore
from switchover.adapters.stores.redis.values import decode_images
from switchover.spi import ExecutionStore
from switchover.testing.access_contracts import AccessStoreContract
from switchover.testing.contracts import AgreementContract

_NUMBERS = count(1)

_Client = Any
"""The types of redis-py do not know whether an answer is text or bytes."""


class RedisPlace:
    """A part of a database that nobody else uses."""

    @pytest.fixture
    def place(self, redis_store_server: str) -> str:
        return f"{redis_store_server}/0?prefix=test-{next(_NUMBERS)}"

    def connect(self, place: object) -> ExecutionStore:
        assert isinstance(place, str)
        return RedisExecutionStore(place)


class TestRedisStore(RedisPlace, AgreementContract):
    async def count_rows(self, place: object) -> Mapping[str, int]:
        assert isinstance(place, str)
        url, _, prefix = place.partition("?prefix=")
        counted = dict.fromkeys(("plans", "tasks", "configs", "events", "tenants", "pre_images", "marks", "log"), 0)
        client: _Client = Redis.from_url(url)
        async with client:
            async for key in client.scan_iter(f"{prefix}:*", count=10_000):
                await _count(client, key, key.decode().split(":")[1:], counted)
        return counted


async def _count(client: _Client, key: bytes, parts: Sequence[str], counted: dict[str, int]) -> None:
    match parts:
        case ["plan", _]:
            counted["plans"] += 1
        case ["plan", _, "tasks" | "configs" as name]:
            counted[name] += await client.hlen(key)
        case ["plan", _, "events"]:
            counted["events"] += await client.xlen(key)
        case ["plan", _, "images"]:
            counted["pre_images"] += sum(len(decode_images(records)) for records in await client.hvals(key))
        case ["plan", _, "status"]:
            counted["marks"] += len((await client.get(key)).replace(b"\0", b""))
        case ["log"]:
            counted["log"] += sum(int(fields[b"n"]) for _, fields in await client.xrange(key))
        case ["tenants" | "holds" | "known_good" | "idempotency" | "requests" as name]:
            counted[name] = await client.hlen(key)


class TestRedisAccess(RedisPlace, AccessStoreContract):
    pass
