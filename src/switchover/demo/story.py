"""
The story: a dozen tenants go from blue to green, one does not come up, is repaired and goes on, and one comes back.

Everything that is said to be so is looked up first: in the routing table, at the instances, in the event log.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol, cast

import aiohttp
from rich.console import Console

from switchover.bootstrap import Executor, open_executor
from switchover.demo.board import Board, follow
from switchover.demo.fleet import (
    BLUE_VERSION,
    BROKEN_ANSWER,
    GENERATION_HEADER,
    GREEN_VERSION,
    WARM_UP_SECONDS,
    Fleet,
    Route,
    running_fleet,
)
from switchover.demo.narration import Narrator
from switchover.demo.scenario import (
    ATTEMPTS,
    BROKEN,
    MAX_CONCURRENCY,
    RETURNING,
    SERVICES,
    TENANTS,
    plan_text,
    table_before,
)
from switchover.domain.events import Event, EventType
from switchover.domain.plan import PlanStatus
from switchover.domain.task import TaskStatus
from switchover.dto import TaskOperationResult
from switchover.errors import ExecutorError
from switchover.planfile import load_plan

DATABASE = "switchover.db"
PLAN_FILE = "plan.yaml"
_WATCHED = ((0.4, 1.6), 16)
"""How long instances warm up, and how often they are asked, when people watch."""
_WATCHED_BEAT_SECONDS = 2.5
_USAGE = 2
"""The exit code of a command line that cannot be carried out."""


class Audience(Protocol):
    """Somebody who watches in a browser."""

    async def arrive(self) -> None:
        """Wait until they are there."""
        ...

    async def leave(self) -> None:
        """Wait until they have seen enough."""
        ...


Invite = Callable[[Executor], AbstractAsyncContextManager[Audience]]


async def run_demo(console: Console, *, directory: Path | None = None, invite: Invite | None = None) -> int:
    """
    Tell the story.

    Args:
        directory: Where plan file and database stay afterwards; None: nowhere.
        invite: Opens the doors to those who watch in a browser; then the story waits for them, and takes its time.

    Returns:
        0 when everything that was claimed was proven, 1 when not, 2 when the directory has a database already.
    """
    narrator = Narrator(console, beat_seconds=None if invite is None else _WATCHED_BEAT_SECONDS)
    with ExitStack() as stack:
        if directory is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchover-demo-")))
        else:
            place = directory
            place.mkdir(parents=True, exist_ok=True)
            if (place / DATABASE).exists():
                console.print(f"{place / DATABASE} is there already; give the demo a new directory.", highlight=False)
                return _USAGE
        try:
            warm_up, attempts = (WARM_UP_SECONDS, ATTEMPTS) if invite is None else _WATCHED
            async with running_fleet(table_before(), warm_up_seconds=warm_up) as fleet:
                (place / PLAN_FILE).write_text(plan_text(fleet, attempts=attempts), encoding="utf-8")
                async with open_executor(f"sqlite:///{place / DATABASE}") as executor, AsyncExitStack() as doors:
                    audience = None if invite is None else await doors.enter_async_context(invite(executor))
                    if audience is not None:
                        await audience.arrive()
                    await _Story(narrator, fleet, executor, place / PLAN_FILE).tell()
                    if audience is not None:
                        _verdict(narrator, directory)
                        await audience.leave()
                        return 1 if narrator.failed else 0
        except (TimeoutError, ExecutorError, aiohttp.ClientError) as error:
            narrator.claim(holds=False, text=f"the demo runs to its end: {type(error).__name__}: {error}")
    return _verdict(narrator, directory)


def _verdict(narrator: Narrator, directory: Path | None) -> int:
    narrator.console.print()
    if narrator.failed:
        narrator.say(f"[bold red]{len(narrator.failed)} claims did not hold[/], {narrator.proven} did.")
        return 1
    narrator.say(
        f"[bold green]Everything shown was proven:[/] {narrator.proven} claims, checked in the routing table, at the "
        f"instances and in the event log, in {narrator.seconds:.1f} s."
    )
    if directory is None:
        narrator.command("switchover demo --keep DIR", "leaves its database there")
    else:
        narrator.say("The fleet is gone, its history is not:")
        database = directory / DATABASE
        narrator.command(f"switchover get tasks 42 --db {database}")
        narrator.command(f"switchover history {RETURNING} --db {database}")
    return 0


@dataclass(slots=True)
class _Story:
    narrator: Narrator
    fleet: Fleet
    executor: Executor
    plan_file: Path
    plan_id: int = 0
    position: int = 0
    board: Board = field(default_factory=lambda: Board(SERVICES))
    before: dict[Route, bytes] = field(default_factory=dict[Route, bytes])

    async def tell(self) -> None:
        """All chapters, in order."""
        self.before = dict(self.fleet.table.entries)
        self._introduce()
        await self._switch()
        await self._show_failure()
        await self._repair_and_retry()
        await self._return_one()
        await self._check_the_record()

    # Chapters

    def _introduce(self) -> None:
        say = self.narrator.say
        say("[bold]Switchover demo[/]: a fleet of twelve tenants moves from one deploy unit to another.")
        say(
            f"In this process, over real HTTP: a routing table ({self.fleet.url}), the unit [blue]blue[/] with version "
            f"{BLUE_VERSION} ({self.fleet.blue}) and the unit [green]green[/] with version {GREEN_VERSION} "
            f"({self.fleet.green}). Everybody is on blue."
        )

    async def _switch(self) -> None:
        narrator = self.narrator
        await narrator.chapter(f"Switch: {len(TENANTS)} tenants, {MAX_CONCURRENCY} at a time")
        narrator.say(
            "Per tenant and service: keep what the routing table holds, write the new entry, tell the instances, and "
            f"ask them until they report version {GREEN_VERSION}. Only then comes the next service."
        )
        narrator.command(f"switchover run {PLAN_FILE}")
        self.fleet.broken.add(BROKEN)
        plan = load_plan(self.plan_file)
        created = await self.executor.facade.create_switch_task(
            plan.configs,
            options=plan.options,
            metadata=cast("Mapping[str, object] | None", plan.metadata),
        )
        if created.plan_id is None:
            narrator.quote("\n".join(f"{finding.field}: {finding.message}" for finding in created.findings))
            raise ExecutorError(created.message)
        self.plan_id = created.plan_id
        await self._follow(TENANTS)
        others = [tenant for tenant in TENANTS if tenant != BROKEN.tenant]
        narrator.claim(
            holds=self.board.most_at_once == MAX_CONCURRENCY,
            text=f"never more than {MAX_CONCURRENCY} tenants ran at the same time (the event log says "
            f"{self.board.most_at_once})",
        )
        narrator.claim(
            holds=all(self._on(tenant, GREEN_VERSION) for tenant in others),
            text=f"{len(others)} tenants are on green: every entry names, and every instance serves, version "
            f"{GREEN_VERSION}",
        )

    async def _show_failure(self) -> None:
        narrator = self.narrator
        await narrator.chapter("One tenant failed; it stopped nobody else")
        plan = await self.executor.facade.query_plan_status(self.plan_id)
        task = await self.executor.facade.query_task_status_by_tenant(BROKEN.tenant)
        narrator.say(
            f"The plan is [bold]{plan.status}[/]. `run` exits with code 20. The failure says who, where, what was "
            "expected, what came, and the next move; nobody has to read a log:"
        )
        narrator.command(f"switchover get task {task.task_id}")
        message = "" if task.failure_info is None else task.failure_info.message
        narrator.quote(message, style="red")
        narrator.claim(
            holds=plan.status is PlanStatus.PARTIAL_FAILED
            and plan.counts == {TaskStatus.COMPLETED: len(TENANTS) - 1, TaskStatus.FAILED: 1},
            text="the plan is PARTIAL_FAILED: 11 tasks COMPLETED, 1 FAILED",
        )
        needed = (BROKEN.tenant, BROKEN.service, "healthCheck", self.fleet.green, str(GREEN_VERSION), BROKEN_ANSWER)
        narrator.claim(
            holds=all(part in message for part in needed),
            text="the message names tenant, stage, step, endpoint, expected version and the answer",
        )
        untouched = Route(BROKEN.tenant, SERVICES[-1])
        narrator.claim(
            holds=self.fleet.table.entries[untouched] == self.before[untouched] and untouched not in self._written(),
            text=f"{BROKEN.tenant} stopped where it failed: gateway is on green, reports was not touched",
        )

    async def _repair_and_retry(self) -> None:
        narrator = self.narrator
        await narrator.chapter("Repair, then go on from the checkpoint")
        narrator.say(
            f"Somebody applies the missing migration of {BROKEN.tenant}. Its gateway is done and stays as it is:"
        )
        self.fleet.broken.clear()
        narrator.command(f"switchover retry --tenant {BROKEN.tenant} --from checkpoint")
        writes_before = len(self.fleet.table.writes)
        result = await self.executor.facade.retry_task_by_tenant(BROKEN.tenant, from_checkpoint=True)
        self._answered(result)
        events = await self._follow((BROKEN.tenant,))
        plan = await self.executor.facade.query_plan_status(self.plan_id)
        ran = [event.data["stage"] for event in events if event.type is EventType.TASK_STAGE_STARTED]
        written = {write.route.service for write in self.fleet.table.writes[writes_before:]}
        narrator.claim(
            holds=ran == ["billing", "reports"] and written == {"billing", "reports"},
            text=f"the completed stage was not repeated: the retry ran {' and '.join(map(str, ran))}, and nothing "
            "else was written",
        )
        narrator.claim(
            holds=plan.status is PlanStatus.COMPLETED and all(self._on(tenant, GREEN_VERSION) for tenant in TENANTS),
            text=f"the plan is COMPLETED: all {len(TENANTS)} tenants are on green",
        )

    async def _return_one(self) -> None:
        narrator = self.narrator
        table = self.fleet.table
        routes = [Route(RETURNING, service) for service in SERVICES]
        await narrator.chapter(f"{RETURNING} wants to go back")
        narrator.say(
            "Its old entries are not what Switchover would write: odd spacing, one that is no JSON, one that was "
            "never there. Now it is on green:"
        )
        switched = {route: table.generations[route] for route in routes}
        narrator.entries((route.service, "now", switched[route], table.entries.get(route)) for route in routes)
        narrator.command(f"switchover rollback --tenant {RETURNING}")
        result = await self.executor.facade.rollback_task_by_tenant(RETURNING)
        self._answered(result)
        events = await self._follow((RETURNING,))
        narrator.say("Before the switch, and after the rollback:")
        narrator.entries(
            row
            for route in routes
            for row in (
                (route.service, "before", 0, self.before.get(route)),
                ("", "after", table.generations[route], table.entries.get(route)),
            )
        )
        restored = [event.data["stage"] for event in events if event.type is EventType.TASK_STAGE_ROLLED_BACK]
        narrator.claim(
            holds=all(table.entries.get(route) == self.before.get(route) for route in routes),
            text="every entry is byte for byte what it was before the switch; the one that was not there is gone again",
        )
        narrator.claim(
            holds=restored == list(reversed(SERVICES)) and self._on(RETURNING, BLUE_VERSION),
            text=f"in reverse order, each service confirmed by its blue instances: version {BLUE_VERSION} is served",
        )
        narrator.claim(
            holds=all(table.generations[route] > switched[route] for route in routes),
            text="the generations beside the entries rose, so that nobody takes the rollback for old news",
        )
        await self._knock_late(routes[0], switched[routes[0]])

    async def _knock_late(self, route: Route, generation: int) -> None:
        """What a process would do that froze during the switch and wakes up now."""
        url = f"{self.fleet.url}/routes/{route.tenant}/{route.service}"
        headers = {GENERATION_HEADER: str(generation)}
        async with aiohttp.ClientSession() as session, session.put(url, data=b"late", headers=headers) as response:
            self.narrator.claim(
                holds=response.status == 409  # noqa: PLR2004  # what a target answers to an old generation
                and self.fleet.table.entries.get(route) == self.before.get(route),
                text=f"a frozen process that wakes up and writes with generation {generation} is refused (409)",
            )

    async def _check_the_record(self) -> None:
        narrator = self.narrator
        await narrator.chapter("The record")
        narrator.command(f"switchover events --plan {self.plan_id}")
        events = [event async for event in self.executor.events(self.plan_id, follow=False)]
        narrator.say(f"{len(events)} events, stored in the same commits as what they report.")
        narrator.claim(holds=_is_complete(events), text="no event is missing and none is there twice: plan and tasks")
        narrator.claim(
            holds=_one_writer_at_a_time(self.fleet),
            text="no entry was ever written by two runs at once: generations never fell",
        )
        others = [tenant for tenant in TENANTS if tenant != RETURNING]
        narrator.claim(
            holds=all(self._on(tenant, GREEN_VERSION) for tenant in others),
            text=f"the other {len(others)} tenants are where they were: on green",
        )

    # Looking things up

    async def _follow(self, tenants: Sequence[str]) -> list[Event]:
        self.board.shown = tenants
        events = await follow(self.narrator, self.board, self.executor, self.plan_id, self.position)
        self.position = events[-1].position
        return events

    def _answered(self, result: TaskOperationResult) -> None:
        if result.success:
            self.narrator.answer(result.message)
        else:
            self.narrator.claim(holds=False, text=result.message)

    def _on(self, tenant: str, version: int) -> bool:
        routes = [Route(tenant, service) for service in SERVICES]
        return all(self.fleet.table.version_of(r) == version and self.fleet.served(r) == version for r in routes)

    def _written(self) -> set[Route]:
        return {write.route for write in self.fleet.table.writes}


def _is_complete(events: Sequence[Event]) -> bool:
    counters: dict[str, list[int]] = {}
    for event in events:
        counters.setdefault(event.task_id or "plan", []).append(event.sequence_id)
    rising = all(first.position < second.position for first, second in pairwise(events))
    return rising and all(ids == list(range(1, len(ids) + 1)) for ids in counters.values())


def _one_writer_at_a_time(fleet: Fleet) -> bool:
    last: dict[str, int] = {}
    for write in fleet.table.writes:
        if write.generation < last.get(write.route.tenant, 0):
            return False
        last[write.route.tenant] = write.generation
    return True
