import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.spi import ExecutionStore
from switchover.testing.contracts import AgreementContract

_TABLES = {
    "plans": "plan",
    "definitions": "plan_definition",
    "tasks": "task",
    "configs": "task_config",
    "events": "event",
    "tenants": "tenant",
    "queued": "lock_queue",
    "holds": "tenant_hold",
    "goods": "last_known_good",
    "pre_images": "pre_image",
    "requests": "request",
    "keys": "idempotency",
    "runs": "event_run",
    "pruned": "pruned_plan",
}


class TestSqliteStore(AgreementContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "ställe #1?.db"  # a name that has to be quoted in a URI

    def connect(self, place: object) -> ExecutionStore:
        assert isinstance(place, Path)
        return SqliteExecutionStore(place)

    async def count_rows(self, place: object) -> Mapping[str, int]:
        assert isinstance(place, Path)
        with closing(sqlite3.connect(place)) as connection:
            return {
                name: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for name, table in _TABLES.items()
            }
