"""Each way in which a place can be wrong: what is said, and that nothing was touched."""
# ruff: noqa: ASYNC240  # a test may wait for the disk

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from switchover.adapters.stores.sqlite import SqliteExecutionStore, first_look
from switchover.adapters.stores.sqlite.connection import Database, transaction
from switchover.adapters.stores.sqlite.schema import check_ownership, migrate, migrations
from switchover.errors import (
    StorageError,
    StoreClosedError,
    StoreConflictError,
    StoreUnavailableError,
    StoreUnusableError,
)
from switchover.spi import DriverLease, Entry
from switchover.testing.samples import sample_plan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteExecutionStore]:
    store = SqliteExecutionStore(path, busy_timeout_seconds=0.05)
    await store.open()
    yield store
    await store.aclose()


async def lease_of(store: SqliteExecutionStore) -> DriverLease:
    lease = await store.acquire_driver("test")
    assert lease is not None
    return lease


async def refusal(path: Path) -> str:
    """What a store says about a place that it does not open; it must not be half open afterwards."""
    store = SqliteExecutionStore(path)
    with pytest.raises(StoreUnusableError) as caught:
        await store.open()
    with pytest.raises(StoreClosedError):
        await store.load_state()
    await store.aclose()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


async def test_a_missing_directory(tmp_path: Path) -> None:
    assert "there is no directory" in await refusal(tmp_path / "missing" / "store.db")
    assert not (tmp_path / "missing").exists()


async def test_a_directory_in_place_of_the_file(tmp_path: Path) -> None:
    assert "is a directory" in await refusal(tmp_path)


