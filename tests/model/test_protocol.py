"""The protocol's formal model is checked in every state, and the checker finds every mistake that is put into it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.servers import in_ci

_MODEL = Path("docs/explanation/model/protocol.pml")
_MEGABYTES = 512
_DEPTH = 100_000


@pytest.fixture
def checker(tmp_path: Path) -> Path:
    """A folder in which to check; without spin or a C compiler: skipped on a laptop, a failure in CI."""
    missing = [program for program in ("spin", "cc") if shutil.which(program) is None]
    if missing:
        message = f"{', '.join(missing)} is not installed"
        if in_ci():
            pytest.fail(message)
        pytest.skip(message)
    return tmp_path


def check(repository: Path, folder: Path, claim: str, *mistakes: str) -> tuple[int, int, str]:
    """Errors, stored states and the report of one claim."""
    flags = [f"-D{mistake}" for mistake in mistakes]
    _run(folder, "spin", *flags, "-a", os.fspath(repository / _MODEL))
    _run(folder, "cc", "-O1", f"-DMEMLIM={_MEGABYTES}", "-DNFAIR=3", "-w", "-o", "pan", "pan.c")
    # -a: cycles, so liveness; -f: under weak fairness.
    report = _run(folder, "./pan", f"-m{_DEPTH}", "-a", "-f", "-N", claim)
    errors = re.search(r"errors: (\d+)", report)
    states = re.search(r"(\d+) states, stored", report)
    assert errors is not None, report
    assert states is not None, report
    return int(errors.group(1)), int(states.group(1)), report


def _run(folder: Path, *argv: str) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("claim", ["kept", "settles"])
def test_the_protocol_keeps_its_promises_in_every_state(repository: Path, checker: Path, claim: str) -> None:
    errors, states, report = check(repository, checker, claim)
    assert errors == 0, report
    assert states > 50_000, "so few states cannot be all of them"
    for incomplete in ("max search depth too small", "out of memory", "max memory", "Search not completed"):
        assert incomplete not in report, report


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("NO_FENCE", "assertion violated (my_epoch>=newest_writer)"),
        ("NO_EPOCH_CHECK", "assertion violated (events==my_events)"),
        ("KEEP_GENERATION", "assertion violated (my_epoch>=newest_writer)"),
        ("SPLIT_ANSWER", "acceptance cycle"),
    ],
)
def test_a_mistake_in_the_protocol_is_found(repository: Path, checker: Path, mistake: str, told: str) -> None:
    errors, _, report = check(repository, checker, "kept", mistake)
    assert errors > 0, report
    assert told in report, report
