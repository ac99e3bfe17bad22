"""The campaign from the command line: ``python -m tests.campaigns.chaos --help``."""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.campaigns.chaos.rounds import Round, campaign
from tests.campaigns.chaos.world import world

_REPOSITORY = Path(__file__).resolve().parents[3]


def main(words: Sequence[str]) -> int:
    """Run it; 1 when something was not as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="plans, one after another")
    parser.add_argument("--disturbances", type=int, default=12, help="in one round, at most")
    parser.add_argument("--seed", type=int, default=1, help="chooses what is done when, and to whom")
    parser.add_argument("--keep", type=Path, help="leave logs and targets there")
    parser.add_argument("--out", type=Path, help="write the result there")
    given = parser.parse_args(words)
    place = Path(tempfile.mkdtemp(prefix="chaos-"))
    place.chmod(0o755)  # the database may run as another user
    folder = given.keep or place / "folder"
    folder.mkdir(parents=True)
    try:
        with world(_REPOSITORY, folder, place / "data", given.seed) as made:
            result = asyncio.run(campaign(made, given.rounds, given.disturbances, _tell))
            if result["problems"]:
                print(made.outputs())
    finally:
        shutil.rmtree(place)
    print(json.dumps(result, indent=2))
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if result["problems"] else 0


def _tell(done: Round) -> None:
    print(f"round {done.number}: {done.repeated} stages repeated; {done.problems or 'as it has to be'}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
