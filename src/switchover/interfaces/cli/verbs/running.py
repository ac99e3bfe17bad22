"""run: submit a plan, drive it, and stay until it has come to rest."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, cast

import typer

from switchover.domain.task import PlanId
from switchover.errors import InvalidPlanError
from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.driving import Companion, Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode, of_plan
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.findings import write_findings
from switchover.interfaces.cli.last_word import LastWord
from switchover.interfaces.cli.looking import PlanSubject
from switchover.interfaces.cli.output import Format, Output
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.refusals import refusal_of_content, refusal_of_file, refusal_of_plan
from switchover.interfaces.cli.screens import Progress, make_screen

if TYPE_CHECKING:
    from switchover.bootstrap import Executor
    from switchover.config import ExecutorSettings
    from switchover.domain.plan import PlanAggregate
    from switchover.planfile import PlanFile

_MOST_ATTEMPTS = 10_000

ProgressOption = Annotated[
    Progress, typer.Option("--progress", help="How progress is shown; auto: live on a terminal, else plain lines.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    add_verb(app, run)


def run(
    place: Place,
    *,
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="Plan file: YAML or JSON.")] = None,
    plan: Annotated[
        int | None, typer.Option("--plan", metavar="ID", min=0, help="Drive a plan that is in the database already.")
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Submit the file as a new plan although the same file was run before.")
    ] = False,
    progress: ProgressOption = Progress.AUTO,
    reason: Annotated[str, typer.Option("--reason", metavar="WHY", help="Why; it goes into the audit log.")] = "",
    output: Output = Format.TABLE,
) -> ExitCode:
    """Submit a plan, drive it with live progress, and exit when it has settled or paused."""
    if (file is None) == (plan is None):
        raise CommandError("name a plan file, or with --plan a plan of the database: one of them", ExitCode.USAGE)
    if new and file is None:
        raise CommandError("--new goes with a plan file", ExitCode.USAGE)
    return run_async(_run(place.because(reason), file, plan, progress, output, new=new), drives=True)


async def _run(
    place: Place, file: str | None, plan_id: int | None, progress: Progress, output: Format, *, new: bool
) -> ExitCode:
    settings = place.settings()
    plan_file = None
    named = False
    if file is not None:
        from switchover.planfile import load_plan

        try:
            plan_file = await asyncio.to_thread(load_plan, file, max_bytes=settings.plan_file_max_bytes)
        except InvalidPlanError as error:
            raise refusal_of_file(error, file, output) from error
        await asyncio.to_thread(_check_for_a_new_store, place, settings, plan_file, output)
    with Interrupts() as interrupts:
        async with place.open("drive", create=file is not None, settings=settings) as executor:
            if plan_file is not None:
                known = await _submit(executor, place, plan_file, output, new=new)
                named = _names_its_plan(plan_file)
                plan_file = None  # of a large plan it holds much, and it has done its part
            else:
                known = PlanId(plan_id or 0)
            screen = make_screen(progress, output, place)
            last_word = LastWord(executor=executor, place=place, screen=screen, output=output)
            plan = await executor.store.load_plan(known)
            if plan is None:
                raise CommandError(place.with_place(executor.facade.unknown_plan(known).message))
            if plan.status.is_settled:
                return await _settled_before(last_word, plan, file=file, named=named)
            companion = Companion(
                executor=executor,
                subject=PlanSubject(executor, known),
                screen=screen,
                interrupts=interrupts,
                go_on=place.command("run", *((file,) if file is not None else ("--plan", str(known)))),
            )
            code, look = await companion.stay()
            await last_word.say(code, look)
            return code


def _names_its_plan(plan_file: "PlanFile") -> bool:
    """The file says which plan it is, so that it can be no other one."""
    first = plan_file.configs[0] if plan_file.configs else None
    given = [plan_file.options]
    if isinstance(first, Mapping):
        given.append(cast("Mapping[str, object]", first))
    return any(fields.get("planId", fields.get("plan_id")) is not None for fields in given)


async def _settled_before(last_word: LastWord, plan: "PlanAggregate", *, file: str | None, named: bool) -> ExitCode:
    look = await PlanSubject(last_word.executor, plan.plan_id).look()
    again = ""
    if file is not None:
        how = "take its planId out, then" if named else "to submit the file as a new plan"
        again = f"; {how}: {last_word.place.command('run', *([] if named else ['--new']), file)}"
    last_word.screen.say(f"plan {plan.plan_id} has settled before, so nothing is run{again}")
    code = of_plan(plan)
    await last_word.say(code, look)
    return code


# --- submitting ----------------------------------------------------------------------------------------------------


def _check_for_a_new_store(place: Place, settings: "ExecutorSettings", plan_file: "PlanFile", output: Format) -> None:
    """Where there is no database yet, a plan that is wrong by itself does not leave an empty one behind."""
    if place.exists():
        return
    from switchover.factory import PlanFactory
    from switchover.stages.catalogue import StageCatalogue

    factory = PlanFactory(settings, StageCatalogue())
    draft = factory.read(plan_file.configs, plan_file.options, plan_file.metadata)
    findings = factory.validate(draft)
    if any(finding.is_error for finding in findings):
        located = plan_file.locate(findings)
        raise refusal_of_content(located, len(draft.configs), place, plan_file.name, output)


async def _submit(executor: "Executor", place: Place, plan_file: "PlanFile", output: Format, *, new: bool) -> PlanId:
    """The plan of this file: the one that was created from the same content before, else a new one."""
    factory = executor.factory
    draft = await asyncio.to_thread(factory.read, plan_file.configs, plan_file.options, plan_file.metadata)
    newest, key = await _last_of(executor, draft.digest)
    if newest is not None and not new:
        return newest
    del draft
    result = await executor.facade.create_switch_task(
        plan_file.configs,
        options=plan_file.options,
        metadata=plan_file.metadata,
        idempotency_key=key,
    )
    if result.plan_id is not None:
        warnings = [finding for finding in plan_file.locate(result.findings) if not finding.is_error]
        write_findings(warnings, Format.TABLE, stderr=True)
        return result.plan_id
    raise refusal_of_plan(replace(result, findings=plan_file.locate(result.findings)), place, plan_file.name, output)


async def _last_of(executor: "Executor", digest: str) -> tuple[PlanId | None, str]:
    """The newest plan that was created from this content, and the key for the next one."""
    newest: PlanId | None = None
    for number in range(1, _MOST_ATTEMPTS):
        key = f"run:{digest}" if number == 1 else f"run:{digest}:{number}"
        found = await executor.store.find_idempotency(key)
        if found is None:
            return newest, key
        newest = found[0]
    raise CommandError(f"this file was submitted {_MOST_ATTEMPTS:,} times; give it a planId", ExitCode.REFUSED)
