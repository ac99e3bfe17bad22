"""What a Redis, and the way to it, can do wrong: each row of the table is one test against a real server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from switchover.adapters.targets.provider import SchemeTargetProvider
from switchover.adapters.targets.redis import RedisTargets
from switchover.config import PRIVATE_NETWORKS
from switchover.domain.addresses import AllowList
from switchover.domain.task import TaskStatus
from switchover.errors import ErrorType
from switchover.stages.steps import ConfigUpdateStep, HealthCheckStep
from tests.support.certificates import authority, serving
from tests.support.fault_proxy import FaultProxy, Ill, fault_proxy
from tests.support.fault_rig import PATIENT_SECONDS, SHORT_SECONDS, assert_failure, open_switch
from tests.support.fault_table import REDIS, Row
from tests.support.faulty_http import faulty_server
from tests.support.servers import start_redis

KEY = "cfg:acme"
WRITTEN = b'{"version":"42"}'


@dataclass
class Stand:
    """A Redis of one's own, a proxy before it, and a back door."""

    port: int
    proxy: FaultProxy
    back_door: Redis
    life: AsyncExitStack

    def targets(self, row: Row | None) -> SchemeTargetProvider:
        """With little patience where the row is about waiting, and with much everywhere else."""
        short = row is not None and row.kind is ErrorType.TIMEOUT_ERROR
        seconds = SHORT_SECONDS if short else PATIENT_SECONDS
        family = RedisTargets(AllowList(PRIVATE_NETWORKS), timeout_seconds=seconds)
        self.life.push_async_callback(family.aclose)
        return SchemeTargetProvider({"redis": lambda: family, "rediss": lambda: family})

    def step(self, row: Row | None = None, url: str | None = None) -> ConfigUpdateStep:
        return ConfigUpdateStep(
            target=self.behind_proxy if url is None else url,
            key="cfg:{tenantId}",
            field="gateway",
            value={"version": "{deployUnitVersion}"},
            targets=self.targets(row),
        )

    @property
    def behind_proxy(self) -> str:
        return f"redis://{self.proxy.host}:{self.proxy.port}/0"

    async def held(self) -> tuple[bytes | None, bytes | None]:
        found = await self.back_door.hmget(KEY, ["gateway", "gateway:generation"])
        return cast("tuple[bytes | None, bytes | None]", tuple(found))


@asynccontextmanager
async def back_door_to(port: int, password: str | None = None) -> AsyncIterator[Redis]:
    client = Redis(port=port, password=password)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def stand(redis_server: str) -> AsyncIterator[Stand]:
    port = int(redis_server.rpartition(":")[2])
    async with AsyncExitStack() as life:
        back_door = await life.enter_async_context(back_door_to(port))
        await back_door.flushall()
        proxy = await life.enter_async_context(fault_proxy("127.0.0.1", port))
        yield Stand(port, proxy, back_door, life)


def rows(*keys: str) -> pytest.MarkDecorator:
    chosen = [row for row in REDIS if row.key in keys]
    assert len(chosen) == len(keys)
    return pytest.mark.parametrize("row", chosen, ids=lambda row: row.key)


WAYS = ("RESET", "CLOSE", "HALF_CLOSE", "HANG", "DRIP", "GARBAGE", "CUT_ANSWER")
ANSWERS = {
    "misconf": "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "loading": "LOADING Redis is loading the dataset in memory",
    "busy": "BUSY Redis is busy running a script.",
    "noreplicas": "NOREPLICAS Not enough good replicas to write.",
    "masterdown": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "clusterdown": "CLUSTERDOWN The cluster is down",
    "maxclients": "ERR max number of clients reached",
    "moved": "MOVED 3999 127.0.0.1:6381",
}
Work = Callable[[Stand], Awaitable[object]]


def command(*words: str) -> Work:
    return lambda stand: cast("Awaitable[object]", stand.back_door.execute_command(*words))  # type: ignore[no-untyped-call]  # redis-py leaves it untyped


async def _forget_password(stand: Stand) -> None:
    async with back_door_to(stand.port, "secret") as client:
        await client.config_set("requirepass", "")


STATES: dict[str, tuple[Work, Work]] = {
    "readonly": (command("REPLICAOF", "127.0.0.1", "1"), command("REPLICAOF", "NO", "ONE")),
    "oom": (command("CONFIG", "SET", "maxmemory", "1"), command("CONFIG", "SET", "maxmemory", "0")),
    "noauth": (command("CONFIG", "SET", "requirepass", "secret"), _forget_password),
    "noperm": (command("ACL", "SETUSER", "default", "-hmget"), command("ACL", "SETUSER", "default", "+@all")),
    "wrongtype": (command("SET", KEY, "x"), command("DEL", KEY)),
    "no number": (command("HSET", KEY, "gateway:generation", "new"), command("DEL", KEY)),
    "long number": (command("HSET", KEY, "gateway:generation", "9" * 5000), command("DEL", KEY)),
    "newer": (command("HSET", KEY, "gateway:generation", "9"), command("DEL", KEY)),
}
OTHERS = ("refused", "cut once", "script flush", "restarted", "forgetful", "self-signed", "forbidden")


def test_every_row_is_tested() -> None:
    assert sorted([*WAYS, *ANSWERS, *STATES, *OTHERS]) == sorted(row.key for row in REDIS)


