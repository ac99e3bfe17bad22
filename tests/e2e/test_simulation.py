"""The simulation of many workers: facts of a small one, which are the same on every machine."""

import asyncio

from benchmarks.simulation.run import LEASE_SECONDS, Scene, simulate
from switchover import ExecutorSettings
from switchover.runtimes.procrastinate.worker import HEARTBEAT_SECONDS

SCENE = Scene(tenants=400, workers=10, concurrency=5, killed_workers=2)


def test_limits_are_kept_and_only_what_was_interrupted_begins_again() -> None:
    outcome = asyncio.run(simulate(SCENE))
    assert outcome.most_running == SCENE.slots
    assert outcome.killed_tasks == SCENE.killed_workers * SCENE.concurrency
    assert outcome.begun_again == outcome.killed_tasks
    assert outcome.repeated_by_driver == 0
    assert outcome.stages == SCENE.tenants * 3


def test_a_take_over_takes_five_seconds_at_most() -> None:
    outcome = asyncio.run(simulate(SCENE))
    # A worker's silence is counted from its last heartbeat, which is up to one interval older than its death.
    silent = ExecutorSettings().worker_timeout_seconds - HEARTBEAT_SECONDS
    assert silent < outcome.last_beginning_seconds <= 5.0
    assert LEASE_SECONDS < outcome.driver_gap_seconds <= 5.0
