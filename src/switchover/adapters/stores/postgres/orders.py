"""
Orders follow from the state of tasks: what a commit makes of tasks is what it makes of their orders.

Inside the transaction of every commit: a task that begins to run, or runs under a new generation, gets an order and a
job; one whose next stage begins gets that into its order; one that runs no more loses it. So an order appears and
vanishes with the state that it belongs to, and nothing has to be kept in step afterwards.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from switchover.adapters.stores.postgres import jobs
from switchover.adapters.stores.postgres.sql import Connection
from switchover.dispatch import StageOrder, order_of
from switchover.domain.task import PlanId, TaskAggregate, TaskKey
from switchover.spi import Entry

_LOAD: Final = "SELECT plan_id, ordinal, generation, stage, restoring, run FROM stage_order"
_BEGIN: Final = f"""
WITH begun AS (
    INSERT INTO stage_order (plan_id, ordinal, run, generation, stage, restoring, worker)
    SELECT v.p, v.o, nextval('stage_order_run'), v.g, v.s, v.r, $6
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bool[]) AS v (p, o, g, s, r)
    ON CONFLICT (plan_id, ordinal) DO UPDATE SET run = excluded.run, generation = excluded.generation,
        stage = excluded.stage, restoring = excluded.restoring, worker = excluded.worker, ended = FALSE, failure = NULL
    RETURNING plan_id, ordinal, run, worker
), led AS (
    SELECT b.plan_id, b.ordinal, b.run, v.tenant_id
    FROM begun AS b JOIN unnest($1::bigint[], $2::bigint[], $7::text[]) AS v (plan_id, ordinal, tenant_id)
        USING (plan_id, ordinal) WHERE b.worker IS NULL
), deferred AS MATERIALIZED ({jobs.DEFER})
SELECT plan_id, ordinal, run FROM begun, (SELECT count(*) FROM deferred) AS d
"""  # noqa: S608  # names are ours
_GO_ON: Final = """
WITH gone_on AS (
    UPDATE stage_order AS t SET stage = v.s, restoring = v.r, ended = FALSE, failure = NULL
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bool[]) AS v (p, o, s, r)
    WHERE t.plan_id = v.p AND t.ordinal = v.o
), ended AS (
    DELETE FROM stage_order WHERE (plan_id, ordinal) IN (SELECT * FROM unnest($5::bigint[], $6::bigint[]))
) SELECT pg_notify('switchover_orders_' || 'stage_order'::regclass::oid, t) FROM unnest($7::text[]) AS t
"""
"""What the commit does to orders that stand, and the word about it: one way to the server and back."""

_WORDS_OF_A_MESSAGE: Final = 90
"""A notification has at most 8,000 bytes, and a word of ours at most 80."""


class Known(NamedTuple):
    """An order that stands, and its run; ``here``: which stays in the driver's own process."""

    order: StageOrder
    run: int
    here: bool = False


class Keeping(Enum):
    """Whether a driver gives orders at all."""

    NOT = "not"
    FORGETTING = "forgetting"
    ORDERS = "orders"


