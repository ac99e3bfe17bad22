"""What a configuration service can do wrong: each row of the table is one test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from switchover.adapters.targets.http import HttpTargets
from switchover.adapters.targets.provider import SchemeTargetProvider
from switchover.domain.task import TaskStatus
from switchover.errors import ErrorType
from switchover.stages.steps import BroadcastStep, ConfigUpdateStep
from tests.support.certificates import authority, serving
from tests.support.config_server import ConfigService, config_service
from tests.support.fault_proxy import FaultProxy, Ill, fault_proxy
from tests.support.fault_rig import (
    PATIENT_SECONDS,
    SHORT_SECONDS,
    Switch,
    assert_failure,
    open_switch,
    private_session,
    trusting,
)
from tests.support.fault_table import HTTP, Row
from tests.support.faulty_http import FaultyServer, bomb, faulty_server, respond, respond_raw
from tests.unit.adapters.test_health import Names

NOTHING = respond("", "404 Not Found")
GENERATION_9 = "Switchover-Generation: 9\r\n"


@dataclass
class Stand:
    """A service that is well behind a proxy, and one that answers what a test says."""

    service: ConfigService
    proxy: FaultProxy
    server: FaultyServer
    life: AsyncExitStack
    directory: Path
    session: aiohttp.ClientSession

    @property
    def behind_proxy(self) -> str:
        return f"http://{self.proxy.host}:{self.proxy.port}{URL(self.service.url).path}"

    def step(self, url: str, row: Row | None = None) -> ConfigUpdateStep:
        """With little patience where the row is about waiting, and with much everywhere else."""
        return ConfigUpdateStep(
            target=url,
            key="{tenantId}",
            value={"version": "{deployUnitVersion}"},
            targets=self.targets(None if row is None else row.kind),
        )

    def targets(self, kind: ErrorType | None) -> SchemeTargetProvider:
        seconds = SHORT_SECONDS if kind is ErrorType.TIMEOUT_ERROR else PATIENT_SECONDS

        def family() -> HttpTargets:
            return HttpTargets(self.session, timeout_seconds=seconds)

        return SchemeTargetProvider({"http": family, "https": family})

    def assert_written(self) -> None:
        """Once, under the generation of the retry."""
        (value,) = self.service.values.values()
        assert value == b'{"version":"42"}'
        assert list(self.service.generations.values()) == [2]


@pytest.fixture
async def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stand]:
    trusting(monkeypatch, authority().trusting())
    async with AsyncExitStack() as life:
        service = await life.enter_async_context(config_service())
        proxy = await life.enter_async_context(fault_proxy("127.0.0.1", URL(service.url).port or 0))
        server = await life.enter_async_context(faulty_server())
        names = Names(OSError(-2, "Name or service not known"))
        session = await life.enter_async_context(private_session(names))
        yield Stand(service, proxy, server, life, tmp_path, session)


def rows(*keys: str) -> pytest.MarkDecorator:
    chosen = [row for row in HTTP if row.key in keys]
    assert len(chosen) == len(keys)
    return pytest.mark.parametrize("row", chosen, ids=lambda row: row.key)


WRITES = ("RESET", "CLOSE", "HALF_CLOSE", "HANG", "DRIP", "GARBAGE", "CUT_ANSWER", "CUT_MIDWAY")
PAGES: dict[str, tuple[bytes, ...]] = {
    "bomb": (respond_raw(bomb(), headers="Content-Encoding: gzip\r\n"),),
    "packed": (respond("{}", headers="Content-Encoding: gzip\r\n"),),
    "short length": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n12345",),
    "101": (respond("", "101 Switching Protocols", "Upgrade: x\r\nConnection: upgrade\r\n"),),
    "401": (respond("who are you", "401 Unauthorized"),),
    "500": (NOTHING, respond("boom", "500 Internal Server Error")),
    "503": (NOTHING, respond("busy", "503 Service Unavailable")),
    "429": (respond("", "429 Too Many Requests", "Retry-After: 120\r\n"),),
    "redirect": (respond("", "302 Found", "Location: http://169.254.169.254/latest\r\n"),),
    "409": (NOTHING, respond("", "409 Conflict", GENERATION_9)),
    "newer": (respond("{}", headers=GENERATION_9),),
    "no number": (respond("{}", headers="Switchover-Generation: new\r\n"),),
    "long number": (respond("{}", headers=f"Switchover-Generation: {'9' * 5000}\r\n"),),
}
ILLS = ("/headers", "/many-headers", "/100-mb", "/huge", "/half", "/loop")
CERTIFICATES: dict[str, dict[str, Any]] = {
    "expired": {"days": -1},
    "wrong name": {"host": "other.example"},
    "self-signed": {"self_signed": True},
}
OTHERS = ("refused", "kept alive", "no such name", "forbidden")


def test_every_row_is_tested() -> None:
    assert sorted([*WRITES, *PAGES, *ILLS, *CERTIFICATES, *OTHERS]) == sorted(row.key for row in HTTP)


@rows(*WRITES)
async def test_a_write_that_meets_a_fault_fails_the_step_and_a_retry_writes(stand: Stand, row: Row) -> None:
    """Whether it was applied or not: the retry writes the same under a higher generation."""
    # What is sent may come twice, for aiohttp asks again on a new connection when an old one is closed.
    stand.proxy.ailing.append(None)
    stand.proxy.fault = Ill[row.key]
    async with open_switch([stand.step(stand.behind_proxy, row)]) as switch:
        assert_failure(await switch.failure(), row, stand.behind_proxy)
        assert bool(stand.service.values) is (row.key in {"CUT_ANSWER", "CUT_MIDWAY", "DRIP"}), "applied or not"
        stand.proxy.fault = None
        assert (await switch.retry(stand.step(stand.behind_proxy))).status is TaskStatus.COMPLETED
        stand.assert_written()


@rows(*PAGES)
async def test_an_answer_that_is_wrong_fails_the_step(stand: Stand, row: Row) -> None:
    stand.server.page("/acme", *PAGES[row.key])
    async with open_switch([stand.step(stand.server.url, row)]) as switch:
        assert_failure(await switch.failure(), row, stand.server.url)
        await _and_well_again(stand, switch)


@rows(*ILLS)
async def test_an_answer_that_never_ends_or_is_too_long_fails_the_step(stand: Stand, row: Row) -> None:
    stand.server.fall_ill("/acme", row.key)
    async with open_switch([stand.step(stand.server.url, row)]) as switch:
        assert_failure(await switch.failure(), row, stand.server.url)
        stand.server.heal()
        await _and_well_again(stand, switch)


async def _and_well_again(stand: Stand, switch: Switch) -> None:
    stand.server.asked.clear()
    stand.server.page("/acme", NOTHING, respond("", "204 No Content"))
    assert (await switch.retry(stand.step(stand.server.url))).status is TaskStatus.COMPLETED
    assert stand.server.asked == {"/acme": 1}, "one to read and one to write"


@rows(*CERTIFICATES)
async def test_a_certificate_that_is_not_in_order_fails_the_step(stand: Stand, row: Row) -> None:
    path = authority().server(stand.directory, **CERTIFICATES[row.key])
    server = await stand.life.enter_async_context(faulty_server(serving(path)))
    server.page("/acme", NOTHING)
    async with open_switch([stand.step(server.url, row)]) as switch:
        assert_failure(await switch.failure(), row, server.url)
    assert server.asked == {}


@rows("refused")
async def test_a_service_that_is_away_fails_the_step(stand: Stand, row: Row) -> None:
    await stand.proxy.refuse()
    async with open_switch([stand.step(stand.behind_proxy, row)]) as switch:
        assert_failure(await switch.failure(), row, stand.behind_proxy)
        await stand.proxy.accept()
        assert (await switch.retry()).status is TaskStatus.COMPLETED
        stand.assert_written()


@rows("no such name", "forbidden")
async def test_a_place_that_cannot_be_reached_fails_the_step(stand: Stand, row: Row) -> None:
    url = "http://green.test/config" if row.key == "no such name" else "http://169.254.169.254/config"
    async with open_switch([stand.step(url, row)]) as switch:
        assert_failure(await switch.failure(), row, url)


@rows("kept alive")
async def test_a_connection_that_was_kept_alive_for_too_long_is_no_failure(stand: Stand, row: Row) -> None:
    stand.proxy.ailing.extend([None, Ill.CLOSE])
    async with open_switch([stand.step(stand.behind_proxy, row)]) as switch:
        assert (await switch.run()).status is TaskStatus.COMPLETED
    assert stand.proxy.met == [Ill.CLOSE]
    assert list(stand.service.values.values()) == [b'{"version":"42"}']


@rows("RESET", "CLOSE", "HANG", "GARBAGE", "CUT_ANSWER")
async def test_a_broadcast_meets_the_same_faults_with_the_same_end(stand: Stand, row: Row) -> None:
    stand.proxy.fault = Ill[row.key]
    step = BroadcastStep(target=stand.behind_proxy, targets=stand.targets(row.kind))
    async with open_switch([step]) as switch:
        failure = await switch.failure()
        assert (failure.error_code, failure.error_type, failure.retryable) == (row.code, row.kind, row.retryable)
        assert f"step broadcast: POST {stand.behind_proxy}: " in failure.message
        stand.proxy.fault = None
        patient = BroadcastStep(target=stand.behind_proxy, targets=stand.targets(None))
        assert (await switch.retry(patient)).status is TaskStatus.COMPLETED
        assert stand.service.posted
