"""Every event is a line that names its task in full."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from switchover.adapters.telemetry.event_log import EventLog
from switchover.domain.plan import PlanStatus
from switchover.logs import Line
from tests.support.harness import Rig, open_rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig("A", "B", observers=[EventLog()]) as opened:
        yield opened


def _lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str, dict[str, Any]]]:
    lines = [(record.levelno, record.msg) for record in caplog.records if record.name == "switchover.events"]
    return [(level, line.event, dict(line.values)) for level, line in lines if isinstance(line, Line)]


async def test_every_event_but_those_of_the_creation_is_a_line(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "switchover.events")
    rig.script.fail("t1", "B")
    await rig.create("t1")
    assert await rig.settles() is PlanStatus.FAILED
    told = _lines(caplog)
    created = {"TaskCreated", "TaskValidated"}
    assert [event for _, event, _ in told] == [
        str(event.type) for event in await rig.events() if event.type not in created
    ]
    task = {"plan_id": 100, "task_id": "100-1", "tenant_id": "t1", "generation": 1}
    started = next(values for _, event, values in told if event == "TaskStageStarted")
    assert started == {**task, "status": "RUNNING", "completed": 0, "total": 2, "stage": "A"}
    level, _, failed = next(line for line in told if line[1] == "TaskFailed")
    assert level == logging.WARNING
    assert failed.items() >= {**task, "stage": "B", "step": "switch", "error_code": "STEP_FAILED"}.items()
    assert "broken on purpose" in failed["error"]


async def test_heartbeats_are_for_whoever_looks_for_a_defect(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "switchover.events")
    rig.script.block("t1", "A")
    await rig.create("t1")
    await rig.entered("t1", "A")
    assert rig.clock is not None
    await rig.clock.advance(10.0)
    await rig.quiet()
    assert (logging.DEBUG, "TaskHeartbeat") in [line[:2] for line in _lines(caplog)]
    rig.script.release_all()
    await rig.settles()
