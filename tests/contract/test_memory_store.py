from collections.abc import Mapping

import pytest

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.spi import ExecutionStore
from switchover.testing.contracts import AgreementContract


class TestMemoryStore(AgreementContract):
    """The reference: what it answers is right by definition, so here the suite tests itself as much as the store."""

    @pytest.fixture
    def place(self) -> MemoryExecutionStore:
        return MemoryExecutionStore()

    def connect(self, place: object) -> ExecutionStore:
        assert isinstance(place, MemoryExecutionStore)
        return MemoryExecutionStore(beside=place)

    async def count_rows(self, place: object) -> Mapping[str, int]:
        assert isinstance(place, MemoryExecutionStore)
        data = place._data
        tasks = [task for plan in data.plans.values() for task in plan.tasks.values()]
        return {
            "plans": len(data.plans),
            "tasks": len(tasks),
            "events": sum(len(plan.events) for plan in data.plans.values()),
            "own events": sum(len(plan.own_events) for plan in data.plans.values())
            + sum(len(task.events) for task in tasks),
            "tenants": len(data.tenants),
            "queued": sum(len(tenant.queue) for tenant in data.tenants.values()),
            "arrived": sum(len(tenant.arrived) for tenant in data.tenants.values()),
            "pre_images": sum(len(task.pre_images) for task in tasks),
            "requests": len(data.requests),
            "keys": len(data.idempotency),
            "log": len(data.log),
        }
