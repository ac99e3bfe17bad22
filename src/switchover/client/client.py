"""``connect``: a server, with the surface that an ``Executor`` has for those who ask and look."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import aiohttp

from switchover.client.access import RemoteAccess
from switchover.client.connection import Connection
from switchover.client.facade import RemoteFacade, path_of, plan_document, unknown_failure
from switchover.client.following import follow, pruned_or
from switchover.client.records import MOST, RemoteRecords
from switchover.dispatch import WorkerInfo
from switchover.domain.events import Event
from switchover.domain.plan import PlanStatus
from switchover.domain.task import Operation, PlanId
from switchover.dto import PlanStatusInfo
from switchover.engine.forecast import Forecast
from switchover.engine.observing import PlaceReport
from switchover.errors import ServerError, StorageError
from switchover.spi import DriverInfo, NumberedEvent

_LOOK_SECONDS: Final = 0.2
_CHUNK = 1 << 16


class ServerClient:
    """
    A server; made by ``connect``.

    Attributes:
        facade: What callers ask.
        store: What readers read.
        access: Tokens and the audit log, for admins.
        driving: Never: the server does.
        takes_over: Never.
    """

    driving = False
    takes_over = False
    driver_failure: StorageError | None = None
    store_outage: None = None

    def __init__(self, connection: Connection, *, patience_seconds: float) -> None:
        self._connection = connection
        self._patience_seconds = patience_seconds
        self.facade = RemoteFacade(connection)
        self.access = RemoteAccess(connection)
        self.store = RemoteRecords(connection, self.facade)
        self.version = 0

    @property
    def url(self) -> str:
        """Of the server."""
        return self._connection.url

    async def observe(self, task_id: str) -> Sequence[PlaceReport] | None:
        """What the targets of a task hold now, beside what was there before and what its switch writes."""
        try:
            found = await self._connection.get(path_of("tasks", task_id, "observation"))
        except ServerError as error:
            unknown_failure(error)
            return None
        return [PlaceReport.from_dict(item) for item in found["items"]]

    async def forecast_plan(self, plan_id: int, operation: Operation, *, from_checkpoint: bool = True) -> Forecast:
        """What a request by plan would do."""
        return await self._forecast("plans", plan_id, operation, from_checkpoint=from_checkpoint)

    async def forecast_tenant(self, tenant_id: str, operation: Operation, *, from_checkpoint: bool = True) -> Forecast:
        """What a request by tenant would do."""
        return await self._forecast("tenants", tenant_id, operation, from_checkpoint=from_checkpoint)

    async def _forecast(self, kind: str, target: object, operation: Operation, *, from_checkpoint: bool) -> Forecast:
        query = {"verb": str(operation), "from": "checkpoint" if from_checkpoint else "scratch"}
        try:
            return Forecast.from_dict(await self._connection.get(path_of(kind, target, "forecast"), query))
        except ServerError as error:
            return Forecast(found=False, refusal=unknown_failure(error).message)

    async def driver(self) -> DriverInfo | None:
        """Who drives the server's store, or did last."""
        driver = (await self._connection.get(path_of("line")))["driver"]
        if driver is None:
            return None
        return DriverInfo(
            owner=driver["owner"],
            epoch=driver["epoch"],
            since=datetime.fromisoformat(driver["since"]),
            alive=driver["alive"],
        )

    async def workers(self) -> Sequence[WorkerInfo]:
        """Who carries stages out for the server."""
        return [WorkerInfo.from_dict(item) for item in (await self._connection.get(path_of("workers")))["items"]]

    async def wait_for_plan(self, plan_id: int) -> PlanStatusInfo:
        """Wait until the plan is settled or PAUSED, or everything unsettled in it is paused or held."""
        while True:
            plan = await self.store.load_plan(PlanId(plan_id))
            if plan is None:
                return await self.facade.query_plan_status(plan_id)
            if plan.status.is_settled or plan.status is PlanStatus.PAUSED or plan.unsettled == plan.idle:
                return PlanStatusInfo.of(plan)
            await self.changed(self.version)

    async def changed(self, seen: int) -> None:
        """Wait a little: what has changed is asked for again then."""
        del seen
        await asyncio.sleep(_LOOK_SECONDS)
        self.version += 1

    async def events(self, plan_id: int, since: int = 0, *, follow: bool = True) -> AsyncIterator[Event]:
        """
        Events of a plan and of its tasks in commit order: history after position ``since``, then live.

        Args:
            follow: Wait for what is to come, across interruptions; otherwise end at what is durable now.

        Raises:
            EventsPrunedError: What comes next is no longer kept.
        """
        async for numbered in self._events(path_of("plans", plan_id, "events"), since, following=follow):
            yield numbered.event

    async def all_events(self, since: int = 0, *, follow: bool = True) -> AsyncIterator[NumberedEvent]:
        """
        Events of all plans in commit order: history after the number ``since``, then live.

        Raises:
            EventsPrunedError: Something that comes next is no longer kept.
        """
        async for numbered in self._events(path_of("events"), since, following=follow):
            yield numbered

    async def task_events(self, task_id: str, since: int = 0, *, follow: bool = True) -> AsyncIterator[Event]:
        """A task's own events after sequence id ``since``; as ``events``."""
        async for numbered in self._events(path_of("tasks", task_id, "events"), since, following=follow):
            yield numbered.event

    async def preview(
        self, configs: object, options: Mapping[str, object] | None, metadata: object, *, conflicts: bool = True
    ) -> Mapping[str, Any]:
        """What a plan would do, worked out without doing it."""
        document = plan_document(configs, options, metadata)
        path = f"{path_of('plans')}:preview{'' if conflicts else '?conflicts=false'}"
        found: Mapping[str, Any] = await self._connection.post(path, document, safe=True)
        return found

    async def checks(self) -> list[Mapping[str, Any]]:
        """The server's self-check."""
        found: list[Mapping[str, Any]] = (await self._connection.get(path_of("checks")))["items"]
        return found

    async def export(self, plan_id: int) -> AsyncIterator[bytes]:
        """Everything about one plan as one JSON document, as it comes."""
        path = path_of("plans", plan_id, "export")
        async with self._connection.stream(path, {}, {}, idle_seconds=60.0) as response:
            async for chunk in response.content.iter_chunked(_CHUNK):
                yield chunk

    async def stop(self, *, finish_stages_within_seconds: float = 0.0) -> None:
        """Nothing has to be stopped: the work is the server's."""
        del finish_stages_within_seconds

    async def _events(self, path: str, since: int, *, following: bool) -> AsyncIterator[NumberedEvent]:
        if following:
            async for numbered in follow(self._connection, path, since, patience_seconds=self._patience_seconds):
                yield numbered
            return
        while True:
            try:
                page = await self._connection.get(path, {"since": since, "limit": MOST})
            except ServerError as error:
                raise pruned_or(error, since) from error
            for item in page["items"]:
                yield NumberedEvent(item.get("number", item["position"]), Event.from_dict(item))
            if page["nextSince"] == since:
                return
            since = page["nextSince"]


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    timeout_seconds: float = 60.0,
    patience_seconds: float = 10.0,
    session: aiohttp.ClientSession | None = None,
    reason: str = "",
) -> AsyncGenerator[ServerClient]:
    """
    A client of the server at ``url``. Nothing is asked of it before something is asked of the client.

    Args:
        token: Sent with every call.
        timeout_seconds: Of one call.
        patience_seconds: How long the server may be away while events are followed.
        session: In place of one of its own, for certificates and the like.
        reason: What the server's audit log says why, for every request that is made.
    """
    own = aiohttp.ClientSession() if session is None else session
    try:
        connection = Connection(url, token, own, timeout_seconds=timeout_seconds, reason=reason)
        yield ServerClient(connection, patience_seconds=patience_seconds)
    finally:
        if session is None:
            await own.close()
