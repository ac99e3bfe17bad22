from collections.abc import AsyncIterator

import aiohttp
import pytest

from switchover.adapters.network import guarded_session
from switchover.adapters.targets.http import HttpTarget, HttpTargets
from switchover.config import PRIVATE_NETWORKS
from switchover.domain.addresses import AllowList
from switchover.errors import ErrorCode, ErrorType, StaleGenerationError, TargetError
from tests.support.config_server import ConfigService, config_service
from tests.support.faulty_http import FaultyServer, faulty_server, respond
from tests.support.processes import free_port


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with guarded_session(AllowList(PRIVATE_NETWORKS)) as session:
        yield session


@pytest.fixture
async def service() -> AsyncIterator[ConfigService]:
    async with config_service() as service:
        yield service


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with faulty_server() as server:
        yield server


def target(session: aiohttp.ClientSession, url: str, timeout_seconds: float = 5) -> HttpTarget:
    return HttpTargets(session, timeout_seconds=timeout_seconds, max_body_bytes=100_000).config_target(url)


async def failure(target: HttpTarget) -> TargetError:
    with pytest.raises(TargetError) as failed:
        await target.read("acme", None)
    return failed.value


async def test_requests_are_what_the_interfaces_promise(session: aiohttp.ClientSession, service: ConfigService) -> None:
    one = target(session, service.url)
    await one.read("acme", None)
    await one.write("acme", None, b"1", 3)
    await one.write("a/b", "gateway", b"1", 3)
    await one.remove("acme", None, 4)
    assert service.requests == [
        "GET /v1/config/acme",
        "PUT /v1/config/acme",
        "PUT /v1/config/a/b/gateway",
        "DELETE /v1/config/acme",
    ]


async def test_a_query_of_the_base_stays(session: aiohttp.ClientSession, server: FaultyServer) -> None:
    server.json("/v1/acme?ns=a%20b", "{}")
    assert (await target(session, f"{server.url}/v1?ns=a%20b").read("acme", None)).value == b"{}"


async def test_a_broadcast_is_a_post_to_the_url_itself(session: aiohttp.ClientSession, service: ConfigService) -> None:
    one = HttpTargets(session).broadcast_target(service.url)
    assert await one.publish(None, b'{"tenantId":"acme"}') is None
    await one.publish("topic ü", b"x")
    (path, headers, body), (_, named, _) = service.posted
    assert (path, body) == ("/v1/config", b'{"tenantId":"acme"}')
    assert headers["Content-Type"] == "application/json"
    assert named["Switchover-Channel"] == "topic%20%C3%BC"


async def test_a_broadcast_survives_a_connection_that_was_closed_meanwhile(
    session: aiohttp.ClientSession, server: FaultyServer
) -> None:
    """The server's keep-alive ended just when the next message was sent."""
    server.pages["/topic"] = lambda number: respond("ok") if number != 1 else b""
    one = target(session, server.url + "/topic")
    await one.publish(None, b"")
    await one.publish(None, b"")
    assert server.asked == {"/topic": 2}


@pytest.mark.parametrize("key", ["..", "a/../b", ".", "/a", "a/", "a//b", ""])
async def test_keys_cannot_leave_the_base(session: aiohttp.ClientSession, service: ConfigService, key: str) -> None:
    with pytest.raises(TargetError, match="cannot be part of a URL"):
        await target(session, service.url).write(key, None, b"1", 1)
    assert service.requests == []


@pytest.mark.parametrize("key", ["a?b=c", "a#b", "a%2e%2e", "%2e%2e", "ü", "a b", "a\tb"])
async def test_keys_cannot_be_anything_but_a_path(
    session: aiohttp.ClientSession, service: ConfigService, key: str
) -> None:
    one = target(session, service.url)
    await one.write(key, None, b"1", 1)
    assert (await one.read(key, None)).value == b"1"
    assert len(service.values) == 1
    assert next(iter(service.values)).startswith("/v1/config/")


