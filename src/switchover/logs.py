"""
Where the log lines of this package go: to whatever structlog was configured for, else through the standard library.

A library prints nothing: standard output belongs to the program. So while nobody has configured structlog, a line goes
to the ``logging`` logger of its name, where the program's own settings decide; without any, warnings and errors come
out on the error stream. Configured late, structlog is used from then on. No secret is in a line, whatever it is given:
values and tracebacks are cleaned here, before anybody writes them down.

A line says by itself which run it comes from. Whoever runs a task sets ``CURRENT_RUN``, once for the whole run; it is
looked at only when a line is really written. An asyncio task inherits the variable from whoever launches it, so what
is launched on behalf of others, and lives longer, is launched in a context of its own.
"""

import logging
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, Protocol, cast

from switchover.errors import text_of
from switchover.redaction import without_secrets

_DEEPEST = 8


class LogFormat(StrEnum):
    """How a program writes a line."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level that a program writes."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """As the standard library counts."""
        return logging.getLevelNamesMapping()[self.name]


class TaskKeys(Protocol):
    """A task, as a line names it."""

    @property
    def plan_id(self) -> int:
        """Of its plan."""
        ...

    @property
    def task_id(self) -> str:
        """Its own."""
        ...

    @property
    def tenant_id(self) -> str:
        """Whose switch it is."""
        ...

    @property
    def generation(self) -> int:
        """Of the run that the line is about."""
        ...


class RunKeys(TaskKeys, Protocol):
    """A run, as each of its lines names it; ``TaskRuntimeContext`` is one."""

    @property
    def stage(self) -> str:
        """The one that runs; empty before the first."""
        ...

    @property
    def step(self) -> str:
        """The one that runs; empty before the first."""
        ...


CURRENT_RUN: ContextVar[RunKeys | None] = ContextVar("switchover_run", default=None)
"""The run that this code belongs to; None outside of runs."""


def run_values() -> Iterator[tuple[str, Any]]:
    """What a line says about the run that it comes from; nothing outside of runs."""
    run = CURRENT_RUN.get()
    if run is not None:
        yield from _task_values(run)
        if run.stage:
            yield "stage", run.stage
        if run.step:
            yield "step", run.step


def _task_values(task: TaskKeys) -> Iterator[tuple[str, Any]]:
    yield "plan_id", task.plan_id
    yield "task_id", task.task_id
    yield "tenant_id", task.tenant_id
    yield "generation", task.generation


class Line:
    """
    The message of a record: text for every handler, and values for those that look for them.

    Attributes:
        error: What was raised, when that is what the line is about; the record's ``exc_text`` is its traceback.
    """

    __slots__ = ("error", "event", "values")

    def __init__(self, event: str, values: Mapping[str, Any], error: str | None = None) -> None:
        self.event = event
        self.values = values
        self.error = error

    def __str__(self) -> str:
        return " ".join([self.event, *(f"{name}={value!r}" for name, value in self.values.items())])


class Log:
    """
    A logger with structlog's calls: an event, and values by name.

    Args:
        name: Of the logger, such as ``switchover.task``.
        values: Given with every line.
    """

    __slots__ = ("_logger", "_name", "_values")

    def __init__(self, name: str, values: Mapping[str, Any] | None = None) -> None:
        self._name = name
        self._logger = logging.getLogger(name)
        self._values = dict(values or {})

    def bind(self, **values: Any) -> "Log":  # noqa: ANN401  # whatever is worth telling
        """The same logger, which tells of these values, too."""
        return Log(self._name, {**self._values, **values})

    def about(self, task: TaskKeys) -> "Log":
        """The same logger, for lines about this task that do not come from its run."""
        return self.bind(**dict(_task_values(task)))

    def debug(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """For whoever looks for a defect."""
        self._tell("debug", logging.DEBUG, event, values)

    def info(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """It is so."""
        self._tell("info", logging.INFO, event, values)

    def warning(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """Somebody may want to look."""
        self._tell("warning", logging.WARNING, event, values)

    def error(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """Somebody has to look."""
        self._tell("error", logging.ERROR, event, values)

    def exception(self, event: str, **values: Any) -> None:  # noqa: ANN401  # whatever is worth telling
        """An error, with the traceback of the exception that is being handled."""
        self._tell("exception", logging.ERROR, event, values)

    def _tell(self, method: str, level: int, event: str, values: dict[str, Any]) -> None:
        # Who has configured it has imported it; nobody else has to wait for that.
        module: Any = sys.modules.get("structlog")
        structlog = module if module is not None and module.is_configured() else None
        if structlog is None and not self._logger.isEnabledFor(level):
            return
        found = {**self._values, **values}
        cause = _cause(found.pop("exc_info", method == "exception"))
        told = {name: _clean(value) for name, value in self._of_run(found).items()}
        event = _text(event)
        # Formatted here and not by whoever writes it down: the message of an exception may quote an address.
        trace = None if cause is None else _text("".join(traceback.format_exception(cause)).rstrip())
        if structlog is not None:
            if trace is not None:
                told["exception"] = trace
            name = "error" if method == "exception" else method
            getattr(structlog.get_logger(self._name), name)(event, **told)
            return
        line = Line(event, told, None if cause is None else _shown(cause))
        # The caller of debug(), info() ... is where the line comes from.
        path, number, function, _ = self._logger.findCaller(stacklevel=3)
        record = self._logger.makeRecord(self._name, level, path, number, line, (), None, function)
        record.exc_text = trace
        self._logger.handle(record)

    @staticmethod
    def _of_run(told: dict[str, Any]) -> dict[str, Any]:
        run = CURRENT_RUN.get()
        # A line that names another task is not about the run that it comes from.
        if run is not None and told.get("task_id", run.task_id) == run.task_id:
            for name, value in run_values():
                told.setdefault(name, value)
        return told


def _text(value: str) -> str:
    """Without secrets, and without what a stream in UTF-8 refuses: a stranger's error may be made of anything."""
    return without_secrets(value).encode("utf-8", "backslashreplace").decode()


def _shown(error: BaseException) -> str:
    try:
        return _text(repr(error))
    except Exception:  # noqa: BLE001  # a line of the log stops no work
        return _text(text_of(error))


def _clean(value: object, depth: int = _DEEPEST) -> object:
    if isinstance(value, str):
        return _text(value)
    if depth and isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {name: _clean(inner, depth - 1) for name, inner in items}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner, depth - 1) for inner in cast("Iterable[object]", value)]
    if value is None or isinstance(value, int | float):
        return value
    try:
        return _text(str(value))
    except Exception:  # noqa: BLE001  # whatever it is: a line of the log stops no work
        return f"<{type(value).__name__} that cannot be told>"


def _cause(found: object) -> BaseException | None:
    if isinstance(found, tuple):
        found = cast("tuple[object, ...]", found)[1]
    elif found and not isinstance(found, BaseException):
        found = sys.exception()
    return found if isinstance(found, BaseException) else None


def get_log(name: str) -> Log:
    """The logger of a part of this package."""
    return Log(name)
