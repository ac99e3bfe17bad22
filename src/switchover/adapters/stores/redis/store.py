"""The store over a Redis server: what is asked of whom."""
# ruff: noqa: D102  # what a store's methods promise is documented where it is demanded: in the SPI

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import TypeVar

from switchover.adapters.stores.codec import encode_moment, storable
from switchover.adapters.stores.redis.access import RedisAccessStore
from switchover.adapters.stores.redis.address import read_address
from switchover.adapters.stores.redis.checks import problems
from switchover.adapters.stores.redis.driving import Driving, lease_is_over
from switchover.adapters.stores.redis.fitness import describe, examine, unfit
from switchover.adapters.stores.redis.lease import LEASE_SECONDS, Renewal
from switchover.adapters.stores.redis.listener import Listener
from switchover.adapters.stores.redis.reader import Reader, encode_request
from switchover.adapters.stores.redis.refusals import UNREADABLE, damaged
from switchover.adapters.stores.redis.server import Server
from switchover.adapters.stores.redis.stage_lists import StageLists
from switchover.adapters.stores.words import Words
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.stage import PreImage
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.errors import StorageError, StoreClosedError
from switchover.spi import (
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
    Request,
    StopLine,
    StoredTask,
    StoreState,
    TenantRecord,
    Topic,
)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _Opened:
    """What an open store works with."""

    server: Server
    reader: Reader
    stage_lists: StageLists
    listener: Listener


