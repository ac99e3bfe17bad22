"""
What programs rely on, checked by the type checkers and never run.

Every public name of the Python interface, and objects written by users that implement the protocols with exactly the
members that these ask for.
"""

from collections.abc import Mapping, Sequence
from typing import assert_type

from switchover import (
    BroadcastStep,
    CompositeServiceStage,
    ConfigUpdateStep,
    DeploymentTaskFacade,
    ErrorType,
    Event,
    ExecutorSettings,
    FailureInfo,
    HealthCheckClient,
    HealthCheckStep,
    NetworkEndpoint,
    PlanStatus,
    PlanStatusInfo,
    PreviousConfigRollback,
    RollbackStrategy,
    StageStep,
    TaskCreationResult,
    TaskOperationResult,
    TaskRuntimeContext,
    TaskStage,
    TaskStatus,
    TaskStatusInfo,
    TaskView,
    TenantDeployConfig,
    open_executor,
)
from switchover.domain.policies import RetryPolicy, StageSkipEvaluator


class Step:
    name = "mine"

    async def execute(self, context: TaskRuntimeContext) -> None:
        context.log.info("asked", stage=context.stage, version=context.config.deploy_unit_version)
        if context.rolling_back or context.pause_requested or context.cancel_requested:
            context.data["generation"] = context.generation


class Undo:
    async def rollback(self, task: TaskView, context: TaskRuntimeContext) -> None:
        context.data[task.task_id] = context.tenant_id


class Stage:
    name = "own"
    steps: Sequence[StageStep] = (Step(),)
    rollback: RollbackStrategy = Undo()


class Client:
    async def get(self, url: str) -> Mapping[str, object]:
        return {"version": len(url)}


class Patience:
    def allow_retry(self, task: TaskView) -> bool:
        return task.retry_count < 2

    def next_delay(self, task: TaskView) -> float:
        return 2.0 * task.retry_count

    def should_skip(self, task: TaskView, context: TaskRuntimeContext, stage: TaskStage) -> bool:
        return stage.name in task.stage_names and context.rolling_back


def stages(config: TenantDeployConfig) -> Sequence[TaskStage]:
    steps: list[StageStep] = [
        ConfigUpdateStep(
            target="file:///srv/map.json", key="{tenantId}", field="a", value={"v": "{deployUnitVersion}"}
        ),
        BroadcastStep(target="redis://127.0.0.1:6379/0", channel="topic"),
        HealthCheckStep(interval="3s", attempts=10, timeout=2, path="/health", version_key="version", consecutive=1),
        Step(),
    ]
    own = Stage()
    first = CompositeServiceStage("a", steps)
    second = CompositeServiceStage("b", steps, PreviousConfigRollback(steps))
    return [first, second, CompositeServiceStage(config.tenant_id, steps, rollback=Undo()), own]


retry_policy: RetryPolicy = Patience()
skip_policy: StageSkipEvaluator = Patience()
health_client: HealthCheckClient = Client()


async def use(facade: DeploymentTaskFacade) -> None:
    config = TenantDeployConfig(
        tenant_id="acme",
        deploy_unit_id=2,
        deploy_unit_version=42,
        network_endpoints=(NetworkEndpoint(target_ip="10.0.0.1:8080"),),
    )
    created = await facade.create_switch_task([config], options={"maxConcurrency": 1}, idempotency_key="k")
    assert_type(created, TaskCreationResult)
    assert_type(created.status, PlanStatus)
    assert_type(created.failure_info, FailureInfo | None)
    assert_type(await facade.retry_task_by_tenant("acme", from_checkpoint=True), TaskOperationResult)
    assert_type(await facade.cancel_task_by_plan(100), TaskOperationResult)
    status = await facade.query_task_status_by_tenant("acme")
    assert_type(status, TaskStatusInfo)
    assert_type(status.status, TaskStatus | None)
    assert_type(await facade.query_plan_status(100), PlanStatusInfo)
    assert_type(await facade.has_checkpoint("acme"), bool)


async def main() -> None:
    settings = ExecutorSettings(recovery="pause", max_concurrency=4)
    async with open_executor(
        "memory://", settings=settings, stage_factory=stages, policies=[Patience()], health_client=Client()
    ) as executor:
        await use(executor.facade)
        plan = await executor.wait_for_plan(100)
        assert_type(plan.counts[TaskStatus.COMPLETED], int)
        async for event in executor.events(plan_id=100, since=0):
            assert_type(event, Event)
            kind = None if event.failure_info is None else event.failure_info.error_type
            assert_type(kind, ErrorType | None)
            assert_type(event.data, Mapping[str, object])
