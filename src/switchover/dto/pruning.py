"""How many events of which plans are forgotten, or would be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedPlan:
    """A plan, and how many of its events."""

    plan_id: int
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What was forgotten, or would be: of each plan all events but the newest."""

    plans: tuple[PrunedPlan, ...] = ()

    @property
    def events(self) -> int:
        """Of all plans."""
        return sum(plan.events for plan in self.plans)

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        plans = [{"planId": plan.plan_id, "events": plan.events} for plan in self.plans]
        return {"events": self.events, "plans": plans}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "PruneReport":
        """The inverse of ``to_dict``."""
        return PruneReport(
            plans=tuple(PrunedPlan(plan_id=item["planId"], events=item["events"]) for item in data["plans"])
        )
