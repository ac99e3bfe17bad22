"""
Room in the write-ahead log before it is needed.

A commit that makes a file longer has to bring the file's new length to the disk beside its data: a second write in
another place, which makes it up to twice as dear as one that fits in. SQLite makes its log longer with every commit
until the first checkpoint takes it back to the beginning, which is all the life of a small plan. So the log is made
longer in larger pieces, with zeros behind its end. SQLite reads them as it reads the rest of an older log that usually
stands there: as nothing.

Whoever calls holds the write lock, so nobody else makes the file longer at the same time, or begins it anew.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_LEAST_BYTES: Final = 256 * 1024
"""A log as short as this belongs to somebody who writes little, and stays short."""

_PIECE_BYTES: Final = 1024 * 1024


class Journal:
    """
    The write-ahead log of one connection's database.

    Args:
        database: Its file.
        most_bytes: A longer log is given nothing: it is longer than what is written between two checkpoints.
    """

    def __init__(self, database: Path, most_bytes: int) -> None:
        self._path = database.with_name(database.name + "-wal")
        self._most_bytes = most_bytes
        self._descriptor: int | None = None
        self._length = 0

    def make_room(self) -> None:
        """To be called in a transaction that has written nothing yet. No room is no error: it only takes longer."""
        with suppress(OSError):
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            length = os.fstat(self._descriptor).st_size
            if length > self._length and _LEAST_BYTES < length < self._most_bytes:
                length += os.pwrite(self._descriptor, bytes(_PIECE_BYTES), length)
            self._length = length

    def close(self) -> None:
        """Let go of the file: whoever connects next may find another one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._length = None, 0
