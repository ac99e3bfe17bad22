"""demo: a simulated fleet, to see what this is about."""

from pathlib import Path
from typing import Annotated

import typer

from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.place import Place


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    add_verb(app, demo)


def demo(
    place: Place,  # noqa: ARG001  # it brings its own
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIRECTORY", help="Leave plan file and database there afterwards.")
    ] = None,
) -> ExitCode:
    """Switch a simulated fleet over real HTTP: a dozen tenants, a failure, a retry, a rollback."""
    from rich.console import Console

    from switchover.demo import run_demo

    return ExitCode(run_async(run_demo(Console(), directory=keep)))
