"""Room in the write-ahead log: commits stop making the file longer, and nothing that was committed changes."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from switchover.adapters.stores.sqlite.journal import Journal

MANY_BYTES = 16 * 1024 * 1024
BLOB_BYTES = 50_000


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def _connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchone()
    connection.execute("CREATE TABLE IF NOT EXISTS blob (id INTEGER PRIMARY KEY, value BLOB)")
    return connection


def _commit(connection: sqlite3.Connection, journal: Journal) -> None:
    connection.execute("BEGIN IMMEDIATE")
    journal.make_room()
    connection.execute("INSERT INTO blob (value) VALUES (randomblob(?))", (BLOB_BYTES,))
    connection.execute("COMMIT")


def _length(database: Path) -> int:
    return database.with_name(database.name + "-wal").stat().st_size


def _rows(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
    return connection.execute("SELECT id, value FROM blob ORDER BY id").fetchall()


def test_a_log_that_grows_gets_room_for_many_commits_at_once(database: Path) -> None:
    journal = Journal(database, MANY_BYTES)
    with closing(_connect(database)) as connection, closing(journal):
        lengths: list[int] = []
        for _ in range(60):
            _commit(connection, journal)
            lengths.append(_length(database))
        assert len(set(lengths)) < 15, "most commits did not make it longer"


def test_what_was_committed_is_there_after_a_crash(database: Path, tmp_path: Path) -> None:
    """Zeros follow the last commit, as in a process that was killed; a copy of the files is what it leaves."""
    journal = Journal(database, MANY_BYTES)
    with closing(_connect(database)) as connection, closing(journal):
        for number in range(30):
            _commit(connection, journal)
            left = tmp_path / f"left-{number}.db"
            shutil.copy(database, left)
            shutil.copy(f"{database}-wal", f"{left}-wal")
            with closing(_connect(left)) as found:
                assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                assert _rows(found) == _rows(connection)


def test_a_log_that_was_begun_anew_keeps_its_room(database: Path) -> None:
    journal = Journal(database, MANY_BYTES)
    with closing(_connect(database)) as connection, closing(journal):
        for _ in range(10):
            _commit(connection, journal)
        length = _length(database)
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        before = _rows(connection)
        for _ in range(3):
            _commit(connection, journal)
        assert _length(database) == length
        assert _rows(connection)[: len(before)] == before


def test_a_small_log_stays_small(database: Path) -> None:
    journal = Journal(database, MANY_BYTES)
    with closing(_connect(database)) as connection, closing(journal):
        _commit(connection, journal)
        length = _length(database)
        connection.execute("BEGIN IMMEDIATE")
        journal.make_room()
        connection.execute("COMMIT")
        assert _length(database) == length


def test_a_log_that_is_long_already_gets_no_more(database: Path) -> None:
    """A reader keeps the checkpoint from taking it back to the beginning: room would never be used again."""
    journal = Journal(database, most_bytes=500_000)
    with closing(_connect(database)) as connection, closing(journal):
        lengths: list[int] = []
        for _ in range(60):
            _commit(connection, journal)
            lengths.append(_length(database))
        assert len(set(lengths[30:])) == 30, "every commit makes it longer, as it does without this"


def test_without_a_log_nothing_happens(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "none.db", MANY_BYTES)
    journal.make_room()
    journal.close()
    assert list(tmp_path.iterdir()) == []
