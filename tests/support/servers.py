"""Private servers for tests: found on the PATH, started by argument list, on a free loopback port."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
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


DURABLE = ("--appendfsync", "always")
"""Settings of a Redis that keeps what it acknowledges, also when its machine dies."""


def redis_argv(
    program: str, *, port: int, directory: Path, append_only: bool = True, settings: Sequence[str] = ()
) -> list[str]:
    """The command line of a private Redis: loopback only, and durable unless told otherwise."""
    return [
        program,
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", os.fspath(directory)),
        *("--appendonly", "yes" if append_only else "no", "--save", "", "--daemonize", "no"),
        *settings,
    ]


def start_redis(
    directory: Path, *, append_only: bool = True, port: int | None = None, settings: Sequence[str] = ()
) -> tuple[Program, int]:
    """
    Start a private Redis and wait until it answers; the caller must stop it.

    Args:
        port: To come back where a crashed one was; otherwise a free port is chosen.
        settings: More of its command line, as ``--name``, ``value``.

    Returns:
        The program and its port.
    """
    executable = find_program("redis-server")
    for attempt in range(START_ATTEMPTS):
        number = free_port() if port is None else port
        argv = redis_argv(executable, port=number, directory=directory, append_only=append_only, settings=settings)
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
def private_redis(directory: Path, *, append_only: bool = True, settings: Sequence[str] = ()) -> Iterator[str]:
    """A Redis of one's own for the length of a ``with`` block; yields its URL, without a database number."""
    program, port = start_redis(directory, append_only=append_only, settings=settings)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        program.stop()


def find_postgres(name: str) -> str:
    """The path of a program of PostgreSQL, which many systems keep out of the PATH; else as ``find_program``."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return os.fspath(places[-1]) if shutil.which(name) is None and places else find_program(name)


def as_nobody(argv: Sequence[str]) -> list[str]:
    """The command line for a program that refuses to be root: the same, as a user who owns nothing else."""
    if os.geteuid():
        return list(argv)
    user = pwd.getpwnam("nobody")
    return [find_program("setpriv"), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *argv]


def make_cluster(directory: Path) -> None:
    """
    Make the files of a PostgreSQL server in a new directory.

    Its superuser is ``postgres``, without a password, as everybody but ``guarded_user``.
    """
    directory.mkdir(mode=0o700)
    if not os.geteuid():
        user = pwd.getpwnam("nobody")
        os.chown(directory, user.pw_uid, user.pw_gid)
    argv = [find_postgres("initdb"), "--pgdata", os.fspath(directory), "--username=postgres", "--auth=trust"]
    argv += ["--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run(as_nobody(argv), check=True, capture_output=True, cwd=directory)
    rules = directory / "pg_hba.conf"
    guarded = "host all guarded_user 127.0.0.1/32 scram-sha-256\n"
    rules.write_text(guarded + rules.read_text("utf-8"), encoding="utf-8")


def start_postgres(directory: Path, *, port: int | None = None, settings: Sequence[str] = ()) -> tuple[Program, int]:
    """
    Start the server of ``make_cluster`` and wait until it answers; the caller must stop it.

    Args:
        port: To come back where a crashed one was; otherwise a free port is chosen.
        settings: As ``name=value``, beside the defaults: loopback only, no socket file, durable.

    Returns:
        The program and its port.
    """
    for attempt in range(START_ATTEMPTS):
        number = free_port() if port is None else port
        options = [f"port={number}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=on", *settings]
        argv = [find_postgres("postgres"), "-D", os.fspath(directory)]
        argv += [part for option in options for part in ("-c", option)]
        program = start(as_nobody(argv), log=directory.with_name(f"{directory.name}.log"), cwd=directory)
        try:
            await_ready(program, partial(answers_startup, number), timeout_seconds=60)
        except BaseException as error:
            program.stop()
            if port is None and isinstance(error, StartError) and attempt < START_ATTEMPTS - 1:
                continue
            raise
        return program, number
    raise AssertionError


def answers_startup(port: int) -> bool:
    """Whether this loopback port belongs to a PostgreSQL that lets the superuser in."""
    parameters = b"user\0postgres\0database\0postgres\0\0"
    message = (len(parameters) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + parameters
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(message)
        return connection.recv(1) == b"R"
    return False


@contextmanager
def private_postgres(directory: Path) -> Iterator[str]:
    """A PostgreSQL of one's own for the length of a ``with`` block; yields the URL of its first database."""
    find_postgres("initdb")
    # Who is not root may not enter the directories that pytest makes for root.
    place = Path(tempfile.mkdtemp(prefix="postgres-", dir=None if os.geteuid() == 0 else directory))
    place.chmod(0o755)
    try:
        make_cluster(place / "data")
        program, port = start_postgres(place / "data")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            program.send(signal.SIGQUIT)  # nobody looks at these files again
            program.stop()
    finally:
        shutil.rmtree(place)
