"""
Commits under the driver's lease, and what a lost answer means.

A commit is one call of one script, which Redis carries out whole or not at all. Every commit has a number, and the
driver knows the last one. A server that holds a lower number has lost what it acknowledged (a failover to a replica
that lagged behind, a file that was put back), and that is told instead of being written over. An answer that was lost
is resolved by the same number: one above the last that was known, and it was carried out.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from switchover.adapters.stores.redis.lease import Renewal
from switchover.adapters.stores.redis.reader import Reader
from switchover.adapters.stores.redis.server import Server
from switchover.adapters.stores.redis.stage_lists import StageLists
from switchover.adapters.stores.redis.steps import DONE, LEASE, NUMBER, Steps
from switchover.adapters.stores.redis.writer import BatchWriter
from switchover.errors import StorageError, StoreConflictError, StoreUnusableError
from switchover.spi import CommitResult, DriverLease, Entry

_FINAL: Final = 1
_STAGE: Final = 0


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A commit that was sent and not answered."""

    batch: tuple[Entry, ...]
    result: CommitResult

    def is_about(self, batch: Sequence[Entry]) -> bool:
        """Whether this is the very batch, tried again."""
        return len(batch) == len(self.batch) and all(a is b for a, b in zip(self.batch, batch, strict=True))


class Driving:
    """
    What one lease allows.

    Args:
        number: Of the last commit of all.
    """

    def __init__(self, server: Server, reader: Reader, stage_lists: StageLists, renewal: Renewal, number: int) -> None:
        self._server = server
        self._reader = reader
        self._stage_lists = stage_lists
        self._renewal = renewal
        self._number = number
        self._doubt: _Doubt | None = None
        self._litter = False
        self._one_at_a_time = asyncio.Lock()

    @property
    def lease(self) -> DriverLease:
        """The lease."""
        return self._renewal.lease

    @property
    def is_alive(self) -> bool:
        """The lease is renewed, and was ours when it was looked at last."""
        return self._renewal.is_running

    async def release(self) -> None:
        """Give the lease back."""
        self._renewal.stop()
        await self._lease_call("releasing the driver's lease", "release")

    def end(self) -> None:
        """Let the lease run out: another one has taken its place."""
        self._renewal.stop()

    async def commit(self, batch: Sequence[Entry]) -> CommitResult:
        """As the SPI says."""
        async with self._one_at_a_time:
            if self._doubt is not None:
                known = await self._resolve(self._doubt, batch)
                if known is not None:
                    return known
            if self._litter:
                await self._sweep()
            writer = BatchWriter(self._server, self._stage_lists, self._lay_ready)
            try:
                return await self._commit(writer, batch)
            except BaseException:
                self._litter = writer.has_staged
                if self._litter and self._doubt is None:
                    with suppress(StorageError):  # then it is swept before the next commit
                        await self._sweep()
                raise

    async def _commit(self, writer: BatchWriter, batch: Sequence[Entry]) -> CommitResult:
        steps = await writer.prepare(batch)
        result = CommitResult(granted=writer.granted)
        try:
            answer = await self._run(steps, _FINAL)
        except BaseException:
            self._doubt = _Doubt(tuple(batch), result)
            raise
        self._number = self._judge(steps, answer)
        return result

    async def _lay_ready(self, steps: Steps) -> None:
        self._judge(steps, await self._run(steps, _STAGE))

    async def _run(self, steps: Steps, final: int) -> Sequence[bytes | int]:
        fence = (self.lease.epoch, self._renewal.holder, self._number, final)
        answer: Sequence[bytes | int] = await self._server.write("committing", "commit", *fence, *steps.arguments)
        return answer

    def _judge(self, steps: Steps, answer: Sequence[bytes | int]) -> int:
        """The number of the commit; an error when it was refused."""
        what = answer[0]
        place = self._server.place
        if what == DONE:
            return int(answer[1])
        if what == LEASE:
            epoch, holder, owner = (value.decode() for value in answer[2:] if isinstance(value, bytes))
            self._renewal.stop()
            raise lease_is_over(place, self.lease, f"epoch {epoch} ({owner}) drives" if holder else "nobody drives")
        if what == NUMBER:
            self._check_number(int(answer[2]))
            message = f"somebody else has committed to {place} under this driver's lease; stop writing"
            raise StoreConflictError(message)
        raise steps.error(place, answer)

    async def _resolve(self, doubt: _Doubt, batch: Sequence[Entry]) -> CommitResult | None:
        """What became of a commit without an answer; its result when this is the same one, and it was carried out."""
        number = await self._reader.last_commit()
        self._check_number(number)
        carried_out = number == self._number + 1
        self._doubt = None
        self._number = number
        return doubt.result if carried_out and doubt.is_about(batch) else None

    def _check_number(self, found: int) -> None:
        if found < self._number:
            message = (
                f"{self._server.place} has lost commits that it had acknowledged: the last one that it knows has the "
                f"number {found}, and number {self._number} was made. It failed over to a replica that lagged behind, "
                f"or an older file was put back. Nothing is written over it. If the newer data still exists, bring it "
                f"back; else start again on this state, and lift the generations with `switchover adopt`"
            )
            raise StoreUnusableError(message)

    async def _sweep(self) -> None:
        await self._lease_call("clearing away", "sweep")
        self._litter = False

    async def _lease_call(self, doing: str, verb: str) -> None:
        await self._server.write(doing, "lease", verb, self.lease.epoch, self._renewal.holder)


def lease_is_over(place: str, lease: DriverLease, why: str) -> StoreConflictError:
    """The error for a commit under a lease that is not the current one."""
    return StoreConflictError(
        f"the driver's lease of {lease.owner} with epoch {lease.epoch} on {place} is over ({why}); stop writing"
    )
