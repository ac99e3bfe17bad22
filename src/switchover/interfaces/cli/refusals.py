"""What is said about a plan that was not created: to people the findings and a sentence, to programs the result."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from switchover.errors import ErrorCode, ErrorType, InvalidPlanError
from switchover.interfaces.cli.exit_codes import ExitCode, of_errors
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.findings import write_findings
from switchover.interfaces.cli.output import Format, console, write_json, write_line
from switchover.interfaces.cli.place import Place
from switchover.reports.texts import printable

if TYPE_CHECKING:
    from switchover.dto import Finding, TaskCreationResult


def refusal_of_plan(result: "TaskCreationResult", place: Place, file: str, output: Format) -> CommandError:
    """The plan was read, and refused."""
    errors = [finding.code for finding in result.findings if finding.is_error]
    text = place.with_place(result.message)
    if set(errors) == {ErrorCode.PLAN_EXISTS}:
        text = (
            f"PLAN_EXISTS: {text}. The plan of that id was not created by `run` from what {file} says now, so it is "
            f"not continued; it goes on with: {place.command('run', '--plan', 'ID')}"
        )
    else:
        text = f"{file}: {text}"
    return _said(result, text, of_errors(errors), output)


def refusal_of_file(error: InvalidPlanError, file: str, output: Format) -> CommandError:
    """The file is no plan at all."""
    findings = tuple(cast("Finding", finding) for finding in error.findings)
    result = _nothing_created(findings, error, 0)
    return _said(result, f"{file} is no valid plan, nothing was created", ExitCode.INVALID_PLAN, output)


def refusal_of_content(
    findings: "Sequence[Finding]", count: int, place: Place, file: str, output: Format
) -> CommandError:
    """The plan is wrong whatever a store says."""
    errors = [finding for finding in findings if finding.is_error]
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    error = InvalidPlanError(errors[0].message + more)
    return refusal_of_plan(_nothing_created(tuple(findings), error, count), place, file, output)


def _nothing_created(findings: "tuple[Finding, ...]", error: InvalidPlanError, count: int) -> "TaskCreationResult":
    from switchover.domain.plan import PlanStatus
    from switchover.domain.task import FailureInfo
    from switchover.dto import TaskCreationResult

    failure = FailureInfo(
        error_code=findings[0].code if findings else error.code,
        error_type=ErrorType.VALIDATION_ERROR,
        message=findings[0].message if findings else error.message,
        timestamp=datetime.now(UTC),
    )
    return TaskCreationResult(
        plan_id=None,
        task_ids=[],
        validated_count=count,
        status=PlanStatus.FAILED,
        message=f"nothing was created: {error.message}",
        failure_info=failure,
        findings=findings,
    )


def _said(result: "TaskCreationResult", text: str, code: ExitCode, output: Format) -> CommandError:
    if output is Format.TABLE:
        write_findings(result.findings, output, stderr=True)
        for item in result.difference:
            console(stderr=True).print(printable(f"  {item}"), soft_wrap=True)
    else:
        (write_json if output is Format.JSON else write_line)(result.to_dict())
    return CommandError(text, code)
