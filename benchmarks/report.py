"""
What the samples say: one row per promise, with the bar it has to reach.

    python -m benchmarks.report             puts the newest stored result into README.md, and draws its picture
    python -m benchmarks.report --check     fails when README.md says something else

A ratio is made of two runs that followed each other in one sitting; what is shown is the median of all such pairs.
"""

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import plot

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE / "README.md"
PICTURE = RESULTS / "sizes.svg"
BEGIN = "<!-- written by benchmarks/report.py: begin -->"
END = "<!-- end -->"

Figures = Mapping[str, Any]
Round = Mapping[str, Figures]
"""One repetition: the figures of each run by its name."""

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """
    One promise.

    Attributes:
        section: Where its samples are.
        value: Of one round; KeyError when the round lacks a run.
        unit: Written behind the number; "of" and "×" are ratios.
        at_least: The direction of the bars.
        first: What has to be reached now; None: only the design's bar counts.
        design: What the design promises.
    """

    what: str
    section: str
    value: Callable[[Round], float]
    unit: str
    at_least: bool
    design: float
    first: float | None = None

    def reached(self, value: float, bar: float | None) -> bool:
        """Whether the value is on the right side of the bar."""
        return bar is not None and (value >= bar if self.at_least else value <= bar)


def _rate(round_: Round, run: str) -> float:
    return float(round_[run]["tasks"] / round_[run]["run_seconds"])


def _rates(run: str, other: str) -> Callable[[Round], float]:
    return lambda r: _rate(r, run) / _rate(r, other)


def _accepted_and_run(run: str, peer: str) -> Callable[[Round], float]:
    """Like ``_rates``, with the time in which the plan was accepted: the peers' time has their enqueueing in it."""
    return lambda r: r[run]["tasks"] / (r[run]["create_seconds"] + r[run]["run_seconds"]) / _rate(r, peer)


def _figure(run: str, name: str, scale: float = 1.0) -> Callable[[Round], float]:
    return lambda r: r[run][name] / scale


def _peak(run: str) -> Callable[[Round], float]:
    return _figure(run, "peak_bytes", MILLION)


def _cpu(run: str, other: str) -> Callable[[Round], float]:
    return lambda r: r[run]["cpu_per_stage"] / r[other]["cpu_per_stage"]


def _wall(run: str, other: str) -> Callable[[Round], float]:
    return lambda r: r[run]["run_seconds"] / r[other]["run_seconds"]


def _per_waiting_task(r: Round) -> float:
    more, less = r["switchover polls"], r["switchover few polls"]
    return float((more["resident_bytes"] - less["resident_bytes"]) / (more["tasks"] - less["tasks"]) / 1000)


FLOOR = "of the floor"

