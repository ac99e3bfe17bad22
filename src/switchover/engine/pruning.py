"""Forgetting the events of plans that have ended, in steps that keep nobody waiting for long."""

from dataclasses import dataclass
from typing import Final

from switchover.domain.task import PlanId, TargetType
from switchover.engine.orchestrator import PlanOrchestrator, Reply
from switchover.engine.outcomes import OperationOutcome, refused
from switchover.engine.records import Residents
from switchover.errors import ErrorCode
from switchover.spi import PruneEvents

_STEP: Final = 5_000
"""Events that one commit forgets: other commits wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneService:
    """Carries out ``prune``."""

    orchestrator: PlanOrchestrator
    residents: Residents

    async def prune_plan(self, plan_id: PlanId, reply: Reply) -> OperationOutcome:
        """Forget all events of a plan that has ended, but for the newest; what is known of its tasks stays."""
        orchestrator = self.orchestrator
        outcome = OperationOutcome(TargetType.PLAN, str(plan_id))
        plan = await orchestrator.store.load_plan(plan_id)
        if plan is None:
            self._refuse(outcome, ErrorCode.UNKNOWN_PLAN, f"no plan {plan_id} is known; see `switchover get plans`")
            await orchestrator.note(reply(outcome))
            return outcome
        outcome.final_status = str(plan.status)
        oldest = await orchestrator.store.load_events(plan_id, 0, 1)
        first = oldest[0].position if oldest else plan.position
        last = plan.position
        through = first - 1
        while through < last - 1 and not self._is_live(plan_id, plan.unsettled):
            step = min(through + _STEP, last - 1)
            if step == last - 1:
                break
            await orchestrator.note((PruneEvents(plan_id, step),))
            through = step
        if self._is_live(plan_id, plan.unsettled):
            message = f"plan {plan_id} is {plan.status}: only the events of plans that have ended can be forgotten"
            self._refuse(outcome, ErrorCode.ILLEGAL_STATE, message)
            await orchestrator.note(reply(outcome))
            return outcome
        number = f"{max(last - first, 0):,} events"
        outcome.message = f"plan {plan_id}: {number} are forgotten; the newest stays, and how everything stands"
        await orchestrator.note((PruneEvents(plan_id, last - 1), *reply(outcome)))
        return outcome

    def _is_live(self, plan_id: PlanId, unsettled: int) -> bool:
        resident = self.residents.plans.get(plan_id)
        return bool(unsettled if resident is None else resident.unsettled)

    def _refuse(self, outcome: OperationOutcome, code: ErrorCode, message: str) -> None:
        outcome.refuse(refused(code, message, self.orchestrator.clock.now()))