@rows(*WAYS)
async def test_a_way_that_stays_broken_fails_the_step_and_a_retry_writes(stand: Stand, row: Row) -> None:
    stand.proxy.fault = Ill[row.key]
    async with open_switch([stand.step(row)]) as switch:
        assert_failure(await switch.failure(), row, stand.behind_proxy)
        assert await stand.held() == (None, None)
        stand.proxy.fault = None
        assert (await switch.retry(stand.step())).status is TaskStatus.COMPLETED
        assert await stand.held() == (WRITTEN, b"2")


@rows(*ANSWERS)
async def test_a_server_that_cannot_now_fails_the_step_and_a_retry_writes(stand: Stand, row: Row) -> None:
    stand.proxy.answer = f"-{ANSWERS[row.key]}\r\n".encode()
    stand.proxy.fault = Ill.ANSWER
    async with open_switch([stand.step(row)]) as switch:
        assert_failure(await switch.failure(), row, stand.behind_proxy)
        stand.proxy.fault = None
        assert (await switch.retry(stand.step())).status is TaskStatus.COMPLETED
        assert await stand.held() == (WRITTEN, b"2")


@rows(*STATES)
async def test_a_server_in_another_state_fails_the_step_and_a_retry_writes(stand: Stand, row: Row) -> None:
    make, mend = STATES[row.key]
    await make(stand)
    try:
        async with open_switch([stand.step(row)]) as switch:
            assert_failure(await switch.failure(), row, stand.behind_proxy)
            await mend(stand)
            assert (await switch.retry()).status is TaskStatus.COMPLETED
            assert await stand.held() == (WRITTEN, b"2")
    finally:
        await mend(stand)  # other tests use the same server


@rows("refused")
async def test_a_server_that_is_away_fails_the_step_and_a_retry_writes(stand: Stand, row: Row) -> None:
    await stand.proxy.refuse()
    async with open_switch([stand.step(row)]) as switch:
        assert_failure(await switch.failure(), row, stand.behind_proxy)
        await stand.proxy.accept()
        assert (await switch.retry()).status is TaskStatus.COMPLETED
        assert await stand.held() == (WRITTEN, b"2")


@rows("cut once")
@pytest.mark.parametrize("passed", range(1, 7))
async def test_a_connection_that_is_cut_after_the_write_was_applied_is_no_failure(
    stand: Stand, row: Row, passed: int
) -> None:
    """Wherever the cut is: at the greeting, at the reading, or when the script has run."""
    stand.proxy.ailing.extend([*[None] * passed, Ill.CUT_ANSWER])
    async with open_switch([stand.step(row)]) as switch:
        assert (await switch.run()).status is TaskStatus.COMPLETED
        assert await stand.held() == (WRITTEN, b"1")


@rows("script flush")
async def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(stand: Stand, row: Row) -> None:
    targets = stand.targets(row)
    await targets.config_target(stand.behind_proxy).write("other", "f", b"1", 1)
    await stand.back_door.script_flush()
    async with open_switch([stand.step(row)]) as switch:
        assert (await switch.run()).status is TaskStatus.COMPLETED
        assert await stand.held() == (WRITTEN, b"1")


@rows("restarted", "forgetful")
async def test_a_server_that_is_restarted_in_the_middle_of_the_plan(stand: Stand, row: Row, tmp_path: Path) -> None:
    """The instance reads its version from Redis: what the server forgot, the health check sees."""
    program, port = start_redis(tmp_path, append_only=row.key == "restarted")
    try:
        async with faulty_server() as instance, back_door_to(port) as back_door:

            @dataclass(frozen=True)
            class Restart:
                name: str = "restart"

                async def execute(self, context: object) -> None:
                    nonlocal program
                    program.stop()
                    program, _ = start_redis(tmp_path, append_only=row.key == "restarted", port=port)
                    value = cast("bytes | None", await back_door.hget(KEY, "gateway"))
                    instance.json("/health", "{}" if value is None else value.decode())

            update = stand.step(row, f"redis://127.0.0.1:{port}/0")
            check = HealthCheckStep(endpoints=[f"{instance.url}/health"], attempts=2, interval=0)
            async with open_switch([update, Restart(), check, update]) as switch:
                task = await switch.run()
                if row.kind is None:
                    assert task.status is TaskStatus.COMPLETED
                    return
                assert task.failure_info is not None
                assert (task.failure_info.error_code, task.failure_info.error_type) == (row.code, row.kind)
                assert row.says in task.failure_info.message
    finally:
        program.stop()


@rows("self-signed")
async def test_a_certificate_that_is_not_in_order_fails_the_step(stand: Stand, row: Row, tmp_path: Path) -> None:
    path = authority().server(tmp_path, self_signed=True)
    server = await stand.life.enter_async_context(faulty_server(serving(path)))
    url = f"rediss://127.0.0.1:{server.port}/0"
    async with open_switch([stand.step(row, url)]) as switch:
        assert_failure(await switch.failure(), row, url)
    assert server.heads == []


@rows("forbidden")
async def test_an_address_outside_the_allow_list_fails_the_step(stand: Stand, row: Row) -> None:
    url = "redis://169.254.169.254:6379/0"
    async with open_switch([stand.step(row, url)]) as switch:
        assert_failure(await switch.failure(), row, url)
