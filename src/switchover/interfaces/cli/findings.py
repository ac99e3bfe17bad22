"""Findings about a plan, as compilers show theirs: place, severity, code, message."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from switchover.errors import ErrorCode
from switchover.interfaces.cli.output import Format, console, write_json, write_line
from switchover.reports.texts import count, printable

if TYPE_CHECKING:
    from switchover.dto import Finding

_SAME_WARNINGS = 5


def write_findings(found: Iterable[object], output: Format, *, stderr: bool = False) -> None:
    """All of them; in a table, of many warnings of one kind the first few."""
    findings = [cast("Finding", finding) for finding in found]
    if output is Format.JSON:
        write_json([finding.to_dict() for finding in findings])
        return
    if output is Format.JSONL:
        for finding in findings:
            write_line(finding.to_dict())
        return
    screen = console(stderr=stderr)
    told: dict[ErrorCode, int] = {}
    for finding in findings:
        if not finding.is_error:
            told[finding.code] = told.get(finding.code, 0) + 1
            if told[finding.code] > _SAME_WARNINGS:
                continue
        screen.print(line_of(finding), style="bold red" if finding.is_error else "yellow", soft_wrap=True)
    for code, number in told.items():
        if number > _SAME_WARNINGS:
            screen.print(
                f"warning {code}: the same of {number - _SAME_WARNINGS:,} more", style="yellow", soft_wrap=True
            )


def line_of(finding: "Finding") -> str:
    """``plan.yaml:12:7: error INVALID_FIELD: tenant acme, retry.max: ...``."""
    place = f"{finding.place}: " if finding.place else ""
    subject = ", ".join(
        part for part in (f"tenant {finding.tenant_id}" if finding.tenant_id else "", finding.field) if part
    )
    about = f"{subject}: " if subject else ""
    return printable(f"{place}{finding.severity} {finding.code}: {about}{finding.message}")


def counted(findings: "Sequence[Finding]") -> str:
    """``2 errors, 1 warning``."""
    errors = sum(1 for finding in findings if finding.is_error)
    return f"{count(errors, 'error')}, {count(len(findings) - errors, 'warning')}"
