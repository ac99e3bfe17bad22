"""pause, resume, cancel, retry, rollback: requests about work that exists."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.domain.task import PlanId, TargetType, TaskKey
from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.driving import Companion, Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError, say
from switchover.interfaces.cli.last_word import LastWord
from switchover.interfaces.cli.log_choice import log_choice
from switchover.interfaces.cli.looking import PlanSubject, Subject, TaskSubject
from switchover.interfaces.cli.output import Format, Output
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.results import write_result
from switchover.interfaces.cli.screens import Progress, make_screen
from switchover.interfaces.cli.traces import tracing_of
from switchover.interfaces.cli.verbs.running import ProgressOption

if TYPE_CHECKING:
    from switchover.config import ExecutorSettings
    from switchover.dto import TaskOperationResult
    from switchover.interfaces.cli.service import Service

Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="TENANT", help="The tenant's live task, else its newest.")
]
Plan = Annotated[
    int | None, typer.Option("--plan", metavar="ID", min=0, help="Every task of the plan that it applies to.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Only record the request; some process carries it out later.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="When another process drives: stay until what was asked for has come to rest.")
]
Why = Annotated[str, typer.Option("--reason", metavar="WHY", help="Why; it goes into the audit log.")]


class Origin(StrEnum):
    """Where a retry begins."""

    CHECKPOINT = "checkpoint"
    SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about: exactly one of these."""

    tenant: str | None = None
    plan: int | None = None
    task: str | None = None

    @property
    def words(self) -> tuple[str, str]:
        """As it is given on the command line."""
        if self.tenant is not None:
            return "--tenant", self.tenant
        return ("--plan", str(self.plan)) if self.task is None else ("--task", self.task)


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for function in (pause, resume, cancel, retry, rollback):
        add_verb(app, function)


def pause(
    place: Place, *, tenant: Tenant = None, plan: Plan = None, reason: Why = "", output: Output = Format.TABLE
) -> ExitCode:
    """Pause at the next stage boundary; what has not started is held at once."""
    return _record(place.because(reason), "pause", target_of(tenant, plan), output)


def cancel(
    place: Place,
    *,
    tenant: Tenant = None,
    plan: Plan = None,
    task: Annotated[str | None, typer.Option("--task", metavar="ID", help="This task.")] = None,
    reason: Why = "",
    output: Output = Format.TABLE,
) -> ExitCode:
    """Stop at the next stage boundary; what was switched stays, and can be rolled back."""
    return _record(place.because(reason), "cancel", target_of(tenant, plan, task), output)


def resume(
    place: Place,
    *,
    tenant: Tenant = None,
    plan: Plan = None,
    no_wait: NoWait = False,
    wait: Wait = False,
    progress: ProgressOption = Progress.AUTO,
    reason: Why = "",
    output: Output = Format.TABLE,
) -> ExitCode:
    """Go on after the last checkpoint, and drive the work when no other process does."""
    request = _Request(place.because(reason), "resume", target_of(tenant, plan), output, progress)
    return request.carry_out(wait=wait, no_wait=no_wait)


def retry(
    place: Place,
    *,
    tenant: Tenant = None,
    plan: Plan = None,
    origin: Annotated[
        Origin, typer.Option("--from", help="checkpoint: after the last stage that is done; scratch: every stage.")
    ] = Origin.CHECKPOINT,
    no_wait: NoWait = False,
    wait: Wait = False,
    progress: ProgressOption = Progress.AUTO,
    reason: Why = "",
    output: Output = Format.TABLE,
) -> ExitCode:
    """Run failed tasks again, and drive the work when no other process does."""
    request = _Request(
        place.because(reason), "retry", target_of(tenant, plan), output, progress, origin is Origin.CHECKPOINT
    )
    return request.carry_out(wait=wait, no_wait=no_wait)


def rollback(
    place: Place,
    *,
    tenant: Tenant = None,
    plan: Plan = None,
    no_wait: NoWait = False,
    wait: Wait = False,
    progress: ProgressOption = Progress.AUTO,
    reason: Why = "",
    output: Output = Format.TABLE,
) -> ExitCode:
    """Restore what was effective before the switch, and drive the work when no other process does."""
    request = _Request(place.because(reason), "rollback", target_of(tenant, plan), output, progress)
    return request.carry_out(wait=wait, no_wait=no_wait)


def target_of(tenant: str | None, plan: int | None, task: str | None = None) -> Target:
    """The one target that was given."""
    given = [value for value in (tenant, plan, task) if value is not None]
    if len(given) != 1:
        raise CommandError("name exactly one target, for example --tenant acme or --plan 100", ExitCode.USAGE)
    return Target(tenant, plan, task)


