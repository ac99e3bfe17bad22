"""get, explain, history: how things stand. Reading never waits for, or disturbs, the process that drives."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from switchover.domain.plan import OnFailure, PlanAggregate
from switchover.domain.task import PlanId, StageMark, TaskAggregate, TaskKey, TaskStatus, TenantId
from switchover.interfaces.cli.command import add_verb, run_async
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError
from switchover.interfaces.cli.output import (
    Column,
    Format,
    Output,
    console,
    write_all,
    write_details,
    write_json,
    write_line,
    write_table,
)
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.verbs.working import workers
from switchover.interfaces.cli.views import WORDS
from switchover.reports.texts import moment, on_failure, printable

if TYPE_CHECKING:
    from switchover.domain.task import FailureInfo
    from switchover.interfaces.cli.service import Service
    from switchover.spi import StopLine

_PAGE = 1_000
_MOST_ROWS = 100

PlanArgument = Annotated[int, typer.Argument(metavar="ID", min=0, help="Id of the plan.")]
TaskArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the task, such as 100-7.")]
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Id of the tenant.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many.")]

PLAN_COLUMNS = (
    Column("PLAN", right=True),
    Column("STATUS"),
    Column("DONE", right=True),
    Column("FAILED", right=True),
    Column("ROLLED BACK", right=True, optional=3),
    Column("RUNNING", right=True),
    Column("WAITING", right=True, optional=1),
    Column("PAUSED", right=True, optional=2),
    Column("CREATED (UTC)", optional=4),
    Column("ENDED (UTC)", optional=5),
    Column("NAME", flexible=True),
)
TASK_COLUMNS = (
    Column("TASK"),
    Column("TENANT", flexible=True),
    Column("STATUS"),
    Column("STAGE", flexible=True),
    Column("STAGES", right=True),
    Column("RETRIES", right=True, optional=2),
    Column("PENDING", optional=1),
    Column("UPDATED (UTC)", optional=3),
    Column("FAILURE", flexible=True),
)


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    get = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show plans, tasks, tenants and workers.")
    for function in (plans, plan, tasks, task, tenant, workers):
        add_verb(get, function)
    app.add_typer(get, name="get")
    add_verb(app, explain)
    add_verb(app, history)


# --- plans ---------------------------------------------------------------------------------------------------------


def plans(
    place: Place,
    *,
    limit: Limit = None,
    before: Annotated[int | None, typer.Option("--before", metavar="ID", help="Only plans with a lower id.")] = None,
    output: Output = Format.TABLE,
) -> ExitCode:
    """Show plans, the newest first."""

    async def work() -> ExitCode:
        from switchover.dto import PlanStatusInfo

        async with place.connect("read") as executor:
            if output is not Format.TABLE:
                infos = (PlanStatusInfo.of(plan).to_dict() async for plan in _plans(executor, before, limit))
                await write_all(infos, output)
                return ExitCode.DONE
            most = _MOST_ROWS if limit is None else limit
            found = [plan async for plan in _plans(executor, before, most + 1)]
            if not found:
                print("there is no plan" + ("" if before is None else f" with an id below {before}"))
                return ExitCode.DONE
            write_table(PLAN_COLUMNS, [_plan_row(plan) for plan in found[:most]])
            if len(found) > most:
                print(f"more: {place.command('get', 'plans', '--before', str(found[most - 1].plan_id))}")
            line = await executor.store.load_line()
            if line is not None:
                print(_standing_still(line))
        return ExitCode.DONE

    return run_async(work())


def _standing_still(line: "StopLine") -> str:
    return f"the line is stopped since {moment(line.since)} UTC: {printable(line.reason)}"


async def _plans(executor: "Service", before: int | None, limit: int | None) -> AsyncIterator[PlanAggregate]:
    left = limit
    while left is None or left > 0:
        page = await executor.store.list_plans(before=before, limit=min(_PAGE, _PAGE if left is None else left))
        for plan in page:
            yield plan
        if not page:
            return
        before = page[-1].plan_id
        left = None if left is None else left - len(page)


def _plan_row(plan: PlanAggregate) -> Sequence[object]:
    failed = plan.count(TaskStatus.FAILED) + plan.count(TaskStatus.ROLLBACK_FAILED)
    return (
        plan.plan_id,
        plan.status,
        f"{plan.completed}/{plan.total}",
        failed,
        plan.count(TaskStatus.ROLLED_BACK),
        plan.occupied_slots,
        plan.count(TaskStatus.PENDING) + plan.count(TaskStatus.RESUMING),
        plan.count(TaskStatus.PAUSED),
        moment(plan.created_at),
        moment(plan.ended_at),
        plan.name or "",
    )


def plan(place: Place, plan_id: PlanArgument, output: Output = Format.TABLE) -> ExitCode:
    """Show one plan."""

    async def work() -> ExitCode:
        async with place.connect("read") as executor:
            if output is not Format.TABLE:
                info = await executor.facade.query_plan_status(plan_id)
                _write(info.to_dict(), output)
                return _known(place, info.found, info.failure_info)
            found = await executor.store.load_plan(PlanId(plan_id))
            if found is None:
                raise CommandError(place.with_place(executor.facade.unknown_plan(plan_id).message))
            line = await executor.store.load_line()
            write_details(_plan_details(found))
            if line is not None and not found.status.is_settled:
                print(_standing_still(line))
            print(f"its tasks: {place.command('get', 'tasks', str(plan_id))}")
        return ExitCode.DONE

    return run_async(work())


def _plan_details(found: PlanAggregate) -> list[tuple[str, object]]:
    rules = found.rules
    counts = ", ".join(f"{found.count(status):,} {word}" for status, word in WORDS if found.count(status))
    return [
        ("plan", found.plan_id),
        ("name", found.name),
        ("labels", ", ".join(f"{name}={value}" for name, value in found.labels.items())),
        ("status", found.status),
        ("pending", found.pending_operation),
        ("tasks", f"{found.total:,}: {counts}"),
        ("stages", ", ".join(str(service.get("name", "")) for service in rules.services)),
        ("concurrency", f"{rules.max_concurrency} at once"),
        ("on conflict", rules.on_conflict),
        ("on failure", on_failure(automatic=rules.on_failure is OnFailure.AUTO, retries=rules.max_retry)),
        ("created", _at(found.created_at)),
        ("started", _at(found.started_at)),
        ("ended", _at(found.ended_at)),
        ("updated", _at(found.updated_at)),
        ("failure", None if found.failure_info is None else found.failure_info.message),
    ]


# --- tasks ---------------------------------------------------------------------------------------------------------


def tasks(
    place: Place,
    *,
    plan_id: PlanArgument,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help="Only tasks in this status; may be given more than once."),
    ] = None,
    limit: Limit = None,
    after: Annotated[str, typer.Option("--after", metavar="TASK", help="Only tasks behind this one.")] = "0",
    output: Output = Format.TABLE,
) -> ExitCode:
    """Show the tasks of a plan, in its order."""
    statuses = _statuses(status or [])
    place_in_plan = _ordinal(plan_id, after)

    async def work() -> ExitCode:
        from switchover.dto import TaskStatusInfo

        async with place.connect("read") as executor:
            if await executor.store.load_plan(PlanId(plan_id)) is None:
                raise CommandError(place.with_place(executor.facade.unknown_plan(plan_id).message))
            if output is not Format.TABLE:
                found = _tasks(executor, plan_id, statuses, place_in_plan, limit)
                await write_all((TaskStatusInfo.of(task).to_dict() async for task in found), output)
                return ExitCode.DONE
            most = _MOST_ROWS if limit is None else limit
            page = [task async for task in _tasks(executor, plan_id, statuses, place_in_plan, most + 1)]
            if not page:
                print("there is no such task")
                return ExitCode.DONE
            write_tasks(page[:most], place)
            if len(page) > most:
                words = [word for name in sorted(statuses or ()) for word in ("--status", str(name))]
                last = page[most - 1].task_id
                print(f"more: {place.command('get', 'tasks', str(plan_id), *words, '--after', last)}")
        return ExitCode.DONE

    return run_async(work())


def write_tasks(found: Sequence[TaskAggregate], place: Place) -> None:
    """A row per task."""
    write_table(TASK_COLUMNS, [_task_row(task, place) for task in found])


async def _tasks(
    executor: "Service", plan_id: int, statuses: frozenset[TaskStatus] | None, after: int, limit: int | None
) -> AsyncIterator[TaskAggregate]:
    left = limit
    while left is None or left > 0:
        page = await executor.store.list_tasks(
            PlanId(plan_id), statuses=statuses, after=after, limit=min(_PAGE, _PAGE if left is None else left)
        )
        for task in page:
            yield task
        if not page:
            return
        after = page[-1].key.ordinal
        left = None if left is None else left - len(page)


def _statuses(names: Sequence[str]) -> frozenset[TaskStatus] | None:
    found: set[TaskStatus] = set()
    for name in (part.strip().upper() for text in names for part in text.split(",")):
        if name not in TaskStatus.__members__:
            known = ", ".join(TaskStatus)
            raise CommandError(f"--status {name}: there is no such status; there are {known}", ExitCode.USAGE)
        found.add(TaskStatus(name))
    return frozenset(found) if names else None


def _ordinal(plan_id: int, after: str) -> int:
    if after.isascii() and after.isdigit():
        return int(after)
    key = TaskKey.parse(after)
    if key is None or key.plan_id != plan_id:
        raise CommandError(f"--after {after}: that is no task of plan {plan_id}", ExitCode.USAGE)
    return key.ordinal


def _task_row(task: TaskAggregate, place: Place) -> Sequence[object]:
    failure = task.failure_info
    return (
        task.task_id,
        task.tenant_id,
        task.status,
        task.current_stage or "",
        f"{task.completed_stages}/{task.total_stages}",
        task.retry_count or "",
        "held" if task.held else task.pending_operation or "",
        moment(task.updated_at),
        "" if failure is None else f"{failure.error_code}: {place.with_place(failure.message)}",
    )


def task(place: Place, task_id: TaskArgument, output: Output = Format.TABLE) -> ExitCode:
    """Show one task."""

    async def work() -> ExitCode:
        async with place.connect("read") as executor:
            info = await executor.facade.query_task_status(task_id)
            if output is not Format.TABLE:
                _write(info.to_dict(), output)
                return _known(place, info.found, info.failure_info)
            key = TaskKey.parse(task_id)
            found = await executor.store.load_tasks([key]) if key is not None else ()
            if not found:
                return _known(place, False, info.failure_info)
            write_details(_task_details(found[0].task, place))
            print()
            write_table(_STAGE_COLUMNS, [_stage_row(found[0].task, index) for index in range(len(found[0].task.marks))])
        return ExitCode.DONE

    return run_async(work())


_STAGE_COLUMNS = (Column("STAGE"), Column("STATE"))


def _task_details(task: TaskAggregate, place: Place) -> list[tuple[str, object]]:
    failure = task.failure_info
    point = None if failure is None else failure.failed_at
    where = "" if point is None else f"stage {point.stage}" + (f", step {point.step}" if point.step else "")
    return [
        ("task", task.task_id),
        ("tenant", task.tenant_id),
        ("plan", task.plan_id),
        ("status", task.status),
        ("held", "before its first stage" if task.held else None),
        ("pending", task.pending_operation),
        ("stages", f"{task.completed_stages} of {task.total_stages} done"),
        ("current stage", task.current_stage),
        ("retries", task.retry_count or None),
        ("generation", task.generation or None),
        ("created", _at(task.created_at)),
        ("started", _at(task.started_at)),
        ("ended", _at(task.ended_at)),
        ("updated", _at(task.updated_at)),
        ("failure", None if failure is None else f"{failure.error_code} ({failure.error_type})"),
        ("failed at", where),
        ("message", None if failure is None else place.with_place(failure.message)),
    ]


_MARKS = (
    (StageMark.RESTORED, "restored"),
    (StageMark.RESTORE_FAILED, "not restored"),
    (StageMark.SKIPPED, "skipped"),
    (StageMark.COMPLETED, "done"),
)


def _stage_row(task: TaskAggregate, index: int) -> Sequence[str]:
    name, mark = task.stage_names[index], task.marks[index]
    state = next((word for flag, word in _MARKS if mark & flag), "")
    if not state and name == task.current_stage:
        state = {
            TaskStatus.FAILED: "failed",
            TaskStatus.RUNNING: "runs",
            TaskStatus.ROLLING_BACK: "is being restored",
        }.get(task.status, "next")
    return name, state or ("started" if mark & StageMark.STARTED else "not started")


# --- tenants -------------------------------------------------------------------------------------------------------


def tenant(place: Place, tenant_id: TenantArgument, output: Output = Format.TABLE) -> ExitCode:
    """Show a tenant: lock, queue, hold, generation, last known good, newest task."""

    async def work() -> ExitCode:
        async with place.connect("read") as executor:
            info = await executor.facade.query_tenant(tenant_id)
            if output is not Format.TABLE:
                _write(info.to_dict(), output)
                return _known(place, info.found, info.failure_info)
            if not info.found:
                return _known(place, False, info.failure_info)
            newest = None
            if info.newest is not None:
                newest = await executor.facade.query_task_status(info.newest)
            good = info.last_known_good
            write_details(
                [
                    ("tenant", info.tenant_id),
                    ("lock", "free" if info.owner is None else f"held by task {info.owner}"),
                    ("waiting", f"{info.waiting} tasks" if info.waiting else None),
                    ("hold", None if info.hold is None else f"since {moment(info.hold.since)} UTC: {info.hold.reason}"),
                    ("generation", str(info.generation)),
                    ("newest task", None if newest is None else f"{newest.task_id} {newest.status}"),
                    (
                        "last known good",
                        "none is recorded"
                        if good is None
                        else f"deploy unit {good['deployUnitId']}, version {good['deployUnitVersion']}"
                        + (f", {good['deployUnitName']}" if good["deployUnitName"] else ""),
                    ),
                ]
            )
        return ExitCode.DONE

    return run_async(work())


def history(place: Place, tenant_id: TenantArgument, limit: Limit = None, output: Output = Format.TABLE) -> ExitCode:
    """Show a tenant's tasks, the newest first."""

    async def work() -> ExitCode:
        from switchover.dto import TaskStatusInfo

        async with place.connect("read") as executor:
            most = _MOST_ROWS if limit is None else limit
            found = await executor.store.tenant_history(TenantId(tenant_id), most)
            if not found:
                tenant = await executor.facade.query_tenant(tenant_id)
                if not tenant.found:
                    return _known(place, False, tenant.failure_info)
            if output is not Format.TABLE:
                infos = [TaskStatusInfo.of(task).to_dict() for task in found]
                if output is Format.JSON:
                    write_json(infos)
                else:
                    for info in infos:
                        write_line(info)
                return ExitCode.DONE
            if not found:
                print(f"tenant {tenant_id} has no tasks yet")
                return ExitCode.DONE
            write_tasks(found, place)
        return ExitCode.DONE

    return run_async(work())


