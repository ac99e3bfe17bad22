"""The real client against real sockets that misbehave; lessons 35, 38 and 39."""

import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from switchover.adapters.health import MAX_BODY_BYTES, HttpHealthCheckClient
from switchover.adapters.network import guarded_session
from switchover.config import PRIVATE_NETWORKS
from switchover.domain.addresses import AllowList
from switchover.domain.task import NetworkEndpointSnapshot
from switchover.errors import ErrorCode, ErrorType, HealthCheckError, TargetError
from switchover.spi import HealthCheckClient
from switchover.stages.steps import HealthCheckStep
from tests.support.faulty_http import FaultyServer, faulty_server, respond
from tests.support.processes import free_port
from tests.support.stages import GREEN, Bench

ALLOWED = AllowList(PRIVATE_NETWORKS)


class Names(AbstractResolver):
    """Answers what the test says, one answer after another."""

    def __init__(self, *answers: str | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in answer.split(",")
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with faulty_server() as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with guarded_session(ALLOWED) as session:
        yield session


@pytest.fixture
def client(session: aiohttp.ClientSession) -> HttpHealthCheckClient:
    return HttpHealthCheckClient(session, timeout_seconds=5)


async def failure(client: HttpHealthCheckClient, url: str) -> TargetError:
    with pytest.raises(TargetError) as failed:
        await client.get(url)
    return failed.value


async def test_the_body_comes_back(client: HttpHealthCheckClient, server: FaultyServer) -> None:
    assert isinstance(client, HealthCheckClient)
    url = server.json("/health", '{"version": 42, "big": 123456789012345678901234567890, "n": null}')
    assert await client.get(url) == {"version": 42, "big": 123456789012345678901234567890, "n": None}


async def test_caches_are_passed(client: HttpHealthCheckClient, server: FaultyServer) -> None:
    """Lesson 38: every request asks anew, and says so to whatever stands between."""
    url = server.page(
        "/health",
        respond('{"version": 1}', headers="Cache-Control: max-age=3600\r\nETag: x\r\nSet-Cookie: a=b\r\n"),
        respond('{"version": 2}'),
    )
    assert [(await client.get(url))["version"] for _ in range(2)] == [1, 2]
    for head in server.heads:
        assert "Cache-Control: no-cache" in head
        assert "Pragma: no-cache" in head
        assert "If-None-Match" not in head
        assert "Cookie" not in head


async def test_a_connection_is_used_again(client: HttpHealthCheckClient, server: FaultyServer) -> None:
    url = server.json("/health", "{}")
    for _ in range(5):
        await client.get(url)
    assert server.connections == 1


async def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(
    client: HttpHealthCheckClient, server: FaultyServer
) -> None:
    url = server.page("/health", respond("{}", headers="Connection: close\r\n"))
    for _ in range(3):
        await client.get(url)
    assert server.connections == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("404 Not Found", ErrorType.BUSINESS_ERROR),
        ("500 Oh", ErrorType.BUSINESS_ERROR),
        ("503 Busy", ErrorType.SERVICE_UNAVAILABLE),
        ("304 Not Modified", ErrorType.BUSINESS_ERROR),
    ],
)
async def test_only_2xx_is_an_answer(
    client: HttpHealthCheckClient, server: FaultyServer, status: str, kind: ErrorType
) -> None:
    body = "" if status.startswith("304") else '{"version": 42}'
    error = await failure(client, server.page("/health", respond(body, status)))
    assert f"answered {status[:3]}" in str(error)
    assert error.error_type is kind


async def test_201_is_an_answer(client: HttpHealthCheckClient, server: FaultyServer) -> None:
    assert await client.get(server.page("/health", respond('{"a": 1}', "201 Created"))) == {"a": 1}


@pytest.mark.parametrize("body", ["", "not json", "[1]", '"42"', "42", "null", '{"version": 42', "{" * 50_000])
async def test_a_body_that_is_no_object_is_an_error(
    client: HttpHealthCheckClient, server: FaultyServer, body: str
) -> None:
    error = await failure(client, server.json("/health", body))
    assert "JSON" in str(error)
    assert len(str(error)) < 500


async def test_a_huge_body_is_not_read(client: HttpHealthCheckClient, server: FaultyServer) -> None:
    error = await failure(client, server.url + "/huge")
    assert f"more than {MAX_BODY_BYTES} bytes" in str(error)


async def test_a_body_of_the_largest_size_is_read(client: HttpHealthCheckClient, server: FaultyServer) -> None:
    body = '{"x":"' + "y" * (MAX_BODY_BYTES - 8) + '"}'
    assert len(body) == MAX_BODY_BYTES
    assert await client.get(server.json("/health", body))
    await failure(client, server.json("/longer", body + " "))


@pytest.mark.parametrize("path", ["/reset", "/close", "/half", "/garbage"])
async def test_broken_connections_are_network_errors(
    client: HttpHealthCheckClient, server: FaultyServer, path: str
) -> None:
    error = await failure(client, server.url + path)
    assert error.error_type is ErrorType.NETWORK_ERROR
    assert error.code is ErrorCode.TARGET_UNAVAILABLE


