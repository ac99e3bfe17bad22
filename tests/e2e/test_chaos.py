"""
Two rounds out of the chaos campaign, and the proof that its judge notices what it is there to notice.

The whole campaign is ``make chaos``; what it does, and what came of it, is told in docs/explanation/distributed.md.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchover.errors import StaleGenerationError
from tests.campaigns.chaos.rounds import campaign, judge_target
from tests.campaigns.chaos.target import RecordingTarget
from tests.campaigns.chaos.world import world
from tests.support.servers import find_postgres

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


@pytest.fixture
def cluster() -> Iterator[Path]:
    """Where the files of the database go; it may run as another user, who may not enter pytest's folders."""
    find_postgres("initdb")
    place = Path(tempfile.mkdtemp(prefix="chaos-"))
    place.chmod(0o755)
    yield place / "data"
    shutil.rmtree(place)


async def test_whatever_dies_freezes_or_restarts_nothing_is_lost_doubled_or_written_twice(
    repository: Path, tmp_path: Path, cluster: Path
) -> None:
    with world(repository, tmp_path, cluster, seed=1) as made:
        result = await campaign(made, rounds=2, disturbances=6)
        assert result["problems"] == [], made.outputs()
        assert made.did.total() > 0


def test_the_judge_notices_writes_that_must_not_be(tmp_path: Path) -> None:
    target = RecordingTarget(tmp_path)
    for stage in ("one", "two", "three"):
        target.write("sound", stage, 1, restoring=False)
    assert judge_target(target, "sound", back=False) == []
    assert judge_target(target, "sound", back=True), "it was to be rolled back"
    with pytest.raises(StaleGenerationError):
        target.write("sound", "three", 0, restoring=False)

    target.write("lacking", "two", 1, restoring=False)
    assert judge_target(target, "lacking", back=False)

    for pid in (1, 2):
        with (tmp_path / "twice.writes").open("a") as record:
            record.writelines(f"{stage} 1 0 {pid}\n" for stage in ("one", "two", "three"))
    assert "two processes wrote stage one in generation 1" in str(judge_target(target, "twice", back=False))

    (tmp_path / "stale.writes").write_text("one 2 0 1\none 1 0 1\ntwo 2 0 1\nthree 2 0 1\n")
    assert "generation 1 was taken after 2" in str(judge_target(target, "stale", back=False))