async def operate(
    executor: "Service", operation: str, target: Target, *, from_checkpoint: bool = True
) -> "TaskOperationResult":
    """Ask for it."""
    facade = executor.facade
    if target.task is not None:
        return await facade.cancel_task(target.task)
    if target.tenant is not None:
        if operation == "retry":
            return await facade.retry_task_by_tenant(target.tenant, from_checkpoint)
        by_tenant = {
            "pause": facade.pause_task_by_tenant,
            "resume": facade.resume_task_by_tenant,
            "cancel": facade.cancel_task_by_tenant,
            "rollback": facade.rollback_task_by_tenant,
            "adopt": facade.adopt_tenant,
        }
        return await by_tenant[operation](target.tenant)
    plan_id = int(target.plan or 0)
    if operation == "retry":
        return await facade.retry_task_by_plan(plan_id, from_checkpoint)
    by_plan = {
        "pause": facade.pause_task_by_plan,
        "resume": facade.resume_task_by_plan,
        "cancel": facade.cancel_task_by_plan,
        "rollback": facade.rollback_task_by_plan,
        "adopt": facade.adopt_plan,
    }
    return await by_plan[operation](plan_id)


def _record(place: Place, operation: str, target: Target, output: Format) -> ExitCode:
    async def work() -> ExitCode:
        async with place.connect("record") as executor:
            result = await operate(executor, operation, target)
            return write_result(result, output, place)

    return run_async(work())


@dataclass(frozen=True, slots=True)
class _Request:
    """A request whose work this process may have to do itself."""

    place: Place
    operation: str
    target: Target
    output: Format
    progress: Progress
    from_checkpoint: bool = True

    def carry_out(self, *, wait: bool, no_wait: bool) -> ExitCode:
        if wait and no_wait:
            raise CommandError("--wait and --no-wait exclude each other", ExitCode.USAGE)
        settings = self.place.settings() if self.place.served is None else None
        work = self._recorded() if no_wait else self._done(settings, wait=wait)
        return run_async(work, log=log_choice(settings))

    async def _recorded(self) -> ExitCode:
        async with self.place.connect("record") as executor:
            result = await self._ask(executor)
            code = write_result(result, self.output, self.place)
            if code is ExitCode.DONE and executor.driving and self.output is Format.TABLE:
                print(f"no process drives it; to go on: {self.place.command('run', '--plan', _plan_of(result))}")
            return code

    async def _done(self, settings: "ExecutorSettings | None", *, wait: bool) -> ExitCode:
        with Interrupts() as interrupts:
            async with tracing_of(settings) as tracing, self.place.connect("drive", tracing=tracing) as executor:
                result = await self._ask(executor)
                code = write_result(result, self.output, self.place)
                if code is not ExitCode.DONE:
                    return code
                if not executor.driving and not wait:
                    self._tell_who_drives(await executor.driver())
                    return code
                screen = make_screen(self.progress, self.output, self.place)
                companion = Companion(
                    executor=executor,
                    subject=_subject(executor, result),
                    screen=screen,
                    interrupts=interrupts,
                    go_on=self.place.command("run", "--plan", _plan_of(result)),
                    stop_timeout_seconds=math.inf if settings is None else settings.stop_timeout_seconds,
                )
                code, look = await companion.stay()
                if self.output is Format.TABLE:  # else the result of the request was the one document
                    last_word = LastWord(executor=executor, place=self.place, screen=screen, output=self.output)
                    await last_word.say(code, look)
                return code

    async def _ask(self, executor: "Service") -> "TaskOperationResult":
        return await operate(executor, self.operation, self.target, from_checkpoint=self.from_checkpoint)

    def _tell_who_drives(self, driver: object) -> None:
        if self.output is Format.TABLE:
            owner = getattr(driver, "owner", "another process")
            print(f"{owner} drives it and carries it out; --wait stays until that is done")
        elif self.progress is not Progress.OFF:
            say("another process drives the store and carries it out")


def _subject(executor: "Service", result: "TaskOperationResult") -> Subject:
    if result.target_type is TargetType.PLAN:
        return PlanSubject(executor, PlanId(int(result.target_id)))
    key = TaskKey.parse(str(result.target_id))
    if key is None:
        raise LookupError(result.target_id)
    return TaskSubject(executor, key)


def _plan_of(result: "TaskOperationResult") -> str:
    return str(result.target_id).partition("-")[0]
