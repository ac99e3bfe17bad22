"""Schemas of one's own in the PostgreSQL server of the test process."""

from itertools import count

import asyncpg

_NUMBERS = count(1)


async def new_schema(server: str) -> str:
    """The URL of an empty schema that nobody else uses."""
    name = f"test_{next(_NUMBERS)}"
    await run_sql(server, f"CREATE SCHEMA {name}")
    return f"{server}?search_path={name}"


async def run_sql(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement behind the store's back; what it answers."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()
