"""A plan of 10,000 tenants whose process dies half way: the next one goes on at once, and repeats next to nothing."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.crash_program import STAGES, TENANTS, Life, prepare, remains
from tests.support.event_grammar import assert_legal_plan, assert_legal_task, most_at_once

TOTAL = 10_000
CONCURRENCY = 64

pytestmark = pytest.mark.slow


def live(repository: Path, life: Life) -> tuple[int, float]:
    """The exit code of a life, and how many seconds it lasted."""
    argv = [sys.executable, "-m", "tests.support.crash_program", "live", json.dumps(asdict(life))]
    began = time.monotonic()
    done = subprocess.run(argv, cwd=repository, capture_output=True, check=False, timeout=200)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr.decode()[-2_000:]
    return done.returncode, time.monotonic() - began


def test_ten_thousand_tenants_go_on_from_half_way(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    prepare(folder)
    more = TOTAL - len(TENANTS)
    code, first_half = live(repository, Life(folder=str(folder), tenants=more, kill_at_done=TOTAL // 2))
    assert code == -signal.SIGKILL
    (folder / "opened").unlink()
    code, second_half = live(repository, Life(folder=str(folder), tenants=more))
    assert code == 0

    # Creating the plan is part of the first half: whoever goes on has less to do, however busy the machine is.
    assert second_half < 2 * first_half, (first_half, second_half)
    opening = float((folder / "opened").read_text())
    assert opening < second_half / 3, "picking up the work is a small part of doing it"

    found = remains(folder)
    assert found.problems == []
    statuses = Counter(str(task[2]) for task in found.state["tasks"])
    assert statuses == {"COMPLETED": TOTAL - 1, "ROLLED_BACK": 1}
    assert all(owner is None and not waiting for owner, waiting, _, _ in found.state["tenants"].values())
    assert [event["position"] for event in found.events] == list(range(1, len(found.events) + 1))
    assert most_at_once(found.events) <= CONCURRENCY
    repeated = [event for event in found.events if event["data"].get("recovered")]
    assert 0 < len(repeated) <= CONCURRENCY
    logs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in found.events:
        logs[event["taskId"] or "plan"].append(event)
    assert_legal_plan(logs.pop("plan"))
    told = {event["taskId"] for event in repeated}
    for number, (task_id, log) in enumerate(logs.items()):
        if number % 20 == 0 or task_id in told:
            assert_legal_task(log, stages=list(STAGES))
    began = Counter(event["taskId"] for event in found.events if event["type"] == "TaskStarted")
    assert len(began) == TOTAL
    assert set(began.values()) == {1}
