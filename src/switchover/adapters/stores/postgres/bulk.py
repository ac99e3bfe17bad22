"""Many rows in one statement: the columns travel as arrays, which ``unnest`` makes rows of again."""

from collections.abc import Sequence
from typing import Any, Final

from switchover.adapters.stores.postgres.sql import Connection

_TEXTS: Final = frozenset(
    {
        *("tenant_id", "marks", "failure", "counts", "name", "labels", "rules", "config", "previous", "stage", "key"),
        *("status_word", "stage_name", "data", "reason", "actor", "verb", "target_type", "target", "outcome"),
        "document",
    }
)
_BYTES: Final = frozenset({"value", "answer"})


class BulkStatement:
    """
    A statement over rows.

    Args:
        columns: What a row holds, in order.
        template: The statement; ``{rows}`` stands for the rows.
        types: Of columns whose name means something else elsewhere.
    """

    def __init__(self, columns: Sequence[str], template: str, **types: str) -> None:
        kinds = [types.get(column) or _type(column) for column in columns]
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(kinds, start=1))
        self._text = template.format(rows=f"unnest({arrays})")
        self._texts = frozenset(index for index, kind in enumerate(kinds) if kind == "text")

    async def run(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> int:
        """Do it for all rows; returns how many rows of the table it changed."""
        if not rows:
            return 0
        texts = self._texts
        columns = [
            [None if value is None else storable_text(value) for value in column] if index in texts else column
            for index, column in enumerate(zip(*rows, strict=True))
        ]
        return changed(await connection.execute(self._text, *columns))


def insert(table: str, columns: Sequence[str], suffix: str = "", **types: str) -> BulkStatement:
    """``INSERT INTO table (columns) ...``; the suffix says what happens to rows that exist."""
    text = f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM {{rows}} {suffix}"  # noqa: S608  # names are ours
    return BulkStatement(columns, text, **types)


def update(table: str, columns: Sequence[str], keys: Sequence[str], condition: str = "") -> BulkStatement:
    """``UPDATE table SET columns WHERE keys AND condition``; a row holds the columns, then the keys."""
    names = [*columns, *keys]
    assignments = ", ".join(f"{column} = v.column{number}" for number, column in enumerate(columns, start=1))
    matches = [f"t.{key} = v.column{number}" for number, key in enumerate(keys, start=len(columns) + 1)]
    more = f" AND {condition}" if condition else ""
    alias = ", ".join(f"column{number}" for number in range(1, len(names) + 1))
    text = f"UPDATE {table} AS t SET {assignments} FROM {{rows}} AS v ({alias}) WHERE {' AND '.join(matches)}{more}"  # noqa: S608  # names are ours
    return BulkStatement(names, text)


def storable_text(text: str) -> str:
    """
    The text as PostgreSQL can hold it.

    Halves of character pairs become ``?``, and the character zero, which no text there may contain, its symbol. What
    is looked for is put the same way, so that it is found.
    """
    if text.isascii():
        return text.replace("\0", "␀") if "\0" in text else text
    return text.encode("utf-8", "replace").decode().replace("\0", "␀")


def changed(status: str) -> int:
    """How many rows a statement changed, from its answer (``UPDATE 3``)."""
    return int(status.rpartition(" ")[2])


def _type(column: str) -> str:
    return "text" if column in _TEXTS else "bytea" if column in _BYTES else "bigint"
