"""Private servers for tests: found on the PATH, started by argument list, on a free loopback port."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.processes import Program, StartError, await_ready, free_port, start

START_ATTEMPTS = 5


def in_ci() -> bool:
    """Whether a missing server is a failure rather than a reason to skip."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def find_program(name: str) -> str:
    """
    The program's path.

    Where it is missing the test skips with that reason; in CI it fails, so that nobody mistakes a skip for a pass.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed (`make servers` installs it where it may)"
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)


def answers_ping(port: int) -> bool:
    """Whether this loopback port belongs to a Redis that has finished loading."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(7) == b"+PONG\r\n"
    return False


def redis_argv(program: str, *, port: int, directory: Path, append_only: bool = True) -> list[str]:
    """The command line of a private Redis: loopback only, and durable unless told otherwise."""
    return [
        program,
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", os.fspath(directory)),
        *("--appendonly", "yes" if append_only else "no", "--save", "", "--daemonize", "no"),
    ]


def start_redis(directory: Path, *, append_only: bool = True, port: int | None = None) -> tuple[Program, int]:
    """
    Start a private Redis and wait until it answers; the caller must stop it.

    Args:
        port: To come back where a crashed one was; otherwise a free port is chosen.

    Returns:
        The program and its port.
    """
    executable = find_program("redis-server")
    for attempt in range(START_ATTEMPTS):
        number = free_port() if port is None else port
        argv = redis_argv(executable, port=number, directory=directory, append_only=append_only)
        program = start(argv, log=directory / "redis.log")
        try:
            await_ready(program, partial(answers_ping, number))
        except BaseException as error:
            program.stop()
            # Somebody else may have taken the free port in between; the next one is as good.
            if port is None and isinstance(error, StartError) and attempt < START_ATTEMPTS - 1:
                continue
            raise
        return program, number
    raise AssertionError


@contextmanager
def private_redis(directory: Path, *, append_only: bool = True) -> Iterator[str]:
    """A Redis of one's own for the length of a ``with`` block; yields its URL, without a database number."""
    program, port = start_redis(directory, append_only=append_only)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        program.stop()
