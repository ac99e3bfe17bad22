"""One round after another: a plan, disturbances, and what has to be true when they are over."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from switchover import PlanStatus
from switchover.bootstrap import Executor, open_executor
from switchover.domain.events import Event
from tests.campaigns.chaos.program import STAGES
from tests.campaigns.chaos.target import RecordingTarget
from tests.campaigns.chaos.world import World
from tests.support.event_grammar import assert_legal_log, most_at_once
from tests.support.postgres import run_sql

TENANTS = 24
LIMIT = 8
_PATIENCE_SECONDS = 180.0


@dataclass
class Round:
    """What came of one."""

    number: int
    problems: list[str] = field(default_factory=list)
    repeated: int = 0
    """Stages that began again under a higher generation."""


async def play(world: World, number: int, disturbances: int) -> Round:
    """A plan forward, or forward and back; judged when it has settled."""
    done = Round(number)
    async with open_executor(world.url, mode="read", stage_factory=lambda _: ()) as here:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await _forward(world, here, number, disturbances)
                if number % 2 == 0:
                    await _back(world, here, number, disturbances)
        except TimeoutError:
            info = await here.facade.query_plan_status(number)
            done.problems.append(f"after {_PATIENCE_SECONDS:g} s it has not settled: {info.to_dict()}")
            return done
        log = [event async for event in here.events(number, follow=False)]
        done.repeated = sum(1 for event in log if event.data.get("recovered"))
        done.problems += await _judge(world, here, number, log)
    return done


async def _forward(world: World, here: Executor, number: int, disturbances: int) -> None:
    tenants = [f"r{number}t{tenant}" for tenant in range(TENANTS)]
    created = await here.facade.create_switch_task(
        [_config(tenant) for tenant in tenants], options={"planId": number, "maxConcurrency": LIMIT}
    )
    assert created.success, created.message
    await _settles(world, here, number, disturbances)


async def _back(world: World, here: Executor, number: int, disturbances: int) -> None:
    asked = await here.facade.rollback_task_by_plan(number)
    assert asked.success, asked.message
    await _settles(world, here, number, disturbances)


async def _settles(world: World, here: Executor, number: int, disturbances: int) -> None:
    waiting = asyncio.ensure_future(here.wait_for_plan(number))
    try:
        await world.disturb(waiting.done, disturbances)
        await world.mend()
        await waiting
    finally:
        waiting.cancel()


async def _judge(world: World, here: Executor, number: int, log: Sequence[Event]) -> list[str]:
    problems: list[str] = []
    try:
        assert_legal_log(log, stages=list(STAGES))
    except AssertionError as error:
        problems.append(f"the log is not legal: {error}")
    if [event.position for event in log] != list(range(1, len(log) + 1)):
        problems.append("positions have a gap, or come twice")
    if most_at_once(log) > LIMIT:
        problems.append(f"{most_at_once(log)} tasks at once, and {LIMIT} are allowed")
    info = await here.facade.query_plan_status(number)
    wanted = PlanStatus.ROLLED_BACK if number % 2 == 0 else PlanStatus.COMPLETED
    if info.status is not wanted:
        problems.append(f"it is {info.status}: {info.counts}")
    problems += await here.store.check()
    left = await run_sql(world.url, "SELECT * FROM stage_order")
    if left:
        problems.append(f"orders are left: {left}")
    target = RecordingTarget(world.folder / "target")
    for tenant in range(TENANTS):
        problems += judge_target(target, f"r{number}t{tenant}", back=number % 2 == 0)
    return problems


def judge_target(target: RecordingTarget, tenant: str, *, back: bool) -> list[str]:
    """What a tenant's target has taken that it should not have, or lacks."""
    problems: list[str] = []
    writers: dict[tuple[int, str], int] = {}
    highest = 0
    writes = target.writes(tenant)
    for write in writes:
        if write.generation < highest:
            problems.append(f"{tenant}: generation {write.generation} was taken after {highest}")
        highest = max(highest, write.generation)
        if writers.setdefault((write.generation, write.stage), write.pid) != write.pid:
            problems.append(f"{tenant}: two processes wrote stage {write.stage} in generation {write.generation}")
    forward = [write.stage for write in writes if not write.restoring]
    if list(dict.fromkeys(forward)) != list(STAGES):
        problems.append(f"{tenant}: stages {forward}")
    restored = [write.stage for write in writes if write.restoring]
    if list(dict.fromkeys(restored)) != (list(reversed(STAGES)) if back else []):
        problems.append(f"{tenant}: restored {restored}")
    return problems


def _config(tenant: str) -> dict[str, Any]:
    unit = {"tenantId": tenant, "deployUnitId": 1, "deployUnitVersion": 41}
    return {**unit, "deployUnitId": 2, "deployUnitVersion": 42, "sourceTenantDeployConfig": unit}


async def campaign(
    world: World, rounds: int, disturbances: int, tell: Callable[[Round], None] = lambda _: None
) -> dict[str, object]:
    """All rounds, in numbers."""
    played: list[Round] = []
    for number in range(1, rounds + 1):
        played.append(await play(world, number, disturbances))
        tell(played[-1])
    return {
        "rounds": len(played),
        "tenants": len(played) * TENANTS,
        "stagesRepeated": sum(done.repeated for done in played),
        "done": dict(sorted(world.did.items())),
        "problems": [f"round {done.number}: {problem}" for done in played for problem in done.problems],
    }
