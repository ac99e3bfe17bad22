"""SIGTERM to a server: not ready, streams end, stages end; the next one drives on and repeats nothing that ended."""

import http.client
import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.command_line import CommandLine, wait_for_output
from tests.support.gated_fleet import GatedFleet, gated_fleet
from tests.support.processes import wait_until
from tests.support.served import Served, start_server

pytestmark = pytest.mark.slow

TENANTS = ("t1", "t2")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[GatedFleet]:
    with gated_fleet(tmp_path, TENANTS) as opened:
        yield opened


@pytest.fixture
def switchover(tmp_path: Path) -> Iterator[CommandLine]:
    with CommandLine(tmp_path) as command_line:
        yield command_line


def _ask(served: Served, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _drives(served: Served) -> bool:
    status, answer = _ask(served, "/readyz")
    return status == 200 and answer["driving"]


def _started(events: Sequence[Mapping[str, Any]], kind: str) -> Counter[tuple[str, str]]:
    return Counter((event["taskId"], event["data"]["stage"]) for event in events if event["type"] == kind)


def _generations(fleet: GatedFleet) -> dict[str, Any]:
    (file,) = fleet.directory.glob("*.generation")
    found: dict[str, Any] = json.loads(file.read_bytes())
    return found


class _Reader(threading.Thread):
    """Reads a plan's live events to their end."""

    def __init__(self, served: Served) -> None:
        super().__init__()
        self._served = served
        self.text = ""

    def run(self) -> None:
        connection = http.client.HTTPConnection(urlsplit(self._served.url).netloc, timeout=60)
        connection.request("GET", "/api/v1/plans/100/events", headers={"Accept": "text/event-stream"})
        answer = connection.getresponse()
        while line := answer.readline():
            self.text += line.decode()
        connection.close()


def test_stages_that_end_in_time_are_not_repeated_by_the_server_that_takes_over(
    switchover: CommandLine, fleet: GatedFleet
) -> None:
    fleet.closed |= {"t1/gateway", "t2/gateway"}
    first = start_server(switchover)
    second = start_server(switchover)
    assert (_drives(first), _drives(second)) == (True, False)
    switchover("apply", str(fleet.write_plan(TENANTS)), "--server", first.url)
    fleet.wait_for("t1/gateway")
    fleet.wait_for("t2/gateway")
    reader = _Reader(first)
    reader.start()
    wait_until(lambda: "TaskStageStarted" in reader.text, timeout_seconds=30, what="the live events")

    first.program.send(signal.SIGTERM)
    reader.join(timeout=30)
    assert not reader.is_alive(), "streams end at once, although stages still run"
    assert "SHUTTING_DOWN" in reader.text
    status, problem = _ask(first, "/readyz")
    assert (status, problem["code"]) == (503, "STOPPING")
    assert _ask(first, "/api/v1/plans/100")[1]["status"] == "RUNNING", "it still answers"
    assert first.program.is_running
    assert not _drives(second), "the stages that run are the first server's"

    fleet.closed.clear()
    assert first.program.wait(timeout_seconds=60) == 0
    switchover("watch", "100", "--server", second.url)
    assert _drives(second)
    events = switchover.events(100)
    ended = _started(events, "TaskStageSucceeded")
    assert ended == {(f"100-{number}", stage): 1 for number in (1, 2) for stage in ("gateway", "media")}
    started = _started(events, "TaskStageStarted")
    assert (started["100-1", "gateway"], started["100-2", "gateway"]) == (1, 1)
    generations = _generations(fleet)
    assert [generations[tenant] for tenant in TENANTS] == [{"gateway": 1, "media": 2}] * 2, "who wrote what"


def test_a_stage_that_does_not_end_in_time_is_interrupted_and_run_again(
    switchover: CommandLine, fleet: GatedFleet
) -> None:
    fleet.closed.add("t1/gateway")
    first = start_server(switchover, "--stop-timeout", "0.2")
    second = start_server(switchover)
    switchover("apply", str(fleet.write_plan(["t1"])), "--server", first.url)
    fleet.wait_for("t1/gateway")
    first.program.send(signal.SIGTERM)
    assert first.program.wait(timeout_seconds=60) == 0, first.program.tail()
    assert "stages that have not ended in time are interrupted" in first.program.output()
    assert "100-1" in first.program.output()
    fleet.closed.clear()
    switchover("watch", "100", "--server", second.url)
    again = [event for event in switchover.events(100) if event["type"] == "TaskStageStarted"]
    assert [(event["data"]["stage"], event["data"].get("recovered", False)) for event in again] == [
        ("gateway", False),
        ("gateway", True),
        ("media", False),
    ]


def test_a_second_signal_ends_a_server_at_once(switchover: CommandLine, fleet: GatedFleet) -> None:
    fleet.closed.add("t1/gateway")
    served = start_server(switchover, "--stop-timeout", "600")
    switchover("apply", str(fleet.write_plan(["t1"])), "--server", served.url)
    fleet.wait_for("t1/gateway")
    served.program.send(signal.SIGTERM)
    wait_for_output(served.program, "stopping: ")
    served.program.send(signal.SIGTERM)
    assert served.program.wait(timeout_seconds=60) == 41, served.program.tail()


def test_a_limit_of_the_settings_holds_for_run(switchover: CommandLine, fleet: GatedFleet) -> None:
    fleet.closed.add("t1/gateway")
    plan = fleet.write_plan(["t1"])
    program = switchover.start("run", str(plan), env={"SWITCHOVER_STOP_TIMEOUT_SECONDS": "0.1"})
    fleet.wait_for("t1/gateway")
    program.send(signal.SIGTERM)
    switchover.wait_for_end(program, code=10)
    assert "within 0.1 s" in program.output()
    assert "are interrupted" in program.output()
    fleet.closed.clear()
    switchover("run", str(plan))
