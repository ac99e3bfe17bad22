"""One tenant whose stages, policy or step behaves as nobody foresees: it fails, says why, and stops nobody else."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from switchover import ErrorCode, TenantDeployConfig, open_executor
from switchover.domain.stage import TaskRuntimeContext, TaskStage
from switchover.domain.task import TaskView
from switchover.stages.service import CompositeServiceStage

TENANTS = ("t1", "t2", "poison", "t4", "t5")


class UnshowableError(Exception):
    """It cannot even be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


class UnstorableError(Exception):
    """Its text is one that no store could keep."""

    def __repr__(self) -> str:
        return "no text: \udcff and \0"

    __str__ = __repr__


class StrangeError(BaseException):
    """It is not even an ``Exception``."""


class Nameless:
    """Is no stage."""


class Odd(CompositeServiceStage):
    """Has a name that is no text."""


ERRORS: dict[str, Callable[[], BaseException]] = {
    "an error": lambda: ValueError("poison"),
    "one that cannot be shown": UnshowableError,
    "one that cannot be stored": UnstorableError,
    "a cancellation that nobody asked for": asyncio.CancelledError,
    "one of megabytes": lambda: ValueError("poison " * 1_000_000),
    "one that is no Exception": StrangeError,
}
FORESEEN = [kind for kind in ERRORS if kind != "one that is no Exception"]


class Poison:
    """Harmless while the plan is created, and poisonous from then on, until it is healed."""

    def __init__(self, where: str, error: Callable[[], BaseException]) -> None:
        self.where = where
        self.error = error
        self.active = False

    def strike(self, where: str, tenant_id: str) -> None:
        if self.active and where == self.where and tenant_id == "poison":
            raise self.error()

    def stages(self, config: TenantDeployConfig) -> Sequence[TaskStage]:
        self.strike("factory", config.tenant_id)
        if self.active and config.tenant_id == "poison" and self.where == "nameless":
            return [cast("TaskStage", Nameless())]
        if self.active and config.tenant_id == "poison" and self.where == "odd name":
            return [Odd(cast("str", 5), ())]
        return [CompositeServiceStage(name, [_Step(self)]) for name in ("gateway", "media")]

    def should_skip(self, task: TaskView, context: TaskRuntimeContext, stage: TaskStage) -> bool:
        self.strike("skip policy", task.tenant_id)
        return False

    def is_completed(self, task: TaskView, total_stages: int) -> bool:
        self.strike("completion policy", task.tenant_id)
        return task.completed_stages == total_stages

    def should_pause(self, context: TaskRuntimeContext) -> bool:
        self.strike("pause policy", context.tenant_id)
        return context.pause_requested


class _Step:
    name = "switch"

    def __init__(self, poison: Poison) -> None:
        self._poison = poison

    async def execute(self, context: TaskRuntimeContext) -> None:
        self._poison.strike("step", context.tenant_id)


WHERE = [
    *((where, kind) for where in ("factory", "skip policy", "completion policy", "step") for kind in FORESEEN),
    ("step", "one that is no Exception"),
    ("pause policy", "a cancellation that nobody asked for"),
    ("nameless", "an error"),
    ("odd name", "an error"),
]


@pytest.mark.parametrize(("where", "kind"), WHERE, ids=[f"{where}: {kind}" for where, kind in WHERE])
async def test_a_tenant_that_is_poison_fails_alone(where: str, kind: str, tmp_path: Path) -> None:
    poison = Poison(where, ERRORS[kind])
    url = f"sqlite:///{tmp_path / 'switchover.db'}"
    configs = [{"tenantId": tenant, "deployUnitId": 2, "deployUnitVersion": 42} for tenant in TENANTS]
    async with open_executor(url, stage_factory=poison.stages, policies=[poison], mode="record") as executor:
        created = await executor.facade.create_switch_task(configs, options={"maxConcurrency": 2})
        assert created.plan_id is not None, created.message
    poison.active = True
    async with open_executor(url, stage_factory=poison.stages, policies=[poison]) as executor:
        async with asyncio.timeout(20):
            plan = await executor.wait_for_plan(created.plan_id)
        assert plan.status == "PARTIAL_FAILED"
        tasks = {str(task.tenant_id): task for task in await executor.facade.list_tasks(created.plan_id)}
        assert {tenant: str(task.status) for tenant, task in tasks.items()} == {
            tenant: "FAILED" if tenant == "poison" else "COMPLETED" for tenant in TENANTS
        }
        failure = tasks["poison"].failure_info
        assert failure is not None
        assert failure.error_code in {ErrorCode.INTERNAL_ERROR, ErrorCode.INVALID_STAGES, ErrorCode.STEP_FAILED}
        assert "tenant poison" in failure.message
        assert len(failure.message) < 10_000
        assert executor.driver_failure is None
        poison.active = False
        assert (await executor.facade.retry_task_by_tenant("poison")).success
        async with asyncio.timeout(20):
            assert (await executor.wait_for_plan(created.plan_id)).status == "COMPLETED"
