"""What a person is told when a verb cannot do what was asked: one paragraph and a code, never a traceback."""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from switchover.errors import ExecutorError, StorageError, StoreConflictError, UnreachableError
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.redaction import without_secrets
from switchover.reports.texts import printable

DEBUG_VARIABLE = "SWITCHOVER_DEBUG"


def debugs() -> bool:
    """Everything is to be shown."""
    return os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"}


class CommandError(Exception):
    """
    A verb ends here.

    Args:
        message: What, where, and the next move; empty when all has been said.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.REFUSED) -> None:
        super().__init__(message)
        self.code = code


def say(message: str) -> None:
    """One paragraph on the error stream."""
    with suppress(OSError):  # whoever listened is gone; the code still tells
        print(f"switchover: {printable(message)}", file=sys.stderr, flush=True)


def guarded(work: Callable[[], ExitCode]) -> ExitCode:
    """Do it; whatever goes wrong ends as a paragraph and a code."""
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough. Nothing more is written, not even by the interpreter when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  # the last resort
        if debugs():
            print(without_secrets("".join(traceback.format_exception(error))), file=sys.stderr, end="")
        return _report(error)
    return code


def _report(error: BaseException) -> ExitCode:  # noqa: PLR0911  # one answer a kind
    """Say what went wrong, and give the code to end with."""
    match error:
        case CommandError():
            if str(error):
                say(str(error))
            return error.code
        case StoreConflictError():
            say(f"{error.message}. What was to be done goes on in the process that drives the store now")
            return ExitCode.DISCONNECTED
        case UnreachableError():
            say(f"UNREACHABLE: {error.message}")
            return ExitCode.DISCONNECTED if error.was_connected else ExitCode.REFUSED
        case StorageError():
            say(f"the store refuses: {error.message}")
            return ExitCode.REFUSED
        case ExecutorError():
            say(f"{error.code}: {error.message}")
            return ExitCode.REFUSED
        case KeyboardInterrupt():
            say("interrupted; what was recorded until now stays")
            return ExitCode.DISCONNECTED
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            say(f"no room is left where the output goes: {error}. Make room, then ask again; what was recorded stays")
            return ExitCode.UNEXPECTED
        case _:
            say(
                f"something unexpected happened, which is a defect of this program: {type(error).__name__}: {error}. "
                "What was recorded until now stays, and the same command may be given again; --debug shows where it "
                "happened, for a report"
            )
            return ExitCode.UNEXPECTED
