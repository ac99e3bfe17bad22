"""
Every known way to make a server ask an address that it must not ask, tried on every door that sends requests.

Two real servers listen on the same port: at 127.0.0.2, which the allow-list permits, and at 127.0.0.1, which it does
not. The second one is the trap: a connection there is a break-out, whatever became of it.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from switchover.adapters.health import HttpHealthCheckClient
from switchover.adapters.network import guarded_session
from switchover.adapters.targets.http import HttpTargets
from switchover.adapters.targets.provider import SchemeTargetProvider
from switchover.adapters.targets.redis import RedisTargets
from switchover.domain.addresses import AllowList
from switchover.domain.task import NetworkEndpointSnapshot, TenantDeployConfigSnapshot, TenantId
from switchover.errors import ErrorCode, ExecutorError, TargetError
from switchover.factory.endpoints import EndpointJudge

ALLOWED = "127.0.0.2"
FORBIDDEN = "127.0.0.1"
LIST = AllowList([f"{ALLOWED}/32"])
REFUSALS = {
    ErrorCode.ENDPOINT_NOT_ALLOWED,
    ErrorCode.INVALID_ENDPOINT,
    ErrorCode.INVALID_FIELD,
    ErrorCode.TARGET_UNAVAILABLE,
}
DOORS = ("health", "read", "write", "remove", "broadcast", "redis")


@dataclass
class Listener:
    """Counts who comes, keeps what they say, and answers all of them alike."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.heard.append(data)
                writer.write(self.answer)
        writer.close()

    @property
    def text(self) -> str:
        return b"".join(self.heard).decode("latin-1")


@dataclass
class Place:
    """Both servers, and a call for each door."""

    port: int
    allowed: Listener
    trap: Listener
    doors: dict[str, Callable[[str], Awaitable[object]]]

    async def knock(self, door: str, host: str, path: str = "/x") -> ExecutorError | None:
        """Ask there; what came of it."""
        return await self.ask(door, f"http://{host}:{self.port}{path}")

    async def ask(self, door: str, url: str) -> ExecutorError | None:
        if door == "redis":
            url = url.replace("http:", "redis:", 1)
        try:
            await asyncio.wait_for(self.doors[door](url), 20)
        except ExecutorError as error:
            return error
        return None


