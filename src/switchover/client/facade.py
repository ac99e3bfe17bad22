"""The facade of a server: the methods of ``DeploymentTaskFacade``, answered over HTTP with the same results."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

from switchover.client.connection import Connection
from switchover.domain.task import FailureInfo, TaskStatus, TenantId
from switchover.dto import PlanStatusInfo, TaskCreationResult, TaskOperationResult, TaskStatusInfo, TenantDeployConfig
from switchover.dto.pruning import PruneReport
from switchover.engine.explain import Explanation
from switchover.errors import ErrorCode, ErrorType, ServerError
from switchover.facade import TenantInfo
from switchover.spi import Hold, StopLine

API = "/api/v1"


def path_of(*parts: object) -> str:
    """A path under the API, each part quoted."""
    return "/".join([API, *(quote(str(part), safe="") for part in parts)])


class RemoteFacade:
    """What callers ask of a server; a refusal is a result, as everywhere."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Creating

    async def create_switch_task(
        self,
        configs: object,
        *,
        options: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
        metadata: object = None,
    ) -> TaskCreationResult:
        """
        Create a plan with one task per tenant: all or nothing. Without a key of the caller's it gets one of its own.

        Raises:
            UnreachableError, StoreUnavailableError: The outcome is unknown; ask again with the same key.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        document = plan_document(configs, options, metadata)
        try:
            made = await self._connection.post(path_of("plans"), document, headers=headers, safe=True)
        except ServerError as error:
            if error.status not in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}:
                raise
            return _refused_creation(error)
        return TaskCreationResult.from_dict(made)

    # Requests about running work

    async def pause_task_by_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Pause at the next stage boundary; before the first stage at once."""
        return await self._ask("tenants", tenant_id, "pause")

    async def pause_task_by_plan(self, plan_id: int) -> TaskOperationResult:
        """Start nothing more, and pause what runs at its next boundary."""
        return await self._ask("plans", plan_id, "pause")

    async def resume_task_by_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Go on after the last checkpoint, or withdraw a pending pause."""
        return await self._ask("tenants", tenant_id, "resume")

    async def resume_task_by_plan(self, plan_id: int) -> TaskOperationResult:
        """Start tasks again, and resume what is paused."""
        return await self._ask("plans", plan_id, "resume")

    async def rollback_task_by_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Restore the previous good config of every stage that was started."""
        return await self._ask("tenants", tenant_id, "rollback")

    async def rollback_task_by_plan(self, plan_id: int) -> TaskOperationResult:
        """Roll back every task to which that applies; what has not started is cancelled."""
        return await self._ask("plans", plan_id, "rollback")

    async def retry_task_by_tenant(self, tenant_id: str, from_checkpoint: bool = True) -> TaskOperationResult:  # noqa: FBT002  # as named in the interface
        """Run a failed task again, from its checkpoint or from scratch."""
        return await self._ask("tenants", tenant_id, "retry", fromCheckpoint=from_checkpoint)

    async def retry_task_by_plan(self, plan_id: int, from_checkpoint: bool = True) -> TaskOperationResult:  # noqa: FBT002  # as named in the interface
        """Run every failed task again."""
        return await self._ask("plans", plan_id, "retry", fromCheckpoint=from_checkpoint)

    async def cancel_task(self, task_id: str) -> TaskOperationResult:
        """Stop a task at its next boundary; what was switched stays."""
        return await self._ask("tasks", task_id, "cancel")

    async def cancel_task_by_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Like ``cancel_task``, for the tenant's task."""
        return await self._ask("tenants", tenant_id, "cancel")

    async def cancel_task_by_plan(self, plan_id: int) -> TaskOperationResult:
        """Like ``cancel_task``, for every task that is not settled."""
        return await self._ask("plans", plan_id, "cancel")

    # Brakes

    async def hold_tenant(self, tenant_id: str, reason: str) -> TaskOperationResult:
        """Start nothing for the tenant until the hold is lifted."""
        return await self._ask("tenants", tenant_id, "hold", reason=reason)

    async def unhold_tenant(self, tenant_id: str, reason: str) -> TaskOperationResult:
        """Lift the hold."""
        return await self._ask("tenants", tenant_id, "unhold", reason=reason)

    async def stop_line(self, reason: str) -> TaskOperationResult:
        """Hold every task of every plan at its next boundary."""
        return await self._ask("line", "stop", reason=reason)

    async def start_line(self) -> TaskOperationResult:
        """Let everything go on."""
        return await self._ask("line", "start")

    async def adopt_tenant(self, tenant_id: str) -> TaskOperationResult:
        """Lift the tenant's generation above what its targets hold."""
        return await self._ask("tenants", tenant_id, "adopt")

    async def adopt_plan(self, plan_id: int) -> TaskOperationResult:
        """``adopt_tenant`` for every tenant of a plan."""
        return await self._ask("plans", plan_id, "adopt")

    # Forgetting events

    async def prune_plan(self, plan_id: int) -> TaskOperationResult:
        """Forget the events of a plan that has ended, but for its newest."""
        return await self._ask("plans", plan_id, "prune")

    async def prune_ended(self, older_than_seconds: float) -> PruneReport:
        """``prune_plan`` for every plan that ended longer ago than this."""
        body = {"olderThan": older_than_seconds}
        return PruneReport.from_dict(await self._connection.post(path_of("events", "prune"), body))

    async def prunable(self, older_than_seconds: float) -> PruneReport:
        """What ``prune_ended`` would forget; changes nothing."""
        query = {"olderThan": str(older_than_seconds)}
        return PruneReport.from_dict(await self._connection.get(path_of("events", "prunable"), query))

    # Queries

    async def query_task_status(self, task_id: str) -> TaskStatusInfo:
        """One task; ``found`` is False for an id that nobody knows."""
        try:
            return TaskStatusInfo.from_dict(await self._connection.get(path_of("tasks", task_id)))
        except ServerError as error:
            return TaskStatusInfo.unknown(unknown_failure(error), task_id=task_id)

    async def query_task_status_by_tenant(self, tenant_id: str) -> TaskStatusInfo:
        """The task that holds the tenant's lock, else the tenant's newest one."""
        info = await self.query_tenant(tenant_id)
        task_id = info.owner or info.newest
        if task_id is None:
            failure = info.failure_info or unknown_failure(ServerError("", code=ErrorCode.UNKNOWN_TENANT, status=404))
            return TaskStatusInfo.unknown(failure, tenant_id=tenant_id)
        return await self.query_task_status(task_id)

    async def query_plan_status(self, plan_id: int) -> PlanStatusInfo:
        """One plan; ``found`` is False for an id that nobody knows."""
        try:
            return PlanStatusInfo.from_dict(await self._connection.get(path_of("plans", plan_id)))
        except ServerError as error:
            return PlanStatusInfo.unknown(unknown_failure(error), plan_id=plan_id)

    async def list_plans(self, *, before: int | None = None, limit: int = 100) -> Sequence[PlanStatusInfo]:
        """Plans, the newest first."""
        parameters: dict[str, str | int | list[str]] = {"limit": limit}
        if before is not None:
            parameters["before"] = before
        found = await self._connection.get(path_of("plans"), parameters)
        return [PlanStatusInfo.from_dict(item) for item in found["items"]]

    async def list_tasks(
        self, plan_id: int, *, statuses: frozenset[TaskStatus] | None = None, after: int = 0, limit: int = 1_000
    ) -> Sequence[TaskStatusInfo]:
        """Tasks of a plan in plan order, from after the ``after``-th."""
        parameters = tasks_parameters(statuses, after, limit)
        found = await self._connection.get(path_of("plans", plan_id, "tasks"), parameters)
        return [TaskStatusInfo.from_dict(item) for item in found["items"]]

    async def query_tenant(self, tenant_id: str) -> TenantInfo:
        """What is known about a tenant: lock, queue, hold, generation, last known good."""
        try:
            return TenantInfo.from_dict(await self._connection.get(path_of("tenants", tenant_id)))
        except ServerError as error:
            failure = unknown_failure(error)
            return TenantInfo(tenant_id=TenantId(tenant_id), found=False, failure_info=failure)

    async def tenant_history(self, tenant_id: str, *, limit: int = 100) -> Sequence[TaskStatusInfo]:
        """The tenant's tasks, the newest first."""
        found = await self._connection.get(path_of("tenants", tenant_id, "tasks"), {"limit": limit})
        return [TaskStatusInfo.from_dict(item) for item in found["items"]]

    async def list_holds(self) -> Mapping[TenantId, Hold]:
        """Every tenant on hold, and why."""
        found = await self._connection.get(path_of("holds"))
        return {
            TenantId(item["tenantId"]): Hold(reason=item["reason"], since=datetime.fromisoformat(item["since"]))
            for item in found["items"]
        }

    async def query_line(self) -> StopLine | None:
        """Why the line stands still; None when it runs."""
        line = await self._connection.get(path_of("line"))
        if not line["stopped"]:
            return None
        return StopLine(reason=line["reason"], since=datetime.fromisoformat(line["since"]))

    async def explain_task(self, task_id: str) -> Explanation | None:
        """The one cause that a task waits for; None for an unknown id."""
        try:
            return Explanation.from_dict(await self._connection.get(path_of("tasks", task_id, "explanation")))
        except ServerError as error:
            unknown_failure(error)
            return None

    def unknown_plan(self, plan_id: int) -> FailureInfo:
        """The failure that an unknown plan is answered with."""
        message = f"no plan {plan_id} is known; see `switchover get plans`"
        return unknown_failure(ServerError(message, code=ErrorCode.UNKNOWN_PLAN, status=HTTPStatus.NOT_FOUND))

    # Inside

    async def _ask(self, *parts: object, **body: object) -> TaskOperationResult:
        try:
            done = await self._connection.post(path_of(*parts), body)
        except ServerError as error:
            if "targetType" not in error.document:
                raise
            return TaskOperationResult.from_dict(cast("Mapping[str, Any]", error.document))
        return TaskOperationResult.from_dict(done)


