"""
What a request would do, worked out without doing it: how many tasks would follow, and why the others would not.

The same table decides as for the request itself (``domain/verbs.py``), on what the store holds at this moment. Policies
of the driving process are not asked; they may still refuse single tasks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from switchover.domain.plan import PlanAggregate
from switchover.domain.task import Operation, PlanId, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.domain.verbs import Effect, VerbFacts, Verdict, decide, decide_by_plan, plan_refusal
from switchover.spi import ExecutionStore, TenantRecord

_PAGE = 1_000


@dataclass(slots=True, kw_only=True)
class Forecast:
    """
    What would come of a request.

    Attributes:
        found: False for a plan or a task that nobody knows.
        refusal: Why the request would be refused as a whole; empty when it would not be.
        effects: How many tasks would follow, by what would happen to them and by their status now.
        refused: How many would be refused, by reason's code, with one reason as an example.
    """

    found: bool = True
    total: int = 0
    refusal: str = ""
    effects: dict[tuple[Effect, TaskStatus], int] = field(default_factory=dict[tuple[Effect, TaskStatus], int])
    refused: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])

    @property
    def changing(self) -> int:
        """Tasks that something would happen to."""
        return sum(number for (effect, _), number in self.effects.items() if effect is not Effect.NOTHING)

    def note(self, task: TaskAggregate, verdict: Verdict) -> None:
        """Count one task."""
        self.total += 1
        if verdict.effect is not None:
            key = (verdict.effect, task.status)
            self.effects[key] = self.effects.get(key, 0) + 1
        elif verdict.code is not None:
            number, example = self.refused.get(str(verdict.code), (0, verdict.message))
            self.refused[str(verdict.code)] = (number + 1, example)

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "found": self.found,
            "total": self.total,
            "refusal": self.refusal or None,
            "changing": self.changing,
            "effects": [
                {"effect": str(effect), "status": str(status), "tasks": number}
                for (effect, status), number in self.effects.items()
            ],
            "refused": [
                {"errorCode": code, "tasks": number, "example": example}
                for code, (number, example) in self.refused.items()
            ],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Forecast":
        """The inverse of ``to_dict``."""
        return Forecast(
            found=data["found"],
            total=data["total"],
            refusal=data["refusal"] or "",
            effects={(Effect(item["effect"]), TaskStatus(item["status"])): item["tasks"] for item in data["effects"]},
            refused={item["errorCode"]: (item["tasks"], item["example"]) for item in data["refused"]},
        )


async def forecast_plan(
    store: ExecutionStore, plan_id: PlanId, operation: Operation, *, from_checkpoint: bool = True
) -> Forecast:
    """What a request by plan would do."""
    plan = await store.load_plan(plan_id)
    if plan is None:
        return Forecast(found=False, refusal=f"no plan {plan_id} is known; see `switchover get plans`")
    forecast = Forecast(refusal=plan_refusal(plan_id, plan.status, operation) or "")
    if forecast.refusal:
        return forecast
    resumes_plan = operation is Operation.RESUME and not plan.starts_tasks
    after = 0
    while page := await store.list_tasks(plan_id, statuses=None, after=after, limit=_PAGE):
        after = page[-1].key.ordinal
        tenants: Mapping[TenantId, TenantRecord] = await store.load_tenants([task.tenant_id for task in page])
        for task in page:
            facts = stored_facts(plan, task, tenants.get(task.tenant_id), from_checkpoint=from_checkpoint)
            forecast.note(task, decide_by_plan(task, operation, facts, resumes_plan=resumes_plan))
    return forecast


async def forecast_task(
    store: ExecutionStore, key: TaskKey, operation: Operation, *, from_checkpoint: bool = True
) -> Forecast:
    """What a request by task or by tenant would do."""
    plan, found = await store.load_plan(key.plan_id), await store.load_tasks([key])
    if plan is None or not found:
        return Forecast(found=False, refusal=f"no task {key.task_id} is known; see `switchover get plans`")
    task, tenant = found[0].task, found[0].tenant
    facts = stored_facts(plan, task, tenant, from_checkpoint=from_checkpoint)
    verdict = decide(task, operation, facts)
    forecast = Forecast(refusal=verdict.message)
    forecast.note(task, verdict)
    return forecast


async def forecast_tenant(
    store: ExecutionStore, tenant_id: TenantId, operation: Operation, *, from_checkpoint: bool = True
) -> Forecast:
    """What a request by tenant would do: about the task that holds the tenant's lock, else the newest one."""
    record = (await store.load_tenants([tenant_id])).get(tenant_id)
    key = None if record is None else record.owner or record.newest
    if key is None:
        return Forecast(found=False, refusal=f"no task of tenant {tenant_id!r} is known; see `switchover get plans`")
    return await forecast_task(store, key, operation, from_checkpoint=from_checkpoint)


def stored_facts(
    plan: PlanAggregate, task: TaskAggregate, tenant: TenantRecord | None, *, from_checkpoint: bool
) -> VerbFacts:
    """What the records say that a decision may look at; what policies say is left open."""
    owner = None if tenant is None or tenant.owner == task.key else tenant.owner
    # Nobody starts while this task holds the lock; what the store says may be from before its own start.
    later = None if tenant is None or task.lock_held else tenant.last_started
    return VerbFacts(
        plan_status=plan.status,
        superseded=task.started_at is not None and later is not None and later != task.key,
        lock_owner=None if owner is None else owner.task_id,
        max_retry=plan.rules.max_retry,
        from_checkpoint=from_checkpoint,
    )
