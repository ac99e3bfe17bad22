"""hold, unhold, adopt, stop-line, start-line: brakes that a person pulls, and the way out of a restored store."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.output import Format, Output
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.results import write_result
from switchover.interfaces.cli.verbs.controlling import Plan, Tenant, Why, operate, target_of

if TYPE_CHECKING:
    from switchover.dto import TaskOperationResult
    from switchover.interfaces.cli.service import Service

OneTenant = Annotated[str, typer.Option("--tenant", metavar="TENANT", help="Whose tasks start no more, or again.")]
Reason = Annotated[str, typer.Option("--reason", metavar="WHY", help="Why; whoever comes next reads it.")]
_NO_REASON = "no reason was given"


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for function in (hold, unhold, adopt, stop_line, start_line):
        add_verb(app, function)


def hold(place: Place, tenant: OneTenant, reason: Reason = _NO_REASON, output: Output = Format.TABLE) -> ExitCode:
    """Start nothing more for a tenant, and refuse new plans for it, until the hold is lifted."""
    _check(reason)
    return _ask(place, output, lambda executor: executor.facade.hold_tenant(tenant, reason))


def unhold(place: Place, tenant: OneTenant, reason: Reason, output: Output = Format.TABLE) -> ExitCode:
    """Lift a tenant's hold."""
    _check(reason)
    return _ask(place, output, lambda executor: executor.facade.unhold_tenant(tenant, reason))


def adopt(
    place: Place, *, tenant: Tenant = None, plan: Plan = None, reason: Why = "", output: Output = Format.TABLE
) -> ExitCode:
    """Lift generations above what the targets hold, for a database that is new or was restored."""
    target = target_of(tenant, plan)
    return _ask(place.because(reason), output, lambda executor: operate(executor, "adopt", target))


def stop_line(place: Place, reason: Reason = _NO_REASON, output: Output = Format.TABLE) -> ExitCode:
    """Hold every task of every plan at its next stage boundary, and start none; rollbacks go on."""
    _check(reason)
    return _ask(place, output, lambda executor: executor.facade.stop_line(reason))


def start_line(place: Place, reason: Why = "", output: Output = Format.TABLE) -> ExitCode:
    """Let everything go on that the stop-line holds."""
    return _ask(place.because(reason), output, lambda executor: executor.facade.start_line())


def _check(reason: str) -> None:
    if not reason.strip():
        raise CommandError("--reason must say why; whoever comes next reads it", ExitCode.USAGE)


def _ask(place: Place, output: Format, request: "Callable[[Service], Awaitable[TaskOperationResult]]") -> ExitCode:
    async def work() -> ExitCode:
        async with place.connect("record") as executor:
            return write_result(await request(executor), output, place)

    return run_async(work())
