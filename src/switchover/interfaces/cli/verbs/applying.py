"""apply: hand a plan to whoever drives the store, a server most of all."""

from typing import Annotated

import typer

from switchover.domain.task import PlanId
from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.driving import Companion, Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.last_word import LastWord
from switchover.interfaces.cli.looking import PlanSubject
from switchover.interfaces.cli.output import Format, Output, write_json, write_line
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.screens import Progress, make_screen
from switchover.interfaces.cli.submitting import check_for_a_new_store, read_plan, submit
from switchover.interfaces.cli.verbs.running import ProgressOption
from switchover.reports.texts import printable


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    add_verb(app, apply)


def apply(
    place: Place,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Plan file: YAML or JSON.")],
    new: Annotated[
        bool, typer.Option("--new", help="Submit the file as a new plan although the same file was submitted before.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the plan has settled or paused.")] = False,
    progress: ProgressOption = Progress.AUTO,
    output: Output = Format.TABLE,
) -> ExitCode:
    """Submit a plan to a server, or to whoever drives the store, and let it run there."""
    return run_async(_apply(place, file, progress, output, new=new, wait=wait))


async def _apply(place: Place, file: str, progress: Progress, output: Format, *, new: bool, wait: bool) -> ExitCode:
    settings = place.settings()
    plan_file = await read_plan(file, settings, output)
    await check_for_a_new_store(place, settings, plan_file, output)
    with Interrupts() as interrupts:
        async with place.connect("record", create=True, settings=settings) as service:
            result = await submit(service, place, plan_file, settings, output, new=new)
            del plan_file
            if not wait:
                if output is Format.TABLE:
                    print(printable(place.with_place(result.message)))
                    print(f"to follow it: {place.command('watch', str(result.plan_id))}")
                else:
                    (write_json if output is Format.JSON else write_line)(result.to_dict())
                return ExitCode.DONE
            screen = make_screen(progress, output, place)
            companion = Companion(
                executor=service,
                subject=PlanSubject(service, PlanId(result.plan_id or 0)),
                screen=screen,
                interrupts=interrupts,
                go_on="",
            )
            code, look = await companion.watch(None)
            await LastWord(executor=service, place=place, screen=screen, output=output).say(code, look)
            return code
