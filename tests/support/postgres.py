"""Schemas of one's own in the PostgreSQL server of the test process."""

from itertools import count
from urllib.parse import urlsplit

import asyncpg

_NUMBERS = count(1)


async def new_schema(server: str) -> str:
    """The URL of an empty schema that nobody else uses."""
    name = f"test_{next(_NUMBERS)}"
    await run_sql(server, f"CREATE SCHEMA {name}")
    return f"{server}?search_path={name}"


async def empty(url: str) -> None:
    """Forget everything that the store in this schema holds, quicker than a new schema is made."""
    names = await run_sql(
        url,
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        " AND tablename NOT IN ('switchover_schema', 'counter')",
    )
    connection = await asyncpg.connect(url)
    try:
        deletions = "; ".join(f"DELETE FROM {name}" for (name,) in names)
        await connection.execute(f"{deletions}; UPDATE counter SET last = 0")
    finally:
        await connection.close()


async def run_sql(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement behind the store's back; what it answers."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def through(url: str, port: int) -> str:
    """The same database, by way of a proxy on this port; without TLS, which nobody asks for."""
    parts = urlsplit(url)
    netloc = f"{parts.username}@127.0.0.1:{port}"
    query = "&".join(part for part in (parts.query, "sslmode=disable") if part)
    return parts._replace(netloc=netloc, query=query).geturl()