# --- why -----------------------------------------------------------------------------------------------------------


def explain(place: Place, task_id: TaskArgument, output: Output = Format.TABLE) -> ExitCode:
    """Say why a task stands where it stands: the one cause, and the next move."""

    async def work() -> ExitCode:
        async with place.connect("read") as executor:
            found = await executor.facade.explain_task(task_id)
            if found is None:
                info = await executor.facade.query_task_status(task_id)
                if output is not Format.TABLE:
                    _write(info.to_dict(), output)
                return _known(place, False, info.failure_info)
            if output is not Format.TABLE:
                _write(found.to_dict(), output)
                return ExitCode.DONE
            write_details(
                [
                    ("task", found.task_id),
                    ("tenant", found.tenant_id),
                    ("status", found.status),
                    ("cause", found.cause),
                    ("reason", place.with_place(found.reason)),
                    ("next move", place.with_place(found.next_move)),
                ],
                to=console(),
            )
        return ExitCode.DONE

    return run_async(work())


# --- inside --------------------------------------------------------------------------------------------------------


def _write(value: object, output: Format) -> None:
    (write_json if output is Format.JSON else write_line)(value)


def _known(place: Place, found: bool, failure: "FailureInfo | None") -> ExitCode:
    if found:
        return ExitCode.DONE
    message = "that id is unknown" if failure is None else place.with_place(failure.message)
    raise CommandError(message)


def _at(value: object) -> str | None:
    from datetime import datetime

    return f"{moment(value)} UTC" if isinstance(value, datetime) else None
