"""
Python's collector of cyclic garbage, made calmer while this process drives.

A driver makes many small objects and hardly any cycle: nearly all of what it lets go of is freed at once, by reference
counts. The collector, left as it is, would look through everything that twenty thousand running tasks are made of
again and again, and find nothing: that was two thirds of all the time. So what is alive when the driving begins is set
aside, and what is made later is looked through much less often. It is still looked through, because steps are users'
code and may well make cycles.

Source: docs/explanation/performance.md.
"""

import gc
from typing import Final

_YOUNG: Final = 50_000
"""Objects made and not freed before the collector looks at the young ones; Python's own number is 700."""

_drivers = 0
_before: tuple[int, int, int] = gc.get_threshold()


def calm() -> None:
    """The driving begins. Every call needs its ``restore``; with two drivers in one process the last one counts."""
    global _before, _drivers  # noqa: PLW0603  # the collector is one for the whole process, and so is this
    if not _drivers:
        _before = gc.get_threshold()
        gc.set_threshold(max(_YOUNG, _before[0]) if _before[0] else 0, *_before[1:])  # 0: somebody switched it off
        gc.freeze()
    _drivers += 1


def restore() -> None:
    """The driving has ended: the collector is what it was."""
    global _drivers  # noqa: PLW0603  # as above
    _drivers -= 1
    if not _drivers:
        gc.set_threshold(*_before)
        gc.unfreeze()
