"""The store over a PostgreSQL database."""

from switchover.adapters.stores.postgres.store import PostgresExecutionStore

__all__ = ["PostgresExecutionStore"]
