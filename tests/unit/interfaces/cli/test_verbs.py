"""Verbs that ask, in one process: what is accepted, refused, printed."""

import pytest

from switchover.domain.task import TargetType, TaskId, TenantId
from switchover.dto import TaskOperationResult, TaskOutcome
from switchover.engine.outcomes import refused
from switchover.errors import ErrorCode
from switchover.interfaces.cli.output import Format
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.results import write_result
from tests.support.cli_samples import NOW
from tests.unit.interfaces.cli.conftest import Call, Files


@pytest.fixture
def ran(call: Call, files: Files) -> Call:
    """A database with plan 100, whose three tenants have failed."""
    files.break_target()
    files.plan("acme", "globex", "initech")
    call("run", "plan.json", code=20)
    return call


def test_run_tells_every_failure_whole_and_what_to_type(call: Call, files: Files) -> None:
    files.break_target()
    files.plan("acme", "globex")
    answer = call("run", "plan.json", "--db", "x.db", code=20)
    assert "2 tenants FAILED with" in answer.output
    assert "in stage gateway, step configUpdate:" in answer.output
    for tenant in ("acme", "globex"):
        assert f"tenant {tenant}, stage gateway" in answer.output
        assert f"`switchover retry --tenant {tenant} --db x.db`" in answer.output
    assert "  switchover retry --plan 100 --db x.db\n" in answer.output
    assert "  switchover rollback --plan 100 --db x.db\n" in answer.output
    assert "\x1b" not in answer.output


def test_run_with_json_answers_with_the_final_status_alone(call: Call, files: Files) -> None:
    files.plan("acme")
    answer = call("run", "plan.json", "-o", "json")
    assert answer.json()["status"] == "COMPLETED"
    assert "plan 100 COMPLETED" in answer.errors
    assert call("run", "plan.json", "-o", "jsonl", "--progress", "off").lines()[0]["planId"] == 100


def test_a_failed_plan_is_retried_and_brought_back(ran: Call, files: Files) -> None:
    assert "has settled before, so nothing is run" in ran("run", "plan.json", code=20).output
    files.mend_target()
    assert "retry accepted for 3 of 3 tasks" in ran("retry", "--plan", "100").output
    back = ran("rollback", "--tenant", "acme", code=21)
    assert "task 100-1 (tenant acme) ROLLED_BACK" in back.output
    assert ran("watch", "100-1", code=21).output
    history = ran("history", "acme", "-o", "json").json()
    assert [(task["taskId"], task["status"], task["retryCount"]) for task in history] == [("100-1", "ROLLED_BACK", 1)]


def test_a_retry_from_scratch_runs_every_stage(ran: Call, files: Files) -> None:
    files.mend_target()
    ran("retry", "--tenant", "acme", "--from", "scratch")
    started = [e for e in ran("events", "--task", "100-1").lines() if e["type"] == "TaskStageStarted"]
    assert [event["data"]["stage"] for event in started] == ["gateway", "gateway", "media"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("pause", "--plan", "7"), "UNKNOWN_PLAN"),
        (("pause", "--tenant", "nobody"), "UNKNOWN_TENANT"),
        (("cancel", "--task", "100-9"), "UNKNOWN_TASK"),
        (("cancel", "--task", "what"), "UNKNOWN_TASK"),
        (("resume", "--plan", "100"), "ILLEGAL_STATE"),
        (("pause", "--tenant", "acme"), "ILLEGAL_STATE"),
        (("unhold", "--tenant", "acme", "--reason", "x"), "ILLEGAL_STATE"),
        (("start-line",), "ILLEGAL_STATE"),
        (("adopt", "--tenant", "nobody"), "UNKNOWN_TENANT"),
    ],
)
def test_a_refused_request_says_why(ran: Call, arguments: tuple[str, ...], code: str) -> None:
    answer = ran(*arguments, code=30)
    assert answer.errors.startswith(f"switchover: refused: {code}: ")
    result = ran(*arguments, "-o", "json", code=30).json()
    assert result["success"] is False
    assert result["failureInfo"]["errorCode"] == code


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "plan", "7"),
        ("get", "task", "7-1"),
        ("get", "task", "what"),
        ("get", "tenant", "nobody"),
        ("explain", "7-1"),
        ("history", "nobody"),
    ],
)
def test_an_unknown_id_is_refused_in_every_shape(ran: Call, arguments: tuple[str, ...]) -> None:
    assert "is known" in ran(*arguments, code=30).errors
    answer = ran(*arguments, "-o", "json", code=30)
    if arguments[0] != "history":
        assert answer.json()["found"] is False
    for other in (("get", "tasks", "7"), ("watch", "7"), ("watch", "7-1"), ("events", "--plan", "7"), ("export", "7")):
        assert "is known" in ran(*other, code=30).errors


def test_holds_and_the_line_say_what_they_do(ran: Call, files: Files) -> None:
    assert "is on hold" in ran("hold", "--tenant", "acme", "--reason", "its database moves").output
    assert "its database moves" in ran("get", "tenant", "acme").output
    assert ran("get", "tenant", "acme", "-o", "json").json()["hold"]["reason"] == "its database moves"
    assert "is lifted" in ran("unhold", "--tenant", "acme", "--reason", "moved").output
    assert "the line is stopped" in ran("stop-line", "--reason", "fire").output
    assert "fire" in ran("doctor").output
    assert "the line runs again" in ran("start-line").output
    assert "refused 100-1 (tenant acme): TARGET_ERROR" in ran("adopt", "--plan", "100", code=30).output
    files.mend_target()
    assert ran("adopt", "--plan", "100").output == "adopt accepted for 3 of 3 tasks\n"


