"""Keeps the high-water mark of a database while it is driven. Belongs to the writing thread."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from switchover.adapters.stores.codec import encode_moment
from switchover.adapters.stores.sqlite.driver_lock import DriverLock
from switchover.adapters.stores.sqlite.high_water import HighWater, LastEvent, evolve_mark
from switchover.domain.task import PlanId
from switchover.spi import Entry, KeepPreImage

_AT: Final = "SELECT at FROM event WHERE plan_id = ? AND position = ?"
_LAST: Final = """
SELECT p.plan_id, p.position, e.at FROM plan AS p JOIN event AS e ON e.plan_id = p.plan_id AND e.position = p.position
ORDER BY p.updated_at DESC LIMIT 1
"""


class Lack(NamedTuple):
    """What the database lacks, as far as its lock file knows."""

    what: str
    ended: bool
    """The driver that knew more had left in good order, so it was not a crash that lost it."""


class Gauge:
    """Counts the events of all plans, commit by commit, and writes the number into the driver's lock file."""

    def __init__(self, lock: DriverLock) -> None:
        self._lock = lock
        self._mark = HighWater(epoch=0, since=0, events=0)
        self._positions: dict[PlanId, int] = {}

    def begin(self, connection: sqlite3.Connection, epoch: int, since: int) -> None:
        """This process drives now."""
        self._positions.clear()
        row = connection.execute(_LAST).fetchone()
        last = LastEvent() if row is None else LastEvent(*row)
        self._mark = HighWater(
            epoch=epoch, since=since, events=_events(connection), images=_images(connection), last=last
        )
        self._lock.write(self._mark)

    def before(self, connection: sqlite3.Connection, batch: Iterable[Entry]) -> None:
        """Inside the transaction, before anything is written: learn where plans stand that were not met before."""
        positions = self._positions
        for entry in batch:
            for plan in entry.plans:
                if plan.plan_id not in positions:
                    query = "SELECT position FROM plan WHERE plan_id = ?"
                    row = connection.execute(query, (plan.plan_id,)).fetchone()
                    positions[plan.plan_id] = 0 if row is None else row[0]

    def after(self, connection: sqlite3.Connection, positions: Mapping[PlanId, int], batch: Sequence[Entry]) -> None:
        """It is durable, and nobody knows yet."""
        mark, known = self._mark, self._positions
        risen = sum(position - known.get(plan_id, 0) for plan_id, position in positions.items())
        known.update(positions)
        event = next((entry.events[-1] for entry in reversed(batch) if entry.events), None)
        last = mark.last if event is None else LastEvent(event.plan_id, event.position, encode_moment(event.timestamp))
        kept = any(type(change) is KeepPreImage for entry in batch for change in entry.changes)
        images = _images(connection) if kept else mark.images
        self._mark = evolve_mark(mark, events=mark.events + risen, images=images, last=last)
        self._lock.write(self._mark)

    def end(self) -> None:
        """This process leaves in good order."""
        self._lock.write(evolve_mark(self._mark, ended=True))

    def lack(self, connection: sqlite3.Connection) -> Lack | None:
        """What the lock file remembers and the database does not; None when it has everything."""
        known = self._lock.read()
        if known is None:
            return None
        row = connection.execute("SELECT epoch, since FROM driver").fetchone() or (0, 0)
        last_at = connection.execute(_AT, known.last[:2]).fetchone()
        what = known.missing_in(
            epoch=row[0],
            since=row[1],
            events=_events(connection),
            images=_images(connection),
            last_at=None if last_at is None else last_at[0],
        )
        return Lack(what, known.ended) if what else None


def _events(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(sum(position), 0) FROM plan").fetchone()[0])


def _images(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(pre_image_id), 0) FROM pre_image").fetchone()[0])
