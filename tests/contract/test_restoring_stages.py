"""
Lesson 25 on real targets: after a switch and its rollback a target holds, byte for byte, what it held before.

The stages come from the catalogue and run as the engine would run them.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from switchover.adapters.network import guarded_session
from switchover.adapters.targets.file import FileTargets
from switchover.adapters.targets.http import HttpTargets
from switchover.adapters.targets.provider import SchemeTargetProvider
from switchover.adapters.targets.redis import RedisTargets
from switchover.config import PRIVATE_NETWORKS
from switchover.domain.addresses import AllowList
from switchover.domain.stage import TaskRuntimeContext, TaskStage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.errors import HealthCheckError, StaleGenerationError
from switchover.spi import StepServices
from switchover.stages.catalogue import StageCatalogue
from switchover.testing.health import ScriptedHealthCheckClient
from tests.support.config_server import config_service
from tests.support.stages import Bench

ALLOWED = AllowList(PRIVATE_NETWORKS)
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
TASK = TaskAggregate(
    key=TaskKey(PlanId(100), 1),
    tenant_id=TenantId("acme"),
    status=TaskStatus.ROLLING_BACK,
    stage_names=("gateway",),
    marks=(1,),
    created_at=MOMENT,
    updated_at=MOMENT,
)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with guarded_session(ALLOWED) as session:
        yield session


@pytest.fixture
async def provider(session: aiohttp.ClientSession) -> AsyncIterator[SchemeTargetProvider]:
    provider = SchemeTargetProvider(
        {"redis": lambda: RedisTargets(ALLOWED), "file": FileTargets, "http": lambda: HttpTargets(session)}
    )
    yield provider
    await provider.aclose()


def compiled(*steps: dict[str, Any]) -> TaskStage:
    catalogue = StageCatalogue().compile([{"name": "gateway", "steps": [*steps, {"healthCheck": {}}]}])
    assert catalogue.findings == ()
    return catalogue.stages[0]


def write(target: str, key: str, field: str | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"target": target, "key": key, "value": {"unit": "{deployUnitName}"}}
    return {"configUpdate": entry if field is None else entry | {"field": field}}


class Switch:
    """A stage, forth and back."""

    def __init__(self, stage: TaskStage, provider: SchemeTargetProvider) -> None:
        self.stage = stage
        self.bench = Bench(health=ScriptedHealthCheckClient({"*": [{"version": 42}]}))
        self.provider = provider

    async def forth(self, generation: int = 5) -> None:
        context = self._equipped(self.bench.context(generation=generation))
        for step in self.stage.steps:
            await context.run_step(step)

    async def back(self, generation: int = 6, version: int = 41) -> None:
        self.bench.health = ScriptedHealthCheckClient({"*": [{"version": version}]})
        context = self._equipped(self.bench.rollback(generation=generation))
        await self.bench.clock.run(self.stage.rollback.rollback(TASK, context))

    def _equipped(self, context: TaskRuntimeContext) -> TaskRuntimeContext:
        assert isinstance(context.services, StepServices)
        context.services = replace(context.services, targets=self.provider)
        return context


async def test_redis_is_restored(provider: SchemeTargetProvider, redis_server: str) -> None:
    url = f"{redis_server}/6"
    client = Redis.from_url(url)
    try:
        await client.flushdb()
        await client.hset("tenant_config:acme", mapping={"gateway": b'{ "unit":\t"blue" }', "media": "\u00fc"})
        await client.set("plain:acme", b"not even JSON \xff")
        await client.hset("tenant_config:beta", "gateway", "1")
        stage = compiled(
            write(url, "tenant_config:{tenantId}", "gateway"),
            write(url, "tenant_config:{tenantId}", "created"),
            write(url, "plain:{tenantId}"),
            write(url, "fresh:{tenantId}"),
            {"broadcast": {"target": url, "channel": "tenant_config:topic"}},
        )
        switch = Switch(stage, provider)
        await switch.forth()
        assert await client.hget("tenant_config:acme", "gateway") == b'{"unit":"green"}'
        assert await client.get("fresh:acme") == b'{"unit":"green"}'
        await switch.back()
        assert await client.hgetall("tenant_config:acme") == {
            b"gateway": b'{ "unit":\t"blue" }',
            b"media": "\u00fc".encode(),
            b"gateway:generation": b"6",
            b"created:generation": b"6",
        }
        assert await client.get("plain:acme") == b"not even JSON \xff"
        assert await client.get("plain:acme:generation") == b"6"
        assert not await client.exists("fresh:acme")
        assert await client.hgetall("tenant_config:beta") == {b"gateway": b"1"}
        with pytest.raises(StaleGenerationError, match="switchover adopt --tenant acme"):
            await switch.forth(generation=5)
    finally:
        await client.aclose()


async def test_files_are_restored(provider: SchemeTargetProvider, tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_bytes(b'{ "acme" : {"gateway": { "unit" : "blue" }},\r\n"beta":1 }')
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "acme.json").write_bytes(b" {} \n")
    before = path.read_bytes()
    stage = compiled(
        write(f"file://{path}", "{tenantId}", "gateway"),
        write(f"file://{path}", "{tenantId}", "created"),
        write(f"file://{path}", "created:{tenantId}", "gateway"),
        write(f"file://{tmp_path}/keys/", "{tenantId}"),
        write(f"file://{tmp_path}/keys/", "created-{tenantId}"),
    )
    switch = Switch(stage, provider)
    await switch.forth()
    assert path.read_bytes() != before
    assert (tmp_path / "keys" / "created-acme.json").read_bytes() == b'{"unit":"green"}'
    await switch.back()
    assert path.read_bytes() == before
    assert (tmp_path / "keys" / "acme.json").read_bytes() == b" {} \n"
    assert not (tmp_path / "keys" / "created-acme.json").exists()


async def test_http_is_restored(provider: SchemeTargetProvider) -> None:
    async with config_service() as service:
        service.values["/v1/config/acme"] = b'{ "unit" : "blue" }'
        before = dict(service.values)
        stage = compiled(
            write(service.url, "{tenantId}"),
            write(service.url, "created/{tenantId}"),
            {"broadcast": {"target": service.url}},
        )
        switch = Switch(stage, provider)
        await switch.forth()
        assert service.values["/v1/config/created/acme"] == b'{"unit":"green"}'
        await switch.back()
        assert service.values == before
        assert set(service.generations.values()) == {6}
        assert len(service.posted) == 2


async def test_a_rollback_that_is_not_confirmed_fails_and_can_be_repeated(
    provider: SchemeTargetProvider, tmp_path: Path
) -> None:
    """Lesson 24: restored is what the health check has seen."""
    path = tmp_path / "map.json"
    path.write_bytes(b'{"acme": "blue"}')
    switch = Switch(compiled(write(f"file://{path}", "{tenantId}")), provider)
    await switch.forth()
    with pytest.raises(HealthCheckError, match="switchover rollback --tenant acme"):
        await switch.back(generation=6, version=42)
    await switch.back(generation=7)
    assert path.read_bytes() == b'{"acme": "blue"}'
