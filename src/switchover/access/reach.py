"""Which plans somebody sees who is limited to some tenants: those with at least one of theirs."""

from collections import OrderedDict

from switchover.domain.access import TenantSelector
from switchover.domain.task import PlanId
from switchover.spi import ExecutionStore

_PAGE = 1_000
_MOST_KNOWN = 20_000


class PlanReach:
    """
    Looks a plan's tenants up once for each selector: the tenants of a plan never change.

    Args:
        store: Where the plans are.
    """

    def __init__(self, store: ExecutionStore) -> None:
        self._store = store
        self._known: OrderedDict[tuple[tuple[str, ...], int], bool] = OrderedDict()

    async def sees(self, tenants: TenantSelector, plan_id: int) -> bool:
        """Whether one of the plan's tenants is selected; of a plan that nobody knows, none is."""
        if tenants.is_everyone:
            return True
        key = (tenants.patterns, plan_id)
        if key not in self._known:
            found = await self._look(tenants, PlanId(plan_id))
            if found is None:
                return False
            self._known[key] = found
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return self._known[key]

    async def _look(self, tenants: TenantSelector, plan_id: PlanId) -> bool | None:
        after = 0
        while page := await self._store.list_tasks(plan_id, statuses=None, after=after, limit=_PAGE):
            if any(tenants.selects(task.tenant_id) for task in page):
                return True
            after = page[-1].key.ordinal
        return False if after else None
