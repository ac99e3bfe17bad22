"""Examines a whole store: whether what it says agrees with itself."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from switchover.adapters.stores.redis.reader import Reader
from switchover.adapters.stores.redis.server import Server
from switchover.adapters.stores.redis.values import TenantRow
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId

_PAGE: Final = 1_000


@dataclass(slots=True)
class _Sequences:
    """How many events somebody has, and how they are numbered."""

    number: int = 0
    first: int = 0
    last: int = 0

    def add(self, sequence_id: int) -> None:
        self.number += 1
        self.first = self.first or sequence_id
        self.last = sequence_id

    def problem(self, name: str, start: int, last: int) -> Iterator[str]:
        """What is wrong when they should run from one number to another."""
        if self.number != last - start + 1 or (self.number and (self.first != start or self.last != last)):
            span = f"{self.first} to {self.last}" if self.number else "none"
            yield f"{name} of the {self.number} stored events run from {span}, and should run from {start} to {last}"

    def start(self, last: int, *, cut: bool) -> int:
        """Where they should begin: what was forgotten of a plan is nothing whole of its tasks."""
        if not cut:
            return 1
        return self.first or last + 1


@dataclass(slots=True)
class _Tenants:
    """Which tasks are live or hold something, by tenant."""

    live: dict[TenantId, set[TaskKey]] = field(default_factory=dict[TenantId, set[TaskKey]])


async def problems(server: Server, reader: Reader) -> Sequence[str]:
    """
    One sentence per problem.

    Plan after plan; what is committed meanwhile may look like a problem of the plan that is being read.
    """
    found: list[str] = []
    tenants = _Tenants()
    before: int | None = None
    while plans := await reader.list_plans(before, _PAGE):
        for plan in plans:
            found += await _plan_problems(reader, plan, tenants)
        before = plans[-1].plan_id
    found.extend([problem async for problem in _tenant_problems(server, tenants)])
    return found


async def _plan_problems(reader: Reader, plan: PlanAggregate, tenants: _Tenants) -> Sequence[str]:
    name = f"plan {plan.plan_id}"
    forgotten = await reader.forgotten(plan.plan_id)
    cut = forgotten > 0
    positions, own = _Sequences(), _Sequences()
    of_tasks: dict[TaskKey, _Sequences] = {}
    async for event in _events(reader, plan):
        positions.add(event.position)
        (own if event.key is None else of_tasks.setdefault(event.key, _Sequences())).add(event.sequence_id)
    found: list[str] = []
    counts: dict[TaskStatus, int] = {}
    live = 0
    async for task in _tasks(reader, plan):
        counts[task.status] = counts.get(task.status, 0) + 1
        if task.is_live:
            live += 1
            tenants.live.setdefault(task.tenant_id, set()).add(task.key)
        sequences = of_tasks.pop(task.key, _Sequences())
        last = task.sequence_id
        found += sequences.problem(f"task {task.task_id}: sequence ids", sequences.start(last, cut=cut), last)
    found += [f"{name} has events of task {key.task_id}, which is not stored" for key in of_tasks]
    found += _count_problems(plan, counts, live)
    found += positions.problem(f"{name}: positions", forgotten + 1, plan.position)
    last = plan.sequence_id
    found += own.problem(f"{name}: sequence ids", own.start(last, cut=cut), last)
    return found


def _count_problems(plan: PlanAggregate, counts: Mapping[TaskStatus, int], live: int) -> Iterator[str]:
    name = f"plan {plan.plan_id}"
    total = sum(counts.values())
    if total != plan.total:
        yield f"{name}: {total} tasks are stored, its total says {plan.total}"
    if live != plan.unsettled:
        yield f"{name}: {live} tasks are live, it says {plan.unsettled}"
    for status in TaskStatus:
        number = counts.get(status, 0)
        if number != plan.count(status):
            yield f"{name}: {number} tasks are {status}, it says {plan.count(status)}"


async def _events(reader: Reader, plan: PlanAggregate) -> AsyncIterator[Event]:
    after = 0
    while page := await reader.load_events(plan.plan_id, after, _PAGE):
        for event in page:
            yield event
        after = page[-1].position


async def _tasks(reader: Reader, plan: PlanAggregate) -> AsyncIterator[TaskAggregate]:
    after = 0
    while page := await reader.list_tasks(plan.plan_id, None, after, _PAGE):
        for task in page:
            yield task
        after = page[-1].key.ordinal


async def _tenant_problems(server: Server, tenants: _Tenants) -> AsyncIterator[str]:
    key = f"{server.address.prefix}:tenants"
    cursor: Any = 0
    while True:
        cursor, found = await server.command("reading tenants", "HSCAN", key, cursor, "COUNT", _PAGE)
        for name, text in zip(found[::2], found[1::2], strict=True):
            tenant_id = TenantId(name.decode())
            for problem in _problems_of(tenant_id, TenantRow.decode(text), tenants.live.pop(tenant_id, set())):
                yield problem
        if int(cursor) == 0:
            break
    for tenant_id, keys in tenants.live.items():
        yield f"tenant {tenant_id} is not stored, and has the live task {min(keys).task_id}"


def _problems_of(tenant_id: TenantId, row: TenantRow, live: set[TaskKey]) -> Iterator[str]:
    owner = row.owner_key
    waiting = {TaskKey(PlanId(plan_id), ordinal) for _, plan_id, ordinal in row.queue}
    holding = waiting if owner is None else {*waiting, owner}
    if waiting and owner is None:
        yield f"tenant {tenant_id}: {len(waiting)} tasks wait for a lock that nobody owns"
    for key in sorted(live - holding):
        yield f"tenant {tenant_id}: task {key.task_id} is live, and neither owns the lock nor waits for it"
    for key in sorted(holding - live):
        yield f"tenant {tenant_id}: task {key.task_id} is settled, and still owns the lock or waits for it"
