"""The verbs, and what happens around each of them."""

import os
import sys
from collections.abc import Sequence

import typer

from switchover._version import __version__
from switchover.interfaces.cli.command import Config, Db, Debug, Store
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import DEBUG_VARIABLE, report, show_traceback
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.verbs import (
    braking,
    checking,
    controlling,
    demonstrating,
    following,
    reading,
    running,
    upkeep,
)

app = typer.Typer(
    name="switchover",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(help="Move many tenants from one deploy unit to another, safely and visibly, and back again.")
def common(
    ctx: typer.Context,
    *,
    db: Db = None,
    store: Store = None,
    config: Config = None,
    debug: Debug = False,
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True),
) -> None:
    """What may be given in front of every verb."""
    if version:
        print(f"switchover {__version__}")
        raise typer.Exit
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"
    ctx.obj = Place().refined(db=db, store=store, config=config)


for module in (demonstrating, checking, running, reading, following, controlling, braking, upkeep):
    module.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one verb; gives the code to end with, whatever happens."""
    try:
        app(args=list(arguments), prog_name="switchover")
    except SystemExit as end:
        return (
            end.code if isinstance(end.code, int) else int(ExitCode.DONE if end.code is None else ExitCode.UNEXPECTED)
        )
    except BrokenPipeError:
        # Whoever read has enough. Nothing more is written, not even by the interpreter when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.DONE)
    except BaseException as error:  # noqa: BLE001  # the last resort: every error ends as a paragraph and a code
        show_traceback(error)
        return int(report(error))
    return int(ExitCode.DONE)
