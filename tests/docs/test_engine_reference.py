"""The pages about verbs, states, events and lessons say what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from switchover.domain.events import EventType
from switchover.domain.task import TaskStatus
from tests.support.harness import Rig, open_rig

_ROW = re.compile(r"^\| (?P<first>[^|]+) \|(?P<rest>.*)\|$", re.MULTILINE)


def test_the_pages_that_are_printed_from_tables_are_current(repository: Path) -> None:
    """When this fails: python scripts/make_docs.py."""
    made = subprocess.run(
        [sys.executable, repository / "scripts" / "make_docs.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr


def _documented_events(repository: Path) -> dict[str, set[str]]:
    text = (repository / "docs/reference/events.md").read_text(encoding="utf-8").partition("## Types")[2]
    text = text.partition("## Order")[0]
    rows = {row["first"]: row["rest"].rpartition("|")[2] for row in _ROW.finditer(text)}
    return {name: set(re.findall(r"`(\w+)`", rest)) for name, rest in rows.items() if name not in {"type", "---"}}


def test_every_type_of_event_is_documented_and_no_other(repository: Path) -> None:
    assert list(_documented_events(repository)) == [
        *(str(kind) for kind in EventType if kind.startswith("Plan")),
        *(str(kind) for kind in EventType if kind.startswith("Task")),
    ]


async def _everything(rig: Rig) -> None:
    """Make every type of event happen, with everything that its data may hold."""
    assert rig.clock is not None
    rig.script.fail("t2", "B", times=2)
    rig.script.block("t1", "A")
    await rig.create("t1", "t2", max_concurrency=1)
    await rig.entered("t1", "A")
    await rig.clock.advance(11)
    await rig.restart()
    await rig.facade.stop_line("look")
    rig.script.release("t1", "A")
    await rig.reaches("t1", TaskStatus.PAUSED)
    await rig.facade.start_line()
    await rig.settles()
    await rig.do("retry", "t2")
    await rig.settles()
    rig.script.fail("t1", "A", restoring=True, times=1)
    rig.script.block("t2", "B", restoring=True)
    await rig.do_plan("rollback")
    await rig.entered("t2", "B", restoring=True)
    await rig.restart()
    rig.script.release("t2", "B", restoring=True)
    await rig.settles()
    await rig.do_plan("rollback")
    await rig.settles()
    rig.script.block("t3", "A")
    await rig.create("t3", "t4", plan_id=101, max_concurrency=1)
    await rig.entered("t3", "A")
    await rig.do_plan("pause", 101)
    rig.script.release("t3", "A")
    await rig.executor.wait_for_plan(101)
    await rig.do_plan("resume", 101)
    await rig.settles(101)
    rig.script.block("t5", "A")
    await rig.create("t5", plan_id=102)
    await rig.entered("t5", "A")
    await rig.do_plan("cancel", 102)
    rig.script.release("t5", "A")
    await rig.settles(102)


async def test_the_data_of_each_type_is_documented(repository: Path) -> None:
    class SkipC:
        def should_skip(self, task: object, context: object, stage: object) -> bool:
            return getattr(stage, "name", "") == "C"

    seen: dict[str, set[str]] = {}
    async with open_rig("A", "B", "C", policies=[SkipC()]) as rig:
        await _everything(rig)
        for plan_id in (100, 101, 102):
            for event in await rig.events(plan_id):
                seen.setdefault(str(event.type), set()).update(event.data)
    assert seen == _documented_events(repository)


def _lessons(repository: Path) -> dict[int, list[tuple[str, str]]]:
    text = (repository / "docs/reference/lessons.md").read_text(encoding="utf-8")
    return {
        int(row["first"]): re.findall(r"`([\w/]+\.py)::(\w+)`", row["rest"])
        for row in _ROW.finditer(text)
        if row["first"].isdigit()
    }


def test_every_lesson_is_there(repository: Path) -> None:
    assert set(_lessons(repository)) == set(range(1, 48))


def test_every_lesson_names_a_test_that_exists(repository: Path) -> None:
    for number, tests in _lessons(repository).items():
        assert tests, f"lesson {number} names no test"
        for path, name in tests:
            file = repository / "tests" / path
            if not file.exists():
                pytest.fail(f"lesson {number}: {path} is not there")
            assert re.search(rf"def {name}\(", file.read_text(encoding="utf-8")), f"lesson {number}: {path}::{name}"
