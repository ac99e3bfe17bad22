"""The helpers that every end-to-end test leans on."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.processes import FIRST_PORT, StartError, free_port, running, start, wait_until
from tests.support.servers import answers_ping

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_is_gone_after_its_block(tmp_path: Path) -> None:
    with running(SLEEPER, log=tmp_path / "log") as program:
        assert program.is_running
    assert program.popen.returncode == -signal.SIGTERM
    assert not exists(program.pid)


def test_a_frozen_program_is_stopped_too(tmp_path: Path) -> None:
    program = start(SLEEPER, log=tmp_path / "log")
    program.send(signal.SIGSTOP)
    program.stop()
    assert not exists(program.pid)


def test_a_program_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    program = start([sys.executable, "-c", deaf], log=tmp_path / "log")
    wait_until(lambda: "up" in program.output(), what="the program to say that it is up")
    assert program.stop(timeout_seconds=0.2) == -signal.SIGKILL


def test_children_go_with_their_parent(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    program = start([sys.executable, "-c", parent], log=tmp_path / "log")
    wait_until(lambda: program.output().endswith("\n"), what="the child's pid")
    child = int(program.output())
    program.stop()
    # The orphan is reaped by init, a moment later.
    wait_until(lambda: not exists(child) or is_zombie(child), what="the child to end")


def is_zombie(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_program_that_does_not_come_up_shows_what_it_wrote(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "import sys; sys.exit('no such option')"]
    with pytest.raises(StartError, match="no such option"), running(failing, log=tmp_path / "log", ready=lambda: False):
        pytest.fail("the block must not run")


def test_free_ports_are_above_the_line() -> None:
    assert free_port() >= FIRST_PORT


def test_the_private_redis_answers_and_keeps_an_append_only_file(redis_server: str) -> None:
    assert answers_ping(int(redis_server.rpartition(":")[2]))
