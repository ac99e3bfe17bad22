"""A store that fails on request, around any other."""
# ruff: noqa: D102  # what a store's methods promise is documented where it is demanded: in the SPI

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto

from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate, PlanRules, PlanStatus
from switchover.domain.stage import PreImage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.errors import StoreUnavailableError
from switchover.spi import (
    Clock,
    CommitResult,
    DriverInfo,
    DriverLease,
    Entry,
    ExecutionStore,
    Hold,
    LiveTask,
    NewPlan,
    NewTask,
    Request,
    StopLine,
    StoredTask,
    StoreState,
    TenantRecord,
)

_NO_PLAN_HAS_THIS_ID = PlanId(2**62)

Hook = Callable[[int, Sequence[Entry]], object]
"""Told the number of a commit and what is in it; may kill the process."""


class Fault(Enum):
    """What goes wrong with one commit; each ends in ``StoreUnavailableError``."""

    BEFORE = auto()
    """The store is not even reached."""
    DURING = auto()
    """The whole batch was applied and is taken back: nothing of it may remain."""
    AFTER = auto()
    """The batch is durable, but the answer was lost."""


@dataclass(slots=True, kw_only=True, eq=False)
class FaultyStore(ExecutionStore):
    """
    Passes everything on, except what a test wants to go wrong.

    Commits are numbered from 1 by what is durable: a commit that failed and is tried again has the number it had, one
    that failed AFTER it was durable has used its number up.

    Attributes:
        inner: The store that does the work.
        faults: By commit number; each happens once.
        away: While true, every method raises ``StoreUnavailableError`` (``open`` and ``aclose`` work).
        delay_seconds: How long every commit takes longer, by ``clock``.
        before, during, after: Called at these moments of every commit: before the store is reached; inside its
            transaction, when everything is applied and nothing durable (only for commits with a DURING fault, and
            possibly in another thread); when it is durable and nobody knows yet.
        commits: How many are durable.
        calls: How often each method was called, by its name.
    """

    inner: ExecutionStore
    faults: dict[int, Fault] = field(default_factory=dict[int, Fault])
    away: bool = False
    delay_seconds: float = 0.0
    clock: Clock | None = None
    before: Hook | None = None
    during: Hook | None = None
    after: Hook | None = None
    commits: int = 0
    calls: dict[str, int] = field(default_factory=dict[str, int])

    async def open(self) -> None:
        await self.inner.open()

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        self._reach("commit")
        if self.clock is not None and self.delay_seconds:
            await self.clock.sleep(self.delay_seconds)
            self._reach_again()
        number = self.commits + 1
        if self.before is not None:
            self.before(number, batch)
        fault = self.faults.pop(number, None)
        if fault is Fault.BEFORE:
            raise _unavailable(number, "was not reached")
        if fault is Fault.DURING:
            await self._commit_in_vain(lease, batch, number)
        result = await self.inner.commit(lease, batch)
        self.commits = number
        if self.after is not None:
            self.after(number, batch)
        if fault is Fault.AFTER:
            raise _unavailable(number, "did not answer")
        return result

    async def _commit_in_vain(self, lease: DriverLease, batch: Sequence[Entry], number: int) -> None:
        """Let the store apply all of it, and a plan whose tasks cannot be read: it has to take everything back."""

        def interrupt() -> None:
            if self.during is not None:
                self.during(number, batch)
            raise _InterruptedCommitError

        last = Entry(new_plan=NewPlan(plan=_impossible_plan(), tasks=_Unreadable(interrupt)))
        try:
            await self.inner.commit(lease, [*batch, last])
        except _InterruptedCommitError as error:
            raise _unavailable(number, "took back what it had applied") from error

    async def acquire_driver(self, owner: str) -> DriverLease | None:
        self._reach("acquire_driver")
        return await self.inner.acquire_driver(owner)

    async def release_driver(self, lease: DriverLease) -> None:
        self._reach("release_driver")
        await self.inner.release_driver(lease)

    async def driver(self) -> DriverInfo | None:
        self._reach("driver")
        return await self.inner.driver()

    async def put_request(self, verb: str, payload: bytes) -> int:
        self._reach("put_request")
        return await self.inner.put_request(verb, payload)

    async def open_requests(self, after: int, limit: int) -> Sequence[Request]:
        self._reach("open_requests")
        return await self.inner.open_requests(after, limit)

    async def load_request(self, request_id: int) -> Request | None:
        self._reach("load_request")
        return await self.inner.load_request(request_id)

    async def load_state(self) -> StoreState:
        self._reach("load_state")
        return await self.inner.load_state()

    async def load_live(self, plan_id: PlanId, after: int, limit: int) -> Sequence[LiveTask]:
        self._reach("load_live")
        return await self.inner.load_live(plan_id, after, limit)

    async def load_tasks(self, keys: Sequence[TaskKey]) -> Sequence[StoredTask]:
        self._reach("load_tasks")
        return await self.inner.load_tasks(keys)

    async def load_plan(self, plan_id: PlanId) -> PlanAggregate | None:
        self._reach("load_plan")
        return await self.inner.load_plan(plan_id)

    async def list_plans(self, *, before: int | None, limit: int) -> Sequence[PlanAggregate]:
        self._reach("list_plans")
        return await self.inner.list_plans(before=before, limit=limit)

    async def list_tasks(
        self, plan_id: PlanId, *, statuses: frozenset[TaskStatus] | None, after: int, limit: int
    ) -> Sequence[TaskAggregate]:
        self._reach("list_tasks")
        return await self.inner.list_tasks(plan_id, statuses=statuses, after=after, limit=limit)

    async def load_tenants(self, tenant_ids: Sequence[TenantId]) -> Mapping[TenantId, TenantRecord]:
        self._reach("load_tenants")
        return await self.inner.load_tenants(tenant_ids)

    async def list_holds(self) -> Mapping[TenantId, Hold]:
        self._reach("list_holds")
        return await self.inner.list_holds()

    async def load_line(self) -> StopLine | None:
        self._reach("load_line")
        return await self.inner.load_line()

    async def tenant_history(self, tenant_id: TenantId, limit: int) -> Sequence[TaskAggregate]:
        self._reach("tenant_history")
        return await self.inner.tenant_history(tenant_id, limit)

    async def load_events(self, plan_id: PlanId, after: int, limit: int) -> Sequence[Event]:
        self._reach("load_events")
        return await self.inner.load_events(plan_id, after, limit)

    async def load_task_events(self, key: TaskKey, after: int, limit: int) -> Sequence[Event]:
        self._reach("load_task_events")
        return await self.inner.load_task_events(key, after, limit)

    async def load_pre_images(self, key: TaskKey, stage: str) -> Sequence[PreImage]:
        self._reach("load_pre_images")
        return await self.inner.load_pre_images(key, stage)

    async def find_idempotency(self, idempotency_key: str) -> tuple[PlanId, str] | None:
        self._reach("find_idempotency")
        return await self.inner.find_idempotency(idempotency_key)

    async def change_token(self) -> int:
        self._reach("change_token")
        return await self.inner.change_token()

    async def check(self) -> Sequence[str]:
        self._reach("check")
        return await self.inner.check()

    def _reach(self, method: str) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        self._reach_again()

    def _reach_again(self) -> None:
        if self.away:
            raise StoreUnavailableError("the store is away because a test says so; nothing was changed")


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


def _unavailable(number: int, what: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"commit {number} failed because a test says so: the store {what}; trying again is right"
    )