def plan_document(configs: object, options: Mapping[str, object] | None, metadata: object) -> dict[str, object]:
    """A plan as it travels."""
    tenants = [
        config.to_dict() if isinstance(config, TenantDeployConfig) else config
        for config in cast("Sequence[object]", configs)
    ]
    document: dict[str, object] = {"apiVersion": "switchover/v1", "kind": "Plan"}
    if metadata is not None:
        document["metadata"] = metadata
    return {**document, "spec": {**(options or {}), "tenants": tenants}}


def tasks_parameters(
    statuses: frozenset[TaskStatus] | None, after: int, limit: int
) -> dict[str, str | int | list[str]]:
    """The query of a page of tasks."""
    parameters: dict[str, str | int | list[str]] = {"after": after, "limit": limit}
    if statuses is not None:
        parameters["status"] = sorted(statuses)
    return parameters


def unknown_failure(error: ServerError) -> FailureInfo:
    """
    Why an id is not known.

    Raises:
        ServerError: The server refused for another reason.
    """
    if error.status != HTTPStatus.NOT_FOUND:
        raise error
    failure = error.document.get("failureInfo")
    if isinstance(failure, Mapping):
        return FailureInfo.from_dict(cast("Mapping[str, object]", failure))
    return FailureInfo(
        error_code=error.code, error_type=ErrorType.BUSINESS_ERROR, message=error.message, timestamp=datetime.now(UTC)
    )


def _refused_creation(error: ServerError) -> TaskCreationResult:
    document: dict[str, Any] = {
        "planId": None,
        "taskIds": [],
        "validatedCount": 0,
        "failureInfo": FailureInfo(
            error_code=error.code,
            error_type=ErrorType.VALIDATION_ERROR,
            message=error.message,
            timestamp=datetime.now(UTC),
        ).to_dict(),
        "findings": [],
        "message": error.message,
        **error.document,
    }
    return TaskCreationResult.from_dict({**document, "status": "FAILED"})
