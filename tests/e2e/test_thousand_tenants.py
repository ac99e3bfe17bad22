"""
The main job, end to end: many tenants there and back, through a pause, crashes, failures and a repair.

Real processes of the command line over one SQLite database; real HTTP endpoints; a real Redis, or files.
"""

import json
import signal
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis

from tests.support.command_line import CommandLine, wait_for_output
from tests.support.event_grammar import assert_legal_log, most_at_once
from tests.support.file_fleet import file_fleet
from tests.support.processes import Program, running, wait_until
from tests.support.redis_monitor import RedisMonitor, TargetWrite, monitored

PYTHON = sys.executable
PLAN = 100
STAGES = ["gateway", "routing"]
CONCURRENCY = 50
HEALTH_CHECK = '{"healthCheck": {}}'
PATIENT_HEALTH_CHECK = '{"healthCheck": {"attempts": 100000}}'
"""Of the gateways: they may be held as long as a test likes."""
GREEN_VALUE = b'{"unit":"green","version":"42"}'

pytestmark = pytest.mark.slow


# --- the redis-http example ----------------------------------------------------------------------------------------


@dataclass
class RedisFleet:
    """The example's server, and the database that it seeded."""

    url: str
    plan: Path
    health: str

    def contents(self) -> dict[str, bytes | dict[str, bytes]]:
        """Everything in the database, generations apart; read independently of the example."""
        found: dict[str, bytes | dict[str, bytes]] = {}
        with Redis.from_url(self.url) as redis:
            for key in cast("list[bytes]", redis.keys()):
                name = key.decode()
                if redis.type(key) == b"hash":
                    fields = cast("dict[bytes, bytes]", redis.hgetall(key))
                    values = {field.decode(): value for field, value in fields.items()}
                    found[name] = {field: value for field, value in values.items() if not field.endswith(":generation")}
                elif not name.endswith(":generation"):
                    found[name] = cast("bytes", redis.get(key))
        return {name: value for name, value in found.items() if value}

    def repair(self) -> None:
        assert self._control("repair")["broken"] == []

    def broken(self) -> set[str]:
        return set(self._state()["broken"])

    def hold(self, *, after: int) -> None:
        """Gateways wait when so many more changes were heard; those that wait now go on."""
        self._control(f"hold?after={after}")

    def wait_until_held(self, program: Program) -> None:
        """The plan stands in the middle, whatever the machine's speed."""
        wait_until(
            lambda: self._state()["held"] > 0 or not program.is_running, timeout_seconds=90, what="a gateway that waits"
        )
        assert program.is_running, program.tail()

    def release(self) -> None:
        self._control("release")

    def _state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.health}/control", timeout=10) as answer:
            state: dict[str, Any] = json.load(answer)
        return state

    def _control(self, what: str) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.health}/control/{what}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            state: dict[str, Any] = json.load(answer)
        return state


@contextmanager
def redis_fleet(server: str, example: Path, directory: Path, *, tenants: int, broken: int) -> Iterator[RedisFleet]:
    """The example as its README starts it, over an empty database of our own."""
    url = f"{server}/11"
    with Redis.from_url(url) as redis:
        redis.flushdb()
    plan = directory / "plan.yaml"
    argv: list[str | Path] = [
        *(PYTHON, example / "serve.py", "--redis", url, "--plan", plan, "--port", "0"),
        *("--tenants", str(tenants), "--broken", str(broken), "--concurrency", str(CONCURRENCY)),
    ]
    log = directory / "serve.log"
    with running(argv, log=log, ready=lambda: "health at" in log.read_text()):
        text = plan.read_text(encoding="utf-8")
        assert text.count(HEALTH_CHECK) == len(STAGES)
        plan.write_text(text.replace(HEALTH_CHECK, PATIENT_HEALTH_CHECK, 1), encoding="utf-8")
        yield RedisFleet(url, plan, log.read_text().rpartition("health at ")[2].strip())


# --- what must hold ------------------------------------------------------------------------------------------------


def statuses(switchover: CommandLine) -> Mapping[str, int]:
    counts: Mapping[str, int] = switchover.plan(PLAN)["counts"]
    return counts


def assert_one_writer_at_a_time(writes: Sequence[TargetWrite], tenant_of: Callable[[str], str]) -> None:
    """
    No two runs wrote one tenant at the same time.

    A run is a generation. The target's own log shows the writes of a tenant run by run: generations only rise, and no
    run wrote one place twice.
    """
    by_tenant: dict[str, list[TargetWrite]] = defaultdict(list)
    for write in writes:
        by_tenant[tenant_of(write.key)].append(write)
    for tenant, its in by_tenant.items():
        assert all(first.generation <= second.generation for first, second in pairwise(its)), (tenant, its)
        assert len(set(its)) == len(its), f"{tenant}: one run wrote one place twice: {its}"


def recovered(events: Sequence[Mapping[str, Any]]) -> int:
    return sum(bool(event["data"].get("recovered")) for event in events)


def stages_started(events: Sequence[Mapping[str, Any]]) -> int:
    return sum(event["type"] == "TaskStageStarted" and not event["data"].get("recovered") for event in events)


