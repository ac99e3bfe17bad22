"""serve: the HTTP API over a store, and the work that it asks for."""

from typing import Annotated

import typer

from switchover.interfaces.cli.command import run_async, verb
from switchover.interfaces.cli.driving import Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.extras import need_server_extra
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.place import Place

_GRACE_SECONDS = 30.0


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command("serve", help=serve.__doc__)(verb(serve))


def serve(
    place: Place,
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any that is free.")] = 8080,
    no_drive: Annotated[
        bool, typer.Option("--no-drive", help="Only answer; another process drives the store and runs the tasks.")
    ] = False,
    grace: Annotated[
        float, typer.Option("--grace", min=0, metavar="SECONDS", help="How long running stages may take to end.")
    ] = _GRACE_SECONDS,
) -> ExitCode:
    """Serve the HTTP API, and drive the store's tasks."""
    need_server_extra("serve")
    return run_async(_serve(place, host, port, grace, drive=not no_drive), drives=True)


async def _serve(place: Place, host: str, port: int, grace: float, *, drive: bool) -> ExitCode:
    from switchover.interfaces.rest.app import create_app
    from switchover.interfaces.rest.permissions import OpenAccess
    from switchover.interfaces.rest.serving import is_loopback, listen
    from switchover.interfaces.rest.serving import serve as serve_app

    if not is_loopback(host):
        raise CommandError(f"--host {host}: without access control only loopback addresses are served", ExitCode.USAGE)
    made = listen(host, port)
    address, bound = made.getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{bound}"
    with Interrupts() as interrupts:
        async with place.open("drive" if drive else "read", create=True, grace_seconds=grace) as executor:
            interrupts.attended = True

            def started() -> None:
                doing = "driving" if executor.driving else "not driving"
                print(f"serving {place.url} at {url}, {doing} its tasks; Ctrl-C stops", flush=True)

            await serve_app(create_app(executor, OpenAccess()), made, interrupts.first, started=started)
            print("stopping: running stages are brought to their end; Ctrl-C again stops at once", flush=True)
            interrupts.attended = False
            if interrupts.second.is_set():
                await executor.stop(finish_stages_within_seconds=0)
    return ExitCode.DONE
