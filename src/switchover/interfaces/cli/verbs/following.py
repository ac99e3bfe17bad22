"""watch, events: how the work goes on, as it does."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.domain.durations import parse_duration
from switchover.domain.task import PlanId, TaskKey
from switchover.errors import EventsPrunedError
from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.driving import Companion, Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError, say
from switchover.interfaces.cli.last_word import LastWord
from switchover.interfaces.cli.looking import PlanSubject, Subject, TaskSubject
from switchover.interfaces.cli.output import Format, Output, console, style_of, write_all, write_line
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.screens import Progress, make_screen
from switchover.interfaces.cli.verbs.running import ProgressOption
from switchover.reports.texts import moment, printable

if TYPE_CHECKING:
    from rich.text import Text

    from switchover.interfaces.cli.service import Service
    from switchover.spi import NumberedEvent

_PAGE = 500
_TYPE_WIDTH = 23
_DATE_WIDTH = len("2026-01-01 ")


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for function in (watch, events):
        add_verb(app, function)


# --- watch ---------------------------------------------------------------------------------------------------------


def watch(
    place: Place,
    *,
    target: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a plan, such as 100, or of a task, such as 100-7.")
    ],
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="Stop watching after this time, such as 90s or 10m."),
    ] = None,
    progress: ProgressOption = Progress.AUTO,
    output: Output = Format.TABLE,
) -> ExitCode:
    """Watch a plan or a task until it has settled or paused; changes nothing."""
    seconds = None if timeout is None else _duration(timeout)

    async def work() -> ExitCode:
        with Interrupts() as interrupts:
            async with place.connect("read") as executor:
                screen = make_screen(progress, output, place)
                companion = Companion(
                    executor=executor,
                    subject=await _subject(executor, target, place),
                    screen=screen,
                    interrupts=interrupts,
                    go_on="",
                )
                code, look = await companion.watch(seconds)
                last_word = LastWord(executor=executor, place=place, screen=screen, output=output)
                await last_word.say(code, look)
                if code is ExitCode.TIMED_OUT:
                    say(f"{timeout} have passed and {companion.subject.name} has not come to rest; the work goes on")
                return code

    return run_async(work())


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"--timeout: {error}", ExitCode.USAGE) from error


async def _subject(executor: "Service", target: str, place: Place) -> Subject:
    if target.isascii() and target.isdigit():
        if await executor.store.load_plan(PlanId(int(target))) is not None:
            return PlanSubject(executor, PlanId(int(target)))
        raise CommandError(place.with_place(executor.facade.unknown_plan(int(target)).message))
    return TaskSubject(executor, await _known_task(executor, target, place))


async def _known_task(executor: "Service", task_id: str, place: Place) -> TaskKey:
    key = TaskKey.parse(task_id)
    if key is None or not await executor.store.load_tasks([key]):
        failure = (await executor.facade.query_task_status(task_id)).failure_info
        raise CommandError(f"no task {task_id!r} is known" if failure is None else place.with_place(failure.message))
    return key


# --- events --------------------------------------------------------------------------------------------------------


def events(
    place: Place,
    *,
    plan: Annotated[
        int | None, typer.Option("--plan", metavar="ID", help="Of this plan and its tasks; default: of all plans.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="ID", help="Of this task alone.")] = None,
    since: Annotated[
        int,
        typer.Option(
            "--since", min=0, metavar="POSITION", help="Only those behind this position; of all plans: this number."
        ),
    ] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for what comes, until interrupted.")] = False,
    output: Annotated[
        Format | None,
        typer.Option("--output", "-o", help="Default: a table on a terminal, else jsonl, one event per line."),
    ] = None,
) -> ExitCode:
    """Print the events of all plans, of a plan or of a task, in the order in which they were committed."""
    if output is Format.JSON and follow:
        raise CommandError("--follow has no end, and a JSON document needs one; use -o jsonl", ExitCode.USAGE)
    if plan is not None and task is not None:
        raise CommandError("--plan and --task: give one of them", ExitCode.USAGE)

    async def work() -> ExitCode:
        with Interrupts() as interrupts:
            interrupts.cancels = True
            async with place.connect("read") as executor:
                found = await _events(executor, place, plan, task, since, follow=follow)
                try:
                    await _write(found, output, of_all=plan is None and task is None)
                except EventsPrunedError as error:
                    which = () if plan is None else ("--plan", str(plan))
                    kept = place.command("events", *which, "--since", str(error.kept_since))
                    raise CommandError(
                        f"older events were pruned: those behind {error.kept_since} are kept; see {kept}"
                    ) from error
        return ExitCode.DONE

    try:
        return run_async(work())
    except KeyboardInterrupt:
        return ExitCode.DONE if follow else ExitCode.DISCONNECTED


async def _events(
    executor: "Service", place: Place, plan: int | None, task: str | None, since: int, *, follow: bool
) -> "AsyncIterator[NumberedEvent]":
    if task is not None:
        key = await _known_task(executor, task, place)
        return _task_events(executor, key, since, follow=follow)
    if plan is None:
        return executor.all_events(since, follow=follow)
    if await executor.store.load_plan(PlanId(plan)) is None:
        raise CommandError(place.with_place(executor.facade.unknown_plan(plan).message))
    return _plan_events(executor, plan, since, follow=follow)


async def _plan_events(executor: "Service", plan: int, since: int, *, follow: bool) -> "AsyncIterator[NumberedEvent]":
    from switchover.spi import NumberedEvent

    async for event in executor.events(plan, since, follow=follow):
        yield NumberedEvent(event.position, event)


async def _task_events(
    executor: "Service", key: TaskKey, since: int, *, follow: bool
) -> "AsyncIterator[NumberedEvent]":
    from switchover.spi import NumberedEvent

    newest = (await executor.store.load_tasks([key]))[0].task.sequence_id
    after = 0
    while True:
        seen = executor.version
        page = await executor.store.load_task_events(key, after, _PAGE)
        pruned = (page[0].sequence_id if page else newest + 1) - after - 1
        if not after and pruned > 0:
            say(f"older events were pruned: the first {pruned:,} of task {key.task_id} are no longer kept")
        for event in page:
            after = event.sequence_id
            if event.position > since:
                yield NumberedEvent(event.position, event)
        if page:
            continue
        if not follow:
            return
        await executor.changed(seen)


async def _write(found: "AsyncIterator[NumberedEvent]", output: Format | None, *, of_all: bool) -> None:
    import sys

    screen = console()
    chosen = output or (Format.TABLE if screen.is_terminal else Format.JSONL)
    if chosen is Format.JSON:
        await write_all((_shown(numbered, of_all=of_all) async for numbered in found), chosen)
        return
    async for numbered in found:
        if chosen is Format.JSONL:
            write_line(_shown(numbered, of_all=of_all))
            sys.stdout.flush()
        else:
            screen.print(_line(numbered, screen.width if screen.is_terminal else None), soft_wrap=True)


def _shown(numbered: "NumberedEvent", *, of_all: bool) -> dict[str, object]:
    shown = numbered.event.to_dict()
    return {"number": numbered.number, **shown} if of_all else shown


def _line(numbered: "NumberedEvent", width: int | None) -> "Text":
    from rich.text import Text

    number, event = numbered
    about = f"{event.task_id} {event.tenant_id}" if event.task_id is not None else f"plan {event.plan_id}"
    data = " ".join(f"{name}={value}" for name, value in event.data.items())
    failure = "" if event.failure_info is None else f"{event.failure_info.error_code}: {event.failure_info.message}"
    line = Text.assemble(
        f"{number:>6}  {moment(event.timestamp)[_DATE_WIDTH:]}  ",
        (f"{event.type:<{_TYPE_WIDTH}}", style_of(event.status)),
        printable(f"  {about}  {event.completed}/{event.total}  {data}  {failure}").rstrip(),
    )
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line
