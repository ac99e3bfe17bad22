"""
Files that were damaged after their process was killed: refused, told with the next move, or harmless.

Never less than what was acknowledged. ``make damage`` tries very many; docs/explanation/crashes.md has the table.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.damage.trial import ALLOWED, Outcome, Ward, ward
from tests.campaigns.damage.wounds import WOUNDS
from tests.support.command_line import CommandLine

pytestmark = pytest.mark.slow

SEEDS = range(3)


@pytest.fixture(scope="module")
def patients(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with ward(repository, tmp_path_factory.mktemp("ward")) as opened:
        yield opened


def test_every_kind_of_damage_has_its_promise() -> None:
    assert WOUNDS.keys() == ALLOWED.keys()


@pytest.mark.parametrize("kind", WOUNDS)
def test_what_comes_of_damage_is_what_is_promised(patients: Ward, kind: str) -> None:
    for seed in SEEDS:
        trial = patients.attempt(f"{kind}:{seed}")
        assert trial.problem == "", trial


def test_a_file_that_ends_too_early_does_not_open(patients: Ward) -> None:
    assert {patients.attempt(f"cut_at_page:{seed}").outcome for seed in range(5)} == {Outcome.REFUSED}


def test_a_person_at_the_command_line_learns_what_is_lost_and_how_to_go_on(patients: Ward, tmp_path: Path) -> None:
    for file in patients.left.glob("switchover.db*"):
        shutil.copy(file, tmp_path / file.name)
    (tmp_path / "switchover.db-wal").unlink()
    with CommandLine(tmp_path) as switchover:
        refused = switchover("run", "--plan", "7", code=30)
        assert "lacks commits that were acknowledged" in refused.errors
        assert "switchover.db.driver" in refused.errors
        assert refused.errors.strip().count("\n") == 0, "one paragraph"
        checks = {check["name"]: check for check in switchover("doctor", "-o", "jsonl", code=1).lines()}
        assert checks["integrity"]["verdict"] == "problem"
        assert "its driver crashed" in checks["integrity"]["found"]
        assert switchover.plan(7)["planId"] == 7, "it can be looked at"
        (tmp_path / "switchover.db.driver").unlink()
        switchover("hold", "--tenant", "a", "--reason", "what was lost has to be looked into")
        assert switchover("doctor", "-o", "jsonl", code=None).lines()[1]["verdict"] == "ok"
