"""`switchover serve --log-format json`: every line that the process writes is one object."""

import json
import urllib.request
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.gated_fleet import gated_fleet
from tests.support.processes import wait_until
from tests.support.served import start_server

pytestmark = pytest.mark.slow


def test_every_line_of_a_server_is_an_object_and_those_of_a_task_name_it(tmp_path: Path) -> None:
    with gated_fleet(tmp_path, ("t1", "t2")) as fleet, CommandLine(tmp_path) as switchover:
        fleet.closed.add("t2/media")
        plan = fleet.write_plan(["t1", "t2"], attempts=1)
        served = start_server(switchover, "--log-format", "json")
        switchover("apply", str(plan), "--server", served.url, "--wait", code=20)
        with urllib.request.urlopen(f"{served.url}/livez", timeout=30) as answer:
            assert answer.status == 200
        assert served.program.stop(timeout_seconds=60) == 0
        lines = [json.loads(line) for line in served.program.output().splitlines()]
    assert all({"time", "level", "event", "logger"} <= line.keys() for line in lines)
    assert {"switchover.serve", "switchover.events", "uvicorn.error"} <= {line["logger"] for line in lines}
    events = [line for line in lines if line["logger"] == "switchover.events" and line["event"].startswith("Task")]
    assert events
    for line in events:
        assert line["planId"] == 100
        assert (line["taskId"], line["tenantId"]) in {("100-1", "t1"), ("100-2", "t2")}
        assert line["generation"] == 1
    failed = next(line for line in events if line["event"] == "TaskStageFailed")
    assert (failed["level"], failed["stage"], failed["step"]) == ("warning", "media", "healthCheck")


def test_the_environment_says_how_run_logs(tmp_path: Path) -> None:
    with gated_fleet(tmp_path, ("t1",)) as fleet, CommandLine(tmp_path) as switchover:
        plan = fleet.write_plan(["t1"])
        env = {"SWITCHOVER_LOG_FORMAT": "json", "SWITCHOVER_LOG_LEVEL": "info"}
        program = switchover.start("run", str(plan), "--progress", "off", env=env)
        switchover.wait_for_end(program, code=0)
        wait_until(lambda: "PlanCompleted" in program.output(), what="the last event")
        objects = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
    assert [line["event"] for line in objects if line["event"] == "TaskCompleted"] == ["TaskCompleted"]
