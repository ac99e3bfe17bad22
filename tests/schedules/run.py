"""
Plays schedules: ``make schedules ARGS="--count 100000"``, or one of them again: ``make schedules ARGS="--seed 1234"``.

The first that finds something is told with the command that shows it again, and ends the run.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.schedules.duels import duel
from tests.schedules.explorer import FoundError, explore
from tests.schedules.quiet import quiet

_PORTION = 250


def play(first: int, last: int) -> tuple[int, str | None]:
    """Play schedules from ``first`` to before ``last`` and a duel for every ten; gives steps and what was found."""
    steps = 0
    with quiet():
        for seed in range(first, last):
            try:
                steps += explore(seed)
                if seed % 10 == 0:
                    steps += duel(seed // 10)
            except FoundError as found:
                return steps, str(found)
    return steps, None


def main() -> int:
    """The exit code: 1 when something was found."""
    parser = argparse.ArgumentParser(prog="make schedules")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--duel", type=int, help="only this one of the pairs of requests at one instant")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.duel is not None:
        with quiet():
            duel(arguments.duel)
        print("nothing found")
        return 0
    first = arguments.first if arguments.seed is None else arguments.seed
    count = arguments.count if arguments.seed is None else 1
    ends = range(first, first + count, _PORTION)
    started, steps = time.monotonic(), 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        portions = [pool.submit(play, start, min(start + _PORTION, first + count)) for start in ends]
        for number, portion in enumerate(portions, start=1):
            some, found = portion.result()
            steps += some
            if found is not None:
                pool.shutdown(cancel_futures=True)
                print(found, file=sys.stderr)
                return 1
            if number % 40 == 0 or number == len(portions):
                played = min(number * _PORTION, count)
                seconds = time.monotonic() - started
                print(f"{played} schedules, {steps} steps, {seconds:.0f} s: nothing found", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
