"""What a store's URL says about Redis, and what is wrong with it."""

from pathlib import Path

import pytest

from switchover.adapters.stores.redis import RedisExecutionStore
from switchover.adapters.stores.redis.address import read_address
from switchover.errors import StoreUnavailableError, StoreUnusableError
from switchover.spi import ServedStore
from tests.support.certificates import authority
from tests.support.processes import free_port
from tests.support.servers import DURABLE, start_redis


def test_the_rest_of_the_url_is_for_the_driver_and_nothing_secret_is_shown() -> None:
    address = read_address("redis://ops:s3cret@10.0.0.5:6380/2?prefix=blue&appendfsync=everysec&socket_keepalive=1")
    assert address.url == "redis://ops:s3cret@10.0.0.5:6380/2?socket_keepalive=1"
    assert (address.prefix, address.appendfsync) == ("blue", "everysec")
    assert "s3cret" not in address.shown
    assert "10.0.0.5:6380/2" in address.shown
    plain = read_address("redis://h")
    assert (plain.prefix, plain.appendfsync) == ("switchover", "always")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h/first", "the database is 'first' and must be a number"),
        ("redis://h/0?prefix=", "prefix is ''"),
        ("redis://h/0?prefix=a b", "prefix is 'a b'"),
        ("redis://h/0?prefix=a:b", "must be 1 to 64 letters"),
        ("redis://h/0?appendfsync=no", "appendfsync is 'no' and must be one of always, everysec, unchecked"),
        ("redis://h/0?fsync=always", "the unknown option 'fsync'; there are appendfsync,"),
        ("redis://h:0/0", "the port is 0"),
        ("redis://h:70000/0", "is no Redis URL"),
        ("unix://?db=1", "names no socket"),
        ("redis://h/0?socket_keepalive=perhaps&health_check_interval=often", "is no Redis URL"),
    ],
)
def test_a_wrong_url_is_told_with_the_rule(url: str, says: str) -> None:
    with pytest.raises(StoreUnusableError) as caught:
        RedisExecutionStore(url)
    assert says in str(caught.value)


async def test_a_server_that_is_not_there_is_away() -> None:
    store = RedisExecutionStore(f"redis://127.0.0.1:{free_port()}/0")
    assert isinstance(store, ServedStore)
    with pytest.raises(StoreUnavailableError, match="the connection failed"):
        await store.open()
    with pytest.raises(StoreUnavailableError, match="the connection failed"):
        await store.is_empty()


async def test_a_socket_and_tls_lead_to_the_same_store(tmp_path: Path) -> None:
    certificate = authority().server(tmp_path)
    (tmp_path / "ca.pem").write_text(authority().pem)
    tls_port, socket = free_port(), tmp_path / "redis.sock"
    tls = ("--tls-port", str(tls_port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(tmp_path / "ca.pem"))
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(certificate))
    program, port = start_redis(tmp_path, settings=(*DURABLE, *tls, *files, "--unixsocket", str(socket)))
    try:
        urls = (
            f"redis://127.0.0.1:{port}/3",
            f"unix://{socket}?db=3",
            f"rediss://127.0.0.1:{tls_port}/3?ssl_ca_certs={tmp_path}/ca.pem",
        )
        for number, url in enumerate(urls, start=1):
            store = RedisExecutionStore(url)
            await store.open()
            lease = await store.acquire_driver("test")
            assert lease is not None
            assert lease.epoch == number
            await store.aclose()
        untrusted = RedisExecutionStore(f"rediss://127.0.0.1:{tls_port}/3")
        with pytest.raises(StoreUnavailableError, match="certificate"):
            await untrusted.open()
    finally:
        program.stop()
