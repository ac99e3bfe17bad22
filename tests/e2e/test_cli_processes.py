"""Several processes of the command line over one database: who drives, who asks, who takes over, who dies."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import ARGV, CommandLine, environment, wait_for_output
from tests.support.gated_fleet import PATIENT, GatedFleet, gated_fleet
from tests.support.processes import wait_until
from tests.support.terminal import CTRL_C, terminal

pytestmark = pytest.mark.slow

TENANTS = ("t1", "t2", "t3", "t4")
ALL_GATES = {f"{tenant}/{stage}" for tenant in TENANTS for stage in ("gateway", "media")}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[GatedFleet]:
    with gated_fleet(tmp_path, TENANTS) as running:
        yield running


@pytest.fixture
def switchover(tmp_path: Path) -> Iterator[CommandLine]:
    with CommandLine(tmp_path) as line:
        yield line


def versions(fleet: GatedFleet) -> dict[str, list[str]]:
    return {tenant: [value["version"] for value in stages.values()] for tenant, stages in fleet.held().items()}


def assert_sound(switchover: CommandLine, plan_id: int = 100) -> None:
    """Events are numbered without a gap, and the store says that it is sound."""
    events = switchover.events(plan_id)
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    checks = {check["name"]: check for check in switchover("doctor", "-o", "jsonl").lines()}
    assert checks["integrity"]["verdict"] == "ok", checks["integrity"]
    assert checks["requests"]["verdict"] == "ok", checks["requests"]


# --- pause, resume, cancel, brakes from a second terminal -----------------------------------------------------------


def test_a_plan_is_paused_from_a_second_terminal_and_resumed_later(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS)
    fleet.closed |= {"t1/gateway", "t2/gateway"}
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    fleet.wait_for("t2/gateway")
    paused = switchover("pause", "--plan", "100", "-o", "json").json()
    assert paused["success"]
    assert len(paused["accepted"]) == 4
    assert switchover.plan(100)["pendingOperation"] == "pause"
    fleet.closed.clear()
    switchover.wait_for_end(run, code=10)
    assert "switchover resume --plan 100" in run.output()
    assert switchover.plan(100)["status"] == "PAUSED"
    tasks = switchover("get", "tasks", "100", "-o", "jsonl").lines()
    assert [(task["status"], task["completedStages"]) for task in tasks] == [("PAUSED", 1)] * 2 + [("PENDING", 0)] * 2

    # A run does not undo what a person asked for; a resume does, and drives.
    assert "switchover resume --plan 100" in switchover("run", "plan.json", code=10).output
    assert switchover("watch", "100", code=10).output
    switchover("resume", "--plan", "100")
    assert switchover.plan(100)["counts"] == {"COMPLETED": 4}
    assert versions(fleet) == {tenant: ["42", "42"] for tenant in TENANTS}
    started = [event for event in switchover.events(100) if event["type"] == "TaskStageStarted"]
    assert len(started) == 8, "no stage ran twice"
    assert_sound(switchover)


def test_resume_beside_a_driver_hands_over_and_can_wait(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS)
    fleet.closed |= {"t1/gateway", "t2/media"}
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    switchover("pause", "--tenant", "t1")
    fleet.closed.discard("t1/gateway")
    wait_until(lambda: switchover("get", "task", "100-1", "-o", "json").json()["status"] == "PAUSED", what="PAUSED")
    told = switchover("resume", "--tenant", "t1")
    assert f"process {run.pid}" in told.output
    assert switchover("watch", "100-1").code == 0

    fleet.wait_for("t2/media")
    switchover("pause", "--tenant", "t2")
    withdrawn = switchover.start("resume", "--tenant", "t2", "--wait")
    wait_for_output(withdrawn, "task 100-2 (tenant t2): the pending request is withdrawn")
    fleet.closed.clear()
    switchover.wait_for_end(withdrawn, code=0)
    switchover.wait_for_end(run, code=0)
    assert_sound(switchover)


def test_cancel_keeps_what_was_switched_and_rollback_brings_it_back(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS)
    before = fleet.held()
    fleet.closed |= ALL_GATES
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    fleet.wait_for("t2/gateway")
    cancelled = switchover("cancel", "--plan", "100").output
    assert "cancel accepted for 4 of 4 tasks" in cancelled
    fleet.closed.clear()
    switchover.wait_for_end(run, code=23)
    assert versions(fleet) == {"t1": ["42", "41"], "t2": ["42", "41"], "t3": ["41", "41"], "t4": ["41", "41"]}
    assert switchover("retry", "--plan", "100", code=30).errors.startswith("switchover: refused: ILLEGAL_STATE")

    back = switchover("rollback", "--plan", "100", code=21)
    assert "plan 100 ROLLED_BACK" in back.output
    assert fleet.held() == before
    again = switchover("run", "plan.json", code=21)
    assert "has settled before, so nothing is run" in again.output
    assert_sound(switchover)


def test_one_task_is_cancelled_by_its_id(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS, maxConcurrency=1)
    fleet.closed.add("t1/gateway")
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    assert "100-3" in switchover("cancel", "--task", "100-3").output
    refused = switchover("cancel", "--task", "100-9", code=30)
    assert "UNKNOWN_TASK" in refused.errors
    fleet.closed.clear()
    switchover.wait_for_end(run, code=20)
    assert switchover.plan(100)["counts"] == {"COMPLETED": 3, "CANCELLED": 1}


def test_the_stop_line_holds_everything_and_run_waits_until_it_is_lifted(
    fleet: GatedFleet, switchover: CommandLine
) -> None:
    fleet.write_plan(TENANTS)
    fleet.closed |= {"t1/gateway", "t2/gateway"}
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    fleet.wait_for("t2/gateway")
    switchover("stop-line", "--reason", "the pager rings")
    fleet.closed.clear()
    wait_for_output(run, "the line is stopped")
    assert "the pager rings" in run.output()
    why = switchover("explain", "100-3", "-o", "json").json()
    assert why["cause"] == "LINE_STOPPED"
    assert "the pager rings" in switchover("get", "plan", "100").output
    assert run.is_running
    switchover("start-line")
    switchover.wait_for_end(run, code=0)
    assert_sound(switchover)


def test_a_tenant_on_hold_is_refused_as_a_collision_and_waits_for_a_person(
    fleet: GatedFleet, switchover: CommandLine
) -> None:
    fleet.write_plan(TENANTS[:2])
    switchover("run", "plan.json")
    switchover("hold", "--tenant", "t1", "--reason", "its database moves")
    assert "its database moves" in switchover("get", "tenant", "t1").output
    fleet.write_plan(TENANTS[:2], name="next.json", plan_id=101, version=43)
    refused = switchover("run", "next.json", code=30)
    assert "TENANT_ON_HOLD" in refused.errors
    assert "its database moves" in refused.errors
    assert "next.json:" in refused.errors, "the finding says where"
    assert switchover("plan", "next.json", code=30).output
    switchover("unhold", "--tenant", "t1", "--reason", "moved")
    switchover("run", "next.json")
    assert versions(fleet)["t1"] == ["43", "43"]


# --- retry ---------------------------------------------------------------------------------------------------------


def test_failures_are_told_whole_and_a_retry_runs_what_is_missing(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS, attempts=2)
    fleet.closed |= {"t2/media", "t3/gateway"}
    failed = switchover("run", "plan.json", code=20)
    for tenant, stage in (("t2", "media"), ("t3", "gateway")):
        assert f"tenant {tenant}, stage {stage}, step healthCheck" in failed.output
        assert f"{fleet.url}/{tenant}/{stage}" in failed.output
    assert "\x1b" not in failed.output
    assert "switchover retry --plan 100" in failed.output
    assert "switchover rollback --plan 100" in failed.output

    fleet.closed.clear()
    switchover("retry", "--tenant", "t2")
    tasks = {task["tenantId"]: task for task in switchover("get", "tasks", "100", "-o", "jsonl").lines()}
    assert (tasks["t2"]["status"], tasks["t2"]["retryCount"]) == ("COMPLETED", 1)
    assert tasks["t3"]["status"] == "FAILED"
    switchover("retry", "--plan", "100", "--from", "scratch")
    assert switchover.plan(100)["status"] == "COMPLETED"
    assert_sound(switchover)


def test_a_request_without_waiting_is_carried_out_by_the_next_driver(
    fleet: GatedFleet, switchover: CommandLine
) -> None:
    fleet.write_plan(TENANTS, attempts=1)
    fleet.closed.add("t4/media")
    switchover("run", "plan.json", code=20)
    fleet.closed.clear()
    recorded = switchover("retry", "--plan", "100", "--no-wait")
    assert "switchover run --plan 100" in recorded.output
    assert switchover("explain", "100-4", "-o", "json").json()["cause"] == "NO_DRIVER"
    assert switchover("watch", "100", "--timeout", "100ms", code=40).errors
    switchover("run", "--plan", "100")
    assert switchover.plan(100)["status"] == "COMPLETED"


# --- who drives ----------------------------------------------------------------------------------------------------


def test_a_killed_run_is_continued_by_the_same_command(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS)
    fleet.closed |= {"t1/media", "t2/gateway"}
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/media")
    fleet.wait_for("t2/gateway")
    run.kill()
    assert switchover.plan(100)["status"] == "RUNNING"
    assert switchover("explain", "100-1", "-o", "json").json()["cause"] == "NO_DRIVER"
    fleet.closed.clear()
    switchover("run", "plan.json")
    assert switchover.plan(100)["counts"] == {"COMPLETED": 4}
    recovered = [event for event in switchover.events(100) if event["data"].get("recovered")]
    assert {(event["taskId"], event["data"]["stage"]) for event in recovered} == {
        ("100-1", "media"),
        ("100-2", "gateway"),
    }
    assert_sound(switchover)


def test_a_second_run_watches_and_takes_over_when_the_first_dies(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS)
    fleet.closed.add("t1/media")
    first = switchover.start("run", "plan.json")
    fleet.wait_for("t1/media")
    second = switchover.start("run", "plan.json")
    wait_for_output(second, f"driven by process {first.pid}")
    first.kill()
    wait_for_output(second, "driven by this process")
    fleet.closed.clear()
    switchover.wait_for_end(second, code=0)
    assert_sound(switchover)


def test_a_run_beside_a_driver_hands_its_plan_over(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS[:2])
    fleet.write_plan(TENANTS[2:], name="other.json", plan_id=None)
    fleet.closed |= {"t1/gateway", "t3/gateway"}
    first = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    second = switchover.start("run", "other.json")
    wait_for_output(second, f"driven by process {first.pid}")
    fleet.wait_for("t3/gateway")
    # The first has done its part while the other plan still runs: whoever watches that one drives it on.
    fleet.closed.discard("t1/gateway")
    switchover.wait_for_end(first, code=0)
    wait_for_output(second, "driven by this process")
    fleet.closed.clear()
    switchover.wait_for_end(second, code=0)
    assert [plan["status"] for plan in switchover("get", "plans", "-o", "json").json()] == ["COMPLETED"] * 2
    assert_sound(switchover)


def test_a_plan_file_is_the_same_plan_as_long_as_it_says_the_same(fleet: GatedFleet, switchover: CommandLine) -> None:
    file = fleet.write_plan(TENANTS[:2], plan_id=None)
    switchover("run", file.name)
    again = switchover("run", file.name)
    assert "switchover run --new plan.json" in again.output
    file.write_text(file.read_text(encoding="utf-8").replace("\n", "\n  "), encoding="utf-8")
    assert "has settled before" in switchover("run", file.name).output, "spacing is no content"
    switchover("run", "--new", file.name)
    assert len(switchover("get", "plans", "-o", "json").json()) == 2
    newest = switchover("run", file.name)
    assert "plan 2 has settled before" in newest.output

    fleet.write_plan(TENANTS[:2], plan_id=7)
    switchover("run", file.name)
    fleet.write_plan(TENANTS[:2], plan_id=7, version=43)
    refused = switchover("run", file.name, code=30)
    assert "PLAN_EXISTS" in refused.errors
    assert "from what plan.json says now" in refused.errors


# --- signals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_lets_running_stages_end_and_leaves_the_plan_resumable(
    fleet: GatedFleet, switchover: CommandLine, number: signal.Signals
) -> None:
    fleet.write_plan(TENANTS)
    fleet.closed |= {"t1/gateway", "t2/media"}
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    fleet.wait_for("t2/media")
    run.send(number)
    wait_for_output(run, "press Ctrl-C again to stop at once")
    assert run.is_running
    fleet.closed.clear()
    switchover.wait_for_end(run, code=10)
    assert "switchover run plan.json" in run.output()
    tasks = switchover("get", "tasks", "100", "-o", "jsonl").lines()
    assert [task["completedStages"] for task in tasks] == [1, 2, 0, 0]
    switchover("run", "plan.json")
    events = switchover.events(100)
    assert sum(event["type"] == "TaskStageStarted" and not event["data"].get("recovered") for event in events) == 8
    assert_sound(switchover)


def test_two_signals_stop_at_once_and_the_interrupted_stages_run_again(
    fleet: GatedFleet, switchover: CommandLine
) -> None:
    fleet.write_plan(TENANTS)
    fleet.closed |= {"t1/gateway", "t2/media"}
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    fleet.wait_for("t2/media")
    run.send(signal.SIGINT)
    wait_for_output(run, "press Ctrl-C again")
    run.send(signal.SIGINT)
    switchover.wait_for_end(run, code=10)
    assert "Traceback" not in run.output()
    fleet.closed.clear()
    switchover("run", "plan.json")
    assert_sound(switchover)


def test_whoever_only_watches_leaves_without_stopping_anything(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS)
    fleet.closed.add("t1/gateway")
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    for arguments in (("watch", "100"), ("run", "plan.json")):
        other = switchover.start(*arguments)
        wait_for_output(other, f"driven by process {run.pid}")
        other.send(signal.SIGINT)
        switchover.wait_for_end(other, code=41)
    follower = switchover.start("events", "--follow", "-o", "jsonl")
    wait_for_output(follower, "TaskStageStarted")
    assert run.is_running
    fleet.closed.clear()
    switchover.wait_for_end(run, code=0)
    wait_for_output(follower, "PlanCompleted")
    follower.send(signal.SIGINT)
    switchover.wait_for_end(follower, code=0)
    assert len(follower.output().splitlines()) == len(switchover.events(100))


@pytest.mark.parametrize("width", [80, 200])
def test_ctrl_c_at_a_terminal(fleet: GatedFleet, switchover: CommandLine, width: int) -> None:
    fleet.write_plan(TENANTS, attempts=PATIENT)
    fleet.closed |= {"t1/gateway", "t2/gateway"}
    env = {name: value for name, value in environment().items() if name != "NO_COLOR"} | {"TERM": "xterm-256color"}
    with terminal([*ARGV, "run", "plan.json"], width=width, cwd=fleet.directory, env=env) as screen:
        fleet.wait_for("t1/gateway")
        screen.wait_for("driven by this process")
        screen.wait_for("2 running, 2 waiting")
        screen.press(CTRL_C)
        screen.wait_for("press Ctrl-C again to stop at once")
        assert screen.program.poll() is None
        screen.press(CTRL_C)
        assert screen.wait() == 10
        screen.wait_for("plan 100 goes on from here with: switchover run plan.json")
        assert max(len(line) for line in screen.lines) <= width
        assert "\x1b[" in screen.raw
    fleet.closed.clear()
    with terminal([*ARGV, "run", "plan.json"], width=width, cwd=fleet.directory, env=env) as screen:
        assert screen.wait() == 0
        screen.wait_for("plan 100 COMPLETED: 4 of 4 done")
    assert_sound(switchover)


# --- reading -------------------------------------------------------------------------------------------------------


def test_reading_changes_nothing_and_takes_nothing(fleet: GatedFleet, switchover: CommandLine) -> None:
    database = fleet.directory / "switchover.db"
    for arguments in (
        ("get", "plans"),
        ("get", "plan", "1"),
        ("events", "--plan", "1"),
        ("watch", "1"),
        ("history", "t1"),
        ("export", "1"),
        ("pause", "--plan", "1"),
        ("stop-line", "--reason", "x"),
    ):
        refused = switchover(*arguments, code=30)
        assert "there is no database switchover.db" in refused.errors
        assert "Traceback" not in refused.errors
        assert not database.exists()
    fleet.write_plan(TENANTS)
    assert switchover("plan", "plan.json").output
    assert switchover("lint", "plan.json").output
    assert not database.exists()

    fleet.closed.add("t1/gateway")
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    driver = switchover("doctor", "-o", "json").json()[4]
    assert f"process {run.pid}" in driver["found"]
    for arguments in (("get", "plans"), ("get", "tasks", "100"), ("get", "tenant", "t1"), ("export", "100")):
        switchover(*arguments)
    fleet.closed.clear()
    switchover.wait_for_end(run, code=0)
    assert_sound(switchover)


def test_requests_are_answered_while_the_last_stages_end(fleet: GatedFleet, switchover: CommandLine) -> None:
    fleet.write_plan(TENANTS)
    fleet.closed |= {"t1/gateway", "t2/gateway"}
    run = switchover.start("run", "plan.json")
    fleet.wait_for("t1/gateway")
    fleet.wait_for("t2/gateway")
    run.send(signal.SIGINT)
    wait_for_output(run, "press Ctrl-C again")
    cancelled = switchover("cancel", "--plan", "100", "-o", "json").json()
    assert len(cancelled["accepted"]) == 4
    fleet.closed.clear()
    switchover.wait_for_end(run, code=23)
    assert_sound(switchover)
