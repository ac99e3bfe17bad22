"""What is said about a request: accepted or refused, and for a plan what became of its tasks."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import say
from switchover.interfaces.cli.output import Format, write_json, write_line, write_paragraphs
from switchover.interfaces.cli.place import Place
from switchover.reports.texts import count, printable

if TYPE_CHECKING:
    from switchover.dto import TaskOperationResult, TaskOutcome

_NAMED = 10


def write_result(result: "TaskOperationResult", output: Format, place: Place) -> ExitCode:
    """Print it; gives DONE or REFUSED."""
    if output is not Format.TABLE:
        (write_json if output is Format.JSON else write_line)(result.to_dict())
        return ExitCode.DONE if result.success else ExitCode.REFUSED
    message = place.with_place(result.message)
    if result.success:
        write_paragraphs([printable(message)])
    else:
        code = "" if result.failure_info is None else f"{result.failure_info.error_code}: "
        say(f"refused: {code}{message}")
    write_paragraphs(_refusals(result.refused, place))
    return ExitCode.DONE if result.success else ExitCode.REFUSED


def _refusals(refused: Sequence["TaskOutcome"], place: Place) -> list[str]:
    """By reason: how many, and the first of them by name."""
    if len(refused) <= _NAMED:
        return [f"  refused {task.task_id} (tenant {task.tenant_id}): {_why(task, place)}" for task in refused]
    reasons = Counter(_code(task) for task in refused)
    lines: list[str] = []
    for code, number in reasons.most_common():
        first = [task for task in refused if _code(task) == code][:_NAMED]
        names = ", ".join(f"{task.tenant_id} ({task.task_id})" for task in first)
        more = f" and {number - len(first):,} more" if number > len(first) else ""
        lines.append(f"  refused with {code}: {count(number, 'task')}: {printable(names)}{more}")
        lines.append(f"    for example: {_why(first[0], place)}")
    return lines


def _code(task: "TaskOutcome") -> str:
    return "no reason" if task.failure_info is None else str(task.failure_info.error_code)


def _why(task: "TaskOutcome", place: Place) -> str:
    failure = task.failure_info
    return "" if failure is None else printable(f"{failure.error_code}: {place.with_place(failure.message)}")
