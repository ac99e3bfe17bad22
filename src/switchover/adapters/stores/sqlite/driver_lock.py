"""
The lock that makes one process the driver: an exclusive lock on a file beside the database.

The kernel gives it back when its holder dies, however it dies, so no time-out has to be guessed. It is bound to the
open file, not to the process: two stores of one process exclude each other as two processes do.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from switchover.adapters.stores.sqlite.high_water import HighWater
from switchover.errors import StoreUnusableError

try:
    import fcntl
except ImportError:  # pragma: no cover  # not on POSIX
    fcntl = None  # type: ignore[assignment]

_ATTEMPTS: Final = 20
_PAUSE_SECONDS: Final = 0.005


class DriverLock:
    """
    The lock file of one database: ``<database>.driver``. It is left behind, and says how far the database had come.

    Not for use by two threads at once.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".driver")
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """
        Take it if nobody has it.

        A look of somebody else (``is_held_by_anyone``) holds it for an instant, hence a few attempts.
        """
        descriptor = self._open()
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_SECONDS)
            if _lock(descriptor, exclusive=True):
                self._descriptor = descriptor
                return True
        os.close(descriptor)
        return False

    def release(self) -> None:
        """Give it back; without effect when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, mark: HighWater) -> None:
        """Replace what it says; only for who holds it. Losing it costs a warning, so a full disk is no error here."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.pwrite(self._descriptor, mark.to_bytes(), 0)

    def read(self) -> HighWater | None:
        """What it says, if anything."""
        try:
            return HighWater.parse(self.path.read_bytes())
        except OSError:
            return None

    def forget(self) -> None:
        """A new database begins: what the file says was about another one. Without effect while somebody drives."""
        if self.read() is None or not self.acquire() or self._descriptor is None:
            return
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        self.release()

    def is_held_by_anyone(self) -> bool:
        """Whether some process holds it."""
        if self._descriptor is not None:
            return True
        if not self.path.exists():
            return False
        descriptor = self._open()
        try:
            return not _lock(descriptor, exclusive=False)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            message = f"{self.path} cannot be opened ({error}), so nobody can drive the store; correct the permissions"
            raise StoreUnusableError(message) from error


def _lock(descriptor: int, *, exclusive: bool) -> bool:
    if fcntl is None:  # pragma: no cover  # not on POSIX
        raise StoreUnusableError(
            "SQLite stores need file locks that end with their process (flock), and this platform has none; use "
            "another store here"
        )
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        message = f"the file system cannot lock files ({error}); keep the database on a local disk"
        raise StoreUnusableError(message) from error
    return True