class OrderKeeper:
    """What the driver's commits do to orders; the driver is the only one that gives any."""

    def __init__(self) -> None:
        self.alone = False
        """Runs that begin stay in the driver's own process."""
        self._keeping = Keeping.NOT
        self._known: dict[TaskKey, Known] | None = None
        self._next: dict[TaskKey, Known | None] = {}

    def keep(self, *, gives_orders: bool) -> None:
        """A driver begins: with orders, or without; then those of an earlier one fall with its first commit."""
        self._keeping = Keeping.ORDERS if gives_orders else Keeping.FORGETTING
        self.forget()

    def forget(self) -> None:
        """What became of the last transaction is not known: the database is asked."""
        self._known = None
        self._next = {}

    def stays_here(self, order: StageOrder) -> bool:
        """Whether the run of this order does."""
        known = None if self._known is None else self._known.get(order.key)
        return known is not None and known.here and known.order == order

    def joined(self) -> None:
        """The transaction is through."""
        if self._known is not None:
            for key, known in self._next.items():
                if known is None:
                    self._known.pop(key, None)
                else:
                    self._known[key] = known
        self._next = {}
        if self._keeping is Keeping.FORGETTING:
            self._keeping = Keeping.NOT

    async def join(self, connection: Connection, batch: Sequence[Entry]) -> None:
        """Do what follows from the batch, in its transaction."""
        match self._keeping:
            case Keeping.NOT:
                return
            case Keeping.FORGETTING:
                await connection.execute("DELETE FROM stage_order")
            case Keeping.ORDERS:
                tasks = {task.key: task for entry in batch for task in entry.tasks}
                if tasks:
                    await self._follow(connection, tasks.values())

    async def _follow(self, connection: Connection, tasks: Iterable[TaskAggregate]) -> None:
        if self._known is None:
            rows = await connection.fetch(_LOAD)
            self._known = {TaskKey(p, o): Known(StageOrder(TaskKey(p, o), g, s, r), run) for p, o, g, s, r, run in rows}
        changes = _Changes()
        for task in tasks:
            changes.sort_in(task, self._known.get(task.key))
        if changes.begun:
            if changes.replaced:
                await connection.execute(jobs.FREE, *_keys(changes.replaced))
            await self._begin(connection, changes.begun)
        if changes.gone_on or changes.ended or changes.replaced:
            orders = [known.order for known in changes.gone_on]
            stages = [order.stage_index for order in orders], [order.restoring for order in orders]
            keys, ended = _keys(changes.gone_on), _keys(changes.ended)
            await connection.execute(_GO_ON, *keys, *stages, *ended, changes.messages())
            self._next.update((known.order.key, known) for known in changes.gone_on)
            self._next.update((known.order.key, None) for known in changes.ended)

    async def _begin(self, connection: Connection, begun: Sequence[tuple[StageOrder, str]]) -> None:
        if not begun:
            return
        columns = [
            [order.key.plan_id for order, _ in begun],
            [order.key.ordinal for order, _ in begun],
            [order.generation for order, _ in begun],
            [order.stage_index for order, _ in begun],
            [order.restoring for order, _ in begun],
        ]
        here = self.alone
        locks = [lock for _, lock in begun]
        orders = {order.key: order for order, _ in begun}
        for plan_id, ordinal, run in await connection.fetch(_BEGIN, *columns, 0 if here else None, locks):
            key = TaskKey(plan_id, ordinal)
            self._next[key] = Known(orders[key], run, here)


class _Changes:
    """What a batch does to orders."""

    def __init__(self) -> None:
        self.begun: list[tuple[StageOrder, str]] = []
        self.replaced: list[Known] = []
        self.gone_on: list[Known] = []
        self.ended: list[Known] = []

    def sort_in(self, task: TaskAggregate, known: Known | None) -> None:
        """What becomes of the order of one task."""
        order = order_of(task)
        if order is None:
            if known is not None:
                self.ended.append(known)
        elif known is None or known.order.generation != order.generation:
            self.begun.append((order, str(task.tenant_id)))
            if known is not None:
                self.replaced.append(known)
        elif known.order != order:
            self.gone_on.append(known._replace(order=order))

    def messages(self) -> list[str]:
        """What workers are told."""
        words = [word_of(known.run, None) for known in (*self.ended, *self.replaced) if not known.here]
        words += [word_of(known.run, known.order) for known in self.gone_on if not known.here]
        return [" ".join(words[i : i + _WORDS_OF_A_MESSAGE]) for i in range(0, len(words), _WORDS_OF_A_MESSAGE)]


def word_of(run: int, order: StageOrder | None) -> str:
    """How workers are told: the run and its next order, or that it is over."""
    if order is None:
        return f"{run}"
    (plan_id, ordinal), generation, stage, restoring = order
    return f"{run}:{plan_id}:{ordinal}:{generation}:{stage}:{int(restoring)}"


def order_of_word(word: str) -> tuple[int, StageOrder | None]:
    """The inverse of ``word_of``."""
    run, *rest = map(int, word.split(":"))
    if not rest:
        return run, None
    plan_id, ordinal, generation, stage, restoring = rest
    return run, StageOrder(TaskKey(PlanId(plan_id), ordinal), generation, stage, bool(restoring))


def _keys(known: Sequence[Known]) -> tuple[list[int], list[int]]:
    return [k.order.key.plan_id for k in known], [k.order.key.ordinal for k in known]
