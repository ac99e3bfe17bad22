"""What an instance can do wrong when it is asked for its health: each row of the table is one test."""

import gzip
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from switchover.domain.task import TaskStatus
from switchover.errors import ErrorCode, ErrorType
from switchover.stages.steps import HealthCheckStep
from tests.support.certificates import authority, serving
from tests.support.fault_proxy import FaultProxy, Ill, fault_proxy
from tests.support.fault_rig import (
    PATIENT_SECONDS,
    SHORT_SECONDS,
    Switch,
    open_switch,
    private_session,
    trusting,
)
from tests.support.fault_table import HEALTH, Row
from tests.support.faulty_http import FaultyServer, bomb, faulty_server, respond, respond_raw
from tests.unit.adapters.test_health import Names

GOOD = '{"version": 42}'
_MEGABYTE = 1024 * 1024


@dataclass
class Stand:
    """A healthy instance, and what stands between it and the engine."""

    server: FaultyServer
    proxy: FaultProxy
    life: AsyncExitStack
    directory: Path
    url: str
    names: Names = field(default_factory=lambda: Names("127.0.0.1"))

    def pages(self, *answers: bytes) -> None:
        self.server.page("/health", *answers)

    def heal(self) -> None:
        self.proxy.fault = None
        self.server.heal()
        self.server.json("/health", GOOD)
        self.names.answers = ["127.0.0.1"]

    async def over_tls(self, **certificate: object) -> None:
        """The instance speaks TLS from now on, with a certificate like this."""
        path = authority().server(self.directory, **certificate)  # type: ignore[arg-type]  # a test names what exists
        server = await self.life.enter_async_context(faulty_server(serving(path)))
        server.json("/health", GOOD)
        self.url = f"{server.url}/health"


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as life:
        server = await life.enter_async_context(faulty_server())
        proxy = await life.enter_async_context(fault_proxy(server.host, server.port))
        server.json("/health", GOOD)
        yield Stand(server, proxy, life, tmp_path, f"http://{proxy.host}:{proxy.port}/health")


async def _refused(stand: Stand) -> None:
    await stand.proxy.refuse()


async def _name(stand: Stand, *answers: str | OSError) -> None:
    stand.names.answers = list(answers)
    stand.url = f"http://green.test:{stand.server.port}/health"


async def _plain(stand: Stand) -> None:
    stand.pages(b"this is not TLS")
    stand.url = f"https://{stand.proxy.host}:{stand.proxy.port}/health"
    stand.proxy.fault = Ill.GARBAGE


async def _flapping(stand: Stand) -> None:
    for ill in (Ill.RESET, Ill.GARBAGE, Ill.CLOSE, Ill.CUT_MIDWAY):
        # aiohttp asks once more when a connection ends without an answer, so each comes twice.
        stand.proxy.ailing.extend([ill, ill])


PAGES: dict[str, bytes] = {
    "bomb": respond_raw(bomb(), headers="Content-Encoding: gzip\r\n"),
    "packed": respond(GOOD, headers="Content-Encoding: gzip\r\n"),
    "old version": respond('{"version": 41}'),
    "no version": respond("{}"),
    "null version": respond('{"version": null}'),
    "not JSON": respond("<html>login</html>"),
    "half JSON": respond('{"version": 42'),
    "nothing": respond(""),
    "not UTF-8": respond_raw(b'{"version": "\xff\xfe"}'),
    "nested": respond("[" * 30_000),
    "list": respond("[42]"),
    "short length": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + GOOD.encode(),
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n" + GOOD.encode(),
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Length: 16\r\n\r\n" + GOOD.encode(),
    "100": b"HTTP/1.1 100 Continue\r\n\r\n" + respond(GOOD),
    "103": b"HTTP/1.1 103 Early Hints\r\n\r\n" + respond(GOOD),
    "101": respond("", "101 Switching Protocols", "Upgrade: x\r\nConnection: upgrade\r\n"),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": respond("", "304 Not Modified"),
    "404": respond(GOOD, "404 Not Found"),
    "500": respond(GOOD, "500 Internal Server Error"),
    "503": respond(GOOD, "503 Service Unavailable"),
    "redirect": respond("", "302 Found", "Location: http://169.254.169.254/latest\r\n"),
}

