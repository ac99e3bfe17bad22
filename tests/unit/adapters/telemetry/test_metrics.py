"""What the metrics say, told by a real engine."""

from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from switchover.adapters.telemetry.metrics import DEFINITIONS, OTHER, Metrics
from switchover.domain.plan import PlanStatus
from switchover.domain.task import TaskStatus
from switchover.errors import StoreConflictError
from tests.support.harness import Rig, open_rig


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def rig(metrics: Metrics) -> AsyncIterator[Rig]:
    async with open_rig("A", "B", observers=[metrics]) as opened:
        metrics.watch(opened.executor.vitals, lambda: 3)
        yield opened
        opened.script.release_all()


def _value(metrics: Metrics, name: str, labels: Mapping[str, str] | None = None) -> float:
    return metrics.registry.get_sample_value(name, dict(labels or {})) or 0.0


def _names(metrics: Metrics) -> Iterator[str]:
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        yield family.name


async def test_tasks_that_complete_fail_and_are_rolled_back_are_counted(rig: Rig, metrics: Metrics) -> None:
    rig.script.fail("t2", "B")
    await rig.create("t1", "t2", "t3")
    assert await rig.settles() is PlanStatus.PARTIAL_FAILED
    await rig.do("rollback", "t2")
    await rig.settles()
    assert _value(metrics, "switchover_task_started_total") == 3
    assert _value(metrics, "switchover_task_completed_total") == 2
    assert _value(metrics, "switchover_task_failed_total") == 1
    assert _value(metrics, "switchover_rollback_count_total") == 1
    assert _value(metrics, "switchover_rollback_failed_total") == 0
    assert _value(metrics, "switchover_stage_failure_total", {"code": "STEP_FAILED"}) == 1
    assert _value(metrics, "switchover_plan_settled_total", {"outcome": "partial_failed"}) >= 1
    for outcome, often in (("completed", 2), ("failed", 1), ("rolled_back", 1)):
        assert _value(metrics, "switchover_task_duration_seconds_count", {"outcome": outcome}) == often


async def test_retries_cancels_and_failed_rollbacks_are_counted(rig: Rig, metrics: Metrics) -> None:
    rig.script.fail("t1", "B", times=1)
    rig.script.fail("t1", "A", restoring=True)
    rig.script.block("t2", "A")
    await rig.create("t1", "t2")
    await rig.reaches("t1", TaskStatus.FAILED)
    await rig.do("retry", "t1")
    await rig.reaches("t1", TaskStatus.COMPLETED)
    await rig.entered("t2", "A")
    await rig.do("cancel", "t2")
    rig.script.release("t2", "A")
    await rig.settles()
    await rig.do("rollback", "t1")
    await rig.reaches("t1", TaskStatus.ROLLBACK_FAILED)
    assert _value(metrics, "switchover_task_retried_total") == 1
    assert _value(metrics, "switchover_task_cancelled_total") == 1
    assert _value(metrics, "switchover_rollback_failed_total") == 1
    assert _value(metrics, "switchover_task_failed_total") == 1


async def test_the_length_of_a_stage_is_that_of_its_events(rig: Rig, metrics: Metrics) -> None:
    assert rig.clock is not None
    rig.script.block("t1", "B")
    await rig.create("t1")
    await rig.entered("t1", "B")
    await rig.clock.advance(7)
    rig.script.release("t1", "B")
    await rig.settles()
    assert _value(metrics, "switchover_stage_duration_seconds_sum", {"stage": "A", "outcome": "succeeded"}) == 0
    assert _value(metrics, "switchover_stage_duration_seconds_sum", {"stage": "B", "outcome": "succeeded"}) == 7
    assert _value(metrics, "switchover_task_duration_seconds_sum", {"outcome": "completed"}) == 7


async def test_gauges_say_how_it_is_when_they_are_read(rig: Rig, metrics: Metrics) -> None:
    rig.script.block("t1", "A")
    await rig.create("t1", "t2", "t3", max_concurrency=1)
    await rig.entered("t1", "A")
    await rig.do("pause", "t3")
    assert _value(metrics, "switchover_driving") == 1
    assert _value(metrics, "switchover_task_active") == 1
    assert _value(metrics, "switchover_queue_length") == 1
    assert _value(metrics, "switchover_plan_active") == 1
    assert _value(metrics, "switchover_event_readers") == 3
    await rig.do("resume", "t3")
    rig.script.release("t1", "A")
    await rig.settles()
    assert _value(metrics, "switchover_task_active") == 0
    assert _value(metrics, "switchover_queue_length") == 0
    assert _value(metrics, "switchover_plan_active") == 0


async def test_an_outage_of_the_store_is_a_gauge_and_part_of_the_commit_that_waits(rig: Rig, metrics: Metrics) -> None:
    assert rig.clock is not None
    rig.script.block("t1", "A")
    await rig.create("t1")
    await rig.entered("t1", "A")
    rig.store.fail("commit", times=None)
    rig.script.release("t1", "A")
    await rig.clock.advance(60)
    assert _value(metrics, "switchover_store_outage_seconds") >= 59
    rig.store.heal()
    await rig.clock.advance(5)
    await rig.settles()
    assert _value(metrics, "switchover_store_outage_seconds") == 0
    assert _value(metrics, "switchover_commit_duration_seconds_sum") >= 60


