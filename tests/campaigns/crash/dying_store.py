"""The SQLite store, with a place to die at each of its statements, commits and reads."""
# overrides do what they override does

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.adapters.stores.sqlite.connection import Database
from switchover.spi import CommitResult, DriverLease, Entry
from tests.campaigns.crash.fate import Fate


class _DyingDatabase(Database):
    """Connections that tell of each statement before it runs."""

    def __init__(self, path: Path, fate: Fate) -> None:
        super().__init__(path, busy_timeout_seconds=10.0)
        self._fate = fate
        self._inside = False

    def connect(self) -> sqlite3.Connection:
        connection = super().connect()
        connection.set_trace_callback(self._told)
        return connection

    def _told(self, statement: str) -> None:
        if statement.startswith("BEGIN"):
            self._fate.reach("begin")
            self._inside = True
        elif statement.startswith("COMMIT"):
            self._inside = False
            self._fate.reach("commit")
        elif statement.startswith("ROLLBACK"):
            self._inside = False
        elif self._inside:
            self._fate.reach("statement")


class DyingStore(SqliteExecutionStore):
    """
    The store of a life.

    Args:
        checkpoint_pages: How long the journal may grow before SQLite brings it into the database; small numbers put
            checkpoints, and deaths inside them, into short runs. Zero: as the store has it.
    """

    def __init__(self, path: Path, fate: Fate, *, checkpoint_pages: int = 0) -> None:
        super().__init__(path)
        self._database = _DyingDatabase(path, fate)
        self._fate = fate
        self._checkpoint_pages = checkpoint_pages
        self.commits = 0

    async def commit(self, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        self._fate.reach("asked")
        result = await super().commit(lease, batch)
        self.commits += 1
        self._fate.reach("answered")
        return result

    def _connect_writer(self) -> sqlite3.Connection:
        connection = super()._connect_writer()
        if self._checkpoint_pages:
            connection.execute(f"PRAGMA wal_autocheckpoint = {self._checkpoint_pages}").fetchone()
        return connection

    async def _write(self, doing: str, function: Callable[[sqlite3.Connection], Any]) -> Any:  # noqa: ANN401  # as given
        def work(connection: sqlite3.Connection) -> Any:  # noqa: ANN401  # as given
            result = function(connection)
            self._fate.reach("durable")
            return result

        return await super()._write(doing, work)

    async def _read(self, doing: str, function: Callable[[sqlite3.Connection], Any]) -> Any:  # noqa: ANN401  # as given
        self._fate.reach("read")
        return await super()._read(doing, function)
