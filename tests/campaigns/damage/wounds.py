"""Ways to damage the files of a database, each at a place that a seed chooses."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

PAGE = 4096
WAL_HEADER, FRAME = 32, 4096 + 24

Wound = Callable[[Path, Random], str]
"""Damages the database in this folder, and says what was done."""


def _database(folder: Path) -> Path:
    return folder / "switchover.db"


def _journal(folder: Path) -> Path:
    return folder / "switchover.db-wal"


def cut_at_page(folder: Path, random: Random) -> str:
    """The file ends with some page."""
    pages = _database(folder).stat().st_size // PAGE
    return _cut(_database(folder), random.randrange(1, pages) * PAGE)


def cut_in_page(folder: Path, random: Random) -> str:
    """The file ends within some page."""
    size = _database(folder).stat().st_size
    return _cut(_database(folder), random.randrange(1, size // PAGE) * PAGE - random.randrange(1, PAGE))


def zero_page(folder: Path, random: Random) -> str:
    """A page was never written."""
    pages = _database(folder).stat().st_size // PAGE
    return _overwrite(_database(folder), random.randrange(pages) * PAGE, bytes(PAGE))


def old_page(folder: Path, random: Random) -> str:
    """A page holds what another page holds."""
    data = _database(folder).read_bytes()
    source, target = random.sample(range(len(data) // PAGE), 2)
    return _overwrite(_database(folder), target * PAGE, data[source * PAGE : (source + 1) * PAGE])


def flip_bit(folder: Path, random: Random) -> str:
    """A bit of the database is another one."""
    return _flip(_database(folder), random)


def flip_bit_of_journal(folder: Path, random: Random) -> str:
    """A bit of the journal is another one."""
    return _flip(_journal(folder), random)


def cut_journal_at_frame(folder: Path, random: Random) -> str:
    """The journal ends with some frame."""
    frames = (_journal(folder).stat().st_size - WAL_HEADER) // FRAME
    return _cut(_journal(folder), WAL_HEADER + random.randrange(frames) * FRAME)


def cut_journal_anywhere(folder: Path, random: Random) -> str:
    """The journal ends somewhere."""
    return _cut(_journal(folder), random.randrange(_journal(folder).stat().st_size))


def lose_journal(folder: Path, random: Random) -> str:
    """Somebody tidied up."""
    _journal(folder).unlink()
    return "the journal is gone"


def zero_journal(folder: Path, random: Random) -> str:
    """A file system that came back from a power failure with zeros where the journal was."""
    size = _journal(folder).stat().st_size
    _journal(folder).write_bytes(bytes(size))
    return f"the journal is {size} zeros"


def foreign_journal(folder: Path, random: Random) -> str:
    """The journal of another database, as sound as can be."""
    _journal(folder).write_bytes((folder / "foreign-wal").read_bytes())
    return "the journal is that of another database"


def lose_index(folder: Path, random: Random) -> str:
    """The index of the journal is made again by whoever opens it."""
    (folder / "switchover.db-shm").unlink(missing_ok=True)
    return "the index of the journal is gone"


def foul_index(folder: Path, random: Random) -> str:
    """As before."""
    (folder / "switchover.db-shm").write_bytes(random.randbytes(32 * 1024))
    return "the index of the journal is noise"


def empty_database(folder: Path, random: Random) -> str:
    """Of no bytes."""
    return _cut(_database(folder), 0)


def empty_database_without_journal(folder: Path, random: Random) -> str:
    """Nothing is left."""
    _journal(folder).unlink()
    return _cut(_database(folder), 0)


def lose_database(folder: Path, random: Random) -> str:
    """Only the journal is left."""
    _database(folder).unlink()
    return "the database is gone, its journal is not"


def directory(folder: Path, random: Random) -> str:
    """A directory in its place."""
    _database(folder).unlink()
    _database(folder).mkdir()
    return "a directory lies where the database was"


def _cut(path: Path, size: int) -> str:
    before = path.stat().st_size
    os.truncate(path, size)
    return f"{path.name} is cut from {before} to {size} bytes"


def _overwrite(path: Path, at: int, data: bytes) -> str:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    return f"{path.name}: {len(data)} bytes at {at} are others"


def _flip(path: Path, random: Random) -> str:
    data = bytearray(path.read_bytes())
    at, bit = random.randrange(len(data)), random.randrange(8)
    data[at] ^= 1 << bit
    path.write_bytes(data)
    return f"{path.name}: bit {bit} of byte {at} is flipped"


WOUNDS: Mapping[str, Wound] = {
    wound.__name__: wound
    for wound in (
        cut_at_page,
        cut_in_page,
        zero_page,
        old_page,
        flip_bit,
        flip_bit_of_journal,
        cut_journal_at_frame,
        cut_journal_anywhere,
        lose_journal,
        zero_journal,
        foreign_journal,
        lose_index,
        foul_index,
        empty_database,
        empty_database_without_journal,
        lose_database,
        directory,
    )
}
