"""What tells a plan that was created from one that was asked for under the same idempotency key."""

from collections.abc import AsyncIterator, Sequence
from itertools import zip_longest

from switchover.domain.plan import PlanAggregate
from switchover.domain.task import TaskKey, TenantDeployConfigSnapshot
from switchover.domain.wire import config_to_dict
from switchover.dto.details import rules_to_dict
from switchover.dto.differences import MOST, Difference, differences
from switchover.factory.reading import Draft
from switchover.spi import ExecutionStore

_PAGE = 500
_OF_THE_PLAN = ("planId", "planVersion")
"""What a config has of its plan when it brought none itself."""


async def compare(store: ExecutionStore, plan: PlanAggregate, draft: Draft) -> tuple[Difference, ...]:
    """
    The first places where the draft differs from what was stored, in the names of a plan file.

    Empty when the two mean the same: what one of them says, the other leaves to a default, or it has no effect.
    """
    found: list[Difference] = []
    async for item in _all(store, plan, draft):
        found.append(item)
        if len(found) == MOST:
            break
    return tuple(found)


async def _all(store: ExecutionStore, plan: PlanAggregate, draft: Draft) -> AsyncIterator[Difference]:
    metadata = {"name": draft.name, "labels": dict(draft.labels)}
    for item in differences({"name": plan.name, "labels": dict(plan.labels)}, metadata, "/metadata"):
        yield item
    stored = {**rules_to_dict(plan.rules), "services": list(plan.rules.services)}
    given = {**rules_to_dict(draft.rules), "services": list(draft.rules.services)}
    for name, before, now in (
        ("planId", plan.plan_id, draft.plan_id),
        ("planVersion", plan.plan_version, draft.plan_version),
    ):
        if now is not None:
            stored[name], given[name] = before, now
    for item in differences(stored, given, "/spec"):
        yield item
    for start in range(0, max(plan.total, len(draft.configs)), _PAGE):
        keys = [TaskKey(plan.plan_id, ordinal + 1) for ordinal in range(start, min(start + _PAGE, plan.total))]
        tasks = [task.config for task in await store.load_tasks(keys)]
        for item in _tenants(tasks, draft.configs[start : start + _PAGE], start):
            yield item


def _tenants(
    stored: Sequence[TenantDeployConfigSnapshot], given: Sequence[TenantDeployConfigSnapshot], start: int
) -> list[Difference]:
    found: list[Difference] = []
    for index, (before, now) in enumerate(zip_longest(stored, given), start=start):
        one = None if before is None else config_to_dict(before)
        other = None if now is None else config_to_dict(now)
        if one is not None and other is not None:
            one.update({name: None for name in _OF_THE_PLAN if other[name] is None})
        found.extend(differences(one, other, f"/spec/tenants/{index}"))
    return found
