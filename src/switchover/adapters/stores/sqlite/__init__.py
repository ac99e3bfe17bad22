"""The store over one SQLite file: the default."""

from switchover.adapters.stores.sqlite.store import SqliteExecutionStore

__all__ = ["SqliteExecutionStore"]
