"""
The tour of the README and the quickstart, typed as printed: what is shown is what comes.

Every ``console`` block is run, line by line, in a terminal of 80 columns. Of what was printed, moments, durations and
positions differ from run to run, and so does how tasks that run side by side interleave; everything else has to be
there, in this order.
"""

import re
import shlex
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command_line import environment
from tests.support.processes import start, wait_until
from tests.support.terminal import terminal

pytestmark = pytest.mark.slow

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_VARIES = (
    (re.compile(r"\d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"\b\d+ min \d\d s|\b\d+(\.\d)? s\b"), "DURATION"),
    (re.compile(r"^ *\d+  (?=TIME)"), "POSITION "),
    (re.compile(r"127\.0\.0\.1:\d{4}\b"), "ADDRESS"),
)


@dataclass(frozen=True)
class Typed:
    """A command, and what is printed below it."""

    command: str
    output: tuple[str, ...]


def _typed(text: str) -> Iterator[Typed]:
    for block in _BLOCK.findall(text):
        command, output = "", list[str]()
        for line in block.splitlines():
            if not line.startswith("$ "):
                output.append(line)
                continue
            if command:
                yield Typed(command, tuple(output))
            command, output = line[2:], []
        yield Typed(command, tuple(output))


def _plain(line: str) -> str:
    for pattern, word in _VARIES:
        line = pattern.sub(word, line)
    return line.rstrip()


def _port() -> int:
    # Four digits, as in the page: longer ones would move the line breaks.
    for port in range(8_702, 9_999):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    pytest.skip("no port of four digits is free")


def test_the_tour_and_the_quickstart_show_what_comes(repository: Path, tmp_path: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    tour = readme.partition("## Five minutes\n")[2].partition("\n## ")[0]
    quickstart = (repository / "docs" / "quickstart.md").read_text(encoding="utf-8")
    fleet, *typed = [item for item in (*_typed(tour), *_typed(quickstart)) if item.command != ". .venv/bin/activate"]
    assert fleet.command == "python examples/tour/fleet.py tour"
    assert len(typed) > 12
    (tmp_path / "examples").symlink_to(repository / "examples")
    port = _port()
    program = start(
        [sys.executable, *shlex.split(fleet.command)[1:], "--port", str(port)],
        log=tmp_path / "fleet.log",
        env=environment(),
        cwd=tmp_path,
    )
    try:
        wait_until(lambda: "health at" in program.output(), timeout_seconds=60, what="the fleet")
        assert [_plain(line) for line in program.output().splitlines()] == [_plain(line) for line in fleet.output]
        _type(typed, tmp_path)
    finally:
        program.stop()


def _type(typed: list[Typed], folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    env = {**environment(), "PATH": path, "TERM": "xterm", "SHELL": "/bin/bash"}
    code = 0
    for item in typed:
        # Each command has a shell of its own; what the one before ended with is told to it.
        script = f"(exit {code}); {item.command}"
        with terminal(["/bin/bash", "-c", script], width=80, cwd=folder, env=env) as screen:
            code = screen.wait(timeout_seconds=180)
        lines = iter([_plain(line) for line in screen.lines])
        for expected in item.output:
            if expected.strip():
                assert _plain(expected) in lines, f"$ {item.command}\n{expected!r} did not come\n{screen.text[-6_000:]}"
