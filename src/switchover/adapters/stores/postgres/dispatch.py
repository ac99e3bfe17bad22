"""Orders and workers in the database, for the driver that gives orders and for the workers that carry them out."""
# ruff: noqa: D102  # what the methods promise is documented where it is demanded: in switchover.dispatch

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from switchover.adapters.stores.codec import decode_failure, decode_moment, encode_failure, encode_moment
from switchover.adapters.stores.postgres import jobs
from switchover.adapters.stores.postgres.bulk import changed, storable_text
from switchover.adapters.stores.postgres.connection import Server
from switchover.adapters.stores.postgres.orders import OrderKeeper, order_of_word
from switchover.adapters.stores.postgres.sql import BROKEN, Connection
from switchover.dispatch import GivenOrder, StageEnd, StageOrder, Told, WorkerInfo
from switchover.domain.task import PlanId, TaskKey
from switchover.spi import KeepPreImage

_Result = TypeVar("_Result")
_Work = Callable[[Connection], Awaitable[_Result]]

_WORDS_OF_A_MESSAGE: Final = 90
"""A notification has at most 8,000 bytes, and a word of ours at most 80."""

_ORDER: Final = "o.plan_id, o.ordinal, o.generation, o.stage, o.restoring"
_GIVEN: Final = f"{_ORDER}, o.run, o.worker, o.ended, o.failure"
_GONE: Final = "o.worker <> 0 AND NOT EXISTS (SELECT 1 FROM worker AS w WHERE w.worker = o.worker)"

_ORDERS: Final = f"SELECT {_GIVEN} FROM stage_order AS o"  # noqa: S608  # names are ours
_MINE: Final = f"{_ORDERS} WHERE o.worker = $1"
_ENDS: Final = f"SELECT {_ORDER}, o.failure FROM stage_order AS o WHERE o.ended"  # noqa: S608  # as above
_ADRIFT: Final = f"SELECT {_ORDER} FROM stage_order AS o WHERE NOT o.ended AND {_GONE}"  # noqa: S608  # as above
_UNCLAIMED: Final = f"SELECT {_ORDER} FROM stage_order AS o WHERE o.worker IS NULL"  # noqa: S608  # as above
_OF_TASK: Final = f"{_ORDERS} WHERE o.plan_id = $1 AND o.ordinal = $2"
_UNATTENDED: Final = """
SELECT count(*) FROM stage_order WHERE worker IS NULL AND NOT EXISTS (SELECT 1 FROM worker)
"""
_CLAIM_HERE: Final = """
UPDATE stage_order SET worker = 0
WHERE plan_id = $1 AND ordinal = $2 AND generation = $3 AND (worker IS NULL OR worker = 0)
"""
_WORKERS: Final = """
SELECT w.worker, w.name, w.version, w.concurrency, w.since, w.last_heartbeat, w.heartbeats, w.stopping,
    (SELECT count(*) FROM stage_order AS o WHERE o.worker = w.worker) FROM worker AS w ORDER BY w.worker
"""
_ENLIST: Final = """
INSERT INTO worker (name, version, concurrency, since, last_heartbeat, heartbeats, stopping)
VALUES ($1, $2, $3, $4, $4, 1, FALSE) RETURNING worker
"""
_BEAT: Final = """
UPDATE worker SET heartbeats = heartbeats + 1, last_heartbeat = $2, stopping = $3 WHERE worker = $1
"""
_CLAIM: Final = f"""
UPDATE stage_order AS o SET worker = $1
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS v (plan_id, ordinal, run)
WHERE o.plan_id = v.plan_id AND o.ordinal = v.ordinal AND o.run = v.run AND (o.worker IS NULL OR o.worker = $1)
    AND EXISTS (SELECT 1 FROM worker AS w WHERE w.worker = $1)
RETURNING {_GIVEN}
"""  # noqa: S608  # names are ours
_REPORT: Final = f"""
WITH counted AS (
    UPDATE stage_order AS o
    SET ended = TRUE, failure = v.failure, worker = CASE WHEN $8 THEN NULL ELSE o.worker END
    FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bool[], $7::text[])
        AS v (plan_id, ordinal, run, stage, restoring, failure)
    WHERE o.plan_id = v.plan_id AND o.ordinal = v.ordinal AND o.run = v.run AND o.stage = v.stage
        AND o.restoring = v.restoring AND o.worker = $1
    RETURNING {_ORDER}, (o.failure IS NULL)::int AS succeeded
), word AS (
    SELECT concat_ws(':', plan_id, ordinal, generation, stage, restoring::int, succeeded) AS word,
        row_number() OVER () / {_WORDS_OF_A_MESSAGE} AS message FROM counted
), told AS MATERIALIZED (
    SELECT pg_notify('switchover_ends_' || 'stage_order'::regclass::oid, string_agg(word, ' '))
    FROM word GROUP BY message
) SELECT plan_id, ordinal, generation, stage, restoring FROM counted, (SELECT count(*) FROM told) AS t
"""  # noqa: S608  # names are ours
_GIVE_BACK: Final = """
UPDATE stage_order SET worker = NULL WHERE worker = $1 AND run = ANY($2::bigint[])
"""
_KEEP: Final = f"""
WITH standing AS (
    SELECT {_ORDER} FROM stage_order AS o
    WHERE o.worker = $1 AND NOT o.ended AND (o.plan_id, o.ordinal, o.run) IN (
        SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[])) FOR SHARE
), kept AS (
    INSERT INTO pre_image (plan_id, ordinal, stage, key, value)
    SELECT v.plan_id, v.ordinal, v.stage, v.key, v.value
    FROM unnest($2::bigint[], $3::bigint[], $5::text[], $6::text[], $7::bytea[])
        AS v (plan_id, ordinal, stage, key, value) JOIN standing USING (plan_id, ordinal)
    ON CONFLICT DO NOTHING
) SELECT plan_id, ordinal, generation, standing.stage, restoring FROM standing
"""  # noqa: S608  # names are ours
_CHECK_SECONDS: Final = 5.0


