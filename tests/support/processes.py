"""
Start real programs for a test and stop them again: by argument list, by pid, never by name.

A program runs in its own process group with its output in a file of the test's private directory. Whoever starts it
owns it: ``with running([...]) as program`` leaves nothing behind, however the body ends.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

FIRST_PORT = 25_001
"""Tests listen above 25000, where no well-known service lives."""

POLL_SECONDS = 0.02
TAIL_LINES = 20


class StartError(RuntimeError):
    """A program did not come up; the message ends with what it wrote."""


def free_port() -> int:
    """
    A loopback port that was free a moment ago.

    Nothing reserves it: bind port 0 yourself where the program under test allows it.
    """
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port >= FIRST_PORT:
            return port


def accepts_connections(port: int) -> bool:
    """Whether somebody listens on this loopback port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float = 10.0, what: str = "the condition") -> None:
    """
    Poll until the condition holds.

    Raises:
        TimeoutError: It did not within the limit; the message names ``what``.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            message = f"waited {timeout_seconds:g} s for {what}"
            raise TimeoutError(message)
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Program:
    """A running program and the file that holds its output (both streams)."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_running(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def tail(self) -> str:
        return "\n".join(self.output().splitlines()[-TAIL_LINES:])

    def send(self, number: signal.Signals) -> None:
        """
        Signal this one process; a dead one is left alone.

        SIGSTOP freezes it, SIGCONT wakes it, SIGKILL is a crash.
        """
        if self.is_running:
            self.popen.send_signal(number)

    def wait(self, *, timeout_seconds: float = 30.0) -> int:
        """
        The exit code; negative when a signal ended it.

        Raises:
            TimeoutError: It still runs; the message holds the end of its output.
        """
        try:
            return self.popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            message = f"pid {self.pid} still runs after {timeout_seconds:g} s\n{self.tail()}"
            raise TimeoutError(message) from None

    def kill(self) -> int:
        """Crash it (SIGKILL) and reap it."""
        self.send(signal.SIGKILL)
        return self.wait()

    def stop(self, *, timeout_seconds: float = 10.0) -> int:
        """End it politely, then firmly, together with the children that it left in its process group."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            code = self.popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            code = self.kill()
        # The group is our own (start_new_session), and its number stays taken while any member lives.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return code


def start(
    argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Program:
    """
    Start a program; the caller must stop it.

    Args:
        log: File for its output; appended to, so that a restarted program continues it.
        env: Added to this process's environment.
    """
    with log.open("ab") as sink:
        popen = subprocess.Popen(
            [os.fspath(argument) for argument in argv],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    return Program(popen, log)


def await_ready(program: Program, ready: Callable[[], bool], *, timeout_seconds: float = 15.0) -> None:
    """
    Wait until a started program serves.

    Raises:
        StartError: It ended first, or the limit passed.
    """
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        if not program.is_running or time.monotonic() >= deadline:
            state = "did not get ready" if program.is_running else f"ended with code {program.popen.returncode}"
            message = f"pid {program.pid} {state}:\n{program.tail()}"
            raise StartError(message)
        time.sleep(POLL_SECONDS)


@contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], bool] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Program]:
    """Run a program for the length of a ``with`` block, which starts once ``ready`` says so."""
    program = start(argv, log=log, env=env, cwd=cwd)
    try:
        if ready is not None:
            await_ready(program, ready)
        yield program
    finally:
        program.stop()
