"""
Where the log lines of this package go: to whatever structlog was configured for, else through the standard library.

A library prints nothing: standard output belongs to the program. So while nobody has configured structlog, a line goes
to the ``logging`` logger of its name, where the program's own settings decide; without any, warnings and errors come
out on the error stream. Configured late, structlog is used from then on.
"""

import logging
from collections.abc import Mapping
from typing import Any

import structlog


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
        told = {**self._values, **values}
        if structlog.is_configured():
            getattr(structlog.get_logger(self._name), method)(event, **told)
            return
        logger = logging.getLogger(self._name)
        level = logging.ERROR if method == "exception" else logging.getLevelNamesMapping()[method.upper()]
        if logger.isEnabledFor(level):
            cause = told.pop("exc_info", method == "exception")
            text = " ".join([event, *(f"{name}={value!r}" for name, value in told.items())])
            logger.log(level, "%s", text, exc_info=cause)


def get_log(name: str) -> Log:
    """The logger of a part of this package."""
    return Log(name)