class _Run(Protocol):
    """Does something with a connection of the store."""

    def __call__(self, doing: str, function: _Work[_Result], /) -> Awaitable[_Result]: ...


class PostgresDispatch:
    """
    Orders and workers; a part of the store, open when that is. Both ``OrderBook`` and ``WorkBook``.

    What workers say is one statement each, which may be said twice: so it goes where reads go, and is said again when
    the connection was lost on the way.

    Args:
        read: Runs what may be run twice.
        write: Runs something in a transaction.
        now: Wall-clock time; aware, UTC.
    """

    def __init__(self, server: Server, read: _Run, write: _Run, now: Callable[[], datetime]) -> None:
        self._server = server
        self._read = read
        self._write = write
        self._now = now
        self.keeper = OrderKeeper()

    async def prepare(self) -> None:
        """Make what jobs need; raises ``StoreUnusableError`` when it cannot be used."""
        await self._read("preparing the jobs", lambda c: jobs.prepare_jobs(c, self._server.place))

    # The driver's side

    def work_alone(self, *, alone: bool) -> None:
        self.keeper.alone = alone

    def stays_here(self, order: StageOrder) -> bool:
        return self.keeper.stays_here(order)

    async def orders(self) -> Sequence[GivenOrder]:
        rows = await self._read("reading orders", lambda c: c.fetch(_ORDERS))
        return [_given(row) for row in rows]

    async def ends(self) -> Sequence[tuple[StageOrder, StageEnd]]:
        rows = await self._read("reading ended stages", lambda c: c.fetch(_ENDS))
        return [(_order(row), StageEnd(decode_failure(row[5]))) for row in rows]

    def heard_ends(self, told: str) -> Sequence[tuple[StageOrder, StageEnd]] | None:
        ends: list[tuple[StageOrder, StageEnd]] = []
        for word in told.split():
            plan_id, ordinal, generation, stage, restoring, succeeded = map(int, word.split(":"))
            if not succeeded:
                return None
            key = TaskKey(PlanId(plan_id), ordinal)
            ends.append((StageOrder(key, generation, stage, bool(restoring)), StageEnd()))
        return ends

    async def adrift(self) -> Sequence[StageOrder]:
        return [_order(row) for row in await self._read("looking for lost runs", lambda c: c.fetch(_ADRIFT))]

    async def unclaimed(self) -> Sequence[StageOrder]:
        return [_order(row) for row in await self._read("looking for waiting runs", lambda c: c.fetch(_UNCLAIMED))]

    async def order(self, key: TaskKey) -> GivenOrder | None:
        row = await self._read("reading an order", lambda c: c.fetchrow(_OF_TASK, *key))
        return None if row is None else _given(row)

    async def unattended(self) -> int:
        return int(await self._read("looking for waiting runs", lambda c: c.fetchval(_UNATTENDED)))

    async def claim_here(self, order: StageOrder) -> bool:
        arguments = (*order.key, order.generation)
        return changed(await self._write("taking a run", lambda c: c.execute(_CLAIM_HERE, *arguments))) == 1

    async def workers(self) -> Sequence[WorkerInfo]:
        rows = await self._read("reading workers", lambda c: c.fetch(_WORKERS))
        return [
            WorkerInfo(
                worker=worker,
                name=name,
                version=version,
                concurrency=concurrency,
                tasks=tasks,
                since=decode_moment(since),
                last_heartbeat=decode_moment(last_heartbeat),
                heartbeats=heartbeats,
                stopping=stopping,
            )
            for worker, name, version, concurrency, since, last_heartbeat, heartbeats, stopping, tasks in rows
        ]

    async def bury(self, worker: int, heartbeats: int) -> bool:
        statement = "DELETE FROM worker WHERE worker = $1 AND heartbeats = $2"
        return (
            changed(await self._write("forgetting a worker", lambda c: c.execute(statement, worker, heartbeats))) == 1
        )

    async def reconcile(self) -> int:
        async def repair(connection: Connection) -> int:
            freed = await connection.fetch(jobs.RETRY_STALLED, jobs.STALLED_SECONDS)
            missing = await connection.fetch(jobs.REPLACE_MISSING)
            return len(freed) + len(missing)

        return await self._write("repairing jobs", repair)

    @asynccontextmanager
    async def listen_for_ends(self, told: Told) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
        async with self._listen("ends", told) as ended:
            yield ended

    # The worker's side

    async def enlist(self, name: str, version: str, concurrency: int) -> int:
        arguments = (storable_text(name), version, concurrency, encode_moment(self._now()))
        return int(await self._write("becoming known", lambda c: c.fetchval(_ENLIST, *arguments)))

    async def beat(self, worker: int, *, stopping: bool) -> bool:
        arguments = (worker, encode_moment(self._now()), stopping)
        return changed(await self._read("sending a heartbeat", lambda c: c.execute(_BEAT, *arguments))) == 1

    async def leave(self, worker: int) -> None:
        await self._write("leaving", lambda c: c.execute("DELETE FROM worker WHERE worker = $1", worker))

    async def claim(self, worker: int, runs: Sequence[tuple[TaskKey, int]]) -> Sequence[GivenOrder]:
        columns = [key.plan_id for key, _ in runs], [key.ordinal for key, _ in runs], [run for _, run in runs]
        rows = await self._read("taking runs", lambda c: c.fetch(_CLAIM, worker, *columns))
        return [_given(row) for row in rows]

    async def mine(self, worker: int) -> Sequence[GivenOrder]:
        return [_given(row) for row in await self._read("reading orders", lambda c: c.fetch(_MINE, worker))]

    async def report(
        self, worker: int, ends: Sequence[tuple[GivenOrder, StageEnd]], *, give_back: bool
    ) -> Sequence[StageOrder]:
        columns = (
            [given.order.key.plan_id for given, _ in ends],
            [given.order.key.ordinal for given, _ in ends],
            [given.run for given, _ in ends],
            [given.order.stage_index for given, _ in ends],
            [given.order.restoring for given, _ in ends],
            [None if end.failure is None else storable_text(encode_failure(end.failure) or "") for _, end in ends],
        )

        rows = await self._read("saying how stages ended", lambda c: c.fetch(_REPORT, worker, *columns, give_back))
        return [_order(row) for row in rows]

    async def give_back(self, worker: int, runs: Sequence[GivenOrder]) -> None:
        numbers = [given.run for given in runs]
        await self._read("giving runs back", lambda c: c.execute(_GIVE_BACK, worker, numbers))

    async def keep_pre_images(
        self, worker: int, kept: Sequence[tuple[GivenOrder, KeepPreImage]]
    ) -> Sequence[StageOrder]:
        columns = (
            [given.order.key.plan_id for given, _ in kept],
            [given.order.key.ordinal for given, _ in kept],
            [given.run for given, _ in kept],
            [storable_text(change.stage) for _, change in kept],
            [storable_text(change.pre_image.key) for _, change in kept],
            [change.pre_image.value for _, change in kept],
        )
        rows = await self._read("keeping pre-images", lambda c: c.fetch(_KEEP, worker, *columns))
        return [_order(row) for row in rows]

    def heard_orders(self, told: str) -> Sequence[tuple[int, StageOrder | None]]:
        return [order_of_word(word) for word in told.split()]

    @asynccontextmanager
    async def listen_for_orders(self, told: Told) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
        async with self._listen("orders", told) as ended:
            yield ended

    # Inside

    @asynccontextmanager
    async def _listen(self, what: str, told: Told) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
        """A connection of its own, since a pooled one hears nothing."""
        with self._server.errors("listening"):
            connection: Any = await self._server.connect()
            ended = asyncio.Event()

            def lose(_: object) -> None:
                ended.set()

            def hear(*arguments: Any) -> None:  # noqa: ANN401  # connection, process, channel, payload
                told(str(arguments[3]))

            async def wait() -> None:
                # A connection that was cut without a goodbye is noticed by asking.
                while not ended.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), _CHECK_SECONDS)
                    if not ended.is_set():
                        with self._server.errors("listening"):
                            await connection.execute("SELECT 1")

            try:
                connection.add_termination_listener(lose)
                oid = await connection.fetchval("SELECT 'stage_order'::regclass::oid")
                await connection.add_listener(f"switchover_{what}_{oid}", hear)
                yield wait
            finally:
                with suppress(*BROKEN):
                    await connection.close(timeout=1.0)


def _order(row: Sequence[Any]) -> StageOrder:
    plan_id, ordinal, generation, stage, restoring = row[:5]
    return StageOrder(TaskKey(plan_id, ordinal), generation, stage, restoring)


def _given(row: Sequence[Any]) -> GivenOrder:
    run, worker, ended, failure = row[5:9]
    return GivenOrder(_order(row), run, worker, StageEnd(decode_failure(failure)) if ended else None)
