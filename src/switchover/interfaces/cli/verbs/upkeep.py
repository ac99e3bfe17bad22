"""doctor, export: whether everything is in order, and everything about one plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from switchover.domain.task import PlanId
from switchover.errors import StorageError
from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.output import Column, Format, Output, write_json, write_line, write_table
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.verbs.reading import PlanArgument
from switchover.reports.checkup import Check, Verdict, checks_of, surroundings
from switchover.reports.texts import count


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    add_verb(app, doctor)
    add_verb(app, export)


def doctor(place: Place, output: Output = Format.TABLE) -> ExitCode:
    """Examine the store and its surroundings, and say what is wrong and what to do. Changes nothing."""
    checks = run_async(_checkup(place))
    problems = [check for check in checks if check.verdict is Verdict.PROBLEM]
    if output is Format.JSON:
        write_json([check.to_dict() for check in checks])
    elif output is Format.JSONL:
        for check in checks:
            write_line(check.to_dict())
    else:
        write_table((Column("CHECK"), Column("VERDICT"), Column("FOUND")), [_row(check) for check in checks])
        print(f"{count(len(problems), 'problem')} found" if problems else "everything is in order")
    return ExitCode.UNEXPECTED if problems else ExitCode.DONE


async def _checkup(place: Place) -> Sequence[Check]:
    """All checks, in order; those of the store as far as it can be used."""
    if place.served is not None:
        async with place.client(place.served) as client:
            return [Check.from_dict(item) for item in await client.checks()]
    try:
        async with place.open("read") as executor:
            return await checks_of(executor, place, place.name)
    except CommandError as error:
        found = str(error)
    except StorageError as error:
        found = error.message
    return [Check(name="store", verdict=Verdict.PROBLEM, found=found), *surroundings()]


def _row(check: Check) -> tuple[str, str, str]:
    return check.name, check.verdict, f"{check.found}; {check.next_move}" if check.next_move else check.found


def export(
    place: Place,
    *,
    plan_id: PlanArgument,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write there, whole or not at all. Default: stdout.")
    ] = None,
) -> ExitCode:
    """Write everything about one plan as one JSON document: rules, tasks, configs, pre-images, events."""
    from switchover.bootstrap import Executor
    from switchover.interfaces.cli.exporting import write_export
    from switchover.reports.exporting import export_document

    async def work() -> ExitCode:
        async with place.connect("read") as service:
            plan = await service.store.load_plan(PlanId(plan_id))
            if plan is None:
                raise CommandError(place.with_place(service.facade.unknown_plan(plan_id).message))
            chunks = export_document(service, plan) if isinstance(service, Executor) else service.export(plan_id)
            await write_export(chunks, to)
        if to is not None:
            print(f"plan {plan_id} is exported to {to}")
        return ExitCode.DONE

    return run_async(work())
