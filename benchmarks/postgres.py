"""A private PostgreSQL for a peer: found on the PATH or where Debian puts it, and gone when the run is over."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_READY_SECONDS = 30.0
_USER = "postgres"
"""PostgreSQL refuses to run as root; then it runs as this user, which its packages make."""


def programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``; None when there is no PostgreSQL that could be started."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@contextmanager
def private_server(scratch: Path) -> Iterator[str]:
    """
    A server with nothing in it, as durable as it comes; gives what to connect to.

    Args:
        scratch: A folder on the disk that the other runs use.
    """
    folder = programs()
    if folder is None:
        message = "there is no PostgreSQL; `make servers` installs it"
        raise FileNotFoundError(message)
    user = _USER if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        data = Path(home) / "data"
        if user is not None:
            shutil.chown(home, user)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": home}
        subprocess.run(
            [folder / "initdb", "-D", data, "-A", "trust", "-U", _USER, "--no-sync"],
            check=True,
            user=user,
            **quiet,  # type: ignore[call-overload]  # a dict of them
        )
        port = _free_port()
        options = ("-D", data, "-p", str(port), "-c", f"unix_socket_directories={home}", "-c", "shared_buffers=512MB")
        server = subprocess.Popen([folder / "postgres", *options], user=user, **quiet)  # type: ignore[call-overload]  # as above
        try:
            _wait_until_ready(folder, port)
            yield f"host=127.0.0.1 port={port} user={_USER} dbname=postgres"
        finally:
            server.terminate()
            server.wait()


def _wait_until_ready(folder: Path, port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    ask: list[str | Path] = [folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask, check=False).returncode:
        if time.monotonic() > deadline:
            message = f"PostgreSQL was not ready after {_READY_SECONDS:g} s"
            raise TimeoutError(message)
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
