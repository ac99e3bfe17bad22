"""The schema in PostgreSQL comes about once, whoever comes first, and step by step as at once."""

import asyncio

import asyncpg

from switchover.adapters.stores.postgres import PostgresExecutionStore
from switchover.adapters.stores.postgres.schema import migrations, prepare
from tests.support.postgres import new_schema, run_sql

_COLUMNS = """
SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default, collation_name
FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 3
"""
_INDEXES = """
SELECT tablename, indexname, replace(indexdef, current_schema() || '.', '') FROM pg_indexes
WHERE schemaname = current_schema() ORDER BY 1, 2
"""


async def picture_of(url: str) -> list[list[tuple[object, ...]]]:
    return [await run_sql(url, query) for query in (_COLUMNS, _INDEXES)]


async def test_many_who_open_an_empty_schema_at_once_find_one(postgres_url: str) -> None:
    stores = [PostgresExecutionStore(postgres_url) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    assert await run_sql(postgres_url, "SELECT number FROM switchover_schema") == [(migrations()[-1].number,)]
    leases = await asyncio.gather(*(store.acquire_driver("x") for store in stores))
    assert sum(lease is not None for lease in leases) == 1
    await asyncio.gather(*(store.aclose() for store in stores))


async def test_a_schema_that_grew_step_by_step_is_the_one_that_is_made_at_once(postgres_server: str) -> None:
    at_once, grown = await new_schema(postgres_server), await new_schema(postgres_server)
    steps = migrations()
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    for url, stages in ((at_once, [steps]), (grown, [steps[:number] for number in range(1, len(steps) + 1)])):
        for known in stages:
            connection = await asyncpg.connect(url)
            await prepare(connection, "a test", known)
            await connection.close()
    assert await picture_of(grown) == await picture_of(at_once)
