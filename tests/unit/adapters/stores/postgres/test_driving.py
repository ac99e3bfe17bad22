"""Who drives a PostgreSQL store, when processes are killed and frozen and connections are cut."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import IO

import pytest

from switchover.adapters.stores.postgres import PostgresExecutionStore
from switchover.adapters.stores.postgres.lease import ENTER
from switchover.domain.task import PlanId
from switchover.errors import StoreConflictError, StoreUnavailableError
from switchover.spi import DriverLease, Entry
from switchover.testing.samples import sample_plan
from tests.support.fault_proxy import FaultProxy, Ill, fault_proxy
from tests.support.postgres import run_sql, through

_DRIVE = """
import asyncio, sys
from switchover.adapters.stores.postgres import PostgresExecutionStore
from switchover.errors import StorageError
async def main():
    store = PostgresExecutionStore(sys.argv[1], beat_seconds=0.1, lost_seconds=0.5)
    await store.open()
    lease = await store.acquire_driver("child")
    print(lease.epoch, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        try:
            await store.commit(lease, [])
            print("committed", flush=True)
        except StorageError as error:
            print(error.code, error.message, flush=True)
asyncio.run(main())
"""


class Child:
    """A process that drives; it commits for every line that it is given."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    async def read(self) -> str:
        return (await asyncio.to_thread(self._stream(self.process.stdout).readline)).strip()

    async def commit(self) -> str:
        stream = self._stream(self.process.stdin)
        stream.write("\n")
        stream.flush()
        return await self.read()

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream


@contextmanager
def driving_child(url: str) -> Iterator[Child]:
    argv = [sys.executable, "-c", _DRIVE, url]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Child(process)
        finally:
            process.kill()


@asynccontextmanager
async def opened(
    url: str, *, beat_seconds: float = 1.0, lost_seconds: float = 4.0
) -> AsyncIterator[PostgresExecutionStore]:
    store = PostgresExecutionStore(url, beat_seconds=beat_seconds, lost_seconds=lost_seconds)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def until(attempt: Callable[[], Awaitable[DriverLease | None]]) -> DriverLease:
    """Try until the lease is given."""
    async with asyncio.timeout(60):
        while (lease := await attempt()) is None:  # noqa: ASYNC110  # the database decides
            await asyncio.sleep(0.05)
        return lease


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[FaultProxy]:
    async with fault_proxy("127.0.0.1", int(postgres_url.rpartition(":")[2].partition("/")[0])) as made:
        yield made


async def test_a_killed_driver_is_replaced(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        with driving_child(postgres_url) as child:
            assert await child.read() == "1"
            assert await child.commit() == "committed"
            child.process.kill()
            child.process.wait()
        lease = await until(lambda: store.acquire_driver("me"))
        assert lease.epoch == 2
        info = await store.driver()
        assert info is not None
        assert (info.owner, info.alive) == ("me", True)


async def test_a_frozen_driver_is_replaced_and_cannot_commit_when_it_wakes_up(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        with driving_child(postgres_url) as child:
            assert await child.read() == "1"
            child.process.send_signal(signal.SIGSTOP)
            assert (await until(lambda: store.acquire_driver("me"))).epoch == 2
            child.process.send_signal(signal.SIGCONT)
            told = await child.commit()
            assert told.startswith("STORE_CONFLICT")
            assert "epoch 2 drives" in told


async def test_a_driver_that_froze_inside_of_a_commit_holds_nobody_up(postgres_url: str) -> None:
    """Its open transaction has the epoch's row locked, and is ended."""
    sample = sample_plan(1, ["acme"])
    async with opened(postgres_url, lost_seconds=0.0) as old, opened(postgres_url) as new:
        old_lease = await until(lambda: old.acquire_driver("old"))
        inside, thawed = asyncio.Event(), asyncio.Event()

        async def freeze() -> None:
            session = old._session
            assert session is not None
            async with session.transaction() as connection:
                await connection.execute(ENTER)
                inside.set()
                await thawed.wait()

        frozen = asyncio.ensure_future(freeze())
        await inside.wait()
        new_lease = await until(lambda: new.acquire_driver("new"))
        await new.commit(new_lease, [Entry(new_plan=sample.new_plan())])
        thawed.set()
        assert isinstance((await asyncio.gather(frozen, return_exceptions=True))[0], Exception)
        with pytest.raises(StoreConflictError):
            await old.commit(old_lease, [Entry(plans=[sample.write_plan()])])
        assert await new.load_plan(PlanId(1)) is not None


async def test_of_many_who_ask_at_once_one_drives(postgres_url: str) -> None:
    async with opened(postgres_url) as first:
        others = [PostgresExecutionStore(postgres_url) for _ in range(5)]
        await asyncio.gather(*(store.open() for store in others))
        for epoch in range(1, 4):
            leases = await asyncio.gather(*(store.acquire_driver("x") for store in (first, *others)))
            (taken,) = [lease for lease in leases if lease is not None]
            assert taken.epoch == epoch
            await asyncio.gather(*(store.release_driver(taken) for store in (first, *others)))
        await asyncio.gather(*(store.aclose() for store in others))


async def test_who_is_frozen_is_looked_at_by_the_clock_of_the_database(postgres_url: str) -> None:
    """What counts is the last heartbeat that it has; a driver that renews it is left alone, however long it drives."""
    async with opened(postgres_url, beat_seconds=0.01, lost_seconds=3600.0) as old, opened(postgres_url) as new:
        assert await old.acquire_driver("old") is not None
        query = "SELECT at FROM driver_beat"
        for _ in range(3):
            before = await run_sql(postgres_url, query)
            async with asyncio.timeout(60):
                while await run_sql(postgres_url, query) == before:  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0.01)
        assert await new.acquire_driver("new") is None
        info = await new.driver()
        assert info is not None
        assert info.alive


async def test_a_driver_whose_connections_are_cut_goes_on(postgres_url: str, proxy: FaultProxy) -> None:
    async with opened(through(postgres_url, proxy.port), lost_seconds=3600.0) as store:
        lease = await store.acquire_driver("me")
        assert lease is not None
        await store.commit(lease, [])
        for ill in (Ill.RESET, Ill.CLOSE, Ill.CUT_ANSWER, Ill.CUT_MIDWAY):
            proxy.fault = ill
            with pytest.raises(StoreUnavailableError):
                await store.commit(lease, [])
            proxy.fault = None
            await store.commit(lease, [])
        info = await store.driver()
        assert info is not None
        assert (info.epoch, info.alive) == (lease.epoch, True)


async def test_a_driver_that_is_cut_off_is_replaced_and_finds_out(postgres_url: str, proxy: FaultProxy) -> None:
    here, there = (
        opened(through(postgres_url, proxy.port), beat_seconds=0.05, lost_seconds=0.3),
        opened(postgres_url),
    )
    async with here as old, there as new:
        old_lease = await old.acquire_driver("old")
        assert old_lease is not None
        await proxy.refuse()
        assert (await until(lambda: new.acquire_driver("new"))).epoch == 2
        with pytest.raises(StoreUnavailableError):
            await old.commit(old_lease, [])
        await proxy.accept()
        with pytest.raises(StoreConflictError):
            await old.commit(old_lease, [])
        assert await old.acquire_driver("old") is None