ROWS: Sequence[Row] = (
    Row("tasks/s, 1,000 tasks", "embedded", _rates("switchover 1000", "floor 1000"), FLOOR, True, 1 / 3, 1 / 6),
    Row("tasks/s, 20,000 tasks", "embedded", _rates("switchover 20000", "floor 20000"), FLOOR, True, 1 / 3, 1 / 6),
    Row("tasks/s, 100,000 tasks", "sizes", _rates("switchover 100000", "floor 100000"), FLOOR, True, 1 / 3, 1 / 6),
    Row("tasks/s against DBOS on SQLite", "embedded", _accepted_and_run("switchover 20000", "dbos"), "×", True, 30, 15),
    Row(
        "tasks/s against Procrastinate on PostgreSQL",
        "embedded",
        _accepted_and_run("switchover 20000", "procrastinate"),
        "×",
        True,
        10,
    ),
    Row("CPU of a stage", "embedded", _cpu("switchover 20000", "floor 20000"), "× floor", False, 3),
    Row("100,000 against 1,000 tasks/s", "sizes", _rates("switchover 100000", "switchover 1000"), "×", True, 0.8),
    Row("100,000 tenants accepted", "sizes", _figure("switchover 100000", "create_seconds"), "s", False, 10),
    Row(
        "peak memory while 100,000 run", "sizes", _figure("switchover 100000", "peak_bytes", MILLION), "MB", False, 150
    ),
    Row(
        "the same, in a new process",
        "restart",
        _figure("switchover restarted", "peak_bytes", MILLION),
        "MB",
        False,
        150,
    ),
    Row("database, a task", "sizes", _figure("switchover 100000", "database_bytes_per_task", 1000), "KB", False, 4.6),
    Row(
        "kill -9 of 100,000 half done: first task runs",
        "restart",
        _figure("switchover restarted", "first_start_seconds"),
        "s",
        False,
        1,
    ),
    Row("… all that ran before run", "restart", _figure("switchover restarted", "all_started_seconds"), "s", False, 2),
    Row(
        "one task alone, from stage to stage",
        "alone",
        lambda r: r["switchover alone"]["gap_seconds"] / r["raw commit"]["commit_seconds"],
        "× commit",
        False,
        2,
    ),
    Row(
        "stages of 100 ms, 1,000 running: wall",
        "waiting",
        _wall("switchover slots", "ideal slots"),
        "× ideal",
        False,
        1.05,
    ),
    Row(
        "20,000 at once in a wait of 0.5 s: wall",
        "waiting",
        _wall("switchover waits", "floor waits"),
        "× floor",
        False,
        1.5,
    ),
    Row("… memory", "waiting", _peak("switchover waits"), "MB", False, 250),
    Row("a task between two polls", "waiting", _per_waiting_task, "KB", False, 4.5),
    Row("real HTTP steps: stages/s", "http", _rates("switchover http", "bare client"), "of the bare client", True, 0.7),
    Row(
        "an event to 1,000 subscribers, the slowest in a hundred",
        "subscribers",
        _figure("switchover subscribers", "event_seconds", 1 / 1000),
        "ms",
        False,
        50,
    ),
    Row(
        "an event to 1,000 readers over HTTP, the slowest in a hundred",
        "readers",
        _figure("switchover readers", "event_seconds", 1 / 1000),
        "ms",
        False,
        50,
    ),
    Row(
        "at one worker, against Procrastinate alone",
        "distributed",
        _accepted_and_run("switchover at one worker", "procrastinate"),
        "×",
        True,
        0.8,
    ),
    Row(
        "stages of 100 ms: 4 workers against one",
        "distributed",
        _rates("slow stages, workers: 4", "slow stages, workers: 1"),
        "×",
        True,
        3.6,
    ),
    Row("`switchover --version`", "version", _figure("switchover version", "run_seconds"), "s", False, 0.3),
)

RATES: Sequence[tuple[str, str, str]] = (
    ("floor, 1,000 tasks", "embedded", "floor 1000"),
    ("Switchover, 1,000 tasks", "embedded", "switchover 1000"),
    ("floor, 20,000 tasks", "embedded", "floor 20000"),
    ("Switchover, 20,000 tasks", "embedded", "switchover 20000"),
    ("floor, 100,000 tasks", "sizes", "floor 100000"),
    ("Switchover, 100,000 tasks", "sizes", "switchover 100000"),
    ("DBOS on SQLite", "embedded", "dbos"),
    ("Procrastinate on PostgreSQL (CPU without the server)", "embedded", "procrastinate"),
    ("asyncio alone, 1,000 running, stages of 100 ms", "waiting", "ideal slots"),
    ("floor, 1,000 running, stages of 100 ms", "waiting", "floor slots"),
    ("Switchover, 1,000 running, stages of 100 ms", "waiting", "switchover slots"),
    ("floor, 20,000 waiting at once", "waiting", "floor waits"),
    ("Switchover, 20,000 waiting at once", "waiting", "switchover waits"),
    ("Switchover at one worker, PostgreSQL (CPU of the driver)", "distributed", "switchover at one worker"),
    ("Switchover at one worker, stages of 100 ms", "distributed", "slow stages, workers: 1"),
    ("Switchover at two workers, stages of 100 ms", "distributed", "slow stages, workers: 2"),
    ("Switchover at four workers, stages of 100 ms", "distributed", "slow stages, workers: 4"),
    ("bare HTTP client", "http", "bare client"),
    ("Switchover, real HTTP steps", "http", "switchover http"),
)


def rounds_of(result: Mapping[str, Any], section: str) -> Sequence[Round]:
    """The repetitions of a section; none when it was not run."""
    found: Sequence[Round] = result["sections"].get(section, {}).get("rounds", ())
    return found


