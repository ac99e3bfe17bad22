"""
The schema and how it comes about: numbered files, each applied once, in one transaction.

``user_version`` says which file was applied last. Files are never changed after a release; what is wrong is put right
by the next number.
"""

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from switchover.adapters.stores.sqlite.connection import roll_back, transaction
from switchover.errors import StoreUnusableError

APPLICATION_ID: Final = 0x53774F76
"""``SwOv``: marks the file as ours."""


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    sql: str


def migrations() -> tuple[Migration, ...]:
    """All of them, in order; numbered from 1 without a gap."""
    folder = files("switchover.adapters.stores.sqlite") / "migrations"
    found = sorted(
        (
            Migration(int(item.name.split("_")[0]), item.name, item.read_text("utf-8"))
            for item in folder.iterdir()
            if item.name.endswith(".sql")
        ),
        key=lambda migration: migration.number,
    )
    return tuple(found)


def check_ownership(connection: sqlite3.Connection, path: Path, newest: int) -> None:
    """
    See that the database is empty, or ours and not newer than this program. Changes nothing.

    Raises:
        StoreUnusableError: It is not.
    """
    connection.execute("BEGIN")  # one instant: another process may be about to make the schema
    try:
        tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
        application = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
    finally:
        roll_back(connection)
    if application == APPLICATION_ID:
        if version > newest:
            message = (
                f"{path} was written by a newer Switchover (schema {version}, this program knows {newest}), so nothing "
                f"was touched; use the newer program, or restore a backup from before its first start"
            )
            raise StoreUnusableError(message)
        return
    if application or version or tables:
        message = (
            f"{path} is a database of another program ({tables} tables and indexes, application id {application}), so "
            f"nothing was touched; name another file"
        )
        raise StoreUnusableError(message)


def migrate(connection: sqlite3.Connection, steps: tuple[Migration, ...]) -> None:
    """Apply what is missing. Two processes may do so at once: the second finds it done."""
    for step in steps:
        if _pragma(connection, "user_version") >= step.number:
            continue
        with transaction(connection):
            if _pragma(connection, "user_version") >= step.number:
                continue
            for statement in statements(step.sql):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step.number}")


def statements(sql: str) -> Iterator[str]:
    """The statements of a file, one by one: ``executescript`` would end the transaction they belong to."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
