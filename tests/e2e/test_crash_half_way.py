"""A plan of 10,000 tenants whose process dies half way: the next one goes on, and repeats next to nothing."""

import asyncio
import signal
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.domain.task import PlanId
from tests.campaigns.crash.fate import Death
from tests.campaigns.crash.host import Host, Life, host
from tests.campaigns.crash.judge import Judge
from tests.campaigns.crash.snapshot import is_recovered
from tests.campaigns.crash.stages import STAGES, prepare
from tests.support.event_grammar import assert_legal_plan, assert_legal_task, most_at_once

TOTAL = 10_000
CONCURRENCY = 64
PLAN = 6
_STARTED, _COMPLETED = 13, 8

pytestmark = pytest.mark.slow


def live(lives: Host, life: Life) -> int:
    lives.start(life)
    return lives.wait()[1]


def test_ten_thousand_tenants_go_on_from_half_way(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    prepare(folder)
    judge = Judge(folder)
    half_way = Death(point="stepped", number=TOTAL * len(STAGES) // 2)
    with host(repository, tmp_path / "log") as lives:
        assert live(lives, Life(folder=str(folder), script="thousands", death=half_way)) == -signal.SIGKILL
        judge.look()
        assert live(lives, Life(folder=str(folder), script="thousands")) == 0
    judge.look()
    judge.settled()
    first, last = judge.snapshots
    assert Counter(row["status"] for row in last.rows("task")) == {_COMPLETED: TOTAL}
    done_before = sum(row["status"] == _COMPLETED for row in first.rows("task"))
    assert TOTAL / 2 - 2 * CONCURRENCY <= done_before < TOTAL
    repeated = [row for row in last.rows("event") if is_recovered(row)]
    assert 0 < len(repeated) <= CONCURRENCY
    began = Counter(row["ordinal"] for row in last.rows("event") if row["type"] == _STARTED)
    assert len(began) == TOTAL
    assert set(began.values()) == {1}
    events = asyncio.run(events_and_problems(folder))
    assert most_at_once(events) <= CONCURRENCY
    logs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        logs[event["taskId"] or "plan"].append(event)
    assert_legal_plan(logs.pop("plan"))
    told = {event["taskId"] for event in events if event["data"].get("recovered")}
    for number, (task_id, log) in enumerate(logs.items()):
        if number % 20 == 0 or task_id in told:
            assert_legal_task(log, stages=list(STAGES))


async def events_and_problems(folder: Path) -> list[dict[str, Any]]:
    """All events in the wire form; the store's own check must find nothing."""
    store = SqliteExecutionStore(folder / "switchover.db")
    await store.open()
    try:
        assert list(await store.check()) == []
        events: list[dict[str, Any]] = []
        while page := await store.load_events(PlanId(PLAN), len(events), 10_000):
            events.extend(event.to_dict() for event in page)
    finally:
        await store.aclose()
    return events
