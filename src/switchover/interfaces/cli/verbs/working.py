"""worker: carry out stages for whoever drives the store; and how to see who does."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.interfaces.cli.command import StopTimeout, add_verb, run_async
from switchover.interfaces.cli.driving import Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.log_choice import LogChoice, LogFormatOption, LogLevelOption, log_choice
from switchover.interfaces.cli.output import Column, Format, Output, write_json, write_line, write_table
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.traces import tracing_of
from switchover.logs import get_log
from switchover.reports.texts import moment

if TYPE_CHECKING:
    from switchover.config import ExecutorSettings

_log = get_log("switchover.worker")

_CONCURRENCY = 64

WORKER_COLUMNS = (
    Column("WORKER", right=True),
    Column("NAME", flexible=True),
    Column("VERSION", optional=2),
    Column("TASKS", right=True),
    Column("AT MOST", right=True),
    Column("SINCE (UTC)", optional=1),
    Column("LAST HEARTBEAT (UTC)"),
    Column("STATE"),
)


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    add_verb(app, worker)


def worker(
    place: Place,
    *,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, metavar="N", help="How many tasks it has at most at once.")
    ] = _CONCURRENCY,
    stop_timeout: StopTimeout = None,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = None,
) -> ExitCode:
    """Carry out stages for the server that drives a postgresql:// store; any number of workers, anywhere."""
    place.only_here("worker")
    settings = place.settings()
    log = log_choice(settings, log_format, log_level, serves=True)
    limit = settings.stop_timeout_seconds if stop_timeout is None else stop_timeout
    return run_async(_work(place, settings, concurrency, limit, log), log=log)


async def _work(
    place: Place, settings: "ExecutorSettings", concurrency: int, stop_timeout: float, log: LogChoice
) -> ExitCode:
    from switchover.working import open_worker

    with Interrupts() as interrupts:
        async with (
            tracing_of(settings) as tracing,
            open_worker(
                place.url, settings=settings, concurrency=concurrency, grace_seconds=0.0, tracing=tracing
            ) as own,
        ):
            interrupts.attended = True
            log.tell(f"worker {own.number} of {place.name}: at most {concurrency} tasks at once; Ctrl-C stops", _log)
            await interrupts.first.wait()
            log.tell(
                f"stopping: present stages come to their end within {stop_timeout:g} s, other workers go on; Ctrl-C "
                "again stops at once",
                _log,
            )
            finishing = asyncio.ensure_future(own.finish(stop_timeout))
            hurry = asyncio.ensure_future(interrupts.second.wait())
            await asyncio.wait({finishing, hurry}, return_when=asyncio.FIRST_COMPLETED)
            for waiting in (finishing, hurry):
                waiting.cancel()
            await asyncio.gather(finishing, hurry, return_exceptions=True)
            interrupts.attended = False
        log.tell("stopped", _log)
    return ExitCode.DISCONNECTED if interrupts.second.is_set() else ExitCode.DONE


def workers(place: Place, output: Output = Format.TABLE) -> ExitCode:
    """Show the workers of a postgresql:// store."""

    async def work() -> ExitCode:
        async with place.connect("read") as service:
            found = await service.workers()
            if output is Format.JSON:
                write_json([info.to_dict() for info in found])
                return ExitCode.DONE
            if output is Format.JSONL:
                for info in found:
                    write_line(info.to_dict())
                return ExitCode.DONE
            if not found:
                print("there is no worker; the process that drives the store carries out the stages itself, if it may")
                return ExitCode.DONE
            rows = [
                (
                    info.worker,
                    info.name,
                    info.version,
                    info.tasks,
                    info.concurrency,
                    moment(info.since),
                    moment(info.last_heartbeat),
                    "stopping" if info.stopping else "works",
                )
                for info in found
            ]
            write_table(WORKER_COLUMNS, rows)
        return ExitCode.DONE

    return run_async(work())
