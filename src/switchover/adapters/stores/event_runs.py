"""
Runs of events: what is committed in one piece follows one another in its plan and over all plans.

So one row stands for all of it, and no event has to carry its number over all plans.
"""

from collections.abc import Iterable, Sequence

from switchover.domain.events import Event

Run = tuple[int, int, int, int]
"""Number, plan id and position of the last event of the run, and how many there are."""


class EventRuns:
    """Collects the runs of one batch."""

    def __init__(self) -> None:
        self._runs: list[list[int]] = []
        self.events = 0

    def add(self, events: Iterable[Event]) -> None:
        """The next ones, in commit order."""
        runs = self._runs
        plan_id, position = runs[-1][:2] if runs else (0, 0)
        for event in events:
            self.events += 1
            if event.plan_id == plan_id and event.position == position + 1:
                position += 1
                run = runs[-1]
                run[1] = position
                run[2] += 1
            else:
                plan_id, position = event.plan_id, event.position
                runs.append([plan_id, position, 1])

    def numbered(self, before: int) -> Sequence[Run]:
        """The rows, when ``before`` is the last number that was given."""
        rows: list[Run] = []
        for plan_id, position, length in self._runs:
            before += length
            rows.append((before, plan_id, position, length))
        return rows
