"""
Where a process dies.

A life counts what it passes: statements and commits of its store, reads of a recovery, steps, acknowledgements. It dies
at a number of one of these counts, never after a time, so that a fast machine cannot miss the place.
"""

import json
import os
import resource
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """
    The place.

    Attributes:
        phase: What the script does meanwhile ("opening", "rolling back" ...); empty: anything.
        point: What is counted ("statement", "durable" ...); empty: everything.
        number: At which count, from 1.
        torn_bytes: Above zero, at "commit": do not die there but so many bytes into what the commit then appends to
            the journal: the system cuts a write short and kills the writer.
    """

    number: int
    phase: str = ""
    point: str = ""
    torn_bytes: int = 0

    @property
    def kind(self) -> str:
        """For tables."""
        return "inside a commit" if self.torn_bytes else self.point or "anything"


@dataclass(slots=True, eq=False)
class Fate:
    """What a life has passed so far, and where it ends."""

    folder: Path
    death: Death | None
    phase: str = "opening"
    passed: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    _left: int = 0
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        if self.death is not None:
            self._left = self.death.number
            if self.death.torn_bytes:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    def reach(self, point: str) -> None:
        """Count; die if this is the place."""
        death = self.death
        with self._lock:
            self.passed[self.phase, point] += 1
            if death is None or death.phase not in {"", self.phase} or death.point not in {"", point}:
                return
            self._left -= 1
            if self._left:
                return
        if death.torn_bytes:
            self._cut_short(death.torn_bytes)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    def count(self, point: str) -> int:
        """How often it was passed, in all phases."""
        with self._lock:
            return sum(count for (_, passed), count in self.passed.items() if passed == point)

    def write_down(self, role: str) -> None:
        """Leave the counts of this life for whoever chooses the next deaths."""
        counts = {f"{phase}/{point}": count for (phase, point), count in self.passed.items()}
        (self.folder / f"passed-{role}.json").write_text(json.dumps(counts))

    def _cut_short(self, torn_bytes: int) -> None:
        """No file of this process may grow beyond the journal's end plus so many bytes: whoever tries is killed."""
        journal = self.folder / "switchover.db-wal"
        size = journal.stat().st_size if journal.exists() else 0
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + torn_bytes, hard))
