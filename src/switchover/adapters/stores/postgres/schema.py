"""
The schema and how it comes about: numbered files, each applied once, in one transaction.

``switchover_schema`` says which file was applied last, and marks the schema as ours. Files are never changed after a
release; what is wrong is put right by the next number.
"""

from importlib.resources import files
from typing import Final, NamedTuple

from switchover.adapters.stores.postgres.sql import Connection
from switchover.errors import StoreUnusableError

OLDEST_SERVER: Final = 130_000
"""PostgreSQL 13: ``pg_current_snapshot``."""

_MARK: Final = "switchover_schema"

_LOCK: Final = (
    "SELECT pg_advisory_xact_lock(1400328055::bigint << 32 | (hashtext(current_schema())::bigint & 4294967295))"
)
"""``SwOw``: one below is the driver's."""

_FIND_MARK: Final = f"""
SELECT oid FROM pg_class WHERE relname = '{_MARK}' AND relnamespace = current_schema()::regnamespace
"""  # noqa: S608  # the name is ours
"""From the catalogue: ``to_regclass`` may not know yet what was made while this session waited for the lock."""

_FOREIGN: Final = """
SELECT count(*) FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
    AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
"""


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    sql: str


def migrations() -> tuple[Migration, ...]:
    """All of them, in order; numbered from 1 without a gap."""
    folder = files("switchover.adapters.stores.postgres") / "migrations"
    found = [
        Migration(int(item.name.split("_")[0]), item.name, item.read_text("utf-8"))
        for item in folder.iterdir()
        if item.name.endswith(".sql")
    ]
    return tuple(sorted(found, key=lambda migration: migration.number))


async def is_prepared(connection: Connection) -> bool:
    """Whether the schema was ever brought about here."""
    return await connection.fetchval(_FIND_MARK) is not None


async def prepare(connection: Connection, place: str, steps: tuple[Migration, ...]) -> None:
    """
    Bring the schema up to date; nothing is written where it is.

    Raises:
        StoreUnusableError: The place is none, belongs to somebody else, or was written by a newer program.
    """
    await _check_server(connection, place)
    if await _version(connection, place, steps) == steps[-1].number:
        return
    async with connection.transaction():
        await connection.execute(_LOCK)  # two processes may do so at once: the second finds it done
        version = await _version(connection, place, steps)
        if version == 0:
            await connection.execute(f"CREATE TABLE {_MARK} (number INTEGER NOT NULL)")
            await connection.execute(f"INSERT INTO {_MARK} VALUES (0)")  # noqa: S608  # the name is ours
        for step in steps:
            if step.number > version:
                await connection.execute(step.sql)
                await connection.execute(f"UPDATE {_MARK} SET number = $1", step.number)  # noqa: S608  # the name is ours


async def _check_server(connection: Connection, place: str) -> None:
    version, encoding, schema = await connection.fetchrow(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), current_schema()"
    )
    if version < OLDEST_SERVER:
        message = f"{place}: the server is PostgreSQL {version // 10_000}, and 13 or newer is needed; use a newer one"
        raise StoreUnusableError(message)
    if encoding != "UTF8":
        message = f"{place}: the database is encoded in {encoding}, and UTF8 is needed; create one with ENCODING 'UTF8'"
        raise StoreUnusableError(message)
    if schema is None:
        message = (
            f"{place}: the search path names no schema that exists; create it (CREATE SCHEMA), or name another one "
            f"with ?search_path=NAME"
        )
        raise StoreUnusableError(message)


async def _version(connection: Connection, place: str, steps: tuple[Migration, ...]) -> int:
    """What was applied last; 0 when the place is empty."""
    if not await is_prepared(connection):
        foreign = await connection.fetchval(_FOREIGN)
        if foreign:
            message = (
                f"{place} holds {foreign} tables of another program, so nothing was touched; name an empty database, "
                f"or a schema of its own (CREATE SCHEMA switchover, and ?search_path=switchover in the URL)"
            )
            raise StoreUnusableError(message)
        return 0
    version = int(await connection.fetchval(f"SELECT number FROM {_MARK}") or 0)  # noqa: S608  # the name is ours
    newest = steps[-1].number
    if version > newest:
        message = (
            f"{place} was written by a newer Switchover (schema {version}, this program knows {newest}), so nothing "
            f"was touched; use the newer program, or restore a backup from before its first start"
        )
        raise StoreUnusableError(message)
    return version
