"""
A process that is killed with SIGKILL right before and right after every one of its commits, a run for each.

What the next process makes of it is what an uninterrupted run leaves: the same statuses, marks, retry counts, files,
last known good configs and free locks, and an event log without gap. Lesson 40. ``make crash`` runs the long forms.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import pytest

from tests.support.crash_program import STAGES, Life, Remains, prepare, remains
from tests.support.event_grammar import assert_legal_log

pytestmark = pytest.mark.slow

KILLED = -9
SIDES = ("before", "after")


@dataclass(frozen=True, slots=True)
class Lives:
    """A process that gives lives; one at a time."""

    program: subprocess.Popen[str]

    def live(self, life: Life) -> int:
        """How it ended."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(json.dumps(asdict(life)) + "\n")
        self.program.stdin.flush()
        return int(self.program.stdout.readline())


@contextmanager
def lives(repository: Path, log: Path) -> Iterator[Lives]:
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash_program", "serve"],
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as program,
    ):
        try:
            yield Lives(program)
        finally:
            assert program.stdin is not None
            program.stdin.close()
            program.wait(30)


@pytest.fixture
def one(repository: Path, tmp_path: Path) -> Iterator[Lives]:
    with lives(repository, tmp_path / "log") as giver:
        yield giver


@pytest.fixture
def uninterrupted(one: Lives, tmp_path: Path) -> Remains:
    folder = tmp_path / "uninterrupted"
    prepare(folder)
    assert one.live(Life(folder=str(folder))) == 0, (tmp_path / "log").read_text()
    found = remains(folder)
    compare(found, found)
    return found


def compare(found: Remains, expected: Remains) -> None:
    """The same end, told without gap, and nothing done twice but what was interrupted."""
    assert found.problems == []
    assert found.state == expected.state
    assert_legal_log(found.events, stages=list(STAGES))
    assert story(found) == story(expected)
    interrupted = Counter(
        (event["taskId"], event["data"]["stage"], "back" if "RollingBack" in event["type"] else "forth")
        for event in found.events
        if event["data"].get("recovered")
    )
    usual = Counter(execution[:3] for execution in expected.executions)
    for stage, count in Counter(execution[:3] for execution in found.executions).items():
        assert usual[stage] <= count <= usual[stage] + interrupted[stage], (stage, found.executions)
    generations: dict[str, int] = {}
    for task, _, _, generation in found.executions:
        assert generation >= generations.get(task, 0), "a later run has a higher generation"
        generations[task] = generation


def story(found: Remains) -> dict[str, list[str]]:
    """What each task went through; announcements of a take-over are not part of it."""
    told: dict[str, list[str]] = {}
    for event in found.events:
        if event["taskId"] is not None and not event["data"].get("recovered") and event["type"] != "TaskHeartbeat":
            told.setdefault(event["taskId"], []).append(f"{event['type']} {event['data'].get('stage', '')}".strip())
    return told


def test_every_commit_is_a_place_to_die(repository: Path, tmp_path: Path, one: Lives, uninterrupted: Remains) -> None:
    """Two deaths for each commit that a run makes, until a run gets by without reaching the commit at all."""

    def die_everywhere(side: str, giver: Lives) -> int:
        number = 0
        while True:
            number += 1
            folder = tmp_path / f"{side}-{number}"
            prepare(folder)
            life = (
                Life(folder=str(folder), before=number) if side == "before" else Life(folder=str(folder), after=number)
            )
            code = giver.live(life)
            if code == 0:
                compare(remains(folder), uninterrupted)
                return number - 1
            assert code == KILLED, (side, number, (tmp_path / "log").read_text())
            assert giver.live(Life(folder=str(folder))) == 0, (side, number)
            compare(remains(folder), uninterrupted)

    with lives(repository, tmp_path / "log-2") as other, ThreadPoolExecutor(2) as threads:
        commits = list(threads.map(die_everywhere, SIDES, (one, other)))
    assert min(commits) > 20, "the run has about as many commits as it has stage boundaries"


def test_dying_again_and_again_at_random_instants_changes_nothing(
    tmp_path: Path, one: Lives, uninterrupted: Remains
) -> None:
    die_at_random(one, tmp_path, uninterrupted, runs=4, seed=1)


@pytest.mark.crash
def test_a_long_campaign_of_random_deaths(tmp_path: Path, one: Lives, uninterrupted: Remains) -> None:
    die_at_random(one, tmp_path, uninterrupted, runs=150, seed=2)


@pytest.mark.crash
def test_dying_again_at_every_commit_of_the_life_after(tmp_path: Path, one: Lives, uninterrupted: Remains) -> None:
    """The process that picks up the work dies as well."""
    for first in range(2, 40, 5):
        for second in range(1, 12):
            folder = tmp_path / f"{first}-{second}"
            prepare(folder)
            for life in (Life(folder=str(folder), after=first), Life(folder=str(folder), before=second)):
                assert one.live(life) in {0, KILLED}
            assert one.live(Life(folder=str(folder))) == 0
            compare(remains(folder), uninterrupted)


def die_at_random(giver: Lives, tmp_path: Path, uninterrupted: Remains, *, runs: int, seed: int) -> None:
    """Several deaths a run, each some commits after the life began: a quick process meets them like a slow one."""
    random = Random(seed)
    kills = 0
    for run in range(runs):
        folder = tmp_path / f"random-{run}"
        prepare(folder)
        for _ in range(5):
            number = random.randint(1, 8)
            place = Life(folder=str(folder), before=number), Life(folder=str(folder), after=number)
            code = giver.live(random.choice(place))
            assert code in {0, KILLED}
            kills += code == KILLED
        assert giver.live(Life(folder=str(folder))) == 0
        compare(remains(folder), uninterrupted)
    assert kills >= 2 * runs, "no run is over after so few commits"
