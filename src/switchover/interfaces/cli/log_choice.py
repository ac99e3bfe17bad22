"""How a verb logs: what was given to it, else the settings, else what fits the verb."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.interfaces.cli.failing import debugs
from switchover.logs import Log, LogFormat, LogLevel
from switchover.redaction import without_secrets

if TYPE_CHECKING:
    from switchover.config import ExecutorSettings

LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option("--log-format", help="One line of text, or one JSON object, for each line of the log. Default: text."),
]
LogLevelOption = Annotated[LogLevel | None, typer.Option("--log-level", help="Lowest level that is logged.")]


@dataclass(frozen=True, slots=True)
class LogChoice:
    """
    How lines are written, and which.

    Attributes:
        tells_events: Every event is a line, too.
    """

    form: LogFormat = LogFormat.TEXT
    level: LogLevel = LogLevel.ERROR
    tells_events: bool = False

    def tell(self, text: str, log: Log) -> None:
        """For whoever started a process that goes on: on the standard output, or where every line is JSON, as one."""
        if self.form is LogFormat.JSON:
            log.info(text)
        else:
            print(without_secrets(text), flush=True)


QUIET = LogChoice()
"""Of a verb that drives nothing: errors alone."""


def log_choice(
    settings: "ExecutorSettings | None",
    form: LogFormat | None = None,
    level: LogLevel | None = None,
    *,
    serves: bool = False,
) -> LogChoice:
    """
    Of a verb that drives.

    Args:
        serves: Nobody watches the work in another way, so events are told without being asked for.
    """
    if settings is not None:
        form, level = form or settings.log_format, level or settings.log_level
    if debugs():
        level = LogLevel.DEBUG
    tells_events = serves or level in {LogLevel.DEBUG, LogLevel.INFO}
    fitting = LogLevel.INFO if serves else LogLevel.WARNING
    return LogChoice(form or LogFormat.TEXT, level or fitting, tells_events)
