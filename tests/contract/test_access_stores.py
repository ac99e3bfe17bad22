from pathlib import Path

import pytest

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.spi import ExecutionStore
from switchover.testing.access_contracts import AccessStoreContract


class TestMemoryAccess(AccessStoreContract):
    @pytest.fixture
    def place(self) -> MemoryExecutionStore:
        return MemoryExecutionStore()

    def connect(self, place: object) -> ExecutionStore:
        assert isinstance(place, MemoryExecutionStore)
        return MemoryExecutionStore(beside=place)


class TestSqliteAccess(AccessStoreContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "store.db"

    def connect(self, place: object) -> ExecutionStore:
        assert isinstance(place, Path)
        return SqliteExecutionStore(place)
