"""The mark beside the database: what it counts, and what a database that contradicts it is told."""
# ruff: noqa: ASYNC240  # files are copied and deleted between two openings

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.adapters.stores.sqlite.high_water import HighWater, LastEvent
from switchover.domain.task import TenantId
from switchover.errors import StoreUnusableError
from switchover.spi import DriverLease, Entry
from switchover.testing.samples import sample_plan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@asynccontextmanager
async def driven(path: Path) -> AsyncIterator[tuple[SqliteExecutionStore, DriverLease]]:
    store = SqliteExecutionStore(path)
    await store.open()
    try:
        lease = await store.acquire_driver("test")
        assert lease is not None
        yield store, lease
        await store.release_driver(lease)
    finally:
        await store.aclose()


def mark_of(path: Path) -> HighWater:
    mark = HighWater.parse(path.with_name("store.db.driver").read_bytes())
    assert mark is not None
    return mark


def events_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT coalesce(sum(position), 0) FROM plan").fetchone()[0])


async def create(store: SqliteExecutionStore, lease: DriverLease, number: int) -> None:
    plan = sample_plan(number, [f"t{number}-{place}" for place in range(3)], after_arrival=number * 10)
    await store.commit(lease, [Entry(new_plan=plan.new_plan())])


async def crashed(path: Path) -> Path:
    """A copy of the files of a process that dies after its second plan; the first is in the database file."""
    left = path.with_name("left")
    async with driven(path) as (store, lease):
        await create(store, lease, 1)
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        await create(store, lease, 2)
        left.mkdir()
        for file in path.parent.glob("store.db*"):
            shutil.copy(file, left / file.name)
    return left / "store.db"


def test_what_is_written_is_read() -> None:
    mark = HighWater(epoch=3, since=1_700_000_000_000_000, events=12, last=LastEvent(7, 5, 9), ended=True)
    assert HighWater.parse(mark.to_bytes()) == mark


@pytest.mark.parametrize("data", [b"", b"noise", HighWater(epoch=1, since=2, events=3).to_bytes()[:-1]])
def test_what_cannot_be_read_says_nothing(data: bytes) -> None:
    assert HighWater.parse(data) is None


async def test_it_counts_what_the_database_counts(path: Path) -> None:
    async with driven(path) as (store, lease):
        for number in (1, 2):
            await create(store, lease, number)
            assert mark_of(path).events == events_in(path) > 0
        assert not mark_of(path).ended
    assert mark_of(path).ended
    async with driven(path) as (store, lease):
        await create(store, lease, 3)
        assert mark_of(path).events == events_in(path)
        assert mark_of(path).epoch == 2


async def test_after_a_crash_nothing_is_missing(path: Path) -> None:
    left = await crashed(path)
    async with driven(left) as (store, _):
        assert await store.check() == []


async def test_a_journal_that_was_lost_is_noticed_until_somebody_accepts_it(path: Path) -> None:
    left = await crashed(path)
    left.with_name("store.db-wal").unlink()
    store = SqliteExecutionStore(left)
    await store.open()
    for _ in range(2):
        with pytest.raises(StoreUnusableError, match=r"lacks commits that were acknowledged.*store\.db\.driver.*adopt"):
            await store.acquire_driver("test")
    assert "its driver crashed" in (await store.check())[0]
    assert len(await store.list_plans(before=None, limit=10)) == 1, "it can be looked at"
    left.with_name("store.db.driver").unlink()
    assert await store.acquire_driver("test") is not None
    await store.aclose()


async def test_a_backup_that_is_put_back_after_a_good_end_is_only_told(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The targets' generations protect what is newer; ``adopt`` lifts them."""
    backup = tmp_path / "backup.db"
    async with driven(path) as (store, lease):
        await create(store, lease, 1)
    shutil.copy(path, backup)
    async with driven(path) as (store, lease):
        await create(store, lease, 2)
    shutil.copy(backup, path)
    store = SqliteExecutionStore(path)
    await store.open()
    assert "an older copy was put here" in (await store.check())[0]
    assert await store.acquire_driver("test") is not None
    assert "was a backup restored" in caplog.text
    await store.aclose()


async def test_a_new_database_begins_where_one_was_deleted(path: Path) -> None:
    async with driven(path) as (store, lease):
        await create(store, lease, 1)
    path.unlink()
    async with driven(path) as (store, lease):
        assert lease.epoch == 1
        await create(store, lease, 1)
        assert mark_of(path).events == events_in(path)


async def test_the_end_of_a_large_file_is_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchover.adapters.stores.sqlite.first_look._SMALL_BYTES", 0)
    async with driven(path) as (store, lease):
        await create(store, lease, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM event WHERE position = (SELECT max(position) FROM event)")
    store = SqliteExecutionStore(path)
    with pytest.raises(StoreUnusableError, match="says that its last event has position"):
        await store.open()
    await store.aclose()


async def test_a_value_that_was_never_written_is_told_by_who_reads_it(path: Path) -> None:
    async with driven(path) as (store, lease):
        await create(store, lease, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE task SET status = 0")
    store = SqliteExecutionStore(path)
    await store.open()
    with pytest.raises(StoreUnusableError, match="never writes"):
        await store.tenant_history(TenantId("t1-0"), 10)
    await store.aclose()
