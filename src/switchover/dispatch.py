"""
How stages are given to other processes: what the driver says, what it hears, and who else takes part.

The driver decides and writes all state. A worker only carries stages out: it has a run as long as its claim stands,
carries out the stage that the order names, says how that ended, and waits for the next order. An order is a consequence
of the task's state (``order_of``) and becomes durable in the very commit that lets the stage begin.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from switchover.domain.task import FailureInfo, TaskAggregate, TaskKey, TaskStatus, wire_timestamp
from switchover.spi import KeepPreImage


class StageOrder(NamedTuple):
    """
    One stage to carry out.

    Attributes:
        generation: Of the run; whoever carries the stage out writes targets under it.
        stage_index: Of the stage inside its task.
        restoring: Put the previous good config back, rather than switch.
    """

    key: TaskKey
    generation: int
    stage_index: int
    restoring: bool


def order_of(task: TaskAggregate) -> StageOrder | None:
    """The stage that a task in this state has to have carried out; None when it has none."""
    if task.status is TaskStatus.RUNNING:
        index, restoring = task.next_stage, False
    elif task.status is TaskStatus.ROLLING_BACK:
        index, restoring = task.next_rollback_stage, True
    else:
        return None
    return None if index is None else StageOrder(task.key, task.generation, index, restoring)


class StageEnd(NamedTuple):
    """How a stage ended: why it failed, or None."""

    failure: FailureInfo | None = None


# --- the driver's side ---------------------------------------------------------------------------------------------


class StageCarrier(Protocol):
    """Has stages carried out elsewhere, as far as somebody else is there."""

    def adopts(self, order: StageOrder) -> bool:
        """Whether the order, given by an earlier driver, is in good hands: its stage need not run again."""
        ...

    async def carry(self, order: StageOrder) -> StageEnd | None:
        """
        Wait until the stage has ended; None: the driver's process has to carry it out itself.

        Raises:
            StageAdriftError: Whoever carried it out is gone. It has to begin again, under a higher generation.
            StorageError: The driving ends; the next driver finds the order as it is.
        """
        ...


class GivenOrder(NamedTuple):
    """
    An order as it stands.

    Attributes:
        run: Which of the task's runs by workers; a job names it.
        worker: Who has claimed it; None: nobody yet.
        end: How the stage ended; None while it has not.
    """

    order: StageOrder
    run: int
    worker: int | None
    end: StageEnd | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """
    A process that carries out stages.

    Attributes:
        worker: Its number; a process that was taken for dead and comes back gets a new one.
        name: Process and host.
        concurrency: How many tasks it has at most at once.
        tasks: How many it has.
        last_heartbeat: By the worker's own clock.
        heartbeats: How many it has sent: what tells a live worker from a dead one without comparing clocks.
        stopping: It takes no more tasks.
    """

    worker: int
    name: str
    version: str
    concurrency: int
    tasks: int
    since: datetime
    last_heartbeat: datetime
    heartbeats: int
    stopping: bool

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "worker": self.worker,
            "name": self.name,
            "version": self.version,
            "concurrency": self.concurrency,
            "tasks": self.tasks,
            "since": wire_timestamp(self.since),
            "lastHeartbeat": wire_timestamp(self.last_heartbeat),
            "heartbeats": self.heartbeats,
            "stopping": self.stopping,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "WorkerInfo":
        """The inverse of ``to_dict``."""
        return WorkerInfo(
            worker=data["worker"],
            name=data["name"],
            version=data["version"],
            concurrency=data["concurrency"],
            tasks=data["tasks"],
            since=datetime.fromisoformat(data["since"]),
            last_heartbeat=datetime.fromisoformat(data["lastHeartbeat"]),
            heartbeats=data["heartbeats"],
            stopping=data["stopping"],
        )


Told = Callable[[str], None]
"""Called with what somebody else has told, in words of the book's own (``heard_ends``, ``heard_orders``)."""


