"""
What the processes do.

A script knows where it stands from the store alone, so that any number of its lives does what one would have done. What
a person was told goes into the file ``acknowledged``, outside the store, right after it was told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from switchover import TaskOperationResult, TaskStatus
from switchover.bootstrap import Executor
from tests.campaigns.crash.fate import Fate
from tests.campaigns.crash.stages import ASKED, STAGES, append

_POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class World:
    """What a life has."""

    executor: Executor
    fate: Fate

    def acknowledged(self, verb: str, target: str) -> None:
        """Somebody was told so."""
        self.fate.reach("told")
        append(self.fate.folder / "acknowledged", f"{verb} {target}")
        self.fate.reach("noted")

    async def create(
        self, plan_id: int, tenants: Sequence[str], options: Mapping[str, object], *, version: int = 42
    ) -> None:
        """Create the plan, or learn that it was created."""
        self.fate.phase = "creating"
        created = await self.executor.facade.create_switch_task(
            configs(tenants, version), options={"planId": plan_id, **options}, idempotency_key=f"once-{plan_id}"
        )
        assert created.success, created
        self.acknowledged("create", f"{plan_id} {len(tenants)}")
        self.fate.phase = "running"

    async def ask(self, verb: str, target: str, request: Awaitable[TaskOperationResult], *, sure: bool = True) -> bool:
        """Ask, and note what was accepted."""
        result = await request
        assert result.success or not sure, result
        if result.success:
            self.acknowledged(verb, target)
        return result.success

    async def status(self, tenant: str) -> TaskStatus | None:
        """Of the tenant's task; None before there is one."""
        found = await self.executor.facade.query_task_status_by_tenant(tenant)
        return found.status if found.found else None

    async def until(self, tenant: str, *statuses: TaskStatus) -> TaskStatus:
        """Wait for one of these."""
        while True:
            status = await self.status(tenant)
            if status in statuses:
                return status
            await asyncio.sleep(_POLL_SECONDS)

    def is_there(self, name: str) -> bool:
        """Whether a file of the script is there."""
        return (self.fate.folder / name).exists()

    def leave(self, name: str) -> None:
        """Put a file there."""
        append(self.fate.folder / name, "yes")


Part = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """
    One story.

    Attributes:
        drive: What the driving process does.
        ask: What a second process asks of it meanwhile.
        server: Whether a configuration service is among the targets.
        phases: In which deaths are worth the most, beside all others.
        stages: Keywords of ``stage_factory``.
        weight: How many cases of a campaign, compared with the others.
    """

    drive: Part
    ask: Part | None = None
    server: bool = False
    phases: tuple[str, ...] = ()
    stages: Mapping[str, Any] = field(default_factory=dict[str, Any])
    weight: int = 1
    stops: bool = False


def configs(tenants: Sequence[str], version: int) -> list[dict[str, Any]]:
    """A switch for each, from the version before."""
    return [
        {
            "tenantId": tenant,
            "deployUnitId": version - 40,
            "deployUnitVersion": version,
            "sourceTenantDeployConfig": {
                "tenantId": tenant,
                "deployUnitId": version - 41,
                "deployUnitVersion": version - 1,
            },
        }
        for tenant in tenants
    ]


# --- one process ----------------------------------------------------------------------------------------------------


async def _story(world: World) -> None:
    """One tenant fails and is retried, one is rolled back."""
    facade = world.executor.facade
    await world.create(7, ("a", "b", "c"), {"maxConcurrency": 2})
    await world.executor.wait_for_plan(7)
    if not world.is_there("repaired"):
        world.leave("repaired")
    if await world.status("b") is TaskStatus.FAILED:
        world.fate.phase = "retrying"
        await world.ask("retry", "b", facade.retry_task_by_tenant("b", True))
        await world.executor.wait_for_plan(7)
    if await world.status("c") is TaskStatus.COMPLETED:
        world.fate.phase = "rolling back"
        await world.ask("rollback", "c", facade.rollback_task_by_tenant("c"))
    elif await world.status("c") is not TaskStatus.ROLLED_BACK:
        world.fate.phase = "rolling back"
    await world.executor.wait_for_plan(7)


async def _automatic(world: World) -> None:
    """A tenant fails, is rolled back by the plan's policy, and is on hold then."""
    rules = {"maxConcurrency": 2, "rollback": {"onFailure": "auto", "hold": True}}
    await world.create(9, ("a", "b", "c"), rules)
    await world.executor.wait_for_plan(9)
    if await world.status("a") is TaskStatus.COMPLETED:
        world.fate.phase = "holding"
        await world.ask("hold", "a", world.executor.facade.hold_tenant("a", "a person looks at it"))


async def _queue(world: World) -> None:
    """A second plan waits for the tenants of the first: each lock goes from the one to the other."""
    tenants = ("a", "b", "c", "d")
    await world.create(1, tenants, {"maxConcurrency": 2})
    await world.create(2, tenants, {"maxConcurrency": 3, "onConflict": "wait"}, version=43)
    await world.executor.wait_for_plan(1)
    await world.executor.wait_for_plan(2)


