"""The campaign from the command line: ``python -m tests.campaigns.crash --help``."""

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.campaigns.crash.campaign import Verdict, bench, summary
from tests.campaigns.crash.conductor import Conductor, Report

_REPOSITORY = Path(__file__).resolve().parents[3]


def main(words: Sequence[str]) -> int:
    """Run it; 1 when a case did not end as an uninterrupted run."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="how many processes are killed")
    parser.add_argument("--seed", type=int, default=1, help="chooses the cases that are not enumerated")
    parser.add_argument("--jobs", type=int, default=2, help="cases at once")
    parser.add_argument("--case", action="append", default=[], help="run this case again, such as crowd:42")
    parser.add_argument("--out", type=Path, help="write the result there")
    parser.add_argument("--keep", type=Path, help="leave databases, targets and logs there")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        if given.case:
            return _again(given.case, folder, keep=given.keep is not None)
        conductor = Conductor(
            repository=_REPOSITORY,
            folder=folder,
            seed=given.seed,
            kills=given.kills,
            jobs=given.jobs,
            keep=given.keep is not None,
            tell=_tell,
        )
        report = conductor.run()
    result = _result(report, given.jobs)
    print(json.dumps(result, indent=2))
    if given.out is not None:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if report.problems else 0


def _again(names: Sequence[str], folder: Path, *, keep: bool) -> int:
    failed = 0
    with bench(_REPOSITORY, folder, keep=keep) as place:
        for name in names:
            verdict = place.run(name)
            _tell(verdict)
            for kill in verdict.kills:
                print(f"  {kill.role} died: {kill.kind}, while {kill.phase}")
            failed += bool(verdict.problem)
            print(f"{name}: {verdict.problem or 'ends as an uninterrupted run'}")
        if failed:
            print(place.host.log.read_text()[-5_000:], file=sys.stderr)
    return 1 if failed else 0


def _tell(verdict: Verdict) -> None:
    if verdict.problem:
        print(f"{verdict.case}: {verdict.problem}", file=sys.stderr, flush=True)


def _result(report: Report, jobs: int) -> dict[str, object]:
    return {
        "campaign": "crash",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
        "seed": report.seed,
        "jobs": jobs,
        "kills": len(report.kills),
        "cases": report.cases,
        "seconds": round(report.seconds, 1),
        **summary(report.kills),
        "problems": report.problems,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
