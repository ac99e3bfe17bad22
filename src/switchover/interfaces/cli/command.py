"""
A verb: a function that gets the place it works on, and returns the code to end with.

``verb`` adds the parameters that all verbs share, so that each of them may be given before the verb or after it.
"""

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer

from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import DEBUG_VARIABLE, debugs, guarded
from switchover.interfaces.cli.log_choice import QUIET, LogChoice
from switchover.interfaces.cli.place import (
    CONFIG_VARIABLE,
    DB_VARIABLE,
    DEFAULT_DATABASE,
    SERVER_VARIABLE,
    STORE_VARIABLE,
    TOKEN_VARIABLE,
    Place,
)
from switchover.logs import LogLevel

_Result = TypeVar("_Result")

Db = Annotated[
    str | None,
    typer.Option("--db", metavar="PATH", help=f"SQLite database. Default: {DB_VARIABLE}, else {DEFAULT_DATABASE}."),
]
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help=f"Any store, for example sqlite:///x.db. Default: {STORE_VARIABLE}."),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help=f"A running server: http://127.0.0.1:8080. Default: {SERVER_VARIABLE}; token: {TOKEN_VARIABLE}.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help=f"Settings (TOML). Default: {CONFIG_VARIABLE}."),
]
StopTimeout = Annotated[
    float | None,
    typer.Option(
        "--stop-timeout",
        min=0,
        metavar="SECONDS",
        help="How long running stages may take to end when it is told to stop; then they are interrupted. Default: 30.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Log everything, and show where unexpected errors happen.")]

_SHARED = {"db": Db, "store": Store, "server": Server, "config": Config, "debug": Debug}


def verb(function: Callable[..., ExitCode]) -> Callable[..., None]:
    """Make a typer command of ``function(place, ...)``."""
    own = inspect.signature(function)
    parameters = [parameter for name, parameter in own.parameters.items() if name != "place"]

    @functools.wraps(function)
    def command(
        ctx: typer.Context,
        db: str | None = None,
        store: str | None = None,
        server: str | None = None,
        config: str | None = None,
        *,
        debug: bool = False,
        **arguments: object,
    ) -> None:
        if debug:
            os.environ[DEBUG_VARIABLE] = "1"

        def work() -> ExitCode:
            place = place_of(ctx).refined(db=db, store=store, config=config, server=server)
            return function(place=place, **arguments)

        raise typer.Exit(int(guarded(work)))

    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(name, keyword, annotation=kind, default=False if name == "debug" else None)
        for name, kind in _SHARED.items()
    ]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    every = [context, *(parameter.replace(kind=keyword) for parameter in parameters), *shared]
    setattr(command, "__signature__", inspect.Signature(every))  # noqa: B010  # what typer reads; no type knows it
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in every}
    del command.__wrapped__  # so that the annotations above are the ones that count
    return command


def add_verb(app: typer.Typer, function: Callable[..., ExitCode]) -> None:
    """Make a verb of it that is called like the function; the list of verbs says the same as the verb's own help."""
    name = function.__name__.replace("_", "-")
    app.command(name, help=function.__doc__, short_help=function.__doc__)(verb(function))


def place_of(ctx: typer.Context) -> Place:
    """What was given in front of the verb."""
    found = ctx.find_root().obj
    return found if isinstance(found, Place) else Place()


def run_async(main: Coroutine[Any, Any, _Result], *, log: LogChoice = QUIET) -> _Result:
    """Run a verb's work in a loop of its own, with the log on the error stream, where it disturbs nobody."""
    from switchover.adapters.telemetry.log_lines import writing_log

    try:
        with writing_log(log.form, LogLevel.DEBUG if debugs() else log.level):
            return asyncio.run(main)
    except asyncio.CancelledError:  # by the second of two signals, see Interrupts
        raise KeyboardInterrupt from None
