"""
The order in which the tasks of one plan get free slots.

A waiting task costs one number here; its data stays in the store until its turn is near. What was put in stays in until
it is taken out; whoever takes it out finds out whether the task still waits, so nothing has to be removed from inside.
"""

import heapq
from bisect import bisect_left
from collections.abc import Collection
from typing import NamedTuple

from switchover.domain.admission import QueueClass


class Place(NamedTuple):
    """Where a task stands: by class, then by rank, then by ordinal."""

    queue: QueueClass
    rank: int
    ordinal: int
    own_request: bool = False


class PlanQueue:
    """
    Places of waiting tasks: the next ones sorted and at hand (``near``), the others in heaps of plain numbers.

    Args:
        reach: How many places are kept at hand.
    """

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._heaps: dict[QueueClass, list[tuple[int, int]]] = {
            queue: [] for queue in QueueClass if queue is QueueClass.ROLLBACK
        }
        self._ordinals: dict[QueueClass, list[int]] = {
            queue: [] for queue in QueueClass if queue is not QueueClass.ROLLBACK
        }
        self.near: list[Place] = []

    def push(self, place: Place) -> None:
        """Put a task in; putting it in twice does no harm."""
        if place.own_request:
            # What an operator asked for by tenant must be in reach even while the plan's own tasks wait.
            self._insert(place)
        elif place.queue is QueueClass.ROLLBACK:
            heapq.heappush(self._heaps[place.queue], (place.rank, place.ordinal))
        else:
            heapq.heappush(self._ordinals[place.queue], place.ordinal)

    def fill(self) -> None:
        """Bring the next places near: as many as are in reach, and whatever comes before those."""
        while (first := self._first()) is not None and (len(self.near) < self._reach or first < self.near[-1]):
            self._take(first.queue)
            self._insert(first)

    def remove(self, places: Collection[Place]) -> None:
        """Take places away from those at hand."""
        gone = set(places)
        if self.near[: len(gone)] == list(places):  # the usual case: the first ones start
            del self.near[: len(gone)]
        elif gone:
            self.near = [place for place in self.near if place not in gone]

    def _insert(self, place: Place) -> None:
        index = bisect_left(self.near, place)
        if index == len(self.near) or self.near[index] != place:
            self.near.insert(index, place)

    def _first(self) -> Place | None:
        for queue, heap in self._heaps.items():
            if heap:
                return Place(queue, *heap[0])
        for queue, ordinals in self._ordinals.items():
            if ordinals:
                return Place(queue, ordinals[0], ordinals[0])
        return None

    def _take(self, queue: QueueClass) -> None:
        if queue is QueueClass.ROLLBACK:
            heapq.heappop(self._heaps[queue])
        else:
            heapq.heappop(self._ordinals[queue])

    def __len__(self) -> int:
        waiting = sum(len(heap) for heap in self._heaps.values())
        return len(self.near) + waiting + sum(len(ordinals) for ordinals in self._ordinals.values())
