"""forecast, observe: what a request would do, and what the targets hold. Neither changes anything."""

from typing import Annotated

import typer

from switchover.domain.task import Operation
from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.output import (
    Column,
    Format,
    Output,
    write_json,
    write_line,
    write_paragraphs,
    write_table,
)
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.verbs.controlling import Origin, Plan, Tenant, target_of
from switchover.reports.texts import printable

_COLUMNS = (
    Column("STAGE"),
    Column("PLACE", flexible=True),
    Column("BEFORE", flexible=True),
    Column("WANTED", flexible=True),
    Column("OBSERVED", flexible=True),
)


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    add_verb(app, forecast)
    add_verb(app, observe)


def forecast(
    place: Place,
    asked: Annotated[
        Operation, typer.Argument(metavar="VERB", help="pause, resume, cancel, retry or rollback.", show_default=False)
    ],
    *,
    tenant: Tenant = None,
    plan: Plan = None,
    origin: Annotated[Origin, typer.Option("--from", help="Where a retry would begin.")] = Origin.CHECKPOINT,
    output: Output = Format.TABLE,
) -> ExitCode:
    """Say what a verb would do, and to how many tenants, without doing it."""
    target = target_of(tenant, plan)

    async def work() -> ExitCode:
        from switchover.interfaces.forecasts import sentences

        from_checkpoint = origin is Origin.CHECKPOINT
        async with place.connect("read") as service:
            if target.plan is not None:
                found = await service.forecast_plan(target.plan, asked, from_checkpoint=from_checkpoint)
            else:
                found = await service.forecast_tenant(str(target.tenant), asked, from_checkpoint=from_checkpoint)
        if output is not Format.TABLE:
            (write_json if output is Format.JSON else write_line)(found.to_dict())
        elif not found.found:
            raise CommandError(place.with_place(found.refusal), ExitCode.REFUSED)
        else:
            write_paragraphs([place.with_place(line) for line in sentences(asked, found)])
        return ExitCode.REFUSED if found.refusal else ExitCode.DONE

    return run_async(work())


def observe(
    place: Place,
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="The task, as in 100-7.", show_default=False)],
    output: Output = Format.TABLE,
) -> ExitCode:
    """Show what a task's targets hold now, beside what was there before and what its switch writes."""

    async def work() -> ExitCode:
        async with place.connect("read") as service:
            reports = await service.observe(task_id)
            if reports is None:
                info = await service.facade.query_task_status(task_id)
                message = f"no task {task_id!r} is known" if info.failure_info is None else info.failure_info.message
                raise CommandError(place.with_place(message), ExitCode.REFUSED)
        if output is Format.JSON:
            write_json([report.to_dict() for report in reports])
        elif output is Format.JSONL:
            for report in reports:
                write_line(report.to_dict())
        elif not reports:
            print(f"task {task_id} has no stage that writes to a target which can be looked at")
        else:
            write_table(
                _COLUMNS,
                [
                    (
                        report.stage,
                        printable(report.place or report.step),
                        _shown(report.before) if report.kept else "not written yet",
                        _shown(report.wanted),
                        report.problem or f"{_shown(report.observed)} (generation {report.generation})",
                    )
                    for report in reports
                ],
            )
        return ExitCode.DONE

    return run_async(work())


def _shown(value: str | None) -> str:
    return "nothing" if value is None else printable(value)
