"""
Who drives: one row with an epoch, and a heartbeat beside it.

The epoch is what keeps a store right: every commit looks at it inside its own transaction and holds its row until then,
so that nobody can become the driver while a commit of the last one is under way, and none of its later ones is taken.
The heartbeat only says when trying is worth while. It is written in the database's clock, so the clocks of the
machines do not matter; a driver that has not renewed it for as long as it promised may be replaced. A commit that a
frozen driver left open is ended by whoever replaces it.

Nothing of this belongs to a session of the server: a connection may be lost and made anew, also through a pooler.
"""

from typing import Final, NamedTuple

from switchover.adapters.stores.codec import decode_moment
from switchover.adapters.stores.postgres.bulk import changed, storable_text
from switchover.adapters.stores.postgres.listener import notify
from switchover.adapters.stores.postgres.sql import Connection
from switchover.spi import DriverInfo, Topic

_CLASS: Final = 1_400_328_054
"""``SwOv``: which advisory locks are ours; beside it, which of the stores in the database."""

_KEY: Final = f"({_CLASS}::bigint << 32 | 'driver'::regclass::oid::bigint)"

ENTER: Final = f"""
SELECT epoch, pg_advisory_xact_lock_shared({_KEY}), {notify(Topic.COMMITS)} FROM driver FOR SHARE
"""  # noqa: S608  # the statement is ours
"""
Begins every commit. The row lock keeps the epoch as it is; the advisory lock shows who holds it, which the server does
not tell of row locks. Who listens hears of the commit when it is one.
"""

END_OTHERS: Final = f"""
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND classid = {_CLASS} AND objsubid = 1
    AND objid = 'driver'::regclass::oid AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608  # the statement is ours
"""Ends commits that other connections left open."""

_LOOK: Final = """
SELECT d.owner, d.epoch, d.since, b.at, NOT d.released AND
    clock_timestamp() - greatest(b.at, pg_postmaster_start_time()) < b.lost_after AS alive
FROM driver AS d JOIN driver_beat AS b USING (one)
"""
"""While the server was away nobody could renew anything, so its start counts as a heartbeat."""

_TAKE: Final = """
WITH renewed AS (
    INSERT INTO driver_beat (one, epoch, at, lost_after)
    VALUES (1, $3::bigint + 1, clock_timestamp(), make_interval(secs => $5))
    ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch, at = excluded.at, lost_after = excluded.lost_after
        WHERE driver_beat.epoch = $3 AND driver_beat.at = $4
    RETURNING epoch
)
INSERT INTO driver (one, epoch, owner, since, released) SELECT 1, epoch, $1, $2, false FROM renewed
ON CONFLICT (one) DO UPDATE
    SET epoch = excluded.epoch, owner = excluded.owner, since = excluded.since, released = false
RETURNING epoch
"""
"""Nothing, when somebody else was quicker or the driver came back to life in between."""

_LOCK_SECONDS: Final = 3


class Look(NamedTuple):
    """What was found; ``at`` is the moment of the last heartbeat."""

    info: DriverInfo
    at: object


async def look(connection: Connection) -> Look | None:
    """Who drives or drove last; None when nobody ever did."""
    row = await connection.fetchrow(_LOOK)
    if row is None:
        return None
    owner, epoch, since, at, alive = row
    return Look(DriverInfo(owner=owner, epoch=epoch, since=decode_moment(since), alive=alive), at)


async def take(connection: Connection, owner: str, since: int, seen: Look | None, lost_seconds: float) -> int | None:
    """
    Become the driver after the one that was seen, which drives no more; the new epoch, or None when somebody does.

    Must be called inside of a transaction.

    Args:
        lost_seconds: After so long without a heartbeat this driver may be replaced.
    """
    await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
    epoch, at = (0, None) if seen is None else (seen.info.epoch, seen.at)
    if epoch:
        await connection.execute(END_OTHERS)
    taken: int | None = await connection.fetchval(_TAKE, storable_text(owner), since, epoch, at, lost_seconds)
    return taken


async def beat(connection: Connection, epoch: int) -> bool:
    """Renew; False when another epoch drives. A heartbeat that a crash of the server forgets does no harm."""
    statements = f"""
        SET LOCAL synchronous_commit = off;
        UPDATE driver_beat SET at = clock_timestamp() WHERE epoch = {epoch}
    """  # noqa: S608  # a number of ours
    return bool(changed(await connection.execute(statements)))


async def release(connection: Connection, epoch: int) -> None:
    """Drive no more."""
    await connection.execute("UPDATE driver SET released = true WHERE epoch = $1", epoch)
