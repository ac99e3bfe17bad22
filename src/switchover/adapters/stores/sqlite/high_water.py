"""
How far a database had come, written down beside it.

SQLite cannot know that its journal was lost: without it the file is a sound database that is a few commits older. So
the driver writes into its lock file, after each commit and before anybody is told of it, how many events there are and
which epoch wrote them. It is not forced to disk: after a power failure it may be older than the database, never newer,
so what contradicts it has lost commits, or was replaced.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from switchover.domain.values import evolver

_LINE: Final = re.compile(
    rb"switchover epoch=(\d{10}) since=(\d{16}) events=(\d{12}) images=(\d{12}) last=(\d{19})/(\d{12})@(\d{16})"
    rb" (running|ended  )\n"
)


class LastEvent(NamedTuple):
    """An event that was written last; its moment tells it from that of another database. Position 0: none."""

    plan_id: int = 0
    position: int = 0
    at: int = 0


_NONE: Final = LastEvent()


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWater:
    """
    What was there at least.

    Attributes:
        epoch: Of the last driver.
        since: When it began, in microseconds: tells apart two databases with the same epoch.
        events: Over all plans.
        images: Number of the last pre-image; those are committed without an event, before the first write.
        last: Which of them was written last.
        ended: It left in good order.
    """

    epoch: int
    since: int
    events: int
    images: int = 0
    last: LastEvent = _NONE
    ended: bool = False

    def to_bytes(self) -> bytes:
        """One line of fixed length, so that it replaces the one before in a single write."""
        state = b"ended  " if self.ended else b"running"
        line = b"switchover epoch=%010d since=%016d events=%012d images=%012d last=%019d/%012d@%016d %s\n"
        return line % (self.epoch, self.since, self.events, self.images, *self.last, state)

    @staticmethod
    def parse(data: bytes) -> "HighWater | None":
        """None when nothing, or nothing that can be read, is written there."""
        found = _LINE.fullmatch(data)
        if found is None:
            return None
        epoch, since, events, images, *last = map(int, found.groups()[:-1])
        ended = found.groups()[-1] == b"ended  "
        return HighWater(epoch=epoch, since=since, events=events, images=images, last=LastEvent(*last), ended=ended)

    def missing_in(self, *, epoch: int, since: int, events: int, images: int, last_at: int | None) -> str:
        """
        What a database that says so lacks; empty when it lacks nothing.

        Args:
            last_at: The moment of the event that stands where ``last`` stood.
        """
        if epoch < self.epoch:
            return f"its last driver had epoch {self.epoch}, the database knows epoch {epoch}"
        if epoch == self.epoch and since != self.since:
            return f"it was written by another driver with epoch {epoch}"
        if events < self.events:
            return f"there were {self.events} events, the database holds {events}"
        if images < self.images:
            return f"there were {self.images} pre-images, the database holds {images}"
        if self.last.position and self.last.at != last_at:
            return f"the event at position {self.last.position} of plan {self.last.plan_id} is not the one it was"
        return ""


evolve_mark = evolver(HighWater)
"""``dataclasses.replace`` for what is written with every commit."""
