"""
The log of a program that runs tasks: one format for its own lines and those of every library in the process.

The standard library carries the lines; ``writing_log`` puts one handler on its root for as long as the program's work
takes. Passwords and tokens are taken out of the finished line, so it does not matter which part of it they came with.
"""

import logging
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import orjson

from switchover.domain.task import wire_timestamp
from switchover.domain.wire import camel_case
from switchover.logs import Line, LogFormat, LogLevel, run_values
from switchover.redaction import without_secrets

_PLAIN = re.compile(r"[\w.:/@+%-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_OWN_NAMES = ("time", "level", "logger", "event", "traceback")


@contextmanager
def writing_log(form: LogFormat, level: LogLevel) -> Generator[None]:
    """While it is open, every line of the process goes to the error stream, from this level on."""
    handler = _ErrorStream()
    handler.setFormatter(JsonLines() if form is LogFormat.JSON else TextLines())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level.number)
    logging.captureWarnings(True)  # noqa: FBT003  # the name says it
    try:
        yield
    finally:
        logging.captureWarnings(False)  # noqa: FBT003  # as above
        root.setLevel(before)
        root.removeHandler(handler)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event, the run it comes from, what else it tells, logger, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        told = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "event": _event(record),
            **dict(_values(record)),
            "logger": record.name,
        }
        error, trace = _raised(self, record)
        if error is not None:
            told.setdefault("error", error)
        if trace is not None:
            told["traceback"] = trace
        return without_secrets(_json(told))


class TextLines(logging.Formatter):
    """For people: time, level, event, and values by name; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of the traceback."""
        event = _CONTROL.sub(lambda found: repr(found[0])[1:-1], _event(record))
        values = (f"{name}={_shown(value)}" for name, value in _values(record))
        head = f"{_moment(record)} {record.levelname.lower():<7} {event}"
        text = " ".join([head, *values, f"logger={record.name}"])
        _, trace = _raised(self, record)
        if trace is not None:
            text = f"{text}\n{trace}"
        return without_secrets(text)


class _ErrorStream(logging.Handler):
    """Writes where the error stream is at that moment: a live display moves it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001  # what is told raised when it was looked at; so much can be told
            values = {"lost": record.name, "at": f"{record.pathname}:{record.lineno}", "error": type(error).__name__}
            line = self.format(_record("a line of the log could not be written", values))
        with suppress(OSError, ValueError):  # whoever listened is gone
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def _record(event: str, values: dict[str, Any]) -> logging.LogRecord:
    return logging.LogRecord("switchover.log", logging.ERROR, "", 0, Line(event, values), None, None)


def _moment(record: logging.LogRecord) -> str:
    return wire_timestamp(datetime.fromtimestamp(record.created, UTC))


def _event(record: logging.LogRecord) -> str:
    # A line of ours waits here as it was told; of everybody else's there is the text.
    line: object = record.msg
    return line.event if isinstance(line, Line) else record.getMessage()


def _values(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    line: object = record.msg
    # A library that a step calls knows nothing of runs, but its lines are written while the step runs.
    told = line.values.items() if isinstance(line, Line) else run_values()
    for name, value in told:
        yield (f"{name}_" if name in _OWN_NAMES else camel_case(name)), value


def _raised(formatter: logging.Formatter, record: logging.LogRecord) -> tuple[str | None, str | None]:
    """What was raised, and its traceback."""
    line: object = record.msg
    if isinstance(line, Line):
        return line.error, record.exc_text
    if record.exc_info and record.exc_info[1] is not None:
        return repr(record.exc_info[1]), formatter.formatException(record.exc_info)
    return None, None


def _shown(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else repr(text)


def _json(told: dict[str, Any]) -> str:
    try:
        return orjson.dumps(told, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError):
        # What JSON cannot spell: half a surrogate pair, a number of a thousand digits, a list that holds itself.
        plain = {name: repr(value).encode("utf-8", "backslashreplace").decode() for name, value in told.items()}
        return orjson.dumps(plain).decode()
