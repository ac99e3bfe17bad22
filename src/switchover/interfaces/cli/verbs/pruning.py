"""prune: forget the events of plans that have ended."""

from typing import TYPE_CHECKING, Annotated

import typer

from switchover.domain.durations import parse_duration
from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.output import Format, Output, write_json, write_line
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.results import write_result
from switchover.interfaces.cli.verbs.controlling import Plan, Why
from switchover.reports.texts import count

if TYPE_CHECKING:
    from switchover.dto.pruning import PruneReport


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    add_verb(app, prune)


def prune(
    place: Place,
    *,
    plan: Plan = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="DURATION", help="Of all plans that ended longer ago, such as 720h."),
    ] = None,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="With --older-than: only say what would be forgotten.")
    ] = False,
    reason: Why = "",
    output: Output = Format.TABLE,
) -> ExitCode:
    """Forget the events of plans that have ended, but for the newest of each; how everything stands is kept."""
    if (plan is None) == (older_than is None):
        raise CommandError("give --plan or --older-than, one of them", ExitCode.USAGE)
    if forecast and older_than is None:
        raise CommandError("--forecast needs --older-than", ExitCode.USAGE)
    seconds = None if older_than is None else _duration(older_than)

    async def work() -> ExitCode:
        async with place.because(reason).connect("read" if forecast else "record") as service:
            facade = service.facade
            if plan is not None:
                return write_result(await facade.prune_plan(int(plan)), output, place)
            age = seconds or 0.0
            _write(await (facade.prunable(age) if forecast else facade.prune_ended(age)), output, forecast=forecast)
        return ExitCode.DONE

    return run_async(work())


def _write(report: "PruneReport", output: Format, *, forecast: bool) -> None:
    if output is not Format.TABLE:
        (write_json if output is Format.JSON else write_line)(report.to_dict())
        return
    done = "would be" if forecast else "are"
    print(f"{report.events:,} events of {count(len(report.plans), 'plan')} {done} forgotten")


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"--older-than: {error}", ExitCode.USAGE) from error
