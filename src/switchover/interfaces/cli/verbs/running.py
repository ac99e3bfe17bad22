"""run: submit a plan, drive it, and stay until it has come to rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from switchover.domain.task import PlanId
from switchover.interfaces.cli.command import StopTimeout, add_verb, run_async
from switchover.interfaces.cli.driving import Companion, Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode, of_plan
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.last_word import LastWord
from switchover.interfaces.cli.log_choice import LogFormatOption, LogLevelOption, log_choice
from switchover.interfaces.cli.looking import PlanSubject
from switchover.interfaces.cli.output import Format, Output
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.screens import Progress, make_screen
from switchover.interfaces.cli.submitting import check_for_a_new_store, read_plan, submitted
from switchover.interfaces.cli.traces import tracing_of

if TYPE_CHECKING:
    from switchover.config import ExecutorSettings
    from switchover.domain.plan import PlanAggregate
    from switchover.planfile import PlanFile


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
    stop_timeout: StopTimeout = None,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = None,
    output: Output = Format.TABLE,
) -> ExitCode:
    """Submit a plan, drive it with live progress, and exit when it has settled or paused."""
    if (file is None) == (plan is None):
        raise CommandError("name a plan file, or with --plan a plan of the database: one of them", ExitCode.USAGE)
    if new and file is None:
        raise CommandError("--new goes with a plan file", ExitCode.USAGE)
    settings = place.settings()
    log = log_choice(settings, log_format, log_level)
    asked = _Asked(
        place=place.because(reason),
        file=file,
        plan_id=plan,
        new=new,
        settings=settings,
        stop_timeout=settings.stop_timeout_seconds if stop_timeout is None else stop_timeout,
    )
    return run_async(_run(asked, progress, output, tells_events=log.tells_events), log=log)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was given on the command line."""

    place: Place
    file: str | None
    plan_id: int | None
    new: bool
    settings: "ExecutorSettings"
    stop_timeout: float


async def _run(asked: _Asked, progress: Progress, output: Format, *, tells_events: bool) -> ExitCode:
    from switchover.adapters.telemetry.event_log import EventLog

    place, file, settings = asked.place, asked.file, asked.settings
    plan_file = None if file is None else await read_plan(file, settings, output)
    named = False
    if plan_file is not None:
        await check_for_a_new_store(place, settings, plan_file, output)
    with Interrupts() as interrupts:
        async with (
            tracing_of(settings) as tracing,
            place.connect(
                "drive",
                create=file is not None,
                settings=settings,
                observers=(EventLog(),) if tells_events else (),
                tracing=tracing,
            ) as executor,
        ):
            if plan_file is not None:
                known = await submitted(executor, place, plan_file, settings, output, new=asked.new)
                named = _names_its_plan(plan_file)
                plan_file = None  # of a large plan it holds much, and it has done its part
            else:
                known = PlanId(asked.plan_id or 0)
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
                stop_timeout_seconds=asked.stop_timeout,
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