async def _listen(listener: Listener, host: str, port: int) -> asyncio.Server:
    return await asyncio.start_server(listener.serve, host, port)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    allowed, trap = Listener(), Listener()
    servers = [await _listen(trap, FORBIDDEN, 0)]
    port = servers[0].sockets[0].getsockname()[1]
    servers.append(await _listen(allowed, ALLOWED, port))
    with suppress(OSError):  # a machine without IPv6 has one trap less
        servers.append(await _listen(trap, "::1", port))
    session, redis = guarded_session(LIST), RedisTargets(LIST, timeout_seconds=2)
    http, health = HttpTargets(session, timeout_seconds=5), HttpHealthCheckClient(session, timeout_seconds=5)
    yield Place(
        port,
        allowed,
        trap,
        {
            "health": health.get,
            "read": lambda url: http.config_target(url).read("k", None),
            "write": lambda url: http.config_target(url).write("k", None, b"1", 3),
            "remove": lambda url: http.config_target(url).remove("k", None, 3),
            "broadcast": lambda url: http.broadcast_target(url).publish("c", b"1"),
            "redis": lambda url: redis.config_target(url).read("k", "f"),
        },
    )
    await redis.aclose()
    await session.close()
    for server in servers:
        server.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Sequence[str]]]:
    """What names resolve to: the next answer at each question, the last one for ever."""
    answers: dict[str, list[Sequence[str]]] = {}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002, ANN401, PLR0917  # as in the library
        if host not in answers:
            return real(host, port, family, type, proto, flags)
        found = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return [info for address in found for info in real(address, port, family, type, proto)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


# --- spelling ---------------------------------------------------------------------------------------------------------

SPELLINGS = {
    "as it is": "127.0.0.1",
    "decimal": "2130706433",
    "hexadecimal": "0x7f000001",
    "hexadecimal parts": "0x7f.0x0.0x0.0x1",
    "octal": "017700000001",
    "octal parts": "0177.0.0.01",
    "zeros in front": "127.000.000.001",
    "two parts": "127.1",
    "three parts": "127.0.1",
    "a dot behind": "127.0.0.1.",
    "percent-encoded": "%31%32%37.0.0.1",
    "full width": "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
    "circled": "①②⑦.⓪.⓪.①",
    "ideographic dots": "127。0。0。1",
    "this host": "0.0.0.0",
    "this host in short": "0",
    "unspecified": "[::]",
    "loopback of IPv6": "[::1]",
    "loopback of IPv6 in full": "[0:0:0:0:0:0:0:1]",
    "mapped": "[::ffff:127.0.0.1]",
    "mapped in hexadecimal": "[::ffff:7f00:1]",
    "mapped this host": "[::ffff:0.0.0.0]",
    "compatible": "[::127.0.0.1]",
    "6to4": "[2002:7f00:1::]",
    "NAT64": "[64:ff9b::7f00:1]",
    "NAT64 for local use": "[64:ff9b:1::7f00:1]",
    "Teredo": "[2001:0:7f00:1::80ff:fffe]",
    "a name": "localhost",
    "a name in capitals": "LOCALHOST",
    "a name with a dot behind": "localhost.",
    "allowed user": f"{ALLOWED}@127.0.0.1",
    "allowed user and password": f"{ALLOWED}:80@127.0.0.1",
    "two at signs": f"x@{ALLOWED}@127.0.0.1",
    "an encoded at sign": f"{ALLOWED}%40x@127.0.0.1",
    "an encoded slash": f"{ALLOWED}%2F@127.0.0.1",
    "a backslash": f"{ALLOWED}\\@127.0.0.1",
    "a tab": "127.0.\t0.1",
    "metadata of clouds": "169.254.169.254",
    "metadata of clouds, mapped": "[::ffff:169.254.169.254]",
    "metadata of clouds, decimal": "2852039166",
    "link-local with a zone": "[fe80::1%25lo]",
}


@pytest.mark.parametrize("host", SPELLINGS.values(), ids=SPELLINGS)
async def test_no_spelling_of_an_address_gets_past_the_list(place: Place, host: str) -> None:
    for door in DOORS:
        error = await place.knock(door, host)
        assert error is not None, door
        assert error.code in REFUSALS, (door, error.code, error.message)
    assert place.trap.connections == 0
    assert place.allowed.connections == 0


@pytest.mark.parametrize("part", ["#@127.0.0.1", "?@127.0.0.1", "/@127.0.0.1"])
async def test_what_stands_behind_the_host_is_no_host(place: Place, part: str) -> None:
    for door in DOORS[:-1]:
        await place.ask(door, f"http://{ALLOWED}:{place.port}{part}:{place.port}/x")
    assert place.trap.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("fd00:ec2::254", "fd20:ce::254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255"),
        *("::ffff:169.254.169.254", "::169.254.169.254", "2002:a9fe:a9fe::", "64:ff9b::a9fe:a9fe"),
        *("64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "2001:0:1:2:3:4:5601:5601"),
    ],
)
def test_some_addresses_are_refused_by_a_list_that_permits_everything(address: str) -> None:
    assert not AllowList(["0.0.0.0/0", "::/0"]).permits(address)


# --- names ------------------------------------------------------------------------------------------------------------


async def test_a_name_that_leads_to_a_forbidden_address_is_refused(
    place: Place, names: dict[str, list[Sequence[str]]]
) -> None:
    for host in ("evil.test", "EVIL.test", "evil.test.", "xn--bse-sna.test", "böse.test"):
        for spelling in {host, host.lower(), host.encode("idna").decode()}:
            names[spelling] = [[FORBIDDEN]]
        for door in DOORS:
            error = await place.knock(door, host)
            assert error is not None, door
            assert error.code in REFUSALS, (door, error.message)
    assert place.trap.connections == 0


@pytest.mark.parametrize(
    "first", [[FORBIDDEN, ALLOWED], [ALLOWED, FORBIDDEN]], ids=["forbidden first", "allowed first"]
)
async def test_of_a_name_with_both_only_the_allowed_address_is_asked(
    place: Place, names: dict[str, list[Sequence[str]]], first: Sequence[str]
) -> None:
    names["both.test"] = [first]
    for door in DOORS:
        before = place.allowed.connections + len(place.allowed.heard)
        await place.knock(door, "both.test")
        assert place.allowed.connections + len(place.allowed.heard) > before, door
    assert place.trap.connections == 0


