"""
Many rows in one statement.

Each call of ``sqlite3`` into SQLite lets go of the interpreter and has to win it back, which takes up to 5 ms while
the event loop computes. ``executemany`` does so once per row; beside a busy loop that made commits of 64 tasks forty
times slower. So rows are written with as few, large statements as there are powers of two in their number.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

_SIZES: Final = (256, 128, 64, 32, *range(16, 0, -1))


class BulkStatement:
    """
    A statement over rows of one width.

    Args:
        width: Columns of a row.
        template: The statement; ``{rows}`` stands for ``(?, ?), (?, ?) ...``.
        single: The statement for one row, where there is a shorter one.
    """

    def __init__(self, width: int, template: str, single: str | None = None) -> None:
        row = f"({', '.join('?' * width)})"
        self._texts = {size: template.format(rows=", ".join([row] * size)) for size in _SIZES}
        if single is not None:
            self._texts[1] = single

    def run(self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> int:
        """Do it for all rows; returns how many rows of the table it changed."""
        changed = 0
        start = 0
        left = len(rows)
        for size in _SIZES:
            while left >= size:
                part = rows[start] if size == 1 else list(chain.from_iterable(rows[start : start + size]))
                changed += connection.execute(self._texts[size], part).rowcount
                start += size
                left -= size
            if not left:
                break
        return changed


def insert(table: str, columns: Sequence[str], suffix: str = "") -> BulkStatement:
    """``INSERT INTO table (columns) VALUES ...``; the suffix says what happens to rows that exist."""
    return BulkStatement(len(columns), f"INSERT INTO {table} ({', '.join(columns)}) VALUES {{rows}} {suffix}")  # noqa: S608  # names are ours


def update(table: str, columns: Sequence[str], keys: Sequence[str], condition: str = "") -> BulkStatement:
    """``UPDATE table SET columns WHERE keys AND condition``; a row holds the columns, then the keys."""
    assignments = ", ".join(f"{column} = v.column{number}" for number, column in enumerate(columns, start=1))
    matches = [f"{table}.{key} = v.column{number}" for number, key in enumerate(keys, start=len(columns) + 1)]
    more = f" AND {condition}" if condition else ""
    many = f"UPDATE {table} SET {assignments} FROM (VALUES {{rows}}) AS v WHERE {' AND '.join(matches)}{more}"  # noqa: S608  # names are ours
    # One row needs no temporary table to join with, which is most of what an update of one row costs otherwise.
    plain = ", ".join(f"{column} = ?" for column in columns)
    where = " AND ".join(f"{key} = ?" for key in keys)
    single = f"UPDATE {table} SET {plain} WHERE {where}{more}"  # noqa: S608  # as above
    return BulkStatement(len(columns) + len(keys), many, single)