class RedisExecutionStore(ExecutionStore):
    """
    Keeps everything under one prefix of a Redis database.

    One process drives it at a time, under a lease that it renews; others read it and leave requests meanwhile.

    Attributes:
        place: Its URL, as it may be shown.

    Args:
        url: See ``read_address``.
        command_seconds: After this long without an answer to one call the server counts as away.
        now: Wall-clock time for ``submitted_at`` and ``since``; aware, UTC.
    """

    def __init__(self, url: str, *, command_seconds: float = 10.0, now: Callable[[], datetime] | None = None) -> None:
        self._address = read_address(url)
        self.place = self._address.shown
        self._command_seconds = command_seconds
        self._now = now or (lambda: datetime.now(UTC))
        self._open: _Opened | None = None
        self._words = Words()
        self._driving: Driving | None = None
        self._access = RedisAccessStore(lambda: self._opened().server)

    async def open(self) -> None:
        if self._open is not None:
            return
        server = Server(self._address, command_seconds=self._command_seconds)
        try:
            await examine(server)
        except BaseException:
            await server.aclose()
            raise
        stage_lists = StageLists(server)
        self._open = _Opened(server, Reader(server, stage_lists), stage_lists, Listener(server, self._words))
        self._open.listener.begin()

    async def aclose(self) -> None:
        opened, driving = self._open, self._driving
        if opened is None:
            return
        self._driving = None
        if driving is not None:
            with suppress(StorageError):  # then it runs out by itself
                await driving.release()
        self._open = None
        await opened.listener.aclose()
        await opened.server.aclose()

    @property
    def access(self) -> RedisAccessStore:
        return self._access

    async def is_empty(self) -> bool:
        """Whether nothing was ever kept there; needs no ``open``, and makes nothing."""
        server = Server(self._address, command_seconds=self._command_seconds)
        try:
            return not await server.command("looking what is there", "EXISTS", f"{self._address.prefix}:meta")
        finally:
            await server.aclose()

    async def describe(self) -> str:
        """The server's version, how it writes, and how much memory it has."""
        return await describe(self._opened().server)

    # Driving

    async def acquire_driver(self, owner: str) -> DriverLease | None:
        opened, driving = self._opened(), self._driving
        if driving is not None and driving.is_alive:
            return None
        server = opened.server
        await examine(server)
        await server.write("trying the rights of this user", "probe")
        holder = token_hex(8)
        since, milliseconds = encode_moment(self._now()), int(LEASE_SECONDS * 1000)
        doing = "taking the driver's lease"
        answer = await server.write(doing, "lease", "acquire", holder, storable(owner), since, milliseconds)
        if answer is None:
            return None
        if driving is not None:
            driving.end()
        epoch, number = answer
        lease = DriverLease(owner=owner, epoch=int(epoch))
        renewal = Renewal(self._address, lease, holder)
        self._driving = Driving(server, opened.reader, opened.stage_lists, renewal, int(number))
        return lease

    async def release_driver(self, lease: DriverLease) -> None:
        self._opened()
        driving = self._driving
        if driving is not None and driving.lease.epoch == lease.epoch:
            self._driving = None
            await driving.release()

    async def driver(self) -> DriverInfo | None:
        return await self._read(lambda reader: reader.driver())

    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        self._opened()
        driving = self._driving
        if driving is None or driving.lease.epoch != lease.epoch:
            raise lease_is_over(self._address.shown, lease, "it was released")
        return await driving.commit(batch)

    # Requests of other processes

    async def put_request(self, verb: str, payload: bytes) -> int:
        row = encode_request(verb, payload, encode_moment(self._now()))
        return int(await self._opened().server.write("leaving a request", "request", row))

    async def open_requests(self, after: int, limit: int) -> Sequence[Request]:
        return await self._read(lambda reader: reader.open_requests(after, limit))

    async def load_request(self, request_id: int) -> Request | None:
        return await self._read(lambda reader: reader.load_request(request_id))

    # Reading

    async def load_state(self) -> StoreState:
        return await self._read(lambda reader: reader.load_state())

    async def load_live(self, plan_id: PlanId, after: int, limit: int) -> Sequence[LiveTask]:
        return await self._read(lambda reader: reader.load_live(plan_id, after, limit))

    async def load_tasks(self, keys: Sequence[TaskKey]) -> Sequence[StoredTask]:
        return await self._read(lambda reader: reader.load_tasks(keys))

    async def load_plan(self, plan_id: PlanId) -> PlanAggregate | None:
        return await self._read(lambda reader: reader.load_plan(plan_id))

    async def list_plans(self, *, before: int | None, limit: int) -> Sequence[PlanAggregate]:
        return await self._read(lambda reader: reader.list_plans(before, limit))

    async def list_tasks(
        self, plan_id: PlanId, *, statuses: frozenset[TaskStatus] | None, after: int, limit: int
    ) -> Sequence[TaskAggregate]:
        return await self._read(lambda reader: reader.list_tasks(plan_id, statuses, after, limit))

    async def load_tenants(self, tenant_ids: Sequence[TenantId]) -> Mapping[TenantId, TenantRecord]:
        return await self._read(lambda reader: reader.load_tenants(tenant_ids))

    async def list_holds(self) -> Mapping[TenantId, Hold]:
        return await self._read(lambda reader: reader.list_holds())

    async def load_line(self) -> StopLine | None:
        return await self._read(lambda reader: reader.load_line())

    async def tenant_history(self, tenant_id: TenantId, limit: int) -> Sequence[TaskAggregate]:
        return await self._read(lambda reader: reader.tenant_history(tenant_id, limit))

    async def load_events(self, plan_id: PlanId, after: int, limit: int) -> Sequence[Event]:
        return await self._read(lambda reader: reader.load_events(plan_id, after, limit))

    async def load_task_events(self, key: TaskKey, after: int, limit: int) -> Sequence[Event]:
        return await self._read(lambda reader: reader.load_task_events(key, after, limit))

    async def load_all_events(self, after: int, limit: int) -> EventPage:
        return await self._read(lambda reader: reader.load_all_events(after, limit))

    async def load_event_spans(self, *, ended_before: datetime, limit: int) -> Sequence[EventSpan]:
        return await self._read(lambda reader: reader.load_event_spans(ended_before, limit))

    async def load_pre_images(self, key: TaskKey, stage: str) -> Sequence[PreImage]:
        return await self._read(lambda reader: reader.load_pre_images(key, stage))

    async def find_idempotency(self, idempotency_key: str) -> KnownCreation | None:
        return await self._read(lambda reader: reader.find_idempotency(idempotency_key))

    async def change_token(self) -> int:
        return await self._read(lambda reader: reader.change_token())

    async def check(self) -> Sequence[str]:
        server = self._opened().server
        return [*await unfit(server), *await self._read(lambda reader: problems(server, reader))]

    # Hearing

    @property
    def hears(self) -> bool:
        """Whether the server would tell of commits and requests now."""
        return self._open is not None and self._open.listener.hears

    def heard(self, topic: Topic) -> int:
        """As the SPI says."""
        return self._words.heard(topic)

    async def hear(self, topic: Topic, seen: int) -> None:
        """As the SPI says."""
        await self._words.hear(topic, seen)

    # Inside

    async def _read(self, work: Callable[[Reader], Awaitable[_Result]]) -> _Result:
        try:
            return await work(self._opened().reader)
        except UNREADABLE as error:
            raise damaged(self._address.shown, error) from error

    def _opened(self) -> _Opened:
        if self._open is None:
            message = f"the store at {self._address.shown} is not open; call open() before any other method"
            raise StoreClosedError(message)
        return self._open
