"""
A target that writes down who wrote it.

One file per tenant holds the highest generation that was seen; a lock on it makes the check and the record one. So the
record shows what really happened there, in order, whatever anybody believes about it.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from switchover.errors import StaleGenerationError


@dataclass(frozen=True)
class Write:
    """One write that the target took."""

    tenant: str
    stage: str
    generation: int
    restoring: bool
    pid: int


class RecordingTarget:
    """The target of all tenants, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, tenant: str, stage: str, generation: int, *, restoring: bool) -> None:
        """Take it, or refuse an old generation; on disk or not, a process that dies leaves it whole."""
        descriptor = os.open(self._folder / f"{tenant}.fence", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            held = int(os.read(descriptor, 32) or b"0")
            if held > generation:
                message = f"tenant {tenant} holds generation {held}"
                raise StaleGenerationError(message, held_generation=held)
            os.pwrite(descriptor, f"{generation:020d}".encode(), 0)
            line = f"{stage} {generation} {int(restoring)} {os.getpid()}\n"
            record = os.open(self._folder / f"{tenant}.writes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(record, line.encode())
            finally:
                os.close(record)
        finally:
            os.close(descriptor)

    def writes(self, tenant: str) -> list[Write]:
        """What it took for one tenant, in order."""
        path = self._folder / f"{tenant}.writes"
        lines = path.read_text().splitlines() if path.exists() else []
        fields = [line.split() for line in lines]
        return [Write(tenant, stage, int(g), restoring == "1", int(pid)) for stage, g, restoring, pid in fields]
