"""What the audit log is told of requests to the engine."""

from collections.abc import Mapping
from datetime import datetime

from switchover.domain.audit import Actor, AuditEntry, Outcome
from switchover.domain.task import FailureInfo, TargetType
from switchover.dto import TaskCreationResult, TaskOperationResult

_MOST_TENANTS = 50


def operation_entry(
    *,
    at: datetime,
    by: Actor,
    verb: str,
    target_type: TargetType,
    target: str,
    reason: str,
    result: TaskOperationResult,
) -> AuditEntry:
    """
    A verb and what came of it.

    The target is what was asked about, so that a tenant's entries are found under the tenant; which task that led to
    is in the details.
    """
    details: dict[str, object] = {}
    if target_type is not TargetType.LINE and str(result.target_id) != target:
        details["task"] = str(result.target_id)
    if result.final_status is not None:
        details["finalStatus"] = str(result.final_status)
    if result.accepted or result.refused:
        details["accepted"] = len(result.accepted)
        details["refused"] = len(result.refused)
    return _entry(
        at=at,
        by=by,
        verb=verb,
        target_type=str(target_type),
        target="line" if target_type is TargetType.LINE else target,
        reason=reason,
        success=result.success,
        failure=result.failure_info,
        message=result.message,
        details=details,
    )


def creation_entry(*, at: datetime, by: Actor, reason: str, result: TaskCreationResult, known: bool) -> AuditEntry:
    """
    A plan that was created, or not.

    Args:
        known: The idempotency key had created it before, so nothing was done.
    """
    details: dict[str, object] = {"tasks": len(result.task_ids)}
    if known:
        details["repeated"] = True
    if not result.success:
        tenants = dict.fromkeys(finding.tenant_id for finding in result.findings if finding.tenant_id is not None)
        details = {"validated": result.validated_count, "tenants": list(tenants)[:_MOST_TENANTS]}
    return _entry(
        at=at,
        by=by,
        verb="create",
        target_type=str(TargetType.PLAN),
        target="" if result.plan_id is None else str(result.plan_id),
        reason=reason,
        success=result.success,
        failure=result.failure_info,
        message=result.message,
        details=details,
    )


def _entry(
    *,
    at: datetime,
    by: Actor,
    verb: str,
    target_type: str,
    target: str,
    reason: str,
    success: bool,
    failure: FailureInfo | None,
    message: str,
    details: Mapping[str, object],
) -> AuditEntry:
    return AuditEntry(
        at=at,
        actor=by,
        verb=verb,
        target_type=target_type,
        target=target,
        outcome=Outcome.ACCEPTED if success else Outcome.REFUSED,
        code=None if success or failure is None else str(failure.error_code),
        message=message,
        reason=reason,
        details=details,
    )
