import io
import sys

import pytest
from rich.console import Console

from switchover.domain.plan import PlanStatus
from switchover.domain.task import TaskStatus
from switchover.interfaces.cli.looking import MOST_FAILURES, TaskLook
from switchover.interfaces.cli.output import Format
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.screens import LiveScreen, PlainScreen, Progress, SilentScreen, make_screen
from tests.support.cli_samples import around, failed, look, task

S = TaskStatus


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines, without their times."""
    return [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]


def test_plain_progress_says_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    screen = PlainScreen(Place())
    first = look({S.RUNNING: 2, S.PENDING: 2})
    screen.show(first)
    screen.show(first)
    screen.show(look({S.COMPLETED: 1, S.RUNNING: 1, S.PENDING: 2}))  # too soon after the last line
    assert said(capsys) == ["plan 100 RUNNING: 0 of 4 done, 2 running, 2 waiting; driven by this process"]
    bad = look({S.FAILED: 1, S.COMPLETED: 1, S.RUNNING: 2}, failed=[failed(1, "no\nanswer \x1b[31m")])
    screen.show(bad)
    screen.show(bad)
    assert said(capsys) == ["FAILED 100-1 (tenant tenant-1): HEALTH_CHECK_FAILED: no answer  [31m"]
    screen.show(look({S.FAILED: 1, S.COMPLETED: 3}, PlanStatus.PARTIAL_FAILED, failed=[failed(1)]))
    assert said(capsys) == ["plan 100 PARTIAL_FAILED: 3 of 4 done, 1 failed"]


def test_plain_progress_says_who_drives_when_that_changes(capsys: pytest.CaptureFixture[str]) -> None:
    screen = PlainScreen(Place())
    screen.show(look({S.RUNNING: 1}, around=around(driving=False)))
    screen.show(look({S.RUNNING: 1}, around=around(driving=False, alive=False)))
    screen.show(look({S.RUNNING: 1}))
    lines = said(capsys)
    assert lines[0].endswith("driven by process 7 on here")
    assert lines[1].endswith("no process drives it")
    assert "`switchover run --plan 100`" in lines[1]
    assert lines[2].endswith("driven by this process")


def test_a_retry_that_fails_again_is_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    screen = PlainScreen(Place())
    screen.show(look({S.FAILED: 1, S.RUNNING: 1}, failed=[failed(1)]))
    screen.show(look({S.FAILED: 1, S.RUNNING: 1}, failed=[failed(1, "still none", generation=2)]))
    assert [line for line in said(capsys) if "FAILED 100-1" in line][-1].endswith("still none")


def test_many_failures_are_told_up_to_a_point(capsys: pytest.CaptureFixture[str]) -> None:
    screen = PlainScreen(Place())
    many = [failed(number) for number in range(1, MOST_FAILURES + 20)]
    screen.show(look({S.FAILED: 5_000, S.PENDING: 5_000}, failed=many))
    lines = said(capsys)
    assert sum(line.startswith("FAILED ") for line in lines) == MOST_FAILURES
    assert "more failures are not told here: switchover get tasks 100" in lines


def test_a_task_tells_each_of_its_steps(capsys: pytest.CaptureFixture[str]) -> None:
    screen = PlainScreen(Place())
    running = TaskLook(task=task(3), around=around())
    screen.show(running)
    screen.show(running)
    screen.show(TaskLook(task=failed(3), around=around()))
    assert said(capsys) == [
        "task 100-3 (tenant tenant-3) RUNNING, stage media, 1 of 3 stages done; driven by this process",
        "task 100-3 (tenant tenant-3) FAILED, stage media, 1 of 3 stages done",
        "FAILED 100-3 (tenant tenant-3): HEALTH_CHECK_FAILED: no answer",
    ]


def test_the_work_outlives_whoever_reads_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    screen = PlainScreen(Place())
    screen.show(look({S.RUNNING: 1}))
    screen.say("still here")
    with LiveScreen(make_console(Gone()), Place()) as live:
        live.show(look({S.RUNNING: 1}))
        live.say("still here")


def make_console(file: io.StringIO) -> Console:
    return Console(file=file, force_terminal=True, width=80, height=24)


def test_the_screen_fits_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_screen(Progress.AUTO, Format.TABLE, Place()), PlainScreen)
    assert isinstance(make_screen(Progress.OFF, Format.TABLE, Place()), SilentScreen)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_screen(Progress.AUTO, Format.TABLE, Place()), LiveScreen)
    assert isinstance(make_screen(Progress.AUTO, Format.JSON, Place()), PlainScreen)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_screen(Progress.AUTO, Format.TABLE, Place()), PlainScreen)


def test_with_json_on_the_output_progress_goes_aside(capsys: pytest.CaptureFixture[str]) -> None:
    make_screen(Progress.AUTO, Format.JSON, Place()).show(look({S.RUNNING: 1}))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "plan 100 RUNNING" in captured.err
