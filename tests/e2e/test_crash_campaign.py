"""
A few dozen deaths out of the crash campaign, and the proof that its judge notices what it is there to notice.

The whole campaign is ``make crash``; what it kills, and what must come of it, is told in docs/explanation/crashes.md.
Lesson 40.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.campaigns.crash.campaign import Bench, bench
from tests.campaigns.crash.cases import POINTS
from tests.campaigns.crash.conductor import Conductor
from tests.campaigns.crash.judge import Judge, targets
from tests.campaigns.crash.service import DeadlyService, Write
from tests.campaigns.crash.stages import append

pytestmark = pytest.mark.slow

SCRIPTS = ("story", "stop", "automatic", "queue", "requests")


def test_whoever_dies_somewhere_leaves_what_the_next_one_finishes(repository: Path, tmp_path: Path) -> None:
    """Around some of the commits of a run, and at seeded places of all scripts."""
    report = Conductor(repository=repository, folder=tmp_path, seed=1, kills=20, stride=30).run()
    assert report.problems == []
    assert len(report.kills) >= 20
    assert set(POINTS) <= {kill.kind for kill in report.kills}


@pytest.fixture(scope="module")
def place(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(repository, tmp_path_factory.mktemp("bench"), keep=True) as opened:
        yield opened


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_case_is_the_same_from_its_name(place: Bench, script: str) -> None:
    """What a person types to see a failure again."""
    verdict = place.run(f"{script}:7")
    assert verdict.problem == ""


def test_hundreds_at_once_die_while_they_are_rolled_back(place: Bench) -> None:
    """96 at once, so that a commit holds as many entries."""
    verdict = place.run("crowd@rolling back/durable:3")
    assert verdict.problem == ""
    assert [kill.phase for kill in verdict.kills] == ["rolling back"]


@pytest.fixture
def judge(place: Bench, tmp_path: Path) -> Judge:
    """A judge who has seen the end of a run in which nobody died and nobody tampered with anything."""
    place.reference("story")
    folder = tmp_path / "run"
    shutil.copytree(place.folder / "story-undisturbed", folder)
    found = Judge(folder)
    found.look()
    found.settled()
    return found


@pytest.mark.parametrize(
    ("tampering", "words"),
    [
        ("UPDATE event SET at = at + 1 WHERE position = 3", "rewritten"),
        ("UPDATE event SET data = '{}' WHERE position = 5", "rewritten"),
        ("DELETE FROM event WHERE position = 4", "position 5, not 4"),
        ("DELETE FROM event WHERE position = (SELECT max(position) FROM event)", "says position"),
        ("UPDATE event SET sequence_id = 99 WHERE ordinal = 2 AND sequence_id = 4", "sequenceId 99"),
        ("UPDATE tenant SET generation = 0 WHERE tenant_id = 'a'", "the generation of a fell"),
        ("UPDATE tenant SET owner_plan = 7, owner_ordinal = 1 WHERE tenant_id = 'a'", "live False, owns True"),
        ("UPDATE task SET pending_operation = 1 WHERE tenant_id = 'a'", "live True, owns False"),
        ("UPDATE task SET marks = '000' WHERE tenant_id = 'a'", "marks say"),
        ("UPDATE driver SET epoch = epoch - 1", "the epoch fell"),
        ("DELETE FROM pre_image", "pre_image are gone"),
    ],
)
def test_the_judge_notices_a_database_that_was_tampered_with(judge: Judge, tampering: str, words: str) -> None:
    with closing(sqlite3.connect(judge.folder / "switchover.db", isolation_level=None)) as connection:
        connection.execute(tampering)
    with pytest.raises(AssertionError, match=words):
        judge.look()


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("acknowledged", "rollback a", "rollback of a was acknowledged and is gone"),
        ("acknowledged", "hold a", "the hold of a is gone"),
        ("acknowledged", "create 8 3", "plan 8 was created with 3 tasks; 0 are there"),
        ("executions", "7-1 gateway forth 99", "recorded as succeeded, and run again"),
    ],
)
def test_the_judge_notices_what_the_outside_knows_better(judge: Judge, file: str, line: str, words: str) -> None:
    append(judge.folder / file, line)
    with pytest.raises(AssertionError, match=words):
        judge.look_again()


@pytest.mark.parametrize(
    ("writes", "words"),
    [
        ([Write("a", 2, True), Write("a", 1, True)], "after generation 2"),
        ([Write("a", 2, True), Write("a", 1, False)], "the only live process was refused"),
        ([Write("a", 2, True), Write("a", 2, True, late=True)], "overwrote its successor"),
    ],
)
def test_the_judge_notices_an_old_write(writes: list[Write], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        targets(DeadlyService(writes=writes))
