"""Several processes on one Redis or PostgreSQL: whoever is killed, or frozen for longer than its lease, is followed."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from switchover import PlanStatus, TaskStatus
from tests.support.command_line import CommandLine
from tests.support.gated_processes import (
    PLAN,
    assert_generations_never_interleave,
    assert_sound,
    began,
    configs,
    driver,
    executions,
    executor,
    open_gate,
    until,
)
from tests.support.postgres import new_schema

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gates").mkdir()
    return tmp_path


@pytest.fixture
async def url(redis_store_server: str) -> AsyncIterator[str]:
    yield f"{redis_store_server}/9?prefix=e2e"
    async with Redis.from_url(f"{redis_store_server}/9") as client:
        await client.flushdb()


@pytest.fixture(params=["redis", pytest.param("postgresql", marks=pytest.mark.postgres)])
def any_url(request: pytest.FixtureRequest) -> str:
    """Of either kind of server; what others may have left there belongs to other plans."""
    if request.param == "redis":
        return str(request.getfixturevalue("url"))
    return asyncio.run(new_schema(request.getfixturevalue("postgres_server")))


async def test_the_next_process_takes_over_when_the_driver_is_killed(
    repository: Path, folder: Path, any_url: str
) -> None:
    url = any_url
    with driver(repository, folder, url=url) as other:
        async with executor(folder, url) as here:
            assert not here.driving
            await here.facade.create_switch_task(configs("a", "b", "c"), options={"planId": PLAN, "maxConcurrency": 2})
            open_gate(folder, "a.one")
            await until(lambda: began(folder, "a", "two", 1) and began(folder, "b", "one", 1))
            assert (await here.facade.pause_task_by_tenant("b")).success
            before = await here.driver()
            assert before is not None

            other.kill()
            # Asked while nobody drives: left in the store, and decided by whoever drives next.
            assert (await here.facade.pause_task_by_tenant("c")).success
            await until(lambda: here.driving)
            after = await here.driver()
            assert after is not None
            assert after.epoch == before.epoch + 1

            await until(lambda: began(folder, "a", "two", 2) and began(folder, "b", "one", 2))
            open_gate(folder, "all")
            rest = await here.wait_for_plan(PLAN)
            assert rest.counts == {TaskStatus.COMPLETED: 1, TaskStatus.PAUSED: 1, TaskStatus.PENDING: 1}
            for tenant in ("b", "c"):
                assert (await here.facade.resume_task_by_tenant(tenant)).success
            assert (await here.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED
            assert {seen[3] for seen in executions(folder) if seen[2] == 2} == {os.getpid()}
            assert not [seen for seen in executions(folder) if seen[:3] == ("a", "one", 2)], "it was complete"
            assert_generations_never_interleave(folder)
            await assert_sound(here)


async def test_a_driver_that_was_frozen_for_longer_than_its_lease_lives_writes_nothing_when_it_wakes(
    repository: Path, folder: Path, any_url: str
) -> None:
    url = any_url
    with driver(repository, folder, url=url) as other:
        async with executor(folder, url) as here:
            await here.facade.create_switch_task(configs("a", "b"), options={"planId": PLAN, "maxConcurrency": 1})
            await until(lambda: began(folder, "a", "one", 1))
            other.send(signal.SIGSTOP)
            await until(lambda: began(folder, "a", "one", 2) and here.driving)
            before = await here.store.change_token()
            other.send(signal.SIGCONT)
            open_gate(folder, "a.one")
            # What the frozen one had begun ends there, too; what it commits then is refused, and it says so.
            await until(lambda: "may write no more" in other.output())
            assert f"epoch {(await here.driver()).epoch}" in other.output()  # type: ignore[union-attr]  # it drives
            open_gate(folder, "all")
            assert (await here.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED
            assert await here.store.change_token() != before
            assert {seen[3] for seen in executions(folder) if seen[:2] == ("b", "one")} == {os.getpid()}
            await assert_sound(here)


def test_verbs_looks_and_doctor_work_on_a_redis(folder: Path, url: str) -> None:
    place = ("--store", url)
    plan = {
        "apiVersion": "switchover/v1",
        "kind": "Plan",
        "spec": {
            "planId": 7,
            "services": [
                {
                    "name": "gateway",
                    "steps": [
                        {"configUpdate": {"target": f"file://{folder}/map.json", "key": "{tenantId}", "value": 1}}
                    ],
                }
            ],
            "tenants": [{"tenantId": "acme", "deployUnitId": 2, "deployUnitVersion": 42}],
        },
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    with CommandLine(folder) as line:
        assert "there is nothing of Switchover" in line("get", "plans", *place, code=None).errors
        line("run", "plan.json", *place)
        assert line("get", "plan", "7", *place, "-o", "json").json()["status"] == "COMPLETED"
        checks = {check["name"]: check for check in line("doctor", *place, "-o", "jsonl").lines()}
        assert checks["integrity"]["verdict"] == "ok", checks["integrity"]
        assert any("Redis 7" in str(check) for check in checks.values()), checks