async def test_a_refused_connection_is_a_network_error(client: HttpHealthCheckClient) -> None:
    error = await failure(client, f"http://127.0.0.1:{free_port()}/health")
    assert error.error_type is ErrorType.NETWORK_ERROR
    assert "could not be connected to" in str(error)


@pytest.mark.parametrize("path", ["/hang", "/drip"])
async def test_silence_and_slow_drips_end_with_the_time_out(
    session: aiohttp.ClientSession, server: FaultyServer, path: str
) -> None:
    """A byte now and then does not keep a request alive."""
    with pytest.raises(TimeoutError):
        await HttpHealthCheckClient(session, timeout_seconds=0.1).get(server.url + path)


async def test_redirects_are_not_followed(client: HttpHealthCheckClient, server: FaultyServer) -> None:
    error = await failure(client, server.url + "/loop")
    assert "a redirect to /loop, which is not followed" in str(error)
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    "url", ["nonsense", "http://", "http://h:99999/", "http://[::1/", "http://[::]:@", "ftp://127.0.0.1/"]
)
async def test_what_is_no_url_is_an_error(client: HttpHealthCheckClient, url: str) -> None:
    assert str(await failure(client, url))


@pytest.mark.parametrize("host", ["169.254.169.254", "8.8.8.8", "0.0.0.0", "[::ffff:169.254.169.254]", "[fe80::1]"])
async def test_addresses_outside_the_allow_list_are_refused(client: HttpHealthCheckClient, host: str) -> None:
    error = await failure(client, f"http://{host}/health")
    assert error.code is ErrorCode.ENDPOINT_NOT_ALLOWED
    assert "allow-list" in str(error)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
async def test_odd_spellings_of_addresses_are_judged_like_any(host: str, server: FaultyServer) -> None:
    """They are names to the client and addresses to the system: what is connected to counts."""
    async with guarded_session(AllowList(("10.0.0.0/8",))) as session:
        error = await failure(HttpHealthCheckClient(session, timeout_seconds=5), f"http://{host}:{server.port}/health")
        refusals = {ErrorCode.ENDPOINT_NOT_ALLOWED, ErrorCode.TARGET_UNAVAILABLE, ErrorCode.INVALID_ENDPOINT}
        assert error.code in refusals
    assert server.connections == 0


async def test_a_name_is_judged_by_what_it_resolves_to_at_each_request(server: FaultyServer) -> None:
    """DNS rebinding: allowed at first, metadata service a moment later."""
    server.json("/health", "{}")
    names = Names("127.0.0.1", "169.254.169.254", "127.0.0.1")
    async with guarded_session(ALLOWED, resolver=names) as session:
        client = HttpHealthCheckClient(session, timeout_seconds=5)
        url = f"http://green.test:{server.port}/health"
        assert await client.get(url) == {}
        error = await failure(client, url)
        assert error.code is ErrorCode.ENDPOINT_NOT_ALLOWED
        assert "169.254.169.254 of green.test" in str(error)
        assert await client.get(url) == {}
    assert names.asked == ["green.test"] * 3


async def test_of_several_addresses_only_allowed_ones_are_used(server: FaultyServer) -> None:
    server.json("/health", "{}")
    async with guarded_session(ALLOWED, resolver=Names("169.254.169.254,127.0.0.1")) as session:
        assert await HttpHealthCheckClient(session).get(f"http://green.test:{server.port}/health") == {}


async def test_a_name_that_cannot_be_resolved_is_an_error_with_its_cause() -> None:
    """Lesson 39."""
    names = Names(OSError(-2, "Name or service not known"))
    async with guarded_session(ALLOWED, resolver=names) as session:
        error = await failure(HttpHealthCheckClient(session), "http://green.test/health")
    assert error.error_type is ErrorType.NETWORK_ERROR
    assert "could not be resolved" in str(error)


async def test_step_and_client_together_name_what_every_endpoint_did(
    client: HttpHealthCheckClient, server: FaultyServer, bench: Bench
) -> None:
    """Rounds over real sockets, waits on a clock that the test owns."""
    paths = {
        "/health": "answered version 41",
        "/reset": "broke off",
        "/loop": "answered 302",
        "/garbage": "answered what is no HTTP",
    }
    server.json("/health", '{"version": 41}')
    endpoints = tuple(NetworkEndpointSnapshot(value=server.url + path) for path in paths)
    bench.health = client
    context = bench.context(config=replace(GREEN, network_endpoints=endpoints))
    with pytest.raises(HealthCheckError) as failed:
        await bench.clock.run(HealthCheckStep().execute(context))
    for path, said in paths.items():
        assert f"{server.url}{path} {said}" in str(failed.value)
    assert server.asked == {"/health": 9}, "ten rounds, counted from zero"
    assert bench.clock.monotonic() == 27


async def test_the_step_bounds_each_request_by_itself(
    session: aiohttp.ClientSession, server: FaultyServer, bench: Bench
) -> None:
    bench.health = HttpHealthCheckClient(session)
    step = HealthCheckStep(endpoints=[server.url + "/hang", server.url + "/drip"], timeout=0.05, attempts=2)
    with pytest.raises(HealthCheckError) as failed:
        await bench.clock.run(step.execute(bench.context()))
    assert failed.value.error_type is ErrorType.TIMEOUT_ERROR


@pytest.fixture
def bench() -> Bench:
    return Bench()