async def test_the_generation_that_is_held_is_told(session: aiohttp.ClientSession, service: ConfigService) -> None:
    one = target(session, service.url)
    await one.write("acme", None, b"1", 9)
    with pytest.raises(StaleGenerationError, match="holds generation 9") as refused:
        await one.write("acme", None, b"2", 8)
    assert refused.value.held_generation == 9


async def test_a_server_that_does_not_say_which_is_understood(
    session: aiohttp.ClientSession, server: FaultyServer
) -> None:
    server.page("/acme", respond("", "412 Precondition Failed"))
    with pytest.raises(StaleGenerationError, match="a higher generation") as refused:
        await target(session, server.url).remove("acme", None, 1)
    assert refused.value.held_generation is None


async def test_a_server_without_generations_reads_as_zero(session: aiohttp.ClientSession, server: FaultyServer) -> None:
    server.json("/acme", "1")
    held = await target(session, server.url).read("acme", None)
    assert (held.value, held.generation) == (b"1", 0)


async def test_a_generation_that_is_no_number_is_an_error(session: aiohttp.ClientSession, server: FaultyServer) -> None:
    server.page("/acme", respond("1", headers="Switchover-Generation: new\r\n"))
    assert "no number" in str(await failure(target(session, server.url)))


async def test_removing_what_is_gone_is_fine(session: aiohttp.ClientSession, server: FaultyServer) -> None:
    server.page("/acme", respond("", "404 Not Found"))
    await target(session, server.url).remove("acme", None, 1)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("500 Oh", ErrorCode.TARGET_ERROR, ErrorType.BUSINESS_ERROR),
        ("403 No", ErrorCode.TARGET_ERROR, ErrorType.BUSINESS_ERROR),
        ("503 Busy", ErrorCode.TARGET_UNAVAILABLE, ErrorType.SERVICE_UNAVAILABLE),
        ("429 Slow", ErrorCode.TARGET_UNAVAILABLE, ErrorType.SERVICE_UNAVAILABLE),
        ("409 Conflict", ErrorCode.TARGET_ERROR, ErrorType.BUSINESS_ERROR),
    ],
)
async def test_other_answers_are_errors_with_what_was_said(
    session: aiohttp.ClientSession, server: FaultyServer, status: str, code: ErrorCode, kind: ErrorType
) -> None:
    server.page("/acme", respond("the reason", status))
    error = await failure(target(session, server.url))
    assert (error.code, error.error_type) == (code, kind)
    assert f"GET {server.url}/acme: answered {status[:3]}: the reason" in str(error)


async def test_redirects_are_not_followed(session: aiohttp.ClientSession, server: FaultyServer) -> None:
    server.page("/acme", respond("", "302 Found", "Location: http://169.254.169.254/\r\n"))
    assert "not followed" in str(await failure(target(session, server.url)))
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("reset", ErrorType.NETWORK_ERROR),
        ("close", ErrorType.NETWORK_ERROR),
        ("half", ErrorType.NETWORK_ERROR),
        ("garbage", ErrorType.NETWORK_ERROR),
        ("hang", ErrorType.TIMEOUT_ERROR),
        ("drip", ErrorType.TIMEOUT_ERROR),
        ("huge", ErrorType.BUSINESS_ERROR),
    ],
)
async def test_faults_are_named(
    session: aiohttp.ClientSession, server: FaultyServer, key: str, kind: ErrorType
) -> None:
    with pytest.raises(TargetError) as failed:
        await target(session, server.url, timeout_seconds=1 if key == "huge" else 0.1).read(key, None)
    assert failed.value.error_type is kind
    assert f"GET {server.url}/{key}: " in str(failed.value)


async def test_refused_connections_and_addresses_are_named(session: aiohttp.ClientSession) -> None:
    away = await failure(target(session, f"http://u:s3cret@127.0.0.1:{free_port()}"))
    assert away.code is ErrorCode.TARGET_UNAVAILABLE
    assert "s3cret" not in str(away)
    forbidden = await failure(target(session, "http://169.254.169.254/latest"))
    assert forbidden.code is ErrorCode.ENDPOINT_NOT_ALLOWED
    assert "http://169.254.169.254/latest/acme" in str(forbidden)
