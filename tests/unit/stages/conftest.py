from datetime import UTC, datetime

import pytest

from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus, TaskView, TenantId
from tests.support.stages import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def task_view() -> TaskView:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return TaskAggregate(
        key=TaskKey(PlanId(100), 1),
        tenant_id=TenantId("acme"),
        status=TaskStatus.ROLLING_BACK,
        stage_names=("gateway",),
        marks=(1,),
        created_at=moment,
        updated_at=moment,
    )
