"""`switchover serve` and `switchover worker` over PostgreSQL, as people start them."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, wait_for_output
from tests.support.gated_fleet import GatedFleet, gated_fleet
from tests.support.served import start_server

pytestmark = pytest.mark.slow


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[GatedFleet]:
    with gated_fleet(tmp_path, ("t1", "t2", "t3")) as opened:
        yield opened


@pytest.fixture
def switchover(tmp_path: Path) -> Iterator[CommandLine]:
    with CommandLine(tmp_path) as command_line:
        yield command_line


def test_a_plan_waits_for_workers_and_says_so_until_one_is_started(
    fleet: GatedFleet, switchover: CommandLine, postgres_url: str
) -> None:
    served = start_server(switchover, "--store", postgres_url, "--stages", "workers")
    at = ("--server", served.url)
    assert "there is no worker" in switchover("get", "workers", *at).output
    switchover("apply", str(fleet.write_plan(["t1", "t2", "t3"])), *at)
    fleet.closed.add("t1/gateway")
    waits = switchover("explain", "100-1", "-o", "json", *at).json()
    assert (waits["cause"], waits["nextMove"]) == ("NO_WORKER", "start one: `switchover worker`")
    assert fleet.asked == [], "nothing was touched"

    worker = switchover.start("worker", "--store", postgres_url, "--concurrency", "1")
    wait_for_output(worker, "at most 1 tasks at once")
    fleet.wait_for("t1/gateway")
    (seen,) = switchover("get", "workers", "-o", "json", *at).json()
    assert (seen["tasks"], seen["concurrency"], seen["stopping"]) == (1, 1, False)
    assert switchover("get", "workers", "-o", "json", "--store", postgres_url).json()[0]["worker"] == seen["worker"]
    assert "works" in switchover("get", "workers", *at).output
    busy = switchover("explain", "100-2", "-o", "json", *at).json()
    assert busy["cause"] == "WORKERS_BUSY"
    runs = switchover("explain", "100-1", "-o", "json", *at).json()
    assert f"at worker {seen['worker']} (process {worker.pid} on" in runs["reason"]

    fleet.closed.clear()
    switchover("watch", "100", *at)
    assert {tenant: held["media"]["version"] for tenant, held in fleet.held().items()} == dict.fromkeys(
        ("t1", "t2", "t3"), "42"
    )
    worker.send(signal.SIGTERM)
    switchover.wait_for_end(worker, code=0)
    assert switchover("get", "workers", "-o", "jsonl", *at).lines() == []


def test_while_there_is_no_worker_the_server_carries_out_stages_itself(
    fleet: GatedFleet, switchover: CommandLine, postgres_url: str
) -> None:
    served = start_server(switchover, "--store", postgres_url)
    switchover("apply", str(fleet.write_plan(["t1"])), "--wait", "--server", served.url)
    worker = switchover.start("worker", "--store", postgres_url)
    wait_for_output(worker, "tasks at once")
    fleet.closed.add("t2/media")
    switchover("apply", str(fleet.write_plan(["t2"], plan_id=101)), "--server", served.url)
    fleet.wait_for("t2/media")
    assert [seen["tasks"] for seen in switchover("get", "workers", "-o", "json", "--server", served.url).json()] == [1]
    fleet.closed.clear()
    switchover("watch", "101", "--server", served.url)


def test_a_worker_needs_a_store_that_can_be_shared(switchover: CommandLine) -> None:
    refused = switchover("worker", "--db", "own.db", code=30)
    assert "postgresql://" in refused.errors
    assert not (switchover.directory / "own.db").exists()
