"""
Stages of your own: a telephone exchange moves its tenants without cutting off a single call.

Two things here are not in the catalogue: steps that drain calls and shift traffic bit by bit, and a way back that does
not shift bit by bit, because whoever rolls back is in a hurry.

    python examples/own_steps/switch_calls.py
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from switchover import (
    CompositeServiceStage,
    HealthCheckStep,
    StepError,
    TaskRuntimeContext,
    TaskStage,
    TaskStatus,
    TaskView,
    TenantDeployConfig,
    open_executor,
)

Weights = dict[str, int]
"""Percent of a tenant's new calls, by unit."""


@dataclass
class Exchange:
    """What is switched: who gets new calls, and which calls go on. A real one would be reached over the network."""

    weights: dict[str, Weights]
    calls: dict[str, int]
    generations: dict[str, int] = field(default_factory=dict)
    shifts: list[tuple[str, Weights]] = field(default_factory=list)

    def shift(self, tenant: str, weights: Weights, generation: int) -> None:
        """Refuse who comes with an old generation: a process that was frozen must not undo what a newer one did."""
        if generation < self.generations.get(tenant, 0):
            raise StepError(f"{tenant} was switched by generation {self.generations[tenant]}", retryable=False)
        self.generations[tenant] = generation
        self.weights[tenant] = weights
        self.shifts.append((tenant, weights))


@dataclass(frozen=True)
class DrainCalls:
    """Wait until the tenant's long calls are over. Steps are found by what they do: a name, and ``execute``."""

    exchange: Exchange
    name: str = "drainCalls"

    async def execute(self, context: TaskRuntimeContext) -> None:
        while self.exchange.calls.get(context.tenant_id, 0):
            await asyncio.sleep(0.02)  # the engine's deadline for steps ends it, if nothing else does
            self.exchange.calls[context.tenant_id] -= 1


@dataclass(frozen=True)
class ShiftTraffic:
    """Move new calls to the unit of the config that is to become effective, in three portions."""

    exchange: Exchange
    name: str = "shiftTraffic"

    async def execute(self, context: TaskRuntimeContext) -> None:
        # Keep what was there before the first write. The first one kept counts, in whatever run and process that was,
        # so a retry or a restart after a crash does not mistake our own half-done work for the state before.
        weights = self.exchange.weights[context.tenant_id]
        kept = await context.pre_images.keep("weights", json.dumps(weights).encode())
        before: Weights = json.loads(kept.value or b"{}")
        unit = context.config.deploy_unit_name or "new"
        for percent in (10, 50, 100):
            rest = {name: share * (100 - percent) // 100 for name, share in before.items()}
            self.exchange.shift(context.tenant_id, {**rest, unit: percent}, context.generation)
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class ShiftBackAtOnce:
    """The way back of the traffic stage: everything in one go, then make sure that it helped."""

    exchange: Exchange
    confirm: HealthCheckStep

    async def rollback(self, task: TaskView, context: TaskRuntimeContext) -> None:
        kept = await context.pre_images.get("weights")
        if kept is None or kept.value is None:
            return  # never read, so never written
        self.exchange.shift(context.tenant_id, json.loads(kept.value), context.generation)
        await context.run_step(self.confirm)  # under its deadline; expects the version of the previous config
        context.log.info("traffic is back", failed_with=task.failure_info and task.failure_info.error_code)


@dataclass(frozen=True)
class NothingToUndo:
    """The way back of the drain stage: calls that are over stay over."""

    async def rollback(self, task: TaskView, context: TaskRuntimeContext) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Probe:
    """A HealthCheckClient of our own; the default one speaks HTTP."""

    exchange: Exchange
    versions: Mapping[str, int]
    broken: frozenset[str]

    async def get(self, url: str) -> Mapping[str, object]:
        tenant = url.rpartition("/")[2]
        weights = self.exchange.weights[tenant]
        unit = max(weights, key=lambda name: weights[name])
        if unit == "green" and tenant in self.broken:
            raise ConnectionRefusedError(f"no registration of {tenant}")
        return {"version": self.versions[unit]}


def stages_of(exchange: Exchange, config: TenantDeployConfig) -> Sequence[TaskStage]:
    """
    The stage factory.

    It is asked at every run of a task, also after a restart and for the way back, and must answer the same each time:
    so it looks at the config and at nothing that changes.
    """
    answers = HealthCheckStep(endpoints=["http://127.0.0.1/exchange/{tenantId}"], interval="50ms", attempts=3)
    traffic = CompositeServiceStage(
        "traffic", [ShiftTraffic(exchange), answers], rollback=ShiftBackAtOnce(exchange, answers)
    )
    if config.trunk_group is None:
        return [traffic]
    return [CompositeServiceStage("drain", [DrainCalls(exchange)], rollback=NothingToUndo()), traffic]


def config_of(tenant: str, *, trunk: str | None = None) -> TenantDeployConfig:
    """From blue to green; tenants with a trunk have calls that last."""
    return TenantDeployConfig(
        tenant_id=tenant,
        deploy_unit_id=2,
        deploy_unit_version=42,
        deploy_unit_name="green",
        trunk_group=trunk,
        called_number_rules=None if trunk is None else "+49*",
        source_tenant_deploy_config=TenantDeployConfig(
            tenant_id=tenant, deploy_unit_id=1, deploy_unit_version=41, deploy_unit_name="blue"
        ),
    )


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    exchange = Exchange(
        weights={"acme": {"blue": 100}, "birch": {"blue": 100}, "cedar": {"blue": 70, "old": 30}},
        calls={"acme": 5, "cedar": 2},
    )
    configs = [config_of("acme", trunk="north"), config_of("birch"), config_of("cedar", trunk="south")]
    probe = Probe(exchange, {"old": 40, "blue": 41, "green": 42}, broken=frozenset({"cedar"}))
    before = dict(exchange.weights["cedar"])

    async with open_executor(
        "memory://", stage_factory=lambda config: stages_of(exchange, config), health_client=probe
    ) as executor:
        facade = executor.facade
        created = await facade.create_switch_task(configs)
        assert created.plan_id is not None, created.findings
        plan = await executor.wait_for_plan(created.plan_id)
        print(f"plan {plan.plan_id} is {plan.status}: {exchange.weights}")
        assert plan.counts == {TaskStatus.COMPLETED: 2, TaskStatus.FAILED: 1}

        cedar = await facade.query_task_status_by_tenant("cedar")
        assert cedar.failure_info is not None
        print(f"cedar: {cedar.failure_info.message}")

        print((await facade.rollback_task_by_tenant("cedar")).message)
        await executor.wait_for_plan(created.plan_id)
        cedar = await facade.query_task_status_by_tenant("cedar")
        print(f"cedar is {cedar.status}: {exchange.weights['cedar']}")
        assert cedar.status is TaskStatus.ROLLED_BACK
        assert exchange.weights["cedar"] == before
        assert [weights for tenant, weights in exchange.shifts if tenant == "cedar"][-1] == before


if __name__ == "__main__":
    asyncio.run(main())
