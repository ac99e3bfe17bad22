"""run: submit a plan, drive it, and stay until it has come to rest."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.domain.plan import PlanStatus
from switchover.domain.task import PlanId
from switchover.errors import InvalidPlanError
from switchover.interfaces.cli.command import run_async, verb
from switchover.interfaces.cli.driving import Companion, Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode, of_errors, of_plan
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.findings import refusal, write_findings
from switchover.interfaces.cli.looking import Look, PlanLook, PlanSubject
from switchover.interfaces.cli.output import Format, Output, write_json, write_line
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.screens import Progress, Screen, make_screen
from switchover.interfaces.cli.summary import left, summary

if TYPE_CHECKING:
    from switchover.bootstrap import Executor
    from switchover.domain.plan import PlanAggregate
    from switchover.planfile import PlanFile

_MOST_ATTEMPTS = 10_000
_MOST_OTHERS = 5

ProgressOption = Annotated[
    Progress, typer.Option("--progress", help="How progress is shown; auto: live on a terminal, else plain lines.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command("run", help=run.__doc__)(verb(run))


def run(
    place: Place,
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="Plan file: YAML or JSON.")] = None,
    plan: Annotated[int | None, typer.Option("--plan", help="Drive a plan that is in the database already.")] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Submit the file as a new plan although the same file was run before.")
    ] = False,
    progress: ProgressOption = Progress.AUTO,
    output: Output = Format.TABLE,
) -> ExitCode:
    """Submit a plan, drive it with live progress, and exit when it has settled or paused."""
    if (file is None) == (plan is None):
        raise CommandError("name a plan file, or with --plan a plan of the database: one of them", ExitCode.USAGE)
    if new and file is None:
        raise CommandError("--new goes with a plan file", ExitCode.USAGE)
    return run_async(_run(place, file, plan, progress, output, new=new), drives=True)


async def _run(
    place: Place, file: str | None, plan_id: int | None, progress: Progress, output: Format, *, new: bool
) -> ExitCode:
    settings = place.settings()
    plan_file = None
    if file is not None:
        from switchover.planfile import load_plan

        try:
            plan_file = await asyncio.to_thread(load_plan, file, max_bytes=settings.plan_file_max_bytes)
        except InvalidPlanError as error:
            write_findings(error.findings, Format.TABLE, stderr=True)
            raise CommandError(f"{file} is no valid plan, nothing was created", ExitCode.INVALID_PLAN) from error
    with Interrupts() as interrupts:
        async with place.open("drive", create=file is not None, settings=settings) as executor:
            if plan_file is not None:
                known = await _submit(executor, place, plan_file, new=new)
            else:
                known = PlanId(plan_id or 0)
            screen = make_screen(progress, output, place)
            plan = await executor.store.load_plan(known)
            if plan is None:
                raise CommandError(executor.facade.unknown_plan(known).message)
            if plan.status.is_settled:
                return await _settled_before(executor, place, plan, screen, output, file=file)
            go_on = place.command("run", *((file,) if file is not None else ("--plan", str(known))))
            return await accompany(
                executor, PlanSubject(executor, known), screen, interrupts, place, go_on=go_on, output=output
            )


async def accompany(
    executor: "Executor",
    subject: PlanSubject,
    screen: Screen,
    interrupts: Interrupts,
    place: Place,
    *,
    go_on: str,
    output: Format,
) -> ExitCode:
    """Stay with a plan until it has come to rest, and say what came of it."""
    companion = Companion(executor=executor, subject=subject, screen=screen, interrupts=interrupts, go_on=go_on)
    code, look = await companion.stay()
    await conclude(executor, look, code, screen, place, output)
    return code


async def conclude(
    executor: "Executor", look: Look, code: ExitCode, screen: Screen, place: Place, output: Format
) -> None:
    """The last word."""
    if output is not Format.TABLE:
        _write_status(look, output)
        return
    if look.at_rest:
        for line in await summary(executor, look, place):
            print(line)
        await _tell_of_others(executor, look, place)
    elif code is ExitCode.DISCONNECTED:
        screen.say(f"{left(look)}; it goes on there")


def _write_status(look: Look, output: Format) -> None:
    from switchover.dto import PlanStatusInfo, TaskStatusInfo

    status = PlanStatusInfo.of(look.plan) if isinstance(look, PlanLook) else TaskStatusInfo.of(look.task)
    (write_json if output is Format.JSON else write_line)(status.to_dict())


async def _tell_of_others(executor: "Executor", look: Look, place: Place) -> None:
    """This process drove every plan of the store; those that it leaves unfinished are named."""
    if not executor.driving:
        return
    own = look.plan.plan_id if isinstance(look, PlanLook) else None
    plans = (await executor.store.load_state()).plans
    others = [plan for plan in plans if plan.plan_id != own and plan.status is not PlanStatus.PAUSED and plan.unsettled]
    for plan in others[:_MOST_OTHERS]:
        if plan.unsettled > plan.idle:
            print(
                f"plan {plan.plan_id} is {plan.status} and left as it is: {place.command('run', '--plan', str(plan.plan_id))}"
            )


async def _settled_before(
    executor: "Executor", place: Place, plan: "PlanAggregate", screen: Screen, output: Format, *, file: str | None
) -> ExitCode:
    subject = PlanSubject(executor, plan.plan_id)
    look = await subject.look()
    again = f"; to submit the file as a new plan: {place.command('run', '--new', file)}" if file is not None else ""
    screen.say(f"plan {plan.plan_id} has settled before, so nothing is run{again}")
    code = of_plan(plan)
    await conclude(executor, look, code, screen, place, output)
    return code


# --- submitting ----------------------------------------------------------------------------------------------------


async def _submit(executor: "Executor", place: Place, plan_file: "PlanFile", *, new: bool) -> PlanId:
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
        metadata=plan_file.metadata,  # type: ignore[arg-type]  # judged like the rest
        idempotency_key=key,
    )
    if result.plan_id is not None:
        warnings = [finding for finding in plan_file.locate(result.findings) if not finding.is_error]
        write_findings(warnings, Format.TABLE, stderr=True)
        return result.plan_id
    findings = plan_file.locate(result.findings)
    write_findings(findings, Format.TABLE, stderr=True)
    errors = [finding.code for finding in findings if finding.is_error]
    raise CommandError(refusal(result.message, errors, place, plan_file.name), of_errors(errors))


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
