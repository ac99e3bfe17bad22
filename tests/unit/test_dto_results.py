"""Results (interfaces, section 1): what they say, and that a second process reads the same back."""

import json
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
import pytest

from switchover.domain.plan import PlanAggregate, PlanRules, PlanStatus
from switchover.domain.task import (
    FailureInfo,
    FailurePoint,
    Operation,
    PlanId,
    TargetType,
    TaskAggregate,
    TaskId,
    TaskKey,
    TaskStatus,
    TenantId,
)
from switchover.dto import (
    Finding,
    PlanStatusInfo,
    Severity,
    TaskCreationResult,
    TaskOperationResult,
    TaskOutcome,
    TaskStatusInfo,
)
from switchover.dto.details import task_detail, task_from_dict
from switchover.errors import ErrorCode, ErrorType

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
FAILURE = FailureInfo(
    error_code=ErrorCode.HEALTH_CHECK_FAILED,
    error_type=ErrorType.BUSINESS_ERROR,
    message="no",
    timestamp=NOW,
    failed_at=FailurePoint(stage="gateway", step="healthCheck"),
    retryable=True,
)
FINDING = Finding(
    tenant_id="acme", field="tenantId", code=ErrorCode.TENANT_ON_HOLD, message="held", index=3, file="p.yaml", line=4
)
TASK = TaskAggregate(
    key=TaskKey(PlanId(100), 3),
    tenant_id=TenantId("acme"),
    status=TaskStatus.FAILED,
    stage_names=("a", "b", "c"),
    marks=(3, 1, 0),
    created_at=NOW,
    updated_at=NOW + timedelta(seconds=2),
    started_at=NOW + timedelta(seconds=1),
    retry_count=2,
    generation=7,
    pending_operation=Operation.RETRY,
    failure_info=FAILURE,
)
PLAN = PlanAggregate(
    plan_id=PlanId(100),
    status=PlanStatus.RUNNING,
    rules=PlanRules(max_concurrency=4),
    total=3,
    counts={TaskStatus.COMPLETED: 1, TaskStatus.RUNNING: 2, TaskStatus.PENDING: 0},
    created_at=NOW,
    updated_at=NOW,
)
REFUSED = TaskOutcome(task_id=TaskId("100-3"), tenant_id=TenantId("acme"), failure_info=FAILURE)

RESULTS: list[Any] = [
    FINDING,
    replace(FINDING, severity=Severity.WARNING, file=None, line=None),
    TaskCreationResult(
        plan_id=PlanId(100),
        task_ids=[TaskId("100-1")],
        validated_count=1,
        status=PlanStatus.READY,
        message="created",
        findings=(FINDING,),
    ),
    TaskCreationResult(
        plan_id=None, task_ids=[], validated_count=0, status=PlanStatus.FAILED, message="no", failure_info=FAILURE
    ),
    TaskOperationResult(
        target_type=TargetType.PLAN,
        target_id=100,
        success=True,
        final_status=PlanStatus.RUNNING,
        message="asked",
        accepted=(TaskOutcome(task_id=TaskId("100-1"), tenant_id=TenantId("b")),),
        refused=(REFUSED,),
    ),
    TaskOperationResult(
        target_type=TargetType.TASK, target_id="100-1", success=True, final_status=TaskStatus.PAUSED, message="ok"
    ),
    TaskOperationResult(
        target_type=TargetType.TENANT,
        target_id="acme",
        success=False,
        final_status=None,
        message="no",
        failure_info=FAILURE,
    ),
    TaskStatusInfo.of(TASK),
    TaskStatusInfo.unknown(FAILURE, task_id="9-9"),
    TaskStatusInfo.unknown(FAILURE, tenant_id="nobody"),
    PlanStatusInfo.of(PLAN),
    PlanStatusInfo.unknown(FAILURE, plan_id=9),
]


