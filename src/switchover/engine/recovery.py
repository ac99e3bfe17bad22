"""
What a restarted process picks up, and how it claims it.

Tasks that were RUNNING or ROLLING_BACK go on from what is recorded: under a new generation, with the stage that was
interrupted, which is announced again. They hold their slots already, so they come before everybody who waits.
Everything else keeps its status, its lock and its place in the queue. Source: behaviour, section 9.

A run whose stages are carried out elsewhere goes on there, if whoever does it is alive: the end of a driver does not
interrupt it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from switchover.domain.task import TaskKey
from switchover.engine.boundaries import Boundaries
from switchover.engine.executor import TaskExecutor
from switchover.engine.records import PlanRecord, Residents, TaskRecord
from switchover.engine.scheduler import TaskScheduler
from switchover.logs import get_log
from switchover.spi import ExecutionStore

_log = get_log("switchover.recovery")

_PAGE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """
    Picks up the work of a driver that is gone.

    Args:
        pause: Tasks that were RUNNING become PAUSED instead of going on.
    """

    store: ExecutionStore
    residents: Residents
    boundaries: Boundaries
    executor: TaskExecutor
    scheduler: TaskScheduler
    pause: bool

    async def run(self, plans: Sequence[PlanRecord]) -> None:
        """Pick up every plan: first what ran, then what waits."""
        for plan in plans:
            if plan.occupied_slots:
                await self._running(plan)
        for plan in plans:
            await self.scheduler.adopt_plan(plan)

    async def _running(self, plan: PlanRecord) -> None:
        after = 0
        while page := await self.store.load_live(plan.plan.plan_id, after, _PAGE):
            after = page[-1].ordinal
            keys = [TaskKey(plan.plan.plan_id, live.ordinal) for live in page if live.status.holds_slot]
            await self.residents.load(keys)
            for key in keys:
                record = self.residents.tasks[key]
                self.executor.prepare(plan, record)
                started = self._adopted(record) or self.boundaries.recover(plan, record, pause=self.pause)
                if record.task.status.holds_slot:
                    self.scheduler.launch(plan, record, started)
            if keys:
                _log.info("picked up what ran when the last driver ended", plan_id=plan.plan.plan_id, tasks=len(keys))

    def _adopted(self, record: TaskRecord) -> asyncio.Future[None] | None:
        """What is done already, for a run that goes on elsewhere as it is; None when it has to be begun anew."""
        delegate = self.executor.delegate
        if self.pause or delegate is None or not delegate.adopts(record):
            return None
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        begun.set_result(None)
        return begun
