"""Plans and tasks as looks show them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from switchover.domain.plan import PlanAggregate, PlanRules, PlanStatus
from switchover.domain.task import (
    FailureInfo,
    FailurePoint,
    PlanId,
    StageMark,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantId,
)
from switchover.errors import ErrorCode, ErrorType
from switchover.interfaces.cli.looking import Around, PlanLook
from switchover.spi import DriverInfo

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
STAGES = ("gateway", "media", "billing")


def task(ordinal: int = 1, status: TaskStatus = TaskStatus.RUNNING, **changes: Any) -> TaskAggregate:  # noqa: ANN401
    values: dict[str, Any] = {
        "key": TaskKey(PlanId(100), ordinal),
        "tenant_id": TenantId(f"tenant-{ordinal}"),
        "status": status,
        "stage_names": STAGES,
        "marks": (int(StageMark.STARTED | StageMark.COMPLETED), int(StageMark.STARTED), 0),
        "created_at": NOW,
        "updated_at": datetime.now(UTC) - timedelta(seconds=12),
        "generation": 1,
    }
    return TaskAggregate(**{**values, **changes})


def failed(ordinal: int = 1, message: str = "no answer", **changes: Any) -> TaskAggregate:  # noqa: ANN401
    failure = FailureInfo(
        error_code=ErrorCode.HEALTH_CHECK_FAILED,
        error_type=ErrorType.BUSINESS_ERROR,
        message=message,
        timestamp=NOW,
        failed_at=FailurePoint(stage="media", step="healthCheck"),
    )
    return task(ordinal, TaskStatus.FAILED, **{"failure_info": failure, **changes})


def plan(
    counts: Mapping[TaskStatus, int],
    status: PlanStatus = PlanStatus.RUNNING,
    **changes: Any,  # noqa: ANN401
) -> PlanAggregate:
    unsettled = sum(number for status, number in counts.items() if not status.is_settled)
    touched = sum(number for status, number in counts.items() if status is not TaskStatus.PENDING)
    values: dict[str, Any] = {
        "plan_id": PlanId(100),
        "status": status,
        "rules": PlanRules(),
        "total": sum(counts.values()),
        "counts": counts,
        "created_at": NOW,
        "updated_at": NOW,
        "unsettled": unsettled,
        "touched": touched,
    }
    return PlanAggregate(**{**values, **changes})


def around(*, driving: bool = True, alive: bool = True, **changes: Any) -> Around:  # noqa: ANN401
    driver = DriverInfo(owner="process 7 on here", epoch=1, since=NOW, alive=alive)
    return Around(**{"driver": driver, "driving": driving, "line": None, "now": 0.0, **changes})


def look(counts: Mapping[TaskStatus, int], status: PlanStatus = PlanStatus.RUNNING, **changes: Any) -> PlanLook:  # noqa: ANN401
    plan_changes = changes.pop("plan", {})
    return PlanLook(plan=plan(counts, status, **plan_changes), **{"around": around(), **changes})
