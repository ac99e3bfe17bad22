import io
import re

import pytest
from rich.console import Console

from switchover.bootstrap import StoreOutage
from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, StageMark, TaskStatus
from switchover.engine.explain import Explanation
from switchover.interfaces.cli.looking import Look, TaskLook
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.views import numbers, view
from switchover.spi import StopLine
from tests.support.cli_samples import NOW, around, failed, look, plan, task

S = TaskStatus
COUNTS = {S.COMPLETED: 24, S.FAILED: 2, S.ROLLED_BACK: 1, S.RUNNING: 3, S.PAUSED: 1, S.PENDING: 9}
LONG = "2 of 2 endpoints did not report version 42; next: look at these instances, then `switchover retry`; " * 3
BUSY = look(
    COUNTS,
    plan={"name": "billing-green-w48"},
    failed=[failed(1, LONG), failed(2, LONG, tenant_id="t" * 90)],
    running=[task(number) for number in (3, 4, 5)],
    paused=[task(6, S.PAUSED)],
    rate=3.2,
    seconds_left=4.0,
    seconds=61,
)


def drawn(
    what: Look,
    *,
    width: int = 80,
    height: int = 24,
    fancy: bool = True,
    colours: bool = False,
    place: Place | None = None,
) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        height=height,
        force_terminal=colours,
        color_system="standard" if colours else None,
        legacy_windows=False,
    )
    console.print(view(what, place or Place(), width, height, fancy=fancy))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("height", [8, 24, 50])
def test_the_view_fits_the_terminal(width: int, height: int) -> None:
    lines = drawn(BUSY, width=width, height=height).splitlines()
    assert len(lines) < height
    assert max(len(line.rstrip()) for line in lines) <= width


@pytest.mark.parametrize("width", [80, 200])
def test_the_view_says_what_matters(width: int) -> None:
    text = drawn(BUSY, width=width)
    words = " ".join(text.split())
    assert "plan 100 billing-green-w48 RUNNING 1 min 01 s" in words
    assert "driven by this process" in words
    assert "24 of 40 done, 2 failed, 1 rolled back, 3 running, 1 paused, 9 waiting" in words
    assert "3.2/s, about 4.0 s left" in words
    assert re.search(r"FAILED\s+tenant-1\s+media: HEALTH_CHECK_FAILED: 2 of 2", text)
    assert re.search(r"RUNNING\s+tenant-3\s+media 1/3 for (\d+ min )?\d+ s", text)
    assert re.search(r"PAUSED\s+tenant-6\s+before media 1/3", text)
    assert "67 % settled" in words


@pytest.mark.parametrize("fancy", [True, False])
@pytest.mark.parametrize("width", [80, 200])
def test_the_bar_fills_the_line_and_its_parts_are_in_proportion(width: int, *, fancy: bool) -> None:
    bar = next(line for line in drawn(BUSY, width=width, fancy=fancy).splitlines() if "% settled" in line)
    assert len(bar) == width
    waiting = bar.count("░" if fancy else ".")
    assert abs(waiting / (width - 16) - 9 / 40) < 0.05


def test_a_terminal_without_unicode_gets_plain_characters() -> None:
    assert drawn(BUSY, fancy=False).replace("…", "").isascii()


def test_colours_are_a_matter_of_the_terminal() -> None:
    assert "\x1b[" in drawn(BUSY, colours=True)
    assert "\x1b" not in drawn(BUSY)


def test_a_plan_that_stands_still_says_why() -> None:
    idle = {S.PENDING: 3}
    waits = Explanation(
        task_id="100-1",
        tenant_id="acme",
        status=S.PENDING,
        cause="TENANT_HOLD",
        reason="tenant acme is on hold",
        next_move="`switchover unhold --tenant acme --reason ...`",
    )
    place = Place().refined(db="x.db", store=None, config=None)
    text = drawn(look(idle, waits=waits), width=200, place=place)
    assert "task 100-1 (tenant acme) waits: tenant acme is on hold" in text
    assert "`switchover unhold --tenant acme --reason ... --db x.db`" in text

    line = StopLine(reason="the pager rings", since=NOW)
    assert "the line is stopped since 12:00:00: the pager rings" in drawn(look(idle, around=around(line=line)))

    alone = look(idle, around=around(driving=False, alive=False))
    assert "no process drives it" in drawn(alone)
    assert "`switchover run --plan 100 --db x.db`" in drawn(alone, place=place, width=200)

    pausing = look({S.RUNNING: 1, S.PENDING: 2}, plan={"pending_operation": Operation.PAUSE})
    assert "a pause is requested" in drawn(pausing)


def test_what_has_settled_tells_of_no_rate_and_no_driver() -> None:
    done = look({S.COMPLETED: 3}, PlanStatus.COMPLETED, rate=2.0, seconds_left=0.0)
    assert numbers(done) == "3 of 3 done"


def test_slow_plans_tell_their_rate_per_minute() -> None:
    slow = look({S.COMPLETED: 1, S.RUNNING: 2}, rate=0.05, seconds_left=40.0)
    assert "3.0/min, about 40 s left" in numbers(slow)


@pytest.mark.parametrize("width", [80, 200])
def test_a_task_shows_its_stages(width: int) -> None:
    marks = (int(StageMark.STARTED | StageMark.COMPLETED), int(StageMark.STARTED), 0)
    text = drawn(TaskLook(task=task(7, marks=marks), around=around()), width=width)
    assert "task 100-7  tenant tenant-7  RUNNING" in text
    assert "✓ gateway   ▶ media   · billing" in text
    text = drawn(TaskLook(task=failed(7, "no answer"), around=around()), width=width)
    assert "✓ gateway   ✗ media   · billing" in text
    assert "no answer" in text
    restored = (int(StageMark.STARTED | StageMark.COMPLETED | StageMark.RESTORED), int(StageMark.STARTED), 0)
    text = drawn(TaskLook(task=task(7, S.ROLLING_BACK, marks=restored), around=around()), width=width, fancy=False)
    assert "< gateway   > media   . billing" in text


def test_a_huge_plan_is_drawn_from_a_few_of_its_tasks() -> None:
    huge = look({S.COMPLETED: 60_000, S.FAILED: 5_000, S.PENDING: 35_000}, failed=[failed(n) for n in range(1, 51)])
    lines = drawn(huge, height=24).splitlines()
    assert len(lines) < 24
    assert "60,000 of 100,000 done, 5,000 failed, 35,000 waiting" in "\n".join(lines)


def test_an_empty_looking_plan_is_no_division_by_zero() -> None:
    assert "0 of 0 done" in numbers(look({}))
    assert drawn(look({}, plan={"total": 0}))
    assert plan({}).total == 0


@pytest.mark.parametrize("width", [80, 200])
def test_a_store_that_is_away_is_told_with_the_essence_first(width: int) -> None:
    away = around(outage=StoreOutage(since=NOW, reason="the disk is full; make room " * 10, attempts=3))
    at = f"{NOW.astimezone():%H:%M:%S}"
    for what in (look({S.RUNNING: 1, S.PENDING: 2}, around=away), TaskLook(task=task(7), around=away)):
        assert f"store away since {at}, work waits and nothing is lost: the disk" in drawn(what, width=width)


def test_whoever_takes_over_in_a_moment_does_not_ask_somebody_else_to() -> None:
    taking = look({TaskStatus.RUNNING: 1}, around=around(driving=False, alive=False, takes_over=True))
    assert "this process takes it over" in drawn(taking)
    assert "nothing happens until a process drives it" not in drawn(taking)
