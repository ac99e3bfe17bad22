"""
``make fuzz``: a fuzzer before each door, for a while or for a number of inputs.

What reaches something new is kept below ``--keep``; what finds something is left there too, and the command that shows
it again is told. A finding belongs into ``tests/fuzz/corpus``, which every test run replays.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.doors import DOORS

CORPUS = Path(__file__).parent / "corpus"
LONGEST_INPUT = 4096


def fuzz(door: str, kept: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Fuzz one door in a process of its own."""
    known = kept / door
    known.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_len={LONGEST_INPUT}", "-timeout=60", "-rss_limit_mb=1024", f"-artifact_prefix={kept}/{door}-")
    argv = [sys.executable, "-m", "tests.fuzz.child", door, *limits, *options, str(known), str(CORPUS / door)]
    return subprocess.run(argv, check=False, capture_output=True, text=True, cwd=CORPUS.parent.parent.parent)


def main() -> int:
    """The exit code: 1 when something was found."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--door", choices=sorted(DOORS), action="append", help="only this one")
    parser.add_argument("--seconds", type=int, default=600, help="for each door")
    parser.add_argument("--count", type=int, default=-1, help="inputs for each door; -1: as many as there is time for")
    parser.add_argument("--seed", type=int, default=0, help="0: another one every time")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--show", type=Path, help="give one input to the door, and no fuzzing")
    arguments = parser.parse_args()
    doors = arguments.door or list(DOORS)
    if arguments.show is not None:
        for door in doors:
            DOORS[door](arguments.show.read_bytes())
        print("nothing found")
        return 0
    limits = (f"-max_total_time={arguments.seconds}", f"-runs={arguments.count}", f"-seed={arguments.seed}")
    found = 0
    for door in doors:
        done = fuzz(door, arguments.keep, *limits)
        last = f"{done.stderr}\n{done.stdout}".strip().splitlines()
        if done.returncode:
            found = 1
            print(f"{door}: found something:", *last[-40:], sep="\n", file=sys.stderr)
        else:
            print(
                f"{door}: {next(line for line in reversed(last) if line.startswith('Done'))}: nothing found", flush=True
            )
    return found


if __name__ == "__main__":
    sys.exit(main())
