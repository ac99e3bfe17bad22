"""
Where the log lines of this package go: to whatever structlog was configured for, else through the standard library.

A library prints nothing: standard output belongs to the program. So while nobody has configured structlog, a line goes
to the ``logging`` logger of its name, where the program's own settings decide; without any, warnings and errors come
out on the error stream. Configured late, structlog is used from then on. No secret is in a line, whatever it is given:
values and tracebacks are cleaned here, before anybody writes them down.
"""

import logging
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, cast

import structlog

from switchover.redaction import without_secrets


class Log:
    """
    A logger with structlog's calls: an event, and values by name.

    Args:
        name: Of the logger, such as ``switchover.task``.
        values: Given with every line.
    """

    __slots__ = ("_name", "_values")

    def __init__(self, name: str, values: Mapping[str, Any] | None = None) -> None:
        self._name = name
        self._values = dict(values or {})

    def bind(self, **values: Any) -> "Log":  # noqa: ANN401  # whatever is worth telling
        """The same logger, which tells of these values, too."""
        return Log(self._name, {**self._values, **values})

    def debug(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """For whoever looks for a defect."""
        self._tell("debug", event, values)

    def info(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """It is so."""
        self._tell("info", event, values)

    def warning(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """Somebody may want to look."""
        self._tell("warning", event, values)

    def error(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """Somebody has to look."""
        self._tell("error", event, values)

    def exception(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """An error, with the traceback of the exception that is being handled."""
        self._tell("exception", event, values)

    def _tell(self, method: str, event: str, values: dict[str, Any]) -> None:
        found = {**self._values, **values}
        cause = found.pop("exc_info", method == "exception")
        told = {name: _clean(value) for name, value in found.items()}
        event, method = without_secrets(event), "error" if method == "exception" else method
        # Formatted here and not by whoever writes it down: the message of an exception may quote an address.
        trace = _traceback(cause)
        if structlog.is_configured():
            if trace is not None:
                told["exception"] = trace
            getattr(structlog.get_logger(self._name), method)(event, **told)
            return
        logger = logging.getLogger(self._name)
        level = logging.getLevelNamesMapping()[method.upper()]
        if logger.isEnabledFor(level):
            text = " ".join([event, *(f"{name}={value!r}" for name, value in told.items())])
            path, line, function, _ = logger.findCaller(stacklevel=3)
            record = logger.makeRecord(self._name, level, path, line, "%s", (text,), None, function)
            record.exc_text = trace
            logger.handle(record)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {name: _clean(inner) for name, inner in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in cast("Iterable[object]", value)]
    return value if value is None or isinstance(value, int | float) else without_secrets(str(value))


def _traceback(cause: object) -> str | None:
    if isinstance(cause, tuple):
        cause = cast("tuple[object, ...]", cause)[1]
    elif cause and not isinstance(cause, BaseException):
        cause = sys.exception()
    if not isinstance(cause, BaseException):
        return None
    return without_secrets("".join(traceback.format_exception(cause)).rstrip())


def get_log(name: str) -> Log:
    """The logger of a part of this package."""
    return Log(name)
