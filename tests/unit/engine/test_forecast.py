"""What a request would do is what it then does, and telling it changes nothing."""

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from switchover.domain.task import Operation, PlanId, TaskKey, TaskStatus
from switchover.engine.forecast import Forecast, forecast_plan, forecast_task
from switchover.errors import ErrorCode
from tests.support.harness import Rig, open_rig

PLAN = PlanId(100)


async def _in_the_middle(rig: Rig) -> None:
    """t1 COMPLETED, t2 FAILED, t3 RUNNING, t4 held, t5 without a previous config, t6 waits."""
    rig.script.fail("t2", "B", times=1)
    rig.script.block("t3", "A")
    await rig.create("t1", "t2", "t3", "t4", "t6", max_concurrency=1)
    await rig.entered("t3", "A")
    await rig.do("pause", "t4")


async def _settled(rig: Rig) -> None:
    rig.script.fail("t2", "B", times=1)
    await rig.create("t1", "t2", source_unit=None)
    await rig.settles()


async def _paused(rig: Rig) -> None:
    rig.script.block("t1", "A")
    await rig.create("t1", "t2", max_concurrency=1)
    await rig.entered("t1", "A")
    await rig.ask_plan("pause")
    rig.script.release("t1", "A")
    await rig.reaches("t1", TaskStatus.PAUSED)


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("prepare", [_in_the_middle, _settled, _paused])
async def test_a_forecast_by_plan_is_what_the_request_then_answers(
    prepare: Callable[[Rig], Awaitable[None]], operation: Operation
) -> None:
    async with open_rig("A", "B") as rig:
        await prepare(rig)
        before = await rig.statuses(), [str(event.type) for event in await rig.events()]
        forecast = await forecast_plan(rig.executor.store, PLAN, operation)
        assert (await rig.statuses(), [str(event.type) for event in await rig.events()]) == before
        result = await rig.ask_plan(str(operation))
        if forecast.refusal:
            assert not result.success
            return
        assert sum(forecast.effects.values()) == len(result.accepted)
        codes = Counter(str(task.failure_info.error_code) for task in result.refused if task.failure_info is not None)
        assert {code: number for code, (number, _) in forecast.refused.items()} == codes
        rig.script.release_all()


@pytest.mark.parametrize("operation", list(Operation))
async def test_a_forecast_by_task_is_what_the_request_then_answers(operation: Operation) -> None:
    async with open_rig("A", "B") as rig:
        await _in_the_middle(rig)
        for ordinal, tenant_id in enumerate(("t1", "t2", "t3", "t4", "t6"), start=1):
            forecast = await forecast_task(rig.executor.store, TaskKey(PLAN, ordinal), operation)
            result = await rig.ask(str(operation), tenant_id)
            assert (forecast.refusal == "") is result.success, (tenant_id, forecast, result)
            assert forecast.refusal == ("" if result.success else result.message)
            if operation in {Operation.RETRY, Operation.ROLLBACK} and result.success:
                break  # it has begun, and what follows depends on how far it has come
        rig.script.release_all()


async def test_a_forecast_names_why_tasks_would_be_refused() -> None:
    async with open_rig("A", "B") as rig:
        await _settled(rig)
        forecast = await forecast_plan(rig.executor.store, PLAN, Operation.ROLLBACK)
        number, example = forecast.refused[ErrorCode.NO_PREVIOUS_CONFIG]
        assert (number, forecast.changing, forecast.total) == (2, 0, 2), (
            "a last known good that a task makes is not its own way back"
        )
        assert "no previous good config" in example


async def test_what_nobody_knows_is_not_found() -> None:
    async with open_rig("A") as rig:
        assert not (await forecast_plan(rig.executor.store, PlanId(5), Operation.PAUSE)).found
        assert not (await forecast_task(rig.executor.store, TaskKey(PlanId(5), 1), Operation.PAUSE)).found


def test_the_wire_form_counts_what_would_happen_and_what_would_not() -> None:
    assert Forecast(refusal="no").to_dict() == {
        "found": True,
        "total": 0,
        "refusal": "no",
        "changing": 0,
        "effects": [],
        "refused": [],
    }
