"""Damages a killed process's files in very many ways: ``python -m tests.campaigns.damage --help``."""

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import structlog

from tests.campaigns.damage.trial import ward
from tests.campaigns.damage.wounds import WOUNDS

_REPOSITORY = Path(__file__).resolve().parents[3]


def main(words: Sequence[str]) -> int:
    """Run it; 1 when something came of a damage that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.damage", description=__doc__)
    parser.add_argument("--each", type=int, default=100, help="how often each kind of damage is tried")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", action="append", default=[], help="try this one again, such as flip_bit:42")
    parser.add_argument("--out", type=Path, help="write the result there")
    given = parser.parse_args(words)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    names = given.case or list(
        chain.from_iterable(
            (f"{kind}:{number}" for number in range(given.seed, given.seed + given.each)) for kind in WOUNDS
        )
    )
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in WOUNDS}
    problems: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, ward(_REPOSITORY, Path(scratch)) as patients:
        for name in names:
            trial = patients.attempt(name)
            outcomes[name.split(":")[0]][str(trial.outcome)] += 1
            if trial.problem:
                problems.append(f"{name}: {trial.done}: {trial.problem}")
            if given.case:
                print(f"{name}: {trial.done}: {trial.outcome}: {trial.problem or trial.said}")
    result = {
        "campaign": "damage",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
        "seed": given.seed,
        "cases": len(names),
        "seconds": round(time.monotonic() - began, 1),
        "outcomes": {kind: dict(counts) for kind, counts in outcomes.items() if counts},
        "problems": problems,
    }
    print(json.dumps(result, indent=2))
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