# --- tests ---------------------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_a_thousand_tenants_there_and_back(tmp_path: Path, redis_server: str, repository: Path) -> None:
    tenants, broken = 1_000, 20
    example = repository / "examples" / "redis-http"
    with (
        CommandLine(tmp_path) as switchover,
        redis_fleet(redis_server, example, tmp_path, tenants=tenants, broken=broken) as fleet,
        monitored(redis_server) as monitor,
    ):
        before = fleet.contents()
        failing = fleet.broken()
        assert len(failing) == broken

        driver = pause_and_resume(switchover, fleet, monitor)
        crash_twice(switchover, fleet, monitor, driver)
        assert len(monitor.writes) < 2 * tenants, "the crash came too late to be one in the middle"

        switchover("run", "plan.yaml", code=20)
        assert statuses(switchover) == {"COMPLETED": tenants - broken, "FAILED": broken}
        tasks = switchover("get", "tasks", str(PLAN), "-o", "jsonl").lines()
        assert {task["tenantId"] for task in tasks if task["status"] == "FAILED"} == failing

        fleet.repair()
        switchover("retry", "--plan", str(PLAN))
        assert statuses(switchover) == {"COMPLETED": tenants}
        assert_on_green(fleet.contents(), tenants)

        switchover("rollback", "--plan", str(PLAN), code=21)
        assert statuses(switchover) == {"ROLLED_BACK": tenants}
        assert fleet.contents() == before
        example_agrees(example, fleet, tenants)
        monitor.catch_up()
        writes = [write for write in monitor.writes if write.key.startswith("tenant_")]

    assert_one_writer_at_a_time(writes, lambda key: key.partition(":")[2])
    events = switchover.events(PLAN)
    assert_legal_log(events, stages=STAGES)
    assert most_at_once(events) <= CONCURRENCY
    assert 0 < recovered(events) <= 2 * CONCURRENCY
    # Every stage was started once, and the failed ones once more: nothing was repeated by pause, crash or take-over.
    assert stages_started(events) == 2 * tenants + broken


def pause_and_resume(switchover: CommandLine, fleet: RedisFleet, monitor: RedisMonitor) -> Program:
    """Run, pause in the middle from a second process, resume from another one, which drives from then on."""
    fleet.hold(after=150)
    first = switchover.start("run", "plan.yaml")
    fleet.wait_until_held(first)
    switchover("pause", "--plan", str(PLAN))
    fleet.release()
    switchover.wait_for_end(first, code=10)
    paused = switchover.plan(PLAN)
    assert paused["status"] == "PAUSED"
    assert paused["counts"]["PAUSED"] > 0
    assert "RUNNING" not in paused["counts"]
    monitor.catch_up()
    at_rest = len(monitor.writes)
    fleet.hold(after=50)
    second = switchover.start("resume", "--plan", str(PLAN))
    fleet.wait_until_held(second)
    monitor.catch_up()
    assert len(monitor.writes) > at_rest
    return second


def crash_twice(switchover: CommandLine, fleet: RedisFleet, monitor: RedisMonitor, driver: Program) -> None:
    """Kill the driver beside a second `run`, which takes over; then kill that one too, so that nobody drives."""
    standby = switchover.start("run", "plan.yaml")
    wait_for_output(standby, f"process {driver.pid}")
    assert driver.is_running, driver.tail()
    driver.kill()
    fleet.hold(after=100)
    fleet.wait_until_held(standby)
    standby.kill()
    fleet.release()
    monitor.catch_up()
    assert switchover.plan(PLAN)["status"] == "RUNNING"


def assert_on_green(contents: Mapping[str, bytes | dict[str, bytes]], tenants: int) -> None:
    for number in range(1, tenants + 1):
        hash_of_tenant = contents[f"tenant_config:t{number:04}"]
        assert isinstance(hash_of_tenant, dict)
        assert hash_of_tenant["gateway"] == GREEN_VALUE
        assert contents[f"tenant_route:t{number:04}"] == GREEN_VALUE


def example_agrees(example: Path, fleet: RedisFleet, tenants: int) -> None:
    """The example's own check agrees."""
    with running(
        [PYTHON, example / "check.py", "--redis", fleet.url, "--tenants", str(tenants)],
        log=fleet.plan.parent / "check.log",
    ) as check:
        assert check.wait() == 0, check.tail()


def test_three_hundred_tenants_in_files_there_and_back(tmp_path: Path) -> None:
    tenants, broken = 300, 6
    with (
        CommandLine(tmp_path) as switchover,
        file_fleet(tmp_path / "fleet", tenants=tenants, broken=broken) as fleet,
    ):
        fleet.write_plan(tmp_path / "plan.json", plan_id=PLAN, concurrency=CONCURRENCY)
        before = fleet.contents()

        fleet.hold_after = 20
        first = switchover.start("run", "plan.json")
        wait_until(
            lambda: bool(fleet.held) or not first.is_running,
            timeout_seconds=60,
            what="a gateway that waits after 20 others",
        )
        switchover("pause", "--plan", str(PLAN))
        fleet.hold_after = None
        switchover.wait_for_end(first, code=10)

        at_rest = fleet.followed
        assert 20 <= at_rest < 2 * tenants - CONCURRENCY, "the pause came too late to be one in the middle"
        second = switchover.start("resume", "--plan", str(PLAN))
        # By the health server itself, in the middle of an answer: so it is in the middle of stages too.
        fleet.at[at_rest + 40] = second.popen.kill
        switchover.wait_for_end(second, code=-signal.SIGKILL)
        assert fleet.followed < 2 * tenants
        switchover("run", "plan.json", code=20)
        assert statuses(switchover) == {"COMPLETED": tenants - broken, "FAILED": broken}

        fleet.broken.clear()
        switchover("retry", "--plan", str(PLAN))
        assert statuses(switchover) == {"COMPLETED": tenants}
        assert fleet.followed == fleet.switched() == 2 * tenants

        switchover("rollback", "--plan", str(PLAN), code=21)
        assert statuses(switchover) == {"ROLLED_BACK": tenants}
        assert fleet.contents() == before
        assert fleet.followed == 0

    events = switchover.events(PLAN)
    assert_legal_log(events, stages=STAGES)
    assert most_at_once(events) <= CONCURRENCY
    assert 0 < recovered(events) <= CONCURRENCY
    assert stages_started(events) == 2 * tenants + broken
