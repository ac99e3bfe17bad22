"""A store that fails on request, around any other."""
# ruff: noqa: D102  # what a store's methods promise is documented where it is demanded: in the SPI

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate, PlanRules, PlanStatus
from switchover.domain.stage import PreImage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.errors import StoreUnavailableError
from switchover.spi import (
    AccessStore,
    Clock,
    CommitResult,
    DriverInfo,
    DriverLease,
    Entry,
    EventPage,
    EventSpan,
    ExecutionStore,
    Hold,
    KnownCreation,
    LiveTask,
    NewPlan,
    NewTask,
    Request,
    StopLine,
    StoredTask,
    StoreState,
    TenantRecord,
)
from switchover.testing.faults import ANY_METHOD, Fault, FaultRule, RandomFaults

__all__ = ["Fault", "FaultyStore", "Hook"]

_Result = TypeVar("_Result")

_NO_PLAN_HAS_THIS_ID = PlanId(2**62)

Hook = Callable[[int, Sequence[Entry]], object]
"""Told the number of a commit and what is in it; may kill the process."""


@dataclass(slots=True, kw_only=True, eq=False)
class FaultyStore(ExecutionStore):
    """
    Passes everything on, except what a test wants to go wrong.

    ::

        store = FaultyStore(inner=MyStore(...), clock=clock)
        store.fail("commit", Fault.AFTER, skip=2)  # the third commit from now is durable, and nobody is told
        store.fail(fault=Fault.LOCKED, times=5)  # the next five calls, whatever they are
        store.fail("commit", Fault.DISK_FULL, times=None, seconds=120)  # for two minutes, however often
        store.slow(3.0, "load_tasks")
        store.chance = RandomFaults(seed=7, rate=0.2)

    Commits are numbered from 1 by what is durable: a commit that failed and is tried again has the number it had, one
    that failed AFTER it was durable has used its number up.

    Attributes:
        inner: The store that does the work.
        faults: By commit number; each happens once.
        away: While true, every method raises ``StoreUnavailableError`` (``open`` and ``aclose`` work).
        delay_seconds: How long every commit takes longer, by ``clock``.
        clock: Measures delays and the length of outages; without one no time ever passes.
        chance: Faults by chance, beside those that were asked for.
        before, during, after: Called at these moments of every commit: before the store is reached; inside its
            transaction, when everything is applied and nothing durable (only for commits that are taken back, and
            possibly in another thread); when it is durable and nobody knows yet.
        commits: How many are durable.
        calls: How often each method was called, by its name.
    """

    inner: ExecutionStore
    faults: dict[int, Fault] = field(default_factory=dict[int, Fault])
    away: bool = False
    delay_seconds: float = 0.0
    clock: Clock | None = None
    chance: RandomFaults | None = None
    before: Hook | None = None
    during: Hook | None = None
    after: Hook | None = None
    commits: int = 0
    calls: dict[str, int] = field(default_factory=dict[str, int])
    _rules: list[FaultRule] = field(default_factory=list[FaultRule])

    # What goes wrong

    def fail(
        self,
        method: str = ANY_METHOD,
        fault: Fault = Fault.BEFORE,
        *,
        skip: int = 0,
        times: int | None = 1,
        seconds: float | None = None,
    ) -> None:
        """
        Let calls fail.

        Args:
            method: By its name; all of them when none is named.
            skip: So many calls pass before.
            times: So many fail; None: any number.
            seconds: They fail no longer than this, from the first one on.
        """
        self._add(FaultRule(method=method, fault=fault, skip=skip, times=times, seconds=seconds))

    def slow(self, delay_seconds: float, method: str = ANY_METHOD, *, skip: int = 0, times: int | None = 1) -> None:
        """Let calls take longer, and then succeed."""
        self._add(FaultRule(method=method, fault=None, skip=skip, times=times, delay_seconds=delay_seconds))

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._rules.clear()
        self.faults.clear()
        self.chance, self.away, self.delay_seconds = None, False, 0.0

    def _add(self, rule: FaultRule) -> None:
        if self.clock is None and (rule.seconds is not None or rule.delay_seconds):
            message = "a store that is away or slow for a time needs a clock; give FaultyStore(clock=...)"
            raise ValueError(message)
        self._rules.append(rule)

    async def _meet(self, method: str) -> Fault | None:
        """Count the call, take the time that it takes, and say what happens to it."""
        self.calls[method] = self.calls.get(method, 0) + 1
        self._demand_presence(method)
        clock = self.clock
        delay = self.delay_seconds if method == "commit" else 0.0
        fault: Fault | None = None
        for rule in tuple(self._rules):
            if rule.meets(method, 0.0 if clock is None else clock.monotonic()):
                delay += rule.delay_seconds
                fault = fault or rule.fault
            if rule.is_over:
                self._rules.remove(rule)
        if fault is None and self.chance is not None:
            fault = self.chance.draw(method)
        if clock is not None and delay:
            await clock.sleep(delay)
            self._demand_presence(method)
        return fault

    def _demand_presence(self, method: str) -> None:
        if self.away and method not in {"open", "aclose"}:
            raise StoreUnavailableError("the store is away because a test says so; nothing was changed")

    async def _pass(self, method: str, work: Callable[[], Awaitable[_Result]]) -> _Result:
        fault = await self._meet(method)
        if fault is not None and fault is not Fault.AFTER:
            raise fault.error(method)
        result = await self._carry_out(work)
        if fault is not None:
            raise fault.error(method)
        return result

    async def _carry_out(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """What goes through to the store inside."""
        return await work()

    # What a store does

    async def open(self) -> None:
        await self._pass("open", self.inner.open)

    async def aclose(self) -> None:
        await self._pass("aclose", self.inner.aclose)

    @property
    def access(self) -> AccessStore:
        """Of the store inside: nothing goes wrong there."""
        return self.inner.access

    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        met = await self._meet("commit")
        number = self.commits + 1
        what = f"commit {number}"
        if self.before is not None:
            self.before(number, batch)
        fault = self.faults.pop(number, met)
        if fault is not None and fault.takes_back:
            await self._commit_in_vain(lease, batch, number, fault)
        elif fault is not None and fault is not Fault.AFTER:
            raise fault.error(what)
        result = await self._carry_out(lambda: self.inner.commit(lease, batch))
        self.commits = number
        if self.after is not None:
            self.after(number, batch)
        if fault is not None:
            raise fault.error(what)
        return result

    async def _commit_in_vain(self, lease: DriverLease, batch: Sequence[Entry], number: int, fault: Fault) -> None:
        """Let the store apply all of it, and a plan whose tasks cannot be read: it has to take everything back."""

        def interrupt() -> None:
            if self.during is not None:
                self.during(number, batch)
            raise _InterruptedCommitError

        last = Entry(new_plan=NewPlan(plan=_impossible_plan(), tasks=_Unreadable(interrupt)))
        try:
            await self.inner.commit(lease, [*batch, last])
        except _InterruptedCommitError as error:
            raise fault.error(f"commit {number}") from error

    async def acquire_driver(self, owner: str) -> DriverLease | None:
        return await self._pass("acquire_driver", lambda: self.inner.acquire_driver(owner))

    async def release_driver(self, lease: DriverLease) -> None:
        await self._pass("release_driver", lambda: self.inner.release_driver(lease))

    async def driver(self) -> DriverInfo | None:
        return await self._pass("driver", self.inner.driver)

    async def put_request(self, verb: str, payload: bytes) -> int:
        return await self._pass("put_request", lambda: self.inner.put_request(verb, payload))

    async def open_requests(self, after: int, limit: int) -> Sequence[Request]:
        return await self._pass("open_requests", lambda: self.inner.open_requests(after, limit))

    async def load_request(self, request_id: int) -> Request | None:
        return await self._pass("load_request", lambda: self.inner.load_request(request_id))

    async def load_state(self) -> StoreState:
        return await self._pass("load_state", self.inner.load_state)

    async def load_live(self, plan_id: PlanId, after: int, limit: int) -> Sequence[LiveTask]:
        return await self._pass("load_live", lambda: self.inner.load_live(plan_id, after, limit))

    async def load_tasks(self, keys: Sequence[TaskKey]) -> Sequence[StoredTask]:
        return await self._pass("load_tasks", lambda: self.inner.load_tasks(keys))

    async def load_plan(self, plan_id: PlanId) -> PlanAggregate | None:
        return await self._pass("load_plan", lambda: self.inner.load_plan(plan_id))

    async def list_plans(self, *, before: int | None, limit: int) -> Sequence[PlanAggregate]:
        return await self._pass("list_plans", lambda: self.inner.list_plans(before=before, limit=limit))

    async def list_tasks(
        self, plan_id: PlanId, *, statuses: frozenset[TaskStatus] | None, after: int, limit: int
    ) -> Sequence[TaskAggregate]:
        return await self._pass(
            "list_tasks", lambda: self.inner.list_tasks(plan_id, statuses=statuses, after=after, limit=limit)
        )

    async def load_tenants(self, tenant_ids: Sequence[TenantId]) -> Mapping[TenantId, TenantRecord]:
        return await self._pass("load_tenants", lambda: self.inner.load_tenants(tenant_ids))

    async def list_holds(self) -> Mapping[TenantId, Hold]:
        return await self._pass("list_holds", self.inner.list_holds)

    async def load_line(self) -> StopLine | None:
        return await self._pass("load_line", self.inner.load_line)

    async def tenant_history(self, tenant_id: TenantId, limit: int) -> Sequence[TaskAggregate]:
        return await self._pass("tenant_history", lambda: self.inner.tenant_history(tenant_id, limit))

    async def load_events(self, plan_id: PlanId, after: int, limit: int) -> Sequence[Event]:
        return await self._pass("load_events", lambda: self.inner.load_events(plan_id, after, limit))

    async def load_task_events(self, key: TaskKey, after: int, limit: int) -> Sequence[Event]:
        return await self._pass("load_task_events", lambda: self.inner.load_task_events(key, after, limit))

    async def load_all_events(self, after: int, limit: int) -> EventPage:
        return await self._pass("load_all_events", lambda: self.inner.load_all_events(after, limit))

    async def load_event_spans(self, *, ended_before: datetime, limit: int) -> Sequence[EventSpan]:
        return await self._pass(
            "load_event_spans", lambda: self.inner.load_event_spans(ended_before=ended_before, limit=limit)
        )

    async def load_pre_images(self, key: TaskKey, stage: str) -> Sequence[PreImage]:
        return await self._pass("load_pre_images", lambda: self.inner.load_pre_images(key, stage))

    async def find_idempotency(self, idempotency_key: str) -> KnownCreation | None:
        return await self._pass("find_idempotency", lambda: self.inner.find_idempotency(idempotency_key))

    async def change_token(self) -> int:
        return await self._pass("change_token", self.inner.change_token)

    async def check(self) -> Sequence[str]:
        return await self._pass("check", self.inner.check)


class _InterruptedCommitError(Exception):
    """Raised inside the transaction of a store."""


@dataclass(frozen=True, slots=True)
class _Unreadable:
    interrupt: Callable[[], None]

    def __iter__(self) -> Iterator[NewTask]:
        self.interrupt()
        return iter(())


def _impossible_plan() -> PlanAggregate:
    moment = datetime(1970, 1, 1, tzinfo=UTC)
    return PlanAggregate(
        plan_id=_NO_PLAN_HAS_THIS_ID,
        status=PlanStatus.CREATED,
        rules=PlanRules(),
        total=0,
        counts={},
        created_at=moment,
        updated_at=moment,
    )
