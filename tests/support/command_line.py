"""The command line as real processes, over one database."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.processes import Program, start, wait_until

ARGV = (sys.executable, "-m", "switchover.interfaces.cli.main")


def environment() -> dict[str, str]:
    """This process's environment, without what would change how the command line behaves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SWITCHOVER_", "COLUMNS"))}
    return {**kept, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


@dataclass(frozen=True)
class Answer:
    """What a verb that ended said."""

    code: int
    output: str
    errors: str

    def json(self) -> Any:  # noqa: ANN401  # whatever the verb prints
        return json.loads(self.output)

    def lines(self) -> list[dict[str, Any]]:
        """``-o jsonl``."""
        return [json.loads(line) for line in self.output.splitlines()]


@dataclass
class CommandLine:
    """
    Runs verbs in a directory, where ``switchover.db`` lies too.

    As a context it stops what it started and what still runs.
    """

    directory: Path
    _started: list[Program] = field(default_factory=list, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for program in self._started:
            program.stop()

    def __call__(self, *arguments: str, timeout_seconds: float = 180.0, code: int | None = 0) -> Answer:
        """Run a verb to its end; ``code`` is the exit code that it must have, None: any."""
        done = subprocess.run(
            [*ARGV, *arguments],
            cwd=self.directory,
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_seconds,
            check=False,
        )
        answer = Answer(done.returncode, done.stdout, done.stderr)
        said = f"{' '.join(arguments)} ended with {answer.code}\n{answer.output[-2_000:]}\n{answer.errors[-4_000:]}"
        assert code is None or answer.code == code, said
        return answer

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Program:
        """Start a verb that runs for long."""
        log = self.directory / f"{len(self._started) + 1}-{arguments[0]}.log"
        program = start([*ARGV, *arguments], log=log, env={**environment(), **(env or {})}, cwd=self.directory)
        self._started.append(program)
        return program

    def plan(self, plan_id: int) -> Mapping[str, Any]:
        """``get plan``."""
        answer: Mapping[str, Any] = self("get", "plan", str(plan_id), "-o", "json").json()
        return answer

    def events(self, plan_id: int) -> Sequence[Mapping[str, Any]]:
        """The whole log of a plan."""
        return self("events", "--plan", str(plan_id), "-o", "jsonl").lines()

    def wait_for_end(self, program: Program, *, code: int, timeout_seconds: float = 180.0) -> None:
        """Wait until a started verb ends, with this exit code."""
        found = program.wait(timeout_seconds=timeout_seconds)
        assert found == code, f"ended with {found}, not {code}\n{program.tail()}"


def wait_for_output(program: Program, text: str, *, timeout_seconds: float = 60.0) -> None:
    """Wait until a started verb has said something."""
    wait_until(
        lambda: text in program.output() or not program.is_running,
        timeout_seconds=timeout_seconds,
        what=f"{text!r} in {program.log.name}",
    )
    assert text in program.output(), program.tail()