async def test_the_lag_rises_while_a_heartbeat_is_overdue_and_falls_with_the_next_one(
    rig: Rig, metrics: Metrics
) -> None:
    assert rig.clock is not None
    assert _value(metrics, "switchover_heartbeat_lag") == 0, "nothing runs"
    rig.script.block("t1", "A")
    await rig.create("t1")
    await rig.entered("t1", "A")
    await rig.clock.advance(9)
    assert _value(metrics, "switchover_heartbeat_lag") == 0
    for late in (5, 30):
        # Time passes, and the loop that beats gets no turn: a step keeps the process busy.
        rig.clock._pass(10 + late)
        assert _value(metrics, "switchover_heartbeat_lag") == late
    await rig.clock.advance(1)
    assert _value(metrics, "switchover_heartbeat_lag") == 30, "so late was the last one"
    await rig.clock.advance(9)
    assert _value(metrics, "switchover_heartbeat_lag") == 0
    rig.script.release_all()
    await rig.settles()
    assert _value(metrics, "switchover_heartbeat_lag") == 0


async def test_a_heartbeat_that_waits_for_the_store_is_late(rig: Rig, metrics: Metrics) -> None:
    assert rig.clock is not None
    rig.script.block("t1", "A")
    await rig.create("t1")
    await rig.entered("t1", "A")
    rig.store.fail("commit", times=None)
    await rig.clock.advance(70)
    assert _value(metrics, "switchover_heartbeat_lag") >= 59
    rig.store.heal()
    await rig.clock.advance(15)
    assert _value(metrics, "switchover_heartbeat_lag") == 0
    rig.script.release_all()
    await rig.settles()


async def test_a_driver_that_was_lost_is_seen(metrics: Metrics) -> None:
    async with open_rig("A", observers=[metrics]) as rig:
        metrics.watch(rig.executor.vitals, lambda: 0)
        assert _value(metrics, "switchover_driver_lost") == 0
        rig.store.cut_off()
        with pytest.raises(StoreConflictError):
            await rig.facade.stop_line("look")
        assert (_value(metrics, "switchover_driver_lost"), _value(metrics, "switchover_driving")) == (1, 0)
        await rig.restart()


async def test_counters_begin_anew_with_a_process_and_gauges_do_not(rig: Rig, metrics: Metrics) -> None:
    """A run that another process began ends here: its time is known from the first start, and counted once."""
    assert rig.clock is not None
    rig.script.block("t1", "B")
    await rig.create("t1", "t2")
    await rig.entered("t1", "B")
    await rig.reaches("t2", TaskStatus.COMPLETED)
    await rig.clock.advance(5)
    next_process = Metrics()
    rig.observers = [next_process]
    await rig.restart()
    next_process.watch(rig.executor.vitals, lambda: 0)
    await rig.entered("t1", "B")
    assert _value(next_process, "switchover_task_active") == 1
    assert _value(next_process, "switchover_recovered_total") == 1
    await rig.clock.advance(2)
    rig.script.release("t1", "B")
    await rig.settles()
    completed = [_value(each, "switchover_task_completed_total") for each in (metrics, next_process)]
    assert completed == [1, 1]
    assert _value(next_process, "switchover_task_started_total") == 0
    assert _value(next_process, "switchover_task_duration_seconds_sum", {"outcome": "completed"}) == 7
    assert _value(next_process, "switchover_stage_duration_seconds_sum", {"stage": "B", "outcome": "succeeded"}) == 2


async def test_the_names_of_stages_are_limited(metrics: Metrics) -> None:
    limited = Metrics(most_stages=2)
    async with open_rig("A", "B", "C", "D", observers=[limited]) as rig:
        await rig.create("t1")
        await rig.settles()
    found = {
        sample.labels["stage"]
        for family in limited.registry.collect()
        for sample in family.samples
        if family.name == "switchover_stage_duration_seconds"
    }
    assert found == {"A", "B", OTHER}
    count = _value(limited, "switchover_stage_duration_seconds_count", {"stage": OTHER, "outcome": "succeeded"})
    assert count == 2


async def test_batches_and_commits_are_those_of_the_store(rig: Rig, metrics: Metrics) -> None:
    await rig.create(*(f"t{number}" for number in range(20)))
    await rig.settles()
    assert _value(metrics, "switchover_commit_duration_seconds_count") == rig.store.commits
    assert _value(metrics, "switchover_commit_batch_size_sum") == len(rig.store.entries)


async def test_every_metric_is_defined_and_every_definition_is_a_metric(rig: Rig, metrics: Metrics) -> None:
    own = [name for name in _names(metrics) if not name.startswith("process_")]
    assert sorted(own) == sorted(DEFINITIONS)


async def test_an_observer_that_raises_harms_nobody() -> None:
    class Broken:
        def committed(self, entries: object, seconds: float) -> None:
            message = "broken on purpose"
            raise RuntimeError(message)

    after = Metrics()
    async with open_rig("A", "B", observers=[Broken(), after]) as rig:
        await rig.create("t1")
        assert await rig.settles() is PlanStatus.COMPLETED
        await rig.assert_sound()
    assert _value(after, "switchover_task_completed_total") == 1
