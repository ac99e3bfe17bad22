"""Observers, and the shield between them and the work: whatever one of them raises harms nobody."""

from collections.abc import Callable, Sequence

from switchover.logs import get_log
from switchover.spi import FOREIGN, CommitObserver, Entry

_log = get_log("switchover.watching")


def shielded(observers: Sequence[CommitObserver]) -> Callable[[Sequence[Entry], float], None] | None:
    """One function that tells them all; None when there are none, so that nothing is called then."""
    return _Shield(observers).committed if observers else None


class _Shield:
    """Tells each observer; logs the first thing that each of them raises, and not a line for each commit."""

    def __init__(self, observers: Sequence[CommitObserver]) -> None:
        self._observers = tuple(observers)
        self._complained: set[int] = set()

    def committed(self, entries: Sequence[Entry], seconds: float) -> None:
        for number, observer in enumerate(self._observers):
            try:
                observer.committed(entries, seconds)
            except FOREIGN:  # whatever it is, it is the observer's, and logged here
                if number not in self._complained:
                    self._complained.add(number)
                    _log.exception(
                        "an observer raised; the work goes on, and what it raises next is not logged",
                        observer=type(observer).__name__,
                    )
