"""A campaign: cases on a few benches at once, until there were as many kills as wanted."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread

from tests.campaigns.crash.campaign import Kill, Verdict, bench
from tests.campaigns.crash.cases import every_commit, seeded


@dataclass(slots=True)
class Report:
    """
    What came of it.

    Attributes:
        problems: A line for each case that did not end as it should.
    """

    seed: int
    cases: int = 0
    seconds: float = 0.0
    kills: list[Kill] = field(default_factory=list[Kill])
    problems: list[str] = field(default_factory=list[str])


@dataclass(slots=True, kw_only=True)
class Conductor:
    """
    Hands out cases.

    Args:
        kills: How many are wanted; the cases around every commit come first and count.
        stride: Around each so many-th commit of the script ``story``; 0: only seeded cases.
        tell: Called with every verdict.
    """

    repository: Path
    folder: Path
    seed: int
    kills: int
    stride: int = 1
    jobs: int = 2
    keep: bool = False
    tell: Callable[[Verdict], None] = lambda verdict: None
    _lock: Lock = field(default_factory=Lock)

    def run(self) -> Report:
        """Until enough have died."""
        report, began = Report(self.seed), time.monotonic()
        failures: SimpleQueue[BaseException] = SimpleQueue()
        with ExitStack() as stack:
            benches = [
                stack.enter_context(bench(self.repository, self.folder / str(number), keep=self.keep))
                for number in range(self.jobs)
            ]
            passed = benches[0].reference("story").passed
            enumerated = every_commit("story", passed, stride=self.stride) if self.stride else ()
            names = chain(enumerated, seeded(self.seed))

            def work(number: int) -> None:
                try:
                    while (name := self._next(names, report)) is not None:
                        verdict = benches[number].run(name)
                        self._take(verdict, report)
                except BaseException as error:  # noqa: BLE001  # handed on below
                    failures.put(error)

            threads = [Thread(target=work, args=(number,)) for number in range(self.jobs)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if not failures.empty():
            raise failures.get()
        report.seconds = time.monotonic() - began
        return report

    def _next(self, names: Iterator[str], report: Report) -> str | None:
        with self._lock:
            return next(names) if len(report.kills) < self.kills else None

    def _take(self, verdict: Verdict, report: Report) -> None:
        with self._lock:
            report.cases += 1
            report.kills += verdict.kills
            if verdict.problem:
                report.problems.append(f"{verdict.case}: {verdict.problem}")
            self.tell(verdict)
