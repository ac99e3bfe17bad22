"""demo: a simulated fleet, to see what this is about."""

from pathlib import Path
from typing import Annotated

import typer

from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.driving import Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.extras import need_server_extra
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.place import Place


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    add_verb(app, demo)


def demo(
    place: Place,
    *,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIRECTORY", help="Leave plan file and database there afterwards.")
    ] = None,
    console: Annotated[bool, typer.Option("--console", help="Tell the story in the browser, too.")] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of the console; 0: any that is free.")
    ] = 8080,
) -> ExitCode:
    """Switch a simulated fleet over real HTTP: a dozen tenants, a failure, a retry, a rollback."""
    from rich.console import Console

    from switchover.demo import run_demo

    if place.server is not None:
        message = "demo brings its own fleet and store, and touches no server; leave out --server"
        raise CommandError(message, ExitCode.USAGE)
    if not console:
        return ExitCode(run_async(run_demo(Console(), directory=keep)))
    need_server_extra("demo --console")
    return ExitCode(run_async(_demo_with_console(keep, port)))


async def _demo_with_console(keep: Path | None, port: int) -> int:
    from rich.console import Console

    from switchover.demo import run_demo
    from switchover.interfaces.cli.audience import browser_audience

    with Interrupts() as interrupts:
        interrupts.cancels = True
        return await run_demo(
            Console(), directory=keep, invite=lambda executor: browser_audience(executor, port, interrupts)
        )
