import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from switchover.adapters.targets.redis import RedisTarget, RedisTargets
from switchover.config import PRIVATE_NETWORKS
from switchover.domain.addresses import AllowList
from switchover.errors import ErrorCode, ErrorType, StageError, TargetError
from switchover.spi import HeldValue
from tests.support.faulty_http import faulty_server
from tests.support.processes import free_port
from tests.support.servers import start_redis

DATABASE = 4


@pytest.fixture
async def family() -> AsyncIterator[RedisTargets]:
    family = RedisTargets(AllowList(PRIVATE_NETWORKS), timeout_seconds=1)
    yield family
    await family.aclose()


@pytest.fixture
async def back_door(redis_server: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(f"{redis_server}/{DATABASE}")
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
def target(redis_server: str, family: RedisTargets, back_door: Redis) -> RedisTarget:
    return family.config_target(f"{redis_server}/{DATABASE}")


async def test_it_lies_where_the_interfaces_say(target: RedisTarget, back_door: Redis) -> None:
    await target.write("tenant_config:acme", "gateway", b'{"a":1}', 5)
    await target.write("plain:acme", None, b'{"b":2}', 6)
    assert await back_door.hgetall("tenant_config:acme") == {b"gateway": b'{"a":1}', b"gateway:generation": b"5"}
    assert await back_door.get("plain:acme") == b'{"b":2}'
    assert await back_door.get("plain:acme:generation") == b"6"


async def test_an_existing_value_without_generation_can_be_taken_over(target: RedisTarget, back_door: Redis) -> None:
    await back_door.hset("k", "f", "whatever, not even JSON \xff")
    held = await target.read("k", "f")
    assert held.generation == 0
    assert held.value is not None
    await target.write("k", "f", b"1", 1)
    await target.write("k", "f", held.value, 2)
    assert (await target.read("k", "f")).value == held.value


async def test_a_key_of_another_type_is_never_replaced(target: RedisTarget, back_door: Redis) -> None:
    await back_door.hset("hash", "f", "1")
    await back_door.set("text", "1")
    for work in (
        target.read("hash", None),
        target.write("hash", None, b"2", 1),
        target.remove("hash", None, 1),
        target.read("text", "f"),
        target.write("text", "f", b"2", 1),
    ):
        with pytest.raises(TargetError, match="WRONGTYPE") as failed:
            await work
        assert failed.value.code is ErrorCode.TARGET_ERROR
    assert await back_door.hgetall("hash") == {b"f": b"1"}
    assert await back_door.get("text") == b"1"


async def test_a_generation_that_is_no_number_stops_everything(target: RedisTarget, back_door: Redis) -> None:
    await back_door.hset("k", "f:generation", "new")
    with pytest.raises(TargetError, match="no number"):
        await target.read("k", "f")
    with pytest.raises(TargetError, match="no number"):
        await target.write("k", "f", b"1", 10)
    assert not await back_door.hexists("k", "f")


async def test_listeners_hear_and_are_counted(target: RedisTarget, back_door: Redis) -> None:
    assert await target.publish("topic", b"nobody") == 0
    async with back_door.pubsub() as listener:
        await listener.subscribe("topic")
        assert await listener.get_message(timeout=5) is not None
        assert await target.publish("topic", b'{"tenantId":"acme"}') == 1
        message = await listener.get_message(timeout=5)
        assert message is not None
        assert message["data"] == b'{"tenantId":"acme"}'


async def test_a_message_needs_a_channel(target: RedisTarget) -> None:
    with pytest.raises(TargetError, match="needs a channel"):
        await target.publish(None, b"x")


async def test_scripts_are_sent_again_when_the_server_forgot_them(target: RedisTarget, back_door: Redis) -> None:
    await target.write("k", "f", b"1", 1)
    await back_door.script_flush()
    await target.write("k", "f", b"2", 2)
    assert await target.read("k", "f") == HeldValue(value=b"2", generation=2)


async def test_equal_urls_share_one_pool(redis_server: str, family: RedisTargets, target: RedisTarget) -> None:
    url = f"{redis_server}/{DATABASE}"
    assert family.config_target(url) is target
    assert family.broadcast_target(url) is target
    assert family.config_target(f"{redis_server}/5") is not target


async def test_many_at_once_share_few_connections(target: RedisTarget, back_door: Redis) -> None:
    await asyncio.gather(*(target.write(f"k{number}", "f", b"1", 1) for number in range(500)))
    clients = await back_door.client_list()
    assert len(clients) <= 70


async def test_a_server_that_was_restarted_is_no_failure(tmp_path: Path, family: RedisTargets) -> None:
    """The pool still holds connections that the old process closed."""
    program, port = start_redis(tmp_path)
    target = family.config_target(f"redis://127.0.0.1:{port}/0")
    try:
        await target.write("k", "f", b"1", 1)
        program.stop()
        program, _ = start_redis(tmp_path, port=port)
        await target.write("k", "f", b"2", 2)
        assert (await target.read("k", "f")).value == b"2"
    finally:
        program.stop()


async def failure(target: RedisTarget) -> TargetError:
    with pytest.raises(TargetError) as failed:
        await target.read("k", "f")
    return failed.value


async def test_a_server_that_is_away_is_named(family: RedisTargets) -> None:
    error = await failure(family.config_target(f"redis://user:s3cret@127.0.0.1:{free_port()}/0"))
    assert (error.code, error.error_type) == (ErrorCode.TARGET_UNAVAILABLE, ErrorType.NETWORK_ERROR)
    assert "key 'k', field 'f'" in str(error)
    assert "s3cret" not in str(error)


async def test_a_server_that_is_silent_ends_with_a_time_out() -> None:
    family = RedisTargets(AllowList(PRIVATE_NETWORKS), timeout_seconds=0.1)
    async with faulty_server() as server:  # reads, and waits for the end of a request that never comes
        error = await failure(family.config_target(f"redis://127.0.0.1:{server.port}/0"))
        assert error.error_type is ErrorType.TIMEOUT_ERROR
        await family.aclose()


async def test_a_server_that_talks_nonsense_is_an_error(family: RedisTargets) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert "key 'k'" in str(await failure(family.config_target(f"redis://127.0.0.1:{port}/0")))


async def test_a_name_that_cannot_be_resolved_is_an_error(family: RedisTargets) -> None:
    error = await failure(family.config_target("redis://green.invalid:6379/0"))
    assert error.error_type is ErrorType.NETWORK_ERROR


@pytest.mark.parametrize("host", ["169.254.169.254", "8.8.8.8", "[::ffff:169.254.169.254]"])
async def test_addresses_outside_the_allow_list_are_refused(family: RedisTargets, host: str) -> None:
    error = await failure(family.config_target(f"redis://{host}:6379/0"))
    assert error.code is ErrorCode.ENDPOINT_NOT_ALLOWED
    assert not error.retryable


async def test_names_are_judged_by_what_they_resolve_to(redis_server: str) -> None:
    port = redis_server.rpartition(":")[2]
    url = f"redis://localhost:{port}/{DATABASE}"
    for networks, allowed in ((("10.0.0.0/8",), False), (("127.0.0.0/8",), True)):
        family = RedisTargets(AllowList(networks), timeout_seconds=1)
        try:
            if allowed:
                assert (await family.config_target(url).read("names", "f")).generation == 0
            else:
                assert (await failure(family.config_target(url))).code is ErrorCode.ENDPOINT_NOT_ALLOWED
        finally:
            await family.aclose()


async def test_a_wrong_password_is_an_error_that_does_not_show_it(tmp_path: Path, family: RedisTargets) -> None:
    program, port = start_redis(tmp_path)
    client = Redis(port=port)
    try:
        await client.config_set("requirepass", "right")
        error = await failure(family.config_target(f"redis://:s3cret@127.0.0.1:{port}/0"))
        assert error.code is ErrorCode.TARGET_ERROR
        assert "s3cret" not in str(error)
        held = await family.config_target(f"redis://:right@127.0.0.1:{port}/0").read("k", None)
        assert held == HeldValue(value=None, generation=0)
    finally:
        await client.aclose()
        program.stop()


@pytest.mark.parametrize("url", ["redis://h:port/0", "redis://h:99999999/0?max_connections=x"])
def test_urls_that_cannot_be_read_are_refused(url: str) -> None:
    with pytest.raises(StageError, match="no Redis URL"):
        RedisTargets(AllowList(PRIVATE_NETWORKS)).config_target(url)
