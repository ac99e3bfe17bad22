"""
One hundred workers, simulated: is admission still exact, does one driver keep up, how long does a take-over take?

    python -m benchmarks.simulation.run
    python -m benchmarks.simulation.run --workers 10 --tenants 1000

The driver is the real one (scheduling, limits, state, events, recovery), and so is what hears and watches workers, and
every worker. Simulated are time, the database's latency, the queue that brings jobs, and the stages, which only take
their time. Times called "simulated" are of the clock of the simulation and the same on every machine; "CPU" is what
the driver, the database in memory and all workers took on this one.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.simulation.book import SimulatedBook, SimulatedStore
from benchmarks.simulation.fleet import Fleet, Hands
from switchover import CompositeServiceStage, Executor, ExecutorSettings, PlanStatus
from switchover.bootstrap import open_executor
from switchover.testing.clock import ManualClock

STAGES = 3
LEASE_SECONDS = 4.0
"""After which a driver that is silent has lost its lease, as with PostgreSQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is simulated; times in seconds of the simulated clock."""

    tenants: int = 20_000
    workers: int = 100
    concurrency: int = 64
    stage_seconds: float = 5.0
    commit_seconds: float = 0.004
    statement_seconds: float = 0.002
    killed_workers: int = 10

    @property
    def slots(self) -> int:
        """How many tasks all workers have at once."""
        return self.workers * self.concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    What came of it.

    Attributes:
        most_running: Tasks that held a slot at any one commit; the limit is the number of slots.
        ideal_seconds: The work that was done divided by all slots, those of the dead included, to the last instant.
        last_beginning_seconds: From the death of workers to the moment when the last of their stages had begun again.
        driver_gap_seconds: From the death of the driver to the first commit of the next one.
        begun_again: Stages of dead workers; nothing else may begin again.
        repeated_by_driver: Stages that began again since the driver died.
    """

    simulated_seconds: float
    ideal_seconds: float
    cpu_seconds: float
    stages: int
    commits: int
    most_running: int
    killed_tasks: int
    begun_again: int
    last_beginning_seconds: float
    driver_gap_seconds: float
    repeated_by_driver: int


class Simulation:
    """One plan, from its admission to its end, with what happens to it on the way."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.clock = ManualClock()
        self.book = SimulatedBook(self.clock, scene.statement_seconds)
        self.hands = Hands(self.clock, scene.stage_seconds)
        self.fleet = Fleet(
            book=self.book, clock=self.clock, hands=self.hands, workers=scene.workers, concurrency=scene.concurrency
        )
        self.stores: list[SimulatedStore] = []

    def store(self) -> SimulatedStore:
        """The same data, for one more process."""
        beside = self.stores[0] if self.stores else None
        self.stores.append(SimulatedStore(self.book, self.clock, self.scene.commit_seconds, beside=beside))
        return self.stores[-1]

    def driver(self) -> Any:  # noqa: ANN401  # a context manager of the bootstrap
        """A process that drives as soon as nobody else does."""
        return open_executor(
            "memory://",
            settings=ExecutorSettings(task_progress_interval_seconds=10.0),
            clock=self.clock,
            store=self.store(),
            stage_factory=_stages,
            stages_by="workers",
            grace_seconds=0.0,
        )

    async def run(self) -> Outcome:
        """From the start to the end."""
        began = time.process_time()
        await self.fleet.start()
        async with self.driver() as first, self.driver() as second:
            created = await first.facade.create_switch_task(
                [{"tenantId": f"t{i}", "deployUnitId": 2, "deployUnitVersion": 42} for i in range(self.scene.tenants)],
                options={"maxConcurrency": self.scene.slots},
            )
            if created.plan_id is None:
                raise RuntimeError(created.message)
            start = self.clock.monotonic()
            await self.clock.sleep(self.scene.stage_seconds * 2)
            killed, last_beginning = await self._kill_workers()
            again = self.book.tally.begun_again
            gap = await self._kill_driver(second)
            ended = await second.wait_for_plan(created.plan_id)
            if ended.status is not PlanStatus.COMPLETED:
                message = f"the plan is {ended.status}"
                raise RuntimeError(message)
            wall = self.clock.monotonic() - start
        await self.fleet.stop()
        tally = self.book.tally
        return Outcome(
            simulated_seconds=wall,
            ideal_seconds=self.hands.worked_seconds / self.scene.slots,
            cpu_seconds=time.process_time() - began,
            stages=self.hands.carried_out,
            commits=tally.commits,
            most_running=tally.most_running,
            killed_tasks=killed,
            begun_again=again,
            last_beginning_seconds=last_beginning,
            driver_gap_seconds=gap,
            repeated_by_driver=tally.begun_again - again,
        )

    async def _kill_workers(self) -> tuple[int, float]:
        """Some die at once: how many tasks they had, and when the last of them had begun again elsewhere."""
        dead_at = self.clock.monotonic()
        before = self.book.tally.begun_again
        killed = sum(self.fleet.kill(member) for member in self.fleet.members[: self.scene.killed_workers])
        while self.book.tally.begun_again - before < killed and self.clock.monotonic() - dead_at < 60:
            await self.clock.sleep(0.05)
        return killed, self.clock.monotonic() - dead_at

    async def _kill_driver(self, second: Executor) -> float:
        """The driver dies; how long until the next one has committed something."""
        dead_at = self.clock.monotonic()
        self.stores[0].cut_off()
        await self.clock.sleep(LEASE_SECONDS)
        self.stores[0].lose_lease()
        commits = self.book.tally.commits
        while self.book.tally.commits == commits:
            await self.clock.sleep(0.05)
        if not second.driving:
            raise RuntimeError("somebody else drives")
        return self.clock.monotonic() - dead_at


def _stages(config: object) -> Sequence[CompositeServiceStage]:
    del config
    return tuple(CompositeServiceStage(f"s{number}", ()) for number in range(STAGES))


async def simulate(scene: Scene) -> Outcome:
    """Run one simulation; takes as long as its CPU time."""
    simulation = Simulation(scene)
    return await simulation.clock.run(simulation.run())


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    for name, kind in (("tenants", int), ("workers", int), ("concurrency", int), ("killed-workers", int)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Scene(), name.replace("-", "_")))
    chosen = parser.parse_args()
    scene = Scene(**vars(chosen))
    print(json.dumps({"scene": asdict(scene), "outcome": asdict(asyncio.run(simulate(scene)))}, indent=2))


if __name__ == "__main__":
    main()