def test_long_lists_come_in_pages_that_say_how_to_go_on(call: Call, files: Files) -> None:
    files.plan(*(f"t{number:03}" for number in range(150)))
    call("run", "plan.json")
    first = call("get", "tasks", "100")
    assert len(first.output.splitlines()) == 1 + 100 + 1
    assert first.output.splitlines()[-1] == "more: switchover get tasks 100 --after 100-100"
    rest = call("get", "tasks", "100", "--after", "100-100").output.splitlines()
    assert len(rest) == 1 + 50
    assert len(call("get", "tasks", "100", "-o", "jsonl").lines()) == 150
    assert len(call("get", "tasks", "100", "-o", "json").json()) == 150
    assert [t["taskId"] for t in call("get", "tasks", "100", "-o", "json", "--after", "7", "--limit", "2").json()] == [
        "100-8",
        "100-9",
    ]
    assert call("get", "tasks", "100", "--status", "failed,PENDING", "-o", "json").json() == []
    assert call("get", "tasks", "100", "--status", "FAILED").output == "there is no such task\n"
    assert call("get", "plans", "--before", "100").output == "there is no plan with an id below 100\n"
    assert len(call("events", "--since", "400").lines()) == len(call("events").lines()) - 400


def outcome(number: int, code: ErrorCode) -> TaskOutcome:
    return TaskOutcome(
        task_id=TaskId(f"100-{number}"),
        tenant_id=TenantId(f"t{number}"),
        failure_info=refused(code, f"t{number} cannot", NOW),
    )


def test_many_refusals_are_summed_up_by_reason(capsys: pytest.CaptureFixture[str]) -> None:
    many = [outcome(number, ErrorCode.ILLEGAL_STATE) for number in range(1, 1_201)]
    few = [outcome(number, ErrorCode.NO_PREVIOUS_CONFIG) for number in range(1_201, 1_204)]
    result = TaskOperationResult(
        target_type=TargetType.PLAN,
        target_id=100,
        success=True,
        final_status=None,
        message="rollback accepted for 1 of 1204 tasks, refused for 1203",
        accepted=(TaskOutcome(task_id=TaskId("100-0"), tenant_id=TenantId("t0")),),
        refused=(*many, *few),
    )
    assert write_result(result, Format.TABLE, Place()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rollback accepted for 1 of 1204 tasks, refused for 1203"
    assert lines[1].startswith("  refused with ILLEGAL_STATE: 1,200 tasks: t1 (100-1), t2 (100-2)")
    assert lines[1].endswith("and 1,190 more")
    assert lines[3].startswith("  refused with NO_PREVIOUS_CONFIG: 3 tasks: t1201 (100-1201)")
    assert len(lines) == 5
    write_result(result, Format.JSONL, Place())
    assert capsys.readouterr().out.count('"taskId"') == 1_204


def test_events_at_the_terminal_are_lines(ran: Call) -> None:
    lines = ran("events", "-o", "table").output.splitlines()
    assert len(lines) == len(ran("events").lines())
    assert "TaskFailed" in ran("events", "-o", "table").output
    assert ran("events", "-o", "json").json()[0]["position"] == 1


def test_a_retry_is_offered_only_where_the_plan_allows_one(ran: Call, files: Files) -> None:
    files.mend_target()
    assert "get the free slots first" not in ran("retry", "--tenant", "acme").output
    files.break_target()
    told = ran("rollback", "--tenant", "acme", code=22).output
    assert "switchover rollback --tenant acme" in told
    assert ran("get", "plan", "100", "-o", "json").json()["status"] == "ROLLBACK_FAILED"
    ran("retry", "--plan", "100", code=30)
    for last in (ran("run", "plan.json", code=22).output, ran("watch", "100-2", code=20).output):
        assert "\n  switchover rollback " in last
        assert "\n  switchover retry " not in last
    explained = ran("explain", "100-2", "-o", "json").json()
    assert explained["nextMove"] == "mend the cause, then `switchover rollback --tenant globex`"


def test_a_brake_needs_no_reason_and_is_seen_in_the_list_of_plans(ran: Call) -> None:
    assert "the line is stopped" not in ran("get", "plans").output
    ran("stop-line")
    told = ran("get", "plans").output
    assert "the line is stopped since " in told
    assert told.endswith(": no reason was given\n")
    ran("start-line")
    ran("hold", "--tenant", "acme")
    assert "no reason was given" in ran("get", "tenant", "acme").output


@pytest.mark.parametrize("plan_id", [100, None])
def test_how_to_run_a_settled_file_again_is_true(call: Call, files: Files, plan_id: int | None) -> None:
    files.plan("acme", planId=plan_id)
    call("run", "plan.json")
    told = call("run", "plan.json").output
    if plan_id is not None:
        assert "take its planId out, then: switchover run plan.json" in told
        call("run", "--new", "plan.json", code=30)
        files.plan("acme", planId=None)
        assert "plan 101 COMPLETED" in call("run", "plan.json").output
    else:
        assert "to submit the file as a new plan: switchover run --new plan.json" in told
        assert "plan 2 COMPLETED" in call("run", "--new", "plan.json").output
