from collections.abc import Mapping

import asyncpg
import pytest

from switchover.adapters.stores.postgres import PostgresExecutionStore
from switchover.spi import ExecutionStore
from switchover.testing.access_contracts import AccessStoreContract
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


class TestPostgresStore(AgreementContract):
    @pytest.fixture
    def place(self, postgres_url: str) -> str:
        return postgres_url

    def connect(self, place: object) -> ExecutionStore:
        assert isinstance(place, str)
        return PostgresExecutionStore(place)

    async def count_rows(self, place: object) -> Mapping[str, int]:
        assert isinstance(place, str)
        connection = await asyncpg.connect(place)
        try:
            return {name: await connection.fetchval(f"SELECT count(*) FROM {table}") for name, table in _TABLES.items()}
        finally:
            await connection.close()


class TestPostgresAccess(AccessStoreContract):
    @pytest.fixture
    def place(self, postgres_url: str) -> str:
        return postgres_url

    def connect(self, place: object) -> ExecutionStore:
        assert isinstance(place, str)
        return PostgresExecutionStore(place)
