"""Durations as people write them: ``500ms``, ``3s``, ``10m``, ``4h``, ``1h30m``; a bare number is seconds."""

import math
import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

DURATION_PATTERN = r"^\s*(\d+(\.\d+)?|(\d+(\.\d+)?\s*(ms|s|m|h)\s*)+)\s*$"
"""Texts that are one, for JSON Schema."""


def parse_duration(value: object) -> float:
    """
    Seconds.

    Raises:
        ValueError: Not a duration, negative, or without an end.
    """
    seconds: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = _as_float(value)
    elif isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            seconds = float(text)
        elif _WHOLE.fullmatch(text):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds is not None and 0 <= seconds < math.inf:
        return seconds
    msg = f"{value!r} is no duration of zero or more; write for example 500ms, 3s, 10m or 4h (a bare number is seconds)"
    raise ValueError(msg)


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf


def format_duration(seconds: float) -> str:
    """The shortest of those spellings: ``0.5`` -> ``500ms``, ``90`` -> ``90s``, ``3600`` -> ``1h``."""
    if 0 < seconds < 1:
        return f"{_plain(seconds * 1000)}ms"
    for unit in ("h", "m"):
        count = seconds / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{_plain(seconds)}s"


def _plain(number: float) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".")