async def test_when_the_allowed_address_does_not_answer_the_forbidden_one_is_not_tried(
    place: Place, names: dict[str, list[Sequence[str]]]
) -> None:
    names["both.test"] = [["127.0.0.3", FORBIDDEN]]
    session, redis = guarded_session(AllowList(["127.0.0.3/32"])), RedisTargets(AllowList(["127.0.0.3/32"]))
    async with session:
        with pytest.raises(TargetError, match="could not be connected to"):
            await HttpHealthCheckClient(session, timeout_seconds=5).get(f"http://both.test:{place.port}/")
        with pytest.raises(TargetError, match=r"both\.test"):
            await redis.config_target(f"redis://both.test:{place.port}/0").read("k", "f")
    await redis.aclose()
    assert place.trap.connections == 0


@pytest.mark.parametrize("door", DOORS)
async def test_between_the_judgement_and_the_connection_a_name_is_not_asked_again(
    place: Place, names: dict[str, list[Sequence[str]]], door: str
) -> None:
    """DNS rebinding: the answer that was judged is the one that is connected to."""
    names["rebind.test"] = [[ALLOWED], [FORBIDDEN]]
    await place.knock(door, "rebind.test")
    assert place.allowed.connections > 0
    # Whoever connects anew looks up anew, and is refused now; a connection that is there already leads where it led.
    for _ in range(3):
        error = await place.knock(door, "rebind.test")
        assert error is None or error.code in {*REFUSALS, ErrorCode.TARGET_ERROR}
    assert place.trap.connections == 0


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.1:{port}/x", "//127.0.0.1:{port}/x", "http://169.254.169.254/latest/meta-data/"),
        *("http://127.0.0.2:{port}/again", "/again", "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x"),
        *("unix:///var/run/docker.sock", "http://127.0.0.2:{port}@127.0.0.1:{port}/", "https://127.0.0.1:{port}/"),
    ],
)
async def test_no_redirect_is_followed_wherever_it_leads(place: Place, status: int, location: str) -> None:
    where = location.format(port=place.port)
    place.allowed.answer = (
        f"HTTP/1.1 {status} Elsewhere\r\nLocation: {where}\r\nRefresh: 0; url={where}\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    for door in DOORS[:-1]:
        place.allowed.heard.clear()
        error = await place.knock(door, ALLOWED)
        assert error is not None, door
        assert "which is not followed" in error.message
        assert len(place.allowed.heard) == 1, "asked once, and nowhere else"
    assert place.trap.connections == 0


@pytest.mark.parametrize("kind", ["MOVED 866", "ASK 866"])
async def test_no_redirect_of_redis_is_followed(place: Place, kind: str) -> None:
    place.allowed.answer = f"-{kind} {FORBIDDEN}:{place.port}\r\n".encode() * 3
    error = await place.knock("redis", ALLOWED, "/0")
    assert error is not None
    assert place.allowed.connections > 0
    assert place.trap.connections == 0


async def test_no_redis_is_asked_to_say_when_it_moves_and_whoever_says_so_is_not_followed(place: Place) -> None:
    """Over RESP3 a server may push where the client is to go on; redis-py obeys by itself."""
    moving = f">4\r\n$6\r\nMOVING\r\n:1\r\n:1\r\n$15\r\n{FORBIDDEN}:{place.port}\r\n"
    place.allowed.answer = f"{moving}*2\r\n$-1\r\n$-1\r\n".encode()
    for _ in range(3):
        error = await place.knock("redis", ALLOWED, "/0")
        assert error is not None
    assert "MAINT_NOTIFICATIONS" not in place.allowed.text
    assert "HELLO" not in place.allowed.text
    assert place.trap.connections == 0
    refused = await place.knock("redis", ALLOWED, "/0?protocol=3")
    assert refused is not None
    assert refused.code is ErrorCode.INVALID_FIELD


@pytest.mark.parametrize("answer", [":1\r\n", "*1\r\n$-1\r\n", "*2\r\n:1\r\n:2\r\n", "*2\r\n$-1\r\n*0\r\n"])
async def test_an_answer_that_no_redis_gives_is_an_error(place: Place, answer: str) -> None:
    place.allowed.answer = answer.encode()
    error = await place.knock("redis", ALLOWED, "/0")
    assert isinstance(error, TargetError)


# --- what surrounds the program ---------------------------------------------------------------------------------------


async def test_no_proxy_and_no_netrc_of_the_environment_is_used(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = Listener()
    server = await _listen(proxy, ALLOWED, 0)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY"):
        for spelling in (name, name.lower()):
            monkeypatch.setenv(spelling, f"http://{ALLOWED}:{server.sockets[0].getsockname()[1]}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {ALLOWED} login me password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", os.fspath(netrc))
    for door in DOORS:
        before = len(place.allowed.heard)
        await place.knock(door, ALLOWED)
        assert len(place.allowed.heard) > before, door
    server.close()
    assert (proxy.connections, place.trap.connections) == (0, 0)
    assert "authorization" not in place.allowed.text.lower()


@pytest.mark.parametrize(
    "query",
    ["unix_socket_path={path}", "path={path}", "connection_class=Connection", "allow_list=0.0.0.0/0", "host=127.0.0.1"],
)
async def test_the_options_of_a_redis_url_open_no_other_way(place: Place, tmp_path: Path, query: str) -> None:
    trap = Listener()
    server = await asyncio.start_unix_server(trap.serve, tmp_path / "s")
    options = query.format(path=tmp_path / "s")
    for host in ("", f"{FORBIDDEN}:{place.port}"):
        error = await place.ask("redis", f"redis://{host}/0?{options}")
        assert error is not None
        assert error.code in REFUSALS
    server.close()
    assert (trap.connections, place.trap.connections) == (0, 0)


# --- other protocols, and what is smuggled into ours ------------------------------------------------------------------

STRANGE = (
    *("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:6379/_x", "dict://127.0.0.1:11211/stat"),
    *("ldap://127.0.0.1/", "tftp://127.0.0.1/x", "ws://127.0.0.1/x", "jar:http://127.0.0.1!/x", "data:,x"),
    *("unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/x", "redis+socket:///tmp/redis.sock"),
    *("javascript:alert(1)", "view-source:http://127.0.0.1/"),
)


@pytest.mark.parametrize("url", STRANGE)
async def test_no_other_scheme_is_served(place: Place, url: str) -> None:
    error = await place.ask("health", url)
    assert error is not None
    assert error.code is ErrorCode.INVALID_ENDPOINT
    provider = SchemeTargetProvider({"http": lambda: HttpTargets(guarded_session(LIST))})
    for target in (provider.config_target, provider.broadcast_target):
        with pytest.raises(ExecutorError, match="no target serves"):
            target(url)


@pytest.mark.parametrize("url", [url for url in STRANGE if "://" in url])
def test_an_endpoint_with_another_scheme_is_a_finding(url: str) -> None:
    config = TenantDeployConfigSnapshot(tenant_id=TenantId("t"), deploy_unit_id=1, deploy_unit_version=1)
    problems = EndpointJudge(LIST, asked=True).problems(NetworkEndpointSnapshot(value=url), config)
    assert ErrorCode.INVALID_ENDPOINT in {problem.code for problem in problems}


@pytest.mark.parametrize(
    "path",
    [
        "/x HTTP/1.1\r\nX-Evil: 1\r\n\r\nGET /y",
        "/x\r\nX-Evil: 1",
        "/x\nX-Evil: 1",
        "/x%0d%0aX-Evil:%201",
        "/x?a=\r\nX-Evil: 1",
        "/x#\r\nX-Evil: 1",
        "/x\x00\r\nX-Evil: 1",
        "/x\u010d\u010aX-Evil: 1",
    ],
)
async def test_a_line_break_in_an_address_is_no_header_and_no_second_request(place: Place, path: str) -> None:
    for door in DOORS[:-1]:
        place.allowed.heard.clear()
        await place.knock(door, ALLOWED, path)
        lines = place.allowed.text.split("\r\n")
        assert not any(line.lower().startswith("x-evil") for line in lines), door
        assert sum(line.endswith(" HTTP/1.1") for line in lines) <= 1, door
    assert place.trap.connections == 0


async def test_credentials_keys_and_channels_smuggle_no_header(place: Place) -> None:
    evil = "a\r\nX-Evil: 1"
    session = guarded_session(LIST)
    async with session:
        http = HttpTargets(session, timeout_seconds=5).config_target(f"http://{ALLOWED}:{place.port}/x")
        for work in (
            lambda: http.read(evil, evil),
            lambda: http.write(evil, None, b"1", 1),
            lambda: http.publish(evil, b"1"),
        ):
            with suppress(TargetError):
                await work()
    for door in DOORS[:-1]:
        await place.knock(door, f"u%0d%0aX-Evil%3a1:p%0d%0aX-Evil%3a1@{ALLOWED}")
    assert place.allowed.connections > 0
    assert not any(line.lower().startswith("x-evil") for line in place.allowed.text.split("\r\n"))
    # An address in a header decides nothing: what is connected to was judged.
    assert f"Host: {ALLOWED}:{place.port}" in place.allowed.text
