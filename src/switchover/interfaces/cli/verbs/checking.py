"""lint, plan: what is wrong with a plan file, and what it would do. Neither writes anything."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.errors import InvalidPlanError
from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.exit_codes import ExitCode, of_errors
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.findings import counted, write_findings
from switchover.interfaces.cli.output import Format, Output, write_details, write_json, write_line, write_table
from switchover.interfaces.cli.place import Place
from switchover.reports.texts import count

if TYPE_CHECKING:
    from switchover.config import ExecutorSettings
    from switchover.planfile import PlanFile
    from switchover.reports.preview import Preview

_MOST_TENANTS = 50

File = Annotated[str, typer.Argument(metavar="FILE", help="Plan file: YAML or JSON.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    add_verb(app, lint)
    add_verb(app, plan)


def lint(place: Place, file: File, output: Output = Format.TABLE) -> ExitCode:
    """Validate a plan file by itself (--server: as that server would): every finding, with its place."""
    from switchover.factory import PlanFactory
    from switchover.stages.catalogue import StageCatalogue

    settings = place.settings()
    try:
        plan_file = _load(file, settings)
    except InvalidPlanError as error:
        write_findings(error.findings, output)
        if not error.findings:
            raise CommandError(error.message, ExitCode.INVALID_PLAN) from error
        return ExitCode.INVALID_PLAN
    if place.served is not None:
        preview = run_async(_preview(place, plan_file, settings, conflicts=False))
        found, tenants, stages = preview.findings, len(preview.tenants), len(preview.stages)
    else:
        factory = PlanFactory(settings, StageCatalogue())
        draft = factory.read(plan_file.configs, plan_file.options, plan_file.metadata)
        found, tenants = factory.validate(draft), len(draft.configs)
        stages = 0 if draft.catalogue is None else len(draft.catalogue.stages)
    findings = plan_file.locate(found)
    write_findings(findings, output)
    errors = [finding for finding in findings if finding.is_error]
    if output is Format.TABLE:
        told = f"{count(tenants, 'tenant')}, {count(stages, 'stage')}; {counted(findings)}"
        print(f"{file}: {'not valid' if errors else 'valid'}: {told}")
    return ExitCode.INVALID_PLAN if errors else ExitCode.DONE


def plan(
    place: Place,
    *,
    file: File,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="Tenants shown in the table; 0: all.")
    ] = _MOST_TENANTS,
    output: Output = Format.TABLE,
) -> ExitCode:
    """Show what a plan file would do: the change per tenant, conflicts, holds, worst-case times. Writes nothing."""
    return run_async(_plan(place, file, limit, output))


async def _plan(place: Place, file: str, limit: int, output: Format) -> ExitCode:
    settings = place.settings()
    try:
        plan_file = _load(file, settings)
    except InvalidPlanError as error:
        write_findings(error.findings, Format.TABLE, stderr=True)
        raise CommandError(f"{file} is no valid plan", ExitCode.INVALID_PLAN) from error
    found = await _preview(place, plan_file, settings)
    preview = replace(found, findings=plan_file.locate(found.findings))
    _write(preview, output, limit, place)
    errors = [finding.code for finding in preview.findings if finding.is_error]
    return of_errors(errors) if errors else ExitCode.DONE


async def _preview(
    place: Place, plan_file: "PlanFile", settings: "ExecutorSettings", *, conflicts: bool = True
) -> "Preview":
    from switchover.factory import PlanFactory, StoreFacts
    from switchover.reports.preview import Preview, facts_about, preview_of
    from switchover.stages.catalogue import StageCatalogue

    if place.served is not None:
        async with place.client(place.served) as client:
            found = await client.preview(plan_file.configs, plan_file.options, plan_file.metadata, conflicts=conflicts)
            return Preview.from_dict(found)
    factory = PlanFactory(settings, StageCatalogue())
    draft = factory.read(plan_file.configs, plan_file.options, plan_file.metadata)
    facts = StoreFacts()
    known = await place.exists()
    if known:
        async with place.open("read", settings=settings) as executor:
            facts = await facts_about(executor.store, draft)
    findings = await asyncio.to_thread(factory.validate, draft, facts)
    return preview_of(draft, facts, findings, settings, known=known)


def _load(file: str, settings: "ExecutorSettings") -> "PlanFile":
    from switchover.planfile import load_plan

    return load_plan(file, max_bytes=settings.plan_file_max_bytes)


def _write(preview: "Preview", output: Format, limit: int, place: Place) -> None:
    from switchover.interfaces.cli.preview import PREVIEW_COLUMNS, details, row

    if output is Format.JSON:
        write_json(preview.to_dict())
        return
    if output is Format.JSONL:
        for tenant in preview.tenants:
            write_line(tenant.to_dict())
        return
    write_details(details(preview, place))
    print()
    shown = preview.tenants if not limit else preview.tenants[:limit]
    write_table(PREVIEW_COLUMNS, [row(tenant) for tenant in shown])
    if len(preview.tenants) > len(shown):
        print(f"... and {len(preview.tenants) - len(shown):,} more: --limit 0 shows all")
    if preview.findings:
        print()
        write_findings(preview.findings, Format.TABLE)
