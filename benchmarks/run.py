"""
Runs the benchmarks in one sitting, prints every ratio and stores every sample.

    make bench                                   everything; some twenty minutes
    make bench ARGS=--quick                      small, nothing stored: does it run, and roughly how fast
    make bench ARGS="--only embedded,alone"      parts of it, put into today's result

Backends take turns inside a round, so that a ratio is of neighbours; every second round goes the other way round.
"""

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import postgres, report
from benchmarks.backends import (
    ROOT,
    Backend,
    BareHttp,
    Dbos,
    EmptyPython,
    Figures,
    Floor,
    HttpSwitchover,
    Ideal,
    Procrastinate,
    RawCommits,
    Switchover,
    Version,
    http_server,
)
from benchmarks.distributed import Workers
from benchmarks.workloads import (
    ALONE,
    AT_WORKERS,
    FEW_POLLS,
    HTTP,
    HUNDRED_THOUSAND,
    POLLS,
    READ,
    SIZES,
    SLOTS,
    SUBSCRIBED,
    THOUSAND,
    TWENTY_THOUSAND,
    WAITS,
    Workload,
)

_SLOTS_OF_A_WORKER = 8
_QUICK_TASKS = 100
_DBOS_TASKS = 500
_PROCRASTINATE_TASKS = 1_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a round: a name of its own, what is run, and by whom."""

    name: str
    workload: Workload
    do: Callable[[Workload], Figures]

    def figures(self) -> Figures:
        """Run it, and add what ratios are made of."""
        workload = self.workload
        figures = {"tasks": workload.tasks, "running": workload.running, **self.do(workload)}
        if "cpu_seconds" in figures:
            figures["cpu_per_stage"] = figures["cpu_seconds"] / workload.tasks / workload.stages
        if "database_bytes" in figures:
            figures["database_bytes_per_task"] = figures["database_bytes"] / workload.tasks
        return figures


def by(backend: Backend, name: str, workload: Workload) -> Run:
    return Run(f"{backend.name} {name}".strip(), workload, backend.run)


@dataclass(frozen=True, slots=True)
class Section:
    """Runs that are compared with each other, and how often."""

    name: str
    rounds: int
    runs: tuple[Run, ...]


def sections(*, quick: bool, port: int) -> Iterable[Section]:
    """All of it."""

    def fit(workload: Workload) -> Workload:
        return workload.smaller(_QUICK_TASKS) if quick else workload

    floor, switchover = Floor(), Switchover()
    thousand, twenty, hundred = fit(THOUSAND), fit(TWENTY_THOUSAND), fit(HUNDRED_THOUSAND)
    yield Section(
        "embedded",
        1 if quick else 5,
        (
            by(floor, "1000", thousand),
            by(switchover, "1000", thousand),
            by(floor, "20000", twenty),
            by(switchover, "20000", twenty),
            *peers(quick=quick),
        ),
    )
    yield Section(
        "alone",
        1 if quick else 5,
        (Run("raw commit", fit(ALONE), RawCommits().run), Run("switchover alone", fit(ALONE), _alone)),
    )
    yield Section(
        "waiting",
        1 if quick else 3,
        (
            by(floor, "slots", fit(SLOTS)),
            by(switchover, "slots", fit(SLOTS)),
            by(Ideal(), "slots", fit(SLOTS)),
            by(floor, "waits", fit(WAITS)),
            by(switchover, "waits", fit(WAITS)),
            Run("switchover few polls", fit(FEW_POLLS).smaller(_QUICK_TASKS // 2) if quick else FEW_POLLS, _waiting),
            Run("switchover polls", fit(POLLS), _waiting),
        ),
    )
    if postgres.programs() is not None:
        yield distributed(quick=quick)
    http = fit(HTTP)
    yield Section(
        "http",
        1 if quick else 5,
        (Run("bare client", http, BareHttp(port).run), Run("switchover http", http, HttpSwitchover(port).run)),
    )
    nothing = fit(ALONE)  # a version is printed, whatever the workload
    yield Section("version", 3 if quick else 10, (by(EmptyPython(), "", nothing), by(Version(), "version", nothing)))
    yield Section(
        "subscribers",
        1 if quick else 3,
        (Run("switchover subscribers", SUBSCRIBED.smaller(8) if quick else SUBSCRIBED, _subscribers),),
    )
    yield Section(
        "readers",
        1 if quick else 3,
        (Run("switchover readers", READ.smaller(8) if quick else READ, _readers),),
    )
    yield Section("sizes", 1 if quick else 2, tuple(run for size in SIZES for run in _of_size(fit(size), size.tasks)))
    yield Section("restart", 1 if quick else 3, (Run("switchover restarted", hundred, switchover.run_killed),))


def distributed(*, quick: bool) -> Section:
    """Stages at workers, and the peer that only hands out jobs."""
    thousand = replace(THOUSAND, tasks=_QUICK_TASKS) if quick else THOUSAND
    slow = replace(AT_WORKERS, tasks=_QUICK_TASKS) if quick else AT_WORKERS
    runs = [Run("switchover at one worker", thousand, Workers(1, thousand.running).run)]
    peer = Procrastinate()
    if not quick:
        peer.environment.prepare()
    if peer.environment.is_ready:
        runs.append(Run("procrastinate", thousand, peer.run))
    runs += [Run(f"slow stages, workers: {n}", slow, Workers(n, _SLOTS_OF_A_WORKER).run) for n in (1, 2, 4)]
    return Section("distributed", 1 if quick else 3, tuple(runs))


def peers(*, quick: bool) -> tuple[Run, ...]:
    """The peers that can run here. They get fewer tasks, because they are slower."""
    runs: list[Run] = []
    dbos, procrastinate = Dbos(), Procrastinate()
    if not quick:
        dbos.environment.prepare()
        if postgres.programs() is not None:
            procrastinate.environment.prepare()
    if dbos.environment.is_ready:
        runs.append(Run("dbos", replace(THOUSAND, tasks=_QUICK_TASKS if quick else _DBOS_TASKS), dbos.run))
    if procrastinate.environment.is_ready and postgres.programs() is not None:
        tasks = _QUICK_TASKS if quick else _PROCRASTINATE_TASKS
        runs.append(Run("procrastinate", replace(THOUSAND, tasks=tasks), procrastinate.run))
    return tuple(runs)


def _of_size(workload: Workload, tasks: int) -> tuple[Run, Run]:
    return by(Floor(), str(tasks), workload), Run(f"switchover {tasks}", workload, _with_gaps)


def _with_gaps(workload: Workload) -> Figures:
    return Switchover().run(workload, gaps=True)


def _subscribers(workload: Workload) -> Figures:
    return Switchover().run(workload, do="subscribers")


def _readers(workload: Workload) -> Figures:
    return Switchover().run(workload, do="readers")


def _alone(workload: Workload) -> Figures:
    return Switchover().run(workload, do="alone")


def _waiting(workload: Workload) -> Figures:
    return Switchover().run(workload, do="waiting")


def run_section(section: Section, number_of_rounds: int) -> dict[str, Any]:
    """All rounds of a section."""
    load = os.getloadavg()[0]
    rounds: list[dict[str, Figures]] = []
    for number in range(number_of_rounds):
        runs = section.runs if number % 2 == 0 else tuple(reversed(section.runs))
        figures: dict[str, Figures] = {}
        for run in runs:
            figures[run.name] = run.figures()
            found = figures[run.name]
            seconds = found.get("run_seconds")
            said = f"{seconds:8.2f} s" if seconds is not None else " " * 10
            print(f"  {section.name:<9} {number + 1}/{number_of_rounds}  {run.name:<22}{said}", flush=True)
        rounds.append(figures)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "rounds": rounds,
    }


def commit() -> str:
    """Of the code that is measured; with a plus when something in it was changed since."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "src")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    processor = platform.machine()
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    kilobytes = next((int(line.split()[1]) for line in _lines(Path("/proc/meminfo")) if line.startswith("MemTotal")), 0)
    return {
        "processor": processor,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(kilobytes / 1_000_000),
        "system": platform.system(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure Switchover against the floor and its peer.")
    parser.add_argument("--quick", action="store_true", help="small workloads, nothing stored")
    parser.add_argument("--rounds", type=int, default=0, help="in place of the usual number")
    parser.add_argument("--only", default="", help="names of sections, with commas between")
    arguments = parser.parse_args()
    only = set(filter(None, arguments.only.split(",")))
    facts = machine()
    date = datetime.now(UTC).date().isoformat()
    name = f"{date}-{facts['cores']}-core-{facts['architecture']}"
    path = report.RESULTS / f"{name}.json"
    result: dict[str, Any] = {"name": name, "date": date, "machine": facts, "sections": {}}
    if not arguments.quick and only and path.exists():
        result = json.loads(path.read_text(encoding="utf-8"))
    began = time.perf_counter()
    with http_server() as port:
        for section in sections(quick=arguments.quick, port=port):
            if not only or section.name in only:
                result["sections"][section.name] = run_section(section, arguments.rounds or section.rounds)
                if not arguments.quick:
                    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\n{report.text(result)}\n\n{time.perf_counter() - began:.0f} s; load average {os.getloadavg()[0]:.1f}")
    if arguments.quick:
        print("quick: the workloads were too small for figures that mean anything; nothing was stored")
    else:
        print(f"stored in {path.relative_to(ROOT)}; `python -m benchmarks.report` puts it into the README")


if __name__ == "__main__":
    main()
