"""serve: the HTTP API over a store, and the work that it asks for."""

import asyncio
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from switchover.interfaces.cli.command import StopTimeout, run_async, verb
from switchover.interfaces.cli.driving import Interrupts, finish_stages
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.extras import need_oidc_extra, need_server_extra
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.log_choice import LogChoice, LogFormatOption, LogLevelOption, log_choice
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.traces import tracing_of
from switchover.logs import get_log

_log = get_log("switchover.serve")

if TYPE_CHECKING:
    from switchover.access import AccessControl, People
    from switchover.bootstrap import Executor
    from switchover.config import ExecutorSettings
    from switchover.interfaces.rest.permissions import OpenAccess

_FORGET_EVERY_SECONDS = 3600.0


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
    stop_timeout: StopTimeout = None,
    stages: Annotated[
        Literal["here", "workers", "auto"] | None,
        typer.Option(
            "--stages",
            help="Who carries out stages: this process (here), workers, or workers as soon as there are any (auto). "
            "Default: auto with a postgresql:// store, else here.",
        ),
    ] = None,
    tls_cert: Annotated[
        str | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate (PEM): serve HTTPS.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option("--tls-key", metavar="FILE", help="Its key (PEM).")] = None,
    open_to_all: Annotated[
        bool,
        typer.Option("--open-to-all", help="No access control: whoever reaches it may do anything. Loopback only."),
    ] = False,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = None,
) -> ExitCode:
    """Serve the HTTP API, and drive the store's tasks."""
    place.only_here("serve")
    need_server_extra("serve")
    if (tls_cert is None) != (tls_key is None):
        raise CommandError("--tls-cert and --tls-key go together: a certificate and its key", ExitCode.USAGE)
    certificate = None if tls_cert is None or tls_key is None else (tls_cert, tls_key)
    settings = place.settings()
    if settings.oidc_issuer is not None:
        need_oidc_extra()
    log = log_choice(settings, log_format, log_level, serves=True)
    limit = settings.stop_timeout_seconds if stop_timeout is None else stop_timeout
    server = _Serving(
        place,
        host,
        port,
        limit,
        certificate,
        settings,
        log,
        stages or "auto",
        drives=not no_drive,
        open_to_all=open_to_all,
    )
    return run_async(_serve(server), log=log)


@dataclass(frozen=True, slots=True)
class _Serving:
    """What was given on the command line."""

    place: Place
    host: str
    port: int
    stop_timeout: float
    certificate: tuple[str, str] | None
    settings: "ExecutorSettings"
    log: LogChoice
    stages_by: Literal["here", "workers", "auto"]
    _: KW_ONLY
    drives: bool
    open_to_all: bool

    def tell(self, text: str) -> None:
        """For whoever started it: on the standard output, or where every line is JSON, as one of those."""
        self.log.tell(text, _log)


async def _access(executor: "Executor", people: "People | None", *, open_to_all: bool) -> "AccessControl | OpenAccess":
    """Who is let in; the first admin token is shown when there never was one."""
    from switchover.bootstrap import local_actor
    from switchover.interfaces.rest.permissions import OpenAccess

    if open_to_all:
        return OpenAccess()
    access = executor.access_control(people)
    issued = await access.first_start(local_actor("cli"))
    if issued is not None:
        print(f"admin token, shown this once: {issued.secret}", flush=True)
    return access


async def _forget(executor: "Executor") -> None:
    """Sessions that are over, and what the audit log is kept no longer for, once an hour."""
    from contextlib import suppress

    from switchover.errors import StorageError

    while True:
        with suppress(StorageError):  # the next hour will do
            await executor.prune_access()
        await executor.clock.sleep(_FORGET_EVERY_SECONDS)


async def _serve(serving: _Serving) -> ExitCode:
    from switchover.access import AccessControl
    from switchover.adapters.clock import SystemClock
    from switchover.adapters.telemetry.event_log import EventLog
    from switchover.adapters.telemetry.metrics import Metrics
    from switchover.identity import open_people
    from switchover.interfaces.console.app import close_console, mount_console
    from switchover.interfaces.rest import metering
    from switchover.interfaces.rest.app import create_app
    from switchover.interfaces.rest.serving import allow_many_connections, is_loopback, listen
    from switchover.interfaces.rest.serving import serve as serve_app
    from switchover.interfaces.rest.tracing import install as trace_requests

    place, host = serving.place, serving.host
    if serving.open_to_all and not is_loopback(host):
        raise CommandError(f"--host {host}: without access control only loopback addresses are served", ExitCode.USAGE)
    allow_many_connections()
    made = listen(host, serving.port)
    address, bound = made.getsockname()[:2]
    scheme = "http" if serving.certificate is None else "https"
    url = f"{scheme}://{f'[{address}]' if ':' in address else address}:{bound}"
    settings, tell = serving.settings, serving.tell
    metrics = Metrics()
    with Interrupts() as interrupts:
        async with (
            tracing_of(settings) as tracing,
            open_people(settings, SystemClock()) as people,
            place.open(
                "drive" if serving.drives else "read",
                create=True,
                settings=settings,
                grace_seconds=0.0,
                observers=(metrics, EventLog()),
                tracing=tracing,
                stages_by=serving.stages_by,
            ) as executor,
        ):
            interrupts.attended = True

            def started() -> None:
                doing = "driving" if executor.driving else "not driving"
                tell(f"serving {place.name} at {url}, {doing} its tasks; Ctrl-C stops")

            async def finish() -> None:
                tell(
                    f"stopping: running stages are brought to their end within {serving.stop_timeout:g} s; Ctrl-C "
                    "again stops at once"
                )
                await finish_stages(executor, interrupts, serving.stop_timeout)

            access = await _access(executor, people, open_to_all=serving.open_to_all)
            app = create_app(executor, access)
            metering.install(app, metrics, open_to_all=settings.metrics_open)
            if tracing is not None:
                trace_requests(app, tracing)
            keeping = asyncio.ensure_future(_forget(executor))
            # The console is for people who sign in with a token; without tokens there is none.
            console = (
                mount_console(app, executor, access, interrupts.first) if isinstance(access, AccessControl) else None
            )
            try:
                await serve_app(
                    app,
                    made,
                    interrupts.first,
                    started=started,
                    at_once=interrupts.second,
                    finish=finish,
                    certificate=serving.certificate,
                )
            finally:
                keeping.cancel()
                if console is not None:
                    await close_console(console)
            interrupts.attended = False
        tell("stopped")
    return ExitCode.DISCONNECTED if interrupts.second.is_set() else ExitCode.DONE