async def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"plans:\n- acme\n" * 1000)
    before = path.read_bytes()
    assert "is not an SQLite database" in await refusal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "script",
    ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1", "CREATE VIEW v AS SELECT 1"],
)
async def test_a_database_of_another_program(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(script)
    before = path.read_bytes()
    assert "another program" in await refusal(path)
    assert path.read_bytes() == before


async def test_an_empty_file_is_as_good_as_none(path: Path) -> None:
    path.touch()
    store = SqliteExecutionStore(path)
    await store.open()
    assert list(await store.check()) == []
    await store.aclose()


async def test_a_newer_schema(path: Path, store: SqliteExecutionStore) -> None:
    await store.aclose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1000")
    before = path.read_bytes()
    assert "newer Switchover (schema 1000" in await refusal(path)
    assert path.read_bytes() == before


async def test_a_truncated_database(path: Path, store: SqliteExecutionStore) -> None:
    lease = await lease_of(store)
    await store.commit(lease, [Entry(new_plan=sample_plan(1, [f"t{i}" for i in range(500)]).new_plan())])
    await store.aclose()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "damaged" in await refusal(path)


async def test_a_damaged_page_is_found_by_the_check_and_by_who_reads_it(
    path: Path, store: SqliteExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file that is too large to be examined whole whenever it is opened; a small one does not even open."""
    lease = await lease_of(store)
    await store.commit(lease, [Entry(new_plan=sample_plan(1, [f"t{i}" for i in range(500)]).new_plan())])
    await store.aclose()
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event'").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\x5a" * 4096)
    assert "is damaged" in await refusal(path)
    monkeypatch.setattr(first_look, "_SMALL_BYTES", 0)
    monkeypatch.setattr(first_look, "_PLANS", 0)
    await store.open()
    with pytest.raises(StoreUnusableError, match="damaged"):
        await store.load_events(sample_plan(1, []).plan.plan_id, 0, 1000)
    with pytest.raises(StoreUnusableError, match="damaged"):
        await store.commit(await lease_of(store), [Entry(new_plan=sample_plan(2, ["x"], after_arrival=500).new_plan())])
    assert (await store.check())[0].startswith("the file: ")


_OPEN_AS_NOBODY = """
import asyncio, os, sys
from switchover.adapters.stores.sqlite import SqliteExecutionStore, first_look
from switchover.errors import StorageError
import switchover.adapters.stores.sqlite.schema as schema
schema.migrations()
if os.geteuid() == 0:  # root may write everything, so be somebody else
    os.setgid(65534)
    os.setuid(65534)
async def main():
    store = SqliteExecutionStore(sys.argv[1])
    try:
        await store.open()
    except StorageError as error:
        print(error.code, error)
    else:
        print("opened")
        await store.aclose()
asyncio.run(main())
"""


def open_as_nobody(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _OPEN_AS_NOBODY, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def let_anybody_enter(directory: Path) -> None:
    """Pytest keeps its directories to itself."""
    while directory.stat().st_uid == os.getuid() and directory != directory.parent:
        if not directory.stat().st_mode & 0o001:
            directory.chmod(0o755)
        directory = directory.parent


async def test_a_directory_that_cannot_be_entered(tmp_path: Path) -> None:
    let_anybody_enter(tmp_path)
    closed = tmp_path / "closed"
    (closed / "inside").mkdir(parents=True)
    closed.chmod(0o700 if os.getuid() == 0 else 0)
    said = await asyncio.to_thread(open_as_nobody, closed / "inside" / "store.db")
    closed.chmod(0o700)
    assert said.startswith("STORE_UNUSABLE")
    assert "may enter every directory" in said


async def test_a_read_only_directory(tmp_path: Path) -> None:
    let_anybody_enter(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    said = await asyncio.to_thread(open_as_nobody, closed / "store.db")
    assert said.startswith("STORE_UNUSABLE")
    assert "directory" in said
    assert "not writable" in said


async def test_a_read_only_file(tmp_path: Path, path: Path, store: SqliteExecutionStore) -> None:
    await store.aclose()
    let_anybody_enter(tmp_path)
    tmp_path.chmod(0o777)
    path.chmod(0o444)
    before = path.read_bytes()
    said = await asyncio.to_thread(open_as_nobody, path)
    assert said.startswith("STORE_UNUSABLE")
    assert "not readable and writable" in said
    assert path.read_bytes() == before


async def test_a_full_disk_delays_and_loses_nothing(store: SqliteExecutionStore) -> None:
    """The commit is taken back, reads go on, and the same commit is taken when there is room again."""
    lease = await lease_of(store)
    first = sample_plan(1, ["acme"])
    await store.commit(lease, [Entry(new_plan=first.new_plan())])
    assert store._writing is not None
    pages = await store._writing.run(lambda c: int(c.execute("PRAGMA page_count").fetchone()[0]))
    await store._writing.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 3}").fetchone())
    second = Entry(new_plan=sample_plan(2, [f"t{i}" for i in range(3_000)], after_arrival=1).new_plan())
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="full"):
            await store.commit(lease, [second])
        assert (await store.load_state()).plans == (first.plan,)
    await store.commit(lease, [Entry(tasks=[first.write_task(1)])])
    await store._writing.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
    await store.commit(lease, [second])
    assert list(await store.check()) == []


async def test_a_lock_of_another_program_is_waited_for_and_then_told(path: Path, store: SqliteExecutionStore) -> None:
    lease = await lease_of(store)
    sample = sample_plan(1, ["acme"])
    with closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match=r"more than 0\.05 s"):
            await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        with pytest.raises(StoreUnavailableError):
            await store.put_request("pause", b"{}")
        assert (await store.load_state()).plans == ()  # who reads is kept from nothing
        foreign.execute("ROLLBACK")
    await store.commit(lease, [Entry(new_plan=sample.new_plan())])


async def test_a_lock_at_the_opening(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN EXCLUSIVE")
        store = SqliteExecutionStore(path, busy_timeout_seconds=0.05)
        with pytest.raises(StoreUnavailableError, match="locked"):
            await store.open()
        foreign.execute("ROLLBACK")
        await store.open()
        await store.aclose()


async def test_a_schema_that_somebody_changed(path: Path, store: SqliteExecutionStore) -> None:
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("DROP TABLE stop_line")
    with pytest.raises(StoreUnusableError, match="does not look as this program left it"):
        await store.load_state()


CODES: Sequence[tuple[int, type[StorageError]]] = (
    (sqlite3.SQLITE_BUSY, StoreUnavailableError),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailableError),
    (sqlite3.SQLITE_LOCKED, StoreUnavailableError),
    (sqlite3.SQLITE_FULL, StoreUnavailableError),
    (sqlite3.SQLITE_IOERR, StoreUnavailableError),
    (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailableError),
    (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailableError),
    (sqlite3.SQLITE_READONLY_DBMOVED, StoreUnusableError),
    (sqlite3.SQLITE_CANTOPEN, StoreUnusableError),
    (sqlite3.SQLITE_NOTADB, StoreUnusableError),
    (sqlite3.SQLITE_CORRUPT, StoreUnusableError),
    (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, StoreConflictError),
    (sqlite3.SQLITE_ERROR, StoreUnusableError),
)


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_what_sqlite_says_becomes_one_sentence_about_the_file(path: Path, code: int, kind: type[StorageError]) -> None:
    error = sqlite3.OperationalError("terse")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_TERSE"
    told = Database(path, busy_timeout_seconds=1).translate(error, "committing")
    assert type(told) is kind
    assert str(path) in str(told)
    assert "\n" not in str(told)


def test_an_old_sqlite_is_told_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 0))
    with pytest.raises(StoreUnusableError, match=r"3\.38\.0 or newer"):
        Database(path, busy_timeout_seconds=1).check_place()


class _Stubborn(sqlite3.Connection):
    """Refuses to roll back."""

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        if sql == "ROLLBACK":
            raise sqlite3.OperationalError
        return super().execute(sql, *values)  # type: ignore[arg-type]  # as above


def fail_after(_: object) -> None:
    raise ZeroDivisionError


def test_what_cannot_be_rolled_back_is_closed(path: Path) -> None:
    """Closing ends the transaction for certain; who comes next connects anew."""
    connection = sqlite3.connect(path, isolation_level=None, factory=_Stubborn)
    connection.execute("CREATE TABLE t (x)")
    with pytest.raises(ZeroDivisionError), transaction(connection):
        fail_after(connection.execute("INSERT INTO t VALUES (1)"))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)


async def test_a_closed_connection_is_replaced(store: SqliteExecutionStore) -> None:
    assert store._writing is not None
    await store._writing.run(lambda connection: connection.close())
    lease = await lease_of(store)
    await store.commit(lease, [Entry(new_plan=sample_plan(1, ["acme"]).new_plan())])


async def test_who_stops_waiting_for_a_commit_does_not_stop_it(store: SqliteExecutionStore) -> None:
    lease = await lease_of(store)
    sample = sample_plan(1, [f"t{i}" for i in range(2_000)])
    waiting = asyncio.ensure_future(store.commit(lease, [Entry(new_plan=sample.new_plan())]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await store.commit(lease, [Entry(tasks=[sample.write_task(1)])])
    assert await store.load_plan(sample.plan.plan_id) is not None


async def test_closing_waits_for_what_was_asked_before(path: Path, store: SqliteExecutionStore) -> None:
    lease = await lease_of(store)
    sample = sample_plan(1, [f"t{i}" for i in range(2_000)])
    waiting = asyncio.ensure_future(store.commit(lease, [Entry(new_plan=sample.new_plan())]))
    await asyncio.sleep(0)
    await store.aclose()
    await waiting
    assert not path.with_name(path.name + "-wal").exists()  # the last one to leave tidies up
    await store.open()
    assert await store.load_plan(sample.plan.plan_id) == sample.plan


async def test_files_are_not_shared_with_other_databases(tmp_path: Path) -> None:
    """Two stores in one directory do not meet."""
    stores = [SqliteExecutionStore(tmp_path / name) for name in ("a.db", "b.db")]
    for one in stores:
        await one.open()
        assert await one.acquire_driver("test") is not None
    for one in stores:
        await one.aclose()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.db", "a.db.driver", "b.db", "b.db.driver"]


def test_a_schema_that_another_process_makes_meanwhile_is_no_foreign_one(path: Path) -> None:
    """Two processes open a new file: what one sees of the other's work is all of it, or nothing."""
    steps = migrations()

    def meanwhile(statement: str) -> None:
        if "user_version" not in statement:
            return
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with closing(other), suppress(sqlite3.OperationalError):  # it has to wait until the look is over, as it should
            migrate(other, steps)

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.set_trace_callback(meanwhile)
        check_ownership(connection, path, steps[-1].number)