@pytest.mark.parametrize("result", RESULTS, ids=[f"{n}-{type(r).__name__}" for n, r in enumerate(RESULTS)])
def test_what_is_written_as_json_is_read_back_equal(result: object) -> None:
    written = cast("Any", result).to_dict()
    assert cast("Any", type(result)).from_dict(json.loads(json.dumps(written))) == result


@pytest.mark.parametrize("result", RESULTS, ids=[f"{n}-{type(r).__name__}" for n, r in enumerate(RESULTS)])
def test_results_are_frozen(result: object) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(result, fields(cast("Any", result))[0].name, "other")


def test_a_task_shows_the_fields_of_the_table() -> None:
    assert TaskStatusInfo.of(TASK).to_dict() == {
        "taskId": "100-3",
        "planId": 100,
        "tenantId": "acme",
        "found": True,
        "status": "FAILED",
        "currentStage": "b",
        "completedStages": 1,
        "totalStages": 3,
        "progressPercent": 33,
        "paused": False,
        "cancelled": False,
        "retryCount": 2,
        "pendingOperation": "retry",
        "failureInfo": FAILURE.to_dict(),
        "generation": 7,
        "timestamps": {
            "created": "2026-01-02T03:04:05.000006Z",
            "started": "2026-01-02T03:04:06.000006Z",
            "ended": None,
            "updated": "2026-01-02T03:04:07.000006Z",
        },
    }


def test_held_and_paused_tasks_are_both_paused() -> None:
    assert TaskStatusInfo.of(replace(TASK, status=TaskStatus.PENDING, held=True)).paused
    assert TaskStatusInfo.of(replace(TASK, status=TaskStatus.PAUSED)).paused
    assert not TaskStatusInfo.of(replace(TASK, status=TaskStatus.RESUMING)).paused


def test_counts_have_the_statuses_that_tasks_have() -> None:
    info = PlanStatusInfo.of(PLAN)
    assert info.counts == {TaskStatus.RUNNING: 2, TaskStatus.COMPLETED: 1}
    assert info.to_dict()["counts"] == {"RUNNING": 2, "COMPLETED": 1}
    assert info.max_concurrency == 4


def test_an_unknown_id_is_an_answer() -> None:
    info = TaskStatusInfo.unknown(FAILURE, tenant_id="nobody")
    assert (info.found, info.tenant_id, info.status, info.failure_info) == (False, "nobody", None, FAILURE)
    assert PlanStatusInfo.unknown(FAILURE, plan_id=7).to_dict()["planId"] == 7


def test_a_refused_creation_has_no_plan_and_no_tasks() -> None:
    refused = RESULTS[3]
    assert (refused.success, refused.plan_id, refused.task_ids, refused.status) == (False, None, [], "FAILED")


def test_a_finding_shows_its_place_as_far_as_it_is_known() -> None:
    assert FINDING.place == "p.yaml:4"
    assert replace(FINDING, column=9).place == "p.yaml:4:9"
    assert "line" not in replace(FINDING, file=None, line=None).to_dict()
    assert FINDING.to_dict()["severity"] == "error"


def test_counts_answer_for_every_status_and_list_those_that_some_task_has() -> None:
    info = PlanStatusInfo.of(PLAN)
    for told in (info, PlanStatusInfo.from_dict(info.to_dict()), PlanStatusInfo()):
        assert {status: told.counts[status] for status in TaskStatus if told.counts[status]} == dict(told.counts)
        assert set(told.counts) < set(TaskStatus)


@pytest.mark.parametrize("not_before", [None, NOW + timedelta(seconds=30, microseconds=1)])
def test_a_task_in_full_comes_back_over_a_wire(not_before: datetime | None) -> None:
    task = replace(TASK, not_before=not_before, pending_from_checkpoint=False, own_request=True, arrival=4)
    data = orjson.loads(orjson.dumps({**TaskStatusInfo.of(task).to_dict(), "detail": task_detail(task)}))
    assert task_from_dict(data) == task