async def _crowd(world: World) -> None:
    """Hundreds of tenants, 96 at once: commits hold hundreds of entries. Then all of them are rolled back."""
    tenants = [f"t{number}" for number in range(300)]
    await world.create(3, tenants, {"maxConcurrency": 96})
    plan = await world.executor.wait_for_plan(3)
    if plan.status is not None and plan.status.value == "COMPLETED":
        world.fate.phase = "rolling back"
        facade = world.executor.facade
        await world.ask("rollback-plan", "3", facade.rollback_task_by_plan(3))
        await world.executor.wait_for_plan(3)


async def _large(world: World) -> None:
    """The creation of a large plan is what matters here."""
    await world.create(4, [f"t{number}" for number in range(1_500)], {"maxConcurrency": 128})
    await world.executor.wait_for_plan(4)


async def _thousands(world: World) -> None:
    """Ten thousand tenants."""
    await world.create(6, [f"t{number}" for number in range(10_000)], {"maxConcurrency": 64})
    await world.executor.wait_for_plan(6)


# --- two processes --------------------------------------------------------------------------------------------------


async def _answer(world: World) -> None:
    """Drive until the other process has asked for everything and all of it is done."""
    await world.create(5, ASKED, {"maxConcurrency": 8})
    while not world.is_there("asked"):  # noqa: ASYNC110  # another process leaves it
        await asyncio.sleep(_POLL_SECONDS)
    await world.executor.wait_for_plan(5)


async def _ask(world: World) -> None:
    """Ask for each verb in a state in which its outcome is the same whenever it is decided."""
    world.fate.phase = "asking"
    for tenant in ASKED:
        await _TENANTS[tenant](world)
    if not world.is_there("asked"):
        world.leave("asked")


async def _while_gated(world: World, tenant: str, *verbs: str) -> None:
    """While its first stage waits at the gate."""
    if world.is_there(f"gate-{tenant}"):
        return
    await world.until(tenant, TaskStatus.RUNNING)
    facade = world.executor.facade
    for verb in verbs:
        await world.ask(verb, tenant, getattr(facade, f"{verb}_task_by_tenant")(tenant))
    world.leave(f"gate-{tenant}")


async def _pausing(world: World) -> None:
    await _while_gated(world, "pausing", "pause")
    while await world.until("pausing", TaskStatus.PAUSED, TaskStatus.COMPLETED) is TaskStatus.PAUSED:
        await world.ask("resume", "pausing", world.executor.facade.resume_task_by_tenant("pausing"), sure=False)
        await world.until("pausing", TaskStatus.COMPLETED)


async def _cancelling(world: World) -> None:
    await _while_gated(world, "cancelling", "cancel")
    await world.until("cancelling", TaskStatus.CANCELLED)


async def _undoing(world: World) -> None:
    await _while_gated(world, "undoing", "rollback")
    await world.until("undoing", TaskStatus.ROLLED_BACK)


async def _wavering(world: World) -> None:
    await _while_gated(world, "wavering", "pause", "resume")
    await world.until("wavering", TaskStatus.COMPLETED)


async def _failing(world: World) -> None:
    facade = world.executor.facade
    if not world.is_there("repaired"):
        await world.until("failing", TaskStatus.FAILED)
        world.leave("repaired")
    done = (TaskStatus.FAILED, TaskStatus.COMPLETED, TaskStatus.ROLLED_BACK)
    if await world.until("failing", *done) is TaskStatus.FAILED:
        await world.ask("retry", "failing", facade.retry_task_by_tenant("failing", True), sure=False)
    if await world.until("failing", *done[1:]) is TaskStatus.COMPLETED:
        await world.ask("rollback", "failing", facade.rollback_task_by_tenant("failing"), sure=False)
    await world.until("failing", TaskStatus.ROLLED_BACK)


async def _plain(world: World) -> None:
    await world.until("plain", TaskStatus.COMPLETED)
    await world.ask("hold", "plain", world.executor.facade.hold_tenant("plain", "asked from outside"))


_TENANTS: Mapping[str, Part] = {
    "pausing": _pausing,
    "cancelling": _cancelling,
    "undoing": _undoing,
    "failing": _failing,
    "wavering": _wavering,
    "plain": _plain,
}

SCRIPTS: Mapping[str, Script] = {
    "story": Script(
        drive=_story, server=True, phases=("rolling back", "opening"), stages={"failing": ("b", STAGES[1])}, weight=8
    ),
    "stop": Script(drive=_story, phases=("stopping",), stages={"failing": ("b", STAGES[1])}, weight=3, stops=True),
    "automatic": Script(drive=_automatic, server=True, stages={"failing": ("b", STAGES[1])}, weight=3),
    "queue": Script(drive=_queue, phases=("creating",), weight=3),
    "crowd": Script(drive=_crowd, phases=("rolling back",), stages={"every": 10}, weight=3),
    "large": Script(drive=_large, phases=("creating",), stages={"every": 10_000, "names": STAGES[:1]}, weight=1),
    "thousands": Script(drive=_thousands, stages={"every": 1_000}, weight=0),
    "requests": Script(
        drive=_answer,
        ask=_ask,
        phases=("running", "asking"),
        stages={
            "failing": ("failing", STAGES[1]),
            "gated": frozenset({"pausing", "cancelling", "undoing", "wavering"}),
        },
        weight=6,
    ),
}