class OrderBook(Protocol):
    """
    Orders, as the driver works with them. The driver's commits write them; nothing else gives any.

    Raises what a store raises.
    """

    def work_alone(self, *, alone: bool) -> None:
        """From the next commit on, runs that begin stay in the driver's own process, or do so no more."""
        ...

    def stays_here(self, order: StageOrder) -> bool:
        """Whether the order is of a run that began like that."""
        ...

    async def orders(self) -> Sequence[GivenOrder]:
        """All that stand."""
        ...

    async def ends(self) -> Sequence[tuple[StageOrder, StageEnd]]:
        """Stages that have ended and about which nothing was decided yet."""
        ...

    def heard_ends(self, told: str) -> Sequence[tuple[StageOrder, StageEnd]] | None:
        """What somebody told; None when the book has to be looked at."""
        ...

    async def adrift(self) -> Sequence[StageOrder]:
        """Claimed by a worker that does not exist any more, and not ended."""
        ...

    async def unclaimed(self) -> Sequence[StageOrder]:
        """Those that nobody has taken yet."""
        ...

    async def order(self, key: TaskKey) -> GivenOrder | None:
        """A task's order; None when it has none."""
        ...

    async def unattended(self) -> int:
        """How many orders wait for a worker while there is none."""
        ...

    async def claim_here(self, order: StageOrder) -> bool:
        """Take an order for the driver's own process; False when somebody else has it."""
        ...

    async def workers(self) -> Sequence[WorkerInfo]:
        """All that are known."""
        ...

    async def bury(self, worker: int, heartbeats: int) -> bool:
        """Forget a worker that is dead; False when it has sent another heartbeat meanwhile, and is not."""
        ...

    async def reconcile(self) -> int:
        """Repair jobs: each order that nobody has gets one, and jobs of dead workers are free again. How many."""
        ...

    def listen_for_ends(self, told: Told) -> AbstractAsyncContextManager[Callable[[], Awaitable[None]]]:
        """Hear of ended stages; the context gives what waits until the connection has ended."""
        ...


# --- the worker's side ---------------------------------------------------------------------------------------------


class WorkBook(Protocol):
    """
    Orders, as a worker works with them: everything is refused that is not covered by the worker's own claim.

    Raises what a store raises.
    """

    async def enlist(self, name: str, version: str, concurrency: int) -> int:
        """Become known; the worker's number."""
        ...

    async def beat(self, worker: int, *, stopping: bool) -> bool:
        """Be alive; False when the worker was taken for dead: it has no claim any more."""
        ...

    async def leave(self, worker: int) -> None:
        """Be known no more. What it still has is adrift."""
        ...

    async def claim(self, worker: int, runs: Sequence[tuple[TaskKey, int]]) -> Sequence[GivenOrder]:
        """Take runs; those that are given: not those that are over, or that another worker has."""
        ...

    async def mine(self, worker: int) -> Sequence[GivenOrder]:
        """All that the worker has."""
        ...

    async def report(
        self, worker: int, ends: Sequence[tuple[GivenOrder, StageEnd]], *, give_back: bool
    ) -> Sequence[StageOrder]:
        """
        Say how stages ended, durably; those that count: the others have other orders by now, or another worker.

        Args:
            give_back: Also let the runs go, for another worker to go on with.
        """
        ...

    async def give_back(self, worker: int, runs: Sequence[GivenOrder]) -> None:
        """Let runs go whose present stage was not begun here."""
        ...

    async def keep_pre_images(
        self, worker: int, kept: Sequence[tuple[GivenOrder, KeepPreImage]]
    ) -> Sequence[StageOrder]:
        """Keep what targets held, durably; the orders under which that was allowed."""
        ...

    def heard_orders(self, told: str) -> Sequence[tuple[int, StageOrder | None]]:
        """What the driver told: runs and their next order, None where the run is over."""
        ...

    def listen_for_orders(self, told: Told) -> AbstractAsyncContextManager[Callable[[], Awaitable[None]]]:
        """Hear of new orders; the context gives what waits until the connection has ended."""
        ...


class Desk(Protocol):
    """What a run of stages in a worker tells, and is told."""

    async def ended(self, order: StageOrder, end: StageEnd) -> StageOrder | None:
        """
        Say how a stage ended, and wait for the next order; None when the run is over here.

        Raises:
            StorageError: It does not count any more.
        """
        ...

    async def keep(self, order: StageOrder, change: KeepPreImage) -> None:
        """
        Keep what a target held; durable on return.

        Raises:
            StorageError: The order does not stand any more, so nothing may be written.
        """
        ...


class Hands(Protocol):
    """Carries out the stages of a run in this process."""

    async def run(self, order: StageOrder, desk: Desk) -> None:
        """Carry out stage after stage, as the desk says."""
        ...


class Dispatch(OrderBook, WorkBook, Protocol):
    """Both sides, as a store has them."""

    async def prepare(self) -> None:
        """Make what is needed beside the store's own; raises what a store raises."""
        ...


@runtime_checkable
class Dispatching(Protocol):
    """A store over which stages can be given to workers."""

    @property
    def dispatch(self) -> Dispatch:
        """Orders and workers; open when the store is."""
        ...

    def give_orders(self, *, wanted: bool) -> None:
        """From the next commit on, stages that begin are ordered from workers; or what was ordered falls."""
        ...
