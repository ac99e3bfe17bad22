"""
Plans and tasks of a server in full: what an ``ExecutionStore`` has for those who read it, answered over HTTP.

The values are the store's own, so whatever shows a plan shows the same from either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchover.client.connection import Connection
from switchover.client.facade import RemoteFacade, path_of, tasks_parameters, unknown_failure
from switchover.domain.events import Event
from switchover.domain.plan import PlanAggregate
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.dto.details import plan_from_dict, task_from_dict
from switchover.errors import ErrorCode, ServerError
from switchover.spi import Hold, KnownCreation, StopLine

MOST = 1_000
"""Items of one page."""


@dataclass(frozen=True, slots=True)
class RemoteTask:
    """A task; what belongs to it beside its state stays on the server."""

    task: TaskAggregate


@dataclass(frozen=True, slots=True)
class RemoteState:
    """What is unsettled."""

    plans: Sequence[PlanAggregate]


class RemoteRecords:
    """Reads; never writes."""

    def __init__(self, connection: Connection, facade: RemoteFacade) -> None:
        self._connection = connection
        self._facade = facade

    async def load_plan(self, plan_id: PlanId) -> PlanAggregate | None:
        """One plan."""
        found = await self._found(path_of("plans", plan_id))
        return None if found is None else plan_from_dict(found)

    async def list_plans(self, *, before: int | None, limit: int) -> Sequence[PlanAggregate]:
        """Newest (highest id) first; ``before`` is exclusive."""
        parameters: dict[str, str | int | list[str]] = {"limit": min(limit, MOST), "view": "full"}
        if before is not None:
            parameters["before"] = before
        return await self._plans(parameters)

    async def load_state(self) -> RemoteState:
        """The plans that are not settled."""
        return RemoteState(await self._plans({"limit": MOST, "view": "full", "unsettled": "true"}))

    async def load_tasks(self, keys: Sequence[TaskKey]) -> Sequence[RemoteTask]:
        """Those that exist, in the order asked for."""
        found = [await self._found(path_of("tasks", key.task_id)) for key in keys]
        return [RemoteTask(task_from_dict(item)) for item in found if item is not None]

    async def list_tasks(
        self, plan_id: PlanId, *, statuses: frozenset[TaskStatus] | None, after: int, limit: int
    ) -> Sequence[TaskAggregate]:
        """Tasks of a plan with an ordinal above ``after``, in order; only those in ``statuses`` unless None."""
        parameters = {**tasks_parameters(statuses, after, min(limit, MOST)), "view": "full"}
        found = await self._connection.get(path_of("plans", plan_id, "tasks"), parameters)
        return [task_from_dict(item) for item in found["items"]]

    async def tenant_history(self, tenant_id: TenantId, limit: int) -> Sequence[TaskAggregate]:
        """The tenant's tasks, the newest first; none for one that nobody knows."""
        found = await self._found(path_of("tenants", tenant_id, "tasks"), limit=min(limit, MOST))
        return [] if found is None else [task_from_dict(item) for item in found["items"]]

    async def list_holds(self) -> Mapping[TenantId, Hold]:
        """Every tenant on hold."""
        return await self._facade.list_holds()

    async def load_line(self) -> StopLine | None:
        """The stop-line, when the line stands still."""
        return await self._facade.query_line()

    async def load_task_events(self, key: TaskKey, after: int, limit: int) -> Sequence[Event]:
        """Events of a task with a sequence id above ``after``, in order, as far as they are kept."""
        path = path_of("tasks", key.task_id, "events")
        try:
            found = await self._connection.get(path, {"since": after, "limit": min(limit, MOST)})
        except ServerError as error:
            if error.code is not ErrorCode.EVENTS_PRUNED:
                raise
            kept_since = int(str(error.document["keptSince"]))
            found = await self._connection.get(path, {"since": kept_since, "limit": min(limit, MOST)})
        return [Event.from_dict(item) for item in found["items"]]

    async def find_idempotency(self, idempotency_key: str) -> KnownCreation | None:
        """The plan that was created under this key; the rest that is kept with it stays on the server."""
        plans = await self._plans({"view": "full", "idempotencyKey": idempotency_key})
        return KnownCreation(plans[0].plan_id, "") if plans else None

    async def _plans(self, parameters: Mapping[str, str | int | list[str]]) -> Sequence[PlanAggregate]:
        found = await self._connection.get(path_of("plans"), parameters)
        return [plan_from_dict(item) for item in found["items"]]

    async def _found(self, path: str, **parameters: int) -> Any:  # noqa: ANN401  # JSON
        try:
            return await self._connection.get(path, {"view": "full", **parameters})
        except ServerError as error:
            unknown_failure(error)
            return None