SPECIAL: dict[str, Callable[[Stand], object]] = {
    "refused": _refused,
    "no such name": lambda stand: _name(stand, OSError(-2, "Name or service not known")),
    "led away": lambda stand: _name(stand, "169.254.169.254"),
    "expired": lambda stand: stand.over_tls(days=-1),
    "wrong name": lambda stand: stand.over_tls(host="other.example"),
    "self-signed": lambda stand: stand.over_tls(self_signed=True),
    "plain": _plain,
    "flapping": _flapping,
}


async def _make_ill(stand: Stand, key: str) -> None:
    if key in SPECIAL:
        await SPECIAL[key](stand)  # type: ignore[misc]  # each is a coroutine function
    elif key in PAGES:
        stand.pages(PAGES[key])
    elif key.startswith("/"):
        stand.server.fall_ill("/health", key)
    else:
        stand.proxy.fault = Ill[key]


@pytest.mark.parametrize("row", HEALTH, ids=lambda row: row.key)
async def test_an_ill_instance_is_a_failed_round_and_at_the_end_a_failed_step(
    stand: Stand, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _make_ill(stand, row.key)
    trusting(monkeypatch, authority().trusting())
    session = await stand.life.enter_async_context(private_session(stand.names))
    timeout = SHORT_SECONDS if row.kind is ErrorType.TIMEOUT_ERROR else PATIENT_SECONDS
    attempts = 10 if row.kind is None else 2
    step = HealthCheckStep(endpoints=[stand.url], attempts=attempts, interval=0, timeout=timeout)
    async with open_switch([step], session=session) as switch:
        if row.kind is None:
            assert (await switch.run()).status is TaskStatus.COMPLETED
            return
        failure = await switch.failure()
        assert (failure.error_code, failure.error_type, failure.retryable) == (
            ErrorCode.HEALTH_CHECK_FAILED,
            row.kind,
            True,
        )
        assert failure.message.startswith(
            'tenant acme, stage gateway, step healthCheck: 1 of 1 endpoints did not report version "42" within 2 rounds'
        )
        assert f"{stand.url} " in failure.message
        assert row.says in failure.message
        assert failure.message.endswith("look at these instances, then `switchover retry --tenant acme`")
        await _and_healthy_again(stand, row, switch)


async def _and_healthy_again(stand: Stand, row: Row, switch: Switch) -> None:
    """The next move that the message names is the right one."""
    if stand.url.startswith("https"):
        return  # the certificate is the instance's for good
    if row.key == "refused":
        await stand.proxy.accept()
    stand.heal()
    patient = HealthCheckStep(endpoints=[stand.url], attempts=2, interval=0, timeout=PATIENT_SECONDS)
    assert (await switch.retry(patient)).status is TaskStatus.COMPLETED


@pytest.mark.parametrize("key", ["/100-mb", "/huge", "bomb", "/many-headers"])
async def test_what_is_too_much_is_not_kept_in_memory(stand: Stand, key: str) -> None:
    await _make_ill(stand, key)
    session = await stand.life.enter_async_context(private_session())
    step = HealthCheckStep(endpoints=[stand.url], attempts=5, interval=0, timeout=PATIENT_SECONDS)
    async with open_switch([step], session=session) as switch:
        tracemalloc.start()
        try:
            await switch.failure()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 16 * _MEGABYTE, "five answers of 100 MB or more were sent"


async def test_a_certificate_that_is_in_order_is_accepted(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the tests of bad ones would prove nothing."""
    await stand.over_tls()
    trusting(monkeypatch, authority().trusting())
    session = await stand.life.enter_async_context(private_session())
    async with open_switch([HealthCheckStep(endpoints=[stand.url], attempts=1)], session=session) as switch:
        assert (await switch.run()).status is TaskStatus.COMPLETED


def test_the_bomb_is_small_and_unpacks_to_much() -> None:
    assert len(bomb()) < 200_000
    assert len(gzip.decompress(bomb())) == 100_000_000
