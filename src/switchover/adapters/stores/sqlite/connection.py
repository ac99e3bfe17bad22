"""Connections to one database file, and what SQLite's errors mean to whoever uses the store."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from switchover.errors import StorageError, StoreConflictError, StoreUnavailableError, StoreUnusableError

NEWEST_NEEDED: Final = (3, 38, 0)
"""STRICT tables, UPDATE ... FROM, and the ``->>`` operator."""

_WRITER_CACHE_KIB: Final = 16 * 1024
_READER_CACHE_KIB: Final = 4 * 1024
_CHECKPOINT_PAGES: Final = 4000
CHECKPOINT_BYTES: Final = _CHECKPOINT_PAGES * (4096 + 24)
"""How long the journal is when its contents are brought into the database, unless a reader is in the way."""

_JOURNAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
_STATEMENTS: Final = 256

_PRIMARY_CODE: Final = 0xFF


class Database:
    """
    One database file.

    Args:
        path: Of the file; made when it is missing, its folder is not.
        busy_timeout_seconds: How long a connection waits for a lock that another program holds.
    """

    def __init__(self, path: Path, *, busy_timeout_seconds: float) -> None:
        self.path = path
        self._busy_timeout_seconds = busy_timeout_seconds

    def check_place(self) -> None:
        """
        See whether the file can be what it should be, before SQLite, whose answers are terse, is asked.

        Raises:
            StoreUnusableError: The folder is missing or closed, or the path leads to what is no writable file.
        """
        folder = self.path.parent
        if sqlite3.sqlite_version_info < NEWEST_NEEDED:
            needed = ".".join(map(str, NEWEST_NEEDED))
            message = (
                f"{self.path} cannot be opened: this Python comes with SQLite {sqlite3.sqlite_version}, and {needed} "
                f"or newer is needed; use a newer Python build or system library"
            )
            raise StoreUnusableError(message)
        if self.path.is_dir():
            message = f"{self.path} is a directory; name a file in it, such as {self.path / 'switchover.db'}"
            raise StoreUnusableError(message)
        if not folder.is_dir():
            message = f"{self.path} cannot be made: there is no directory {folder}; create it, or name another place"
            raise StoreUnusableError(message)
        if not os.access(folder, os.W_OK | os.X_OK):
            message = (
                f"{self.path} cannot be used: the directory {folder} is not writable by this user, and SQLite keeps "
                f"its journal beside the database; correct the permissions, or name another place"
            )
            raise StoreUnusableError(message)
        journal = self.path.with_name(self.path.name + "-wal")
        if (self.is_missing() or self.is_empty()) and journal.exists() and journal.stat().st_size:
            message = (
                f"{self.path} {'is missing' if self.is_missing() else 'is empty'}, and its journal {journal} is still "
                f"there: to open it now would delete that. Put the database back beside it, or restore a backup and "
                f"move the journal away; to begin with nothing, delete the journal"
            )
            raise StoreUnusableError(message)
        if self.path.exists() and not os.access(self.path, os.R_OK | os.W_OK):
            message = (
                f"{self.path} cannot be used: the file is not readable and writable by this user; correct the "
                f"permissions, or name another file"
            )
            raise StoreUnusableError(message)

    def is_missing(self) -> bool:
        """There is no such file yet."""
        return not self.path.exists()

    def is_empty(self) -> bool:
        """Of no bytes: what SQLite makes a new database of."""
        return self.path.exists() and self.path.stat().st_size == 0

    def connect(self) -> sqlite3.Connection:
        """
        A connection that may write, with nothing changed on disk yet. The pragmas of a store come with ``tune``.

        A database that is new belongs to its owner alone: it has the passwords of the targets. Its companions get the
        same permissions from SQLite.
        """
        with suppress(OSError):  # there already, or SQLite says why not
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return sqlite3.connect(
            self.path,
            timeout=self._busy_timeout_seconds,
            isolation_level=None,  # transactions are begun and ended in plain sight
            cached_statements=_STATEMENTS,
            check_same_thread=False,  # handed from the opening thread to its own; never used by two at once
        )

    def connect_reader(self) -> sqlite3.Connection:
        """A connection that cannot write."""
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=self._busy_timeout_seconds,
            isolation_level=None,
            cached_statements=_STATEMENTS,
            check_same_thread=False,
        )
        connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        return connection

    @contextmanager
    def errors(self, doing: str) -> Generator[None]:
        """Map what SQLite raises to the store's errors; ``doing`` completes "while ..."."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self.translate(error, doing) from error

    def translate(  # noqa: PLR0911  # one answer for each kind of error
        self, error: Exception, doing: str
    ) -> StorageError:
        """What an error of SQLite or the system means: wait, or call a person; each with the next move."""
        place = f"{self.path}: while {doing}"
        if isinstance(error, OSError):
            return StoreUnusableError(
                f"{place}, the system refused ({error}). See that this user may enter every directory on the way, "
                f"and read and write the last one"
            )
        code = getattr(error, "sqlite_errorcode", None)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        match None if code is None else code & _PRIMARY_CODE:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StoreUnavailableError(
                    f"{place}, another program kept the database locked for more than "
                    f"{self._busy_timeout_seconds:g} s; nothing was changed. Find out who holds it (a backup, a "
                    f"database browser) and let it finish; trying again is right"
                )
            case sqlite3.SQLITE_FULL:
                return StoreUnavailableError(
                    f"{place}, the disk or quota was full; nothing was changed. Make room under {self.path.parent}; "
                    f"trying again is right"
                )
            case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOMEM | sqlite3.SQLITE_PROTOCOL:
                return StoreUnavailableError(
                    f"{place}, the system reported an error ({name}: {error}); nothing was changed. Look at the disk "
                    f"and the system's log; trying again is right once the cause is gone"
                )
            case sqlite3.SQLITE_READONLY:
                return StoreUnusableError(
                    f"{place}, the file or its directory turned out to be read-only ({name}); nothing was changed. "
                    f"Correct the permissions or the mount, then start again"
                )
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
                return StoreUnusableError(
                    f"{place}, the file could not be opened ({name}: {error}). See that it and its directory exist and "
                    f"are readable and writable for this user, and that file handles are not used up"
                )
            case sqlite3.SQLITE_NOTADB:
                return StoreUnusableError(
                    f"{self.path} is not an SQLite database, so nothing was touched; name another file, or restore "
                    f"this one from a backup"
                )
            case sqlite3.SQLITE_CORRUPT:
                return StoreUnusableError(
                    f"{place}, the database turned out to be damaged ({error}); nothing was changed. Keep a copy of "
                    f"the file and of the -wal file beside it, and restore the last backup"
                )
            case sqlite3.SQLITE_CONSTRAINT:
                return StoreConflictError(
                    f"{place}, a row to be written exists already ({error}): somebody else wrote; nothing was changed"
                )
            case _:
                return StoreUnusableError(
                    f"{place}, SQLite answered {name}: {error}; nothing was changed. The file does not look as this "
                    f"program left it: run the check of the store, and restore a backup if it finds damage"
                )


def tune_writer(connection: sqlite3.Connection) -> None:
    """
    Give the writing connection its pragmas.

    FULL makes each commit durable, which is what an answer promises. The larger checkpoint interval writes a hot page
    once instead of four times; the limit gives the journal of a huge plan back to the file system.
    """
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}").fetchone()
    connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT_BYTES}").fetchone()
    connection.execute("PRAGMA trusted_schema = OFF")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """
    One write transaction, begun with the lock so that it can never fail halfway for want of it.

    After an error nothing of it remains: what cannot be rolled back is closed, and who comes next must connect anew.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """End an open transaction; a connection that refuses even that is closed, which ends it for certain."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        connection.close()