def values_of(row: Row, result: Mapping[str, Any]) -> list[float]:
    """The row's value in each round that has what it needs."""
    values: list[float] = []
    for round_ in rounds_of(result, row.section):
        try:
            values.append(row.value(round_))
        except KeyError:
            continue  # peers are not in every round
    return values


def lines_of(result: Mapping[str, Any]) -> list[list[str]]:
    """The table of promises: what, measured, spread, both bars."""
    lines: list[list[str]] = []
    for row in ROWS:
        values = values_of(row, result)
        if not values:
            lines.append([row.what, "not measured", "", _bar(row, row.first), _bar(row, row.design)])
            continue
        median = statistics.median(values)
        spread = f"{_number(min(values))} – {_number(max(values))}" if len(values) > 1 else ""
        first, design = (
            "" if bar is None else f"{_bar(row, bar)} {'yes' if row.reached(median, bar) else 'no'}"
            for bar in (row.first, row.design)
        )
        lines.append([row.what, f"{_number(median)} {row.unit}", spread, first, design])
    return lines


def rates_of(result: Mapping[str, Any]) -> list[list[str]]:
    """The table of absolute figures behind the ratios."""
    lines: list[list[str]] = []
    for what, section, run in RATES:
        found = [r[run] for r in rounds_of(result, section) if run in r]
        if found:
            seconds = statistics.median([figures["run_seconds"] for figures in found])
            rate = statistics.median([figures["tasks"] / figures["run_seconds"] for figures in found])
            cpu = statistics.median([figures["cpu_per_stage"] for figures in found]) * MILLION
            lines.append([what, f"{seconds:.2f} s", f"{rate:,.0f}", f"{cpu:.0f} µs"])
    return lines


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _bar(row: Row, bar: float | None) -> str:
    return "" if bar is None else f"{'≥' if row.at_least else '≤'} {_number(bar)}"


def markdown(result: Mapping[str, Any]) -> str:
    """What stands between the marks in README.md."""
    paragraphs = [
        _introduction(result),
        _table(("what", "measured", "from – to", "first bar", "the design's bar"), lines_of(result)),
        "Plans of different sizes (dashed: what the design promises):",
        "![Throughput, memory and latency against the number of tasks in a plan](results/sizes.svg)",
        "The runs behind the ratios (medians; CPU of all threads, a stage):",
        _table(("run", "wall", "tasks/s", "CPU"), rates_of(result)),
        "When each part was measured, and how busy the machine was with other work before it:",
        _table(
            ("part", "rounds", "commit", "load average before and after"),
            [
                [name, str(len(part["rounds"])), part["commit"], f"{part['load'][0]:.1f} – {part['load'][1]:.1f}"]
                for name, part in result["sections"].items()
            ],
        ),
    ]
    return "\n\n".join(paragraphs)


def _introduction(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"Measured on {result['date']}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}, SQLite {machine['sqlite']}. "
        f"Samples: [results/{result['name']}.json](results/{result['name']}.json)."
    )


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def text(result: Mapping[str, Any]) -> str:
    """The table of promises for a terminal."""
    lines = [["", "measured", "from – to", "first bar", "design's bar"], *lines_of(result)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def newest() -> dict[str, Any] | None:
    """The stored result with the latest date; None when there is none."""
    found = sorted(RESULTS.glob("*.json"))
    if not found:
        return None
    result: dict[str, Any] = json.loads(found[-1].read_text(encoding="utf-8"))
    return result


def written(readme: str, result: Mapping[str, Any]) -> str:
    """README.md with the tables of this result."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{markdown(result)}\n\n{END}{after}"


def main() -> None:
    result = newest()
    readme = README.read_text(encoding="utf-8")
    if result is None:
        sys.exit("no result is stored; run `make bench` first")
    wanted = written(readme, result)
    picture = plot.draw(rounds_of(result, "sizes"))
    if "--check" in sys.argv:
        drawn = PICTURE.read_text(encoding="utf-8") if PICTURE.exists() else ""
        if wanted != readme or drawn != picture:
            sys.exit("benchmarks/README.md does not show the newest result; run `python -m benchmarks.report`")
        return
    README.write_text(wanted, encoding="utf-8")
    PICTURE.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
