"""Moments, durations and foreign texts, as a terminal shows them."""

import re
from datetime import datetime

from switchover.redaction import without_secrets

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_MINUTE = 60
_HOUR = 3600
_DAY = 86_400
_FIRM = 10


def printable(text: str) -> str:
    """Without secrets, and without anything that could move the cursor or hide text; line breaks become spaces."""
    return _CONTROL.sub(" ", without_secrets(text))


def moment(value: datetime | None) -> str:
    """In UTC, to the second."""
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M:%S")


def elapsed(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``, ``3 d 4 h``."""
    seconds = max(seconds, 0.0)
    if seconds < _FIRM:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 task``, ``1,200 tasks``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def on_failure(*, automatic: bool, retries: int) -> str:
    """What a plan does with a task that fails."""
    done = "rolled back at once" if automatic else "left as it is, for a retry or a rollback"
    return f"{done}; at most {count(retries, 'retry', 'retries')}"
