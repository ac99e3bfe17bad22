"""`switchover demo`: what it shows is so, it fits the terminal, and it says so when it is not."""

import asyncio
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest
from aiohttp import web
from rich.console import Console

from switchover.demo import run_demo
from switchover.demo.fleet import RoutingTable
from tests.support.command_line import ARGV, CommandLine, environment

LIMIT_SECONDS = 30
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9])")

FACTS = (
    "Switch: 12 tenants, 4 at a time",
    "never more than 4 tenants ran at the same time (the event log says 4)",
    "The plan is PARTIAL_FAILED",
    # The failure, whole.
    'tenant ember, stage billing, step healthCheck: 1 of 1 endpoints did not report version "42" within 8 rounds',
    "schema migration 42-07 is missing in this tenant's database",
    "Next: look at these instances, then `switchover retry --tenant ember`",
    "the completed stage was not repeated: the retry ran billing and reports",
    "the plan is COMPLETED: all 12 tenants are on green",
    r"billing before 0 'unit=blue; version=41\t# by hand\r\n' after 2 'unit=blue; version=41\t# by hand\r\n'",
    """gateway before 0 '{"version": 41, "unit":"blue"}' after 2 '{"version": 41, "unit":"blue"}'""",
    "reports before 0 no entry after 2 no entry",
    "every entry is byte for byte what it was before the switch",
    "writes with generation 1 is refused (409)",
    "no event is missing and none is there twice",
    "Everything shown was proven",
    # What one would type.
    "$ switchover run plan.yaml",
    "$ switchover retry --tenant ember --from checkpoint",
    "$ switchover rollback --tenant juniper",
)

pytestmark = pytest.mark.slow


def words(text: str) -> str:
    """The text without line breaks and spacing, which depend on the width."""
    return " ".join(text.split())


def assert_facts(text: str) -> None:
    said = words(text)
    missing = [fact for fact in FACTS if words(fact) not in said]
    assert not missing, f"missing: {missing}\n{text}"
    assert "NOT TRUE" not in said


def test_without_a_terminal_it_is_plain(tmp_path: Path) -> None:
    began = time.monotonic()
    answer = CommandLine(tmp_path)("demo", timeout_seconds=LIMIT_SECONDS)
    assert time.monotonic() - began < LIMIT_SECONDS
    assert_facts(answer.output)
    assert "\x1b" not in answer.output
    assert re.search(r"s\s+ember\s+FAILED\s+gateway ✓\s+billing ✗\s+reports ·", answer.output)
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"


@pytest.mark.parametrize("width", [80, 200])
def test_at_a_terminal_it_is_live_and_fits(tmp_path: Path, width: int) -> None:
    code, text = in_terminal(["demo"], width=width, cwd=tmp_path)
    assert code == 0, text
    plain = _ESCAPE.sub("", text)
    assert_facts(plain)
    assert text != plain
    # Live: the board was drawn over and over, and a tenant was seen to run.
    assert plain.count("of 12 tenants,") > 10
    assert re.search(r"ember\s+✓\s+●\s+·\s+RUNNING", plain)
    lines = re.split(r"[\r\n]+", plain)
    assert max(len(line.rstrip()) for line in lines) <= min(width, 100)


def test_what_is_kept_can_be_asked_afterwards(tmp_path: Path) -> None:
    switchover = CommandLine(tmp_path)
    answer = switchover("demo", "--keep", "kept", timeout_seconds=LIMIT_SECONDS)
    assert "switchover history juniper --db kept/switchover.db" in words(answer.output)
    assert (tmp_path / "kept" / "plan.yaml").exists()
    tasks = switchover("get", "tasks", "42", "--db", "kept/switchover.db", "-o", "jsonl").lines()
    assert {task["tenantId"]: task["status"] for task in tasks if task["status"] != "COMPLETED"} == {
        "juniper": "ROLLED_BACK"
    }
    again = switchover("demo", "--keep", "kept", code=2)
    assert "give the demo a new directory" in words(again.output + again.errors)


async def test_a_claim_that_does_not_hold_is_told_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A routing table that tidies up what it is given: then nothing is byte for byte what it was."""
    honest = RoutingTable.handle

    async def tidying(self: RoutingTable, request: web.Request) -> web.Response:
        answer = await honest(self, request)
        self.entries.update({route: value.strip() for route, value in self.entries.items()})
        return answer

    monkeypatch.setattr(RoutingTable, "handle", tidying)
    console = Console(file=io.StringIO(), width=200)
    async with asyncio.timeout(LIMIT_SECONDS):
        code = await run_demo(console)
    assert isinstance(console.file, io.StringIO)
    said = words(console.file.getvalue())
    assert code == 1
    assert "NOT TRUE: every entry is byte for byte what it was" in said
    assert "1 claims did not hold" in said


def in_terminal(arguments: list[str], *, width: int, cwd: Path) -> tuple[int, str]:
    """Run a verb in a terminal of this width; its exit code and everything that it wrote there."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    env = {name: value for name, value in environment().items() if name != "NO_COLOR"}
    try:
        program = subprocess.Popen(
            [*ARGV, *arguments],
            cwd=cwd,
            env={**env, "TERM": "xterm-256color"},
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
    finally:
        os.close(follower)
    chunks: list[bytes] = []
    try:
        # At the end of the program Linux answers a read with EIO.
        while chunk := read_or_end(leader):
            chunks.append(chunk)
        return program.wait(LIMIT_SECONDS), b"".join(chunks).decode()
    finally:
        os.close(leader)
        program.kill()
        program.wait()


def read_or_end(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""
