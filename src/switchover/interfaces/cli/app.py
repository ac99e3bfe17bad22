"""The verbs, and what may be given in front of each of them."""

import os
from collections.abc import Sequence

import typer

from switchover._version import __version__
from switchover.interfaces.cli.command import Config, Db, Debug, Server, Store
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import DEBUG_VARIABLE, guarded
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.verbs import (
    access,
    applying,
    braking,
    checking,
    controlling,
    demonstrating,
    following,
    foreseeing,
    pruning,
    reading,
    running,
    serving,
    upkeep,
    working,
)

app = typer.Typer(
    name="switchover",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"switchover {__version__}")
        raise typer.Exit


@app.callback(help="Move many tenants from one deploy unit to another, safely and visibly, and back again.")
def common(
    ctx: typer.Context,
    *,
    db: Db = None,
    store: Store = None,
    server: Server = None,
    config: Config = None,
    debug: Debug = False,
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True, callback=_version),  # noqa: ARG001  # see the callback
) -> None:
    """What may be given in front of every verb."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"

    def work() -> ExitCode:
        ctx.obj = Place().refined(db=db, store=store, config=config, server=server)
        return ExitCode.DONE

    code = guarded(work)
    if code is not ExitCode.DONE:
        raise typer.Exit(int(code))


MODULES = (
    demonstrating,
    checking,
    running,
    applying,
    reading,
    following,
    foreseeing,
    controlling,
    braking,
    serving,
    working,
    access,
    pruning,
    upkeep,
)

for module in MODULES:
    module.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one verb; gives the code to end with, whatever happens."""

    def work() -> ExitCode:
        app(args=list(arguments), prog_name="switchover")
        return ExitCode.DONE

    try:
        return int(guarded(work))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(ExitCode.UNEXPECTED if end.code else ExitCode.DONE)
