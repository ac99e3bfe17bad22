"""When which tenant ran which stage, from the plan's events; goes on where it has left off."""

from dataclasses import dataclass, field
from datetime import datetime

from switchover.domain.events import Event, EventType
from switchover.domain.task import PlanId
from switchover.interfaces.console.shapes import Tone
from switchover.spi import ExecutionStore

_PAGE = 2_000
_MOST_TIMELINES = 4

_OPENS = frozenset({EventType.TASK_STAGE_STARTED, EventType.TASK_STAGE_ROLLING_BACK})
_CLOSES = {
    EventType.TASK_STAGE_SUCCEEDED: Tone.DONE,
    EventType.TASK_STAGE_FAILED: Tone.FAILED,
    EventType.TASK_STAGE_ROLLED_BACK: Tone.BACK,
    EventType.TASK_STAGE_ROLLBACK_FAILED: Tone.BROKEN,
}


@dataclass(slots=True)
class Span:
    """One run of one stage; ``ended`` is None while it runs."""

    stage: str
    started: datetime
    ended: datetime | None = None
    tone: Tone = Tone.RUNNING
    restoring: bool = False


@dataclass(slots=True)
class Lane:
    """One tenant's spans, in order."""

    ordinal: int
    tenant_id: str
    spans: list[Span] = field(default_factory=list[Span])


@dataclass(slots=True)
class Timeline:
    """The lanes of a plan, in the order in which the tenants first ran."""

    plan_id: PlanId
    lanes: dict[int, Lane] = field(default_factory=dict[int, Lane])
    position: int = 0

    async def catch_up(self, store: ExecutionStore) -> None:
        """Read the events since the last time."""
        while page := await store.load_events(self.plan_id, self.position, _PAGE):
            for event in page:
                self._note(event)
            self.position = page[-1].position

    def _note(self, event: Event) -> None:
        if event.key is None or not event.data:
            return
        stage = str(event.data.get("stage", ""))
        if event.type in _OPENS:
            lane = self.lanes.setdefault(event.key.ordinal, Lane(event.key.ordinal, event.tenant_id or ""))
            if lane.spans and lane.spans[-1].ended is None:  # a crash interrupted it, and it runs again
                lane.spans[-1].ended, lane.spans[-1].tone = event.timestamp, Tone.OFF
            restoring = event.type is EventType.TASK_STAGE_ROLLING_BACK
            lane.spans.append(Span(stage, event.timestamp, restoring=restoring))
        elif event.type in _CLOSES and (found := self.lanes.get(event.key.ordinal)) is not None:
            last = found.spans[-1]
            if last.ended is None and last.stage == stage:
                last.ended, last.tone = event.timestamp, _CLOSES[event.type]


class Timelines:
    """Those that were looked at last."""

    def __init__(self, store: ExecutionStore) -> None:
        self._store = store
        self._kept: dict[PlanId, Timeline] = {}

    async def of(self, plan_id: PlanId) -> Timeline:
        """A plan's timeline, as of now."""
        timeline = self._kept.pop(plan_id, None) or Timeline(plan_id)
        await timeline.catch_up(self._store)
        self._kept[plan_id] = timeline
        while len(self._kept) > _MOST_TIMELINES:
            self._kept.pop(next(iter(self._kept)))
        return timeline
