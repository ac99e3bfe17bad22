"""
A program to be killed: three tenants over SQLite and file targets, one that fails and is retried, one rolled back.

It knows where it stands from the store alone, so that any number of its lives does what one would have done. ``serve``
keeps everything imported and gives each life a process of its own by fork: a life costs milliseconds, and is as real.

::

    python -m tests.support.crash_program serve     # a JSON object a line: Life; answers the exit status

What a life does to the outside it also writes to ``executions``, one line at a time, appended in one system call.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from switchover import ExecutorSettings, TenantDeployConfig
from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.bootstrap import Executor, open_executor
from switchover.domain.stage import StageStep, TaskRuntimeContext, TaskStage
from switchover.domain.task import PlanId, TaskAggregate, TaskStatus, TenantId
from switchover.domain.wire import config_to_dict
from switchover.errors import StepError
from switchover.spi import Entry
from switchover.stages.config_update import ConfigUpdateStep
from switchover.stages.service import CompositeServiceStage
from switchover.testing.fakes import FaultyStore

PLAN = 7
TENANTS = ("a", "b", "c")
STAGES = ("gateway", "routing", "billing")
FAILING, BACK = "b", "c"
"""Tenant b fails in its second stage until it is repaired; c is rolled back when all is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """
    One process.

    Attributes:
        before, after: Kill itself right before, or right after, the commit with this number.
        tenants: How many more tenants take part, with steps that do nothing.
        kill_at_done: Kill itself when so many tasks are settled.
    """

    folder: str
    before: int = 0
    after: int = 0
    tenants: int = 0
    kill_at_done: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """Writes down that it ran; fails where the script says so."""

    folder: Path
    name: str = "record"

    async def execute(self, context: TaskRuntimeContext) -> None:
        direction = "back" if context.rolling_back else "forth"
        append(self.folder / "executions", f"{context.task_id} {context.stage} {direction} {context.generation}")
        failing = context.tenant_id == FAILING and context.stage == STAGES[1] and not context.rolling_back
        if failing and not (self.folder / "repaired").exists():
            message = "the new unit does not come up"
            raise StepError(message)


def append(path: Path, line: str) -> None:
    """Append a line at once: a process that is killed leaves whole lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (line + "\n").encode())
    finally:
        os.close(descriptor)


def stages_of(folder: Path) -> Sequence[TaskStage]:
    """Three services: two in a map file, one in a file for each tenant."""
    value = {"unit": "{deployUnitId}", "version": "{deployUnitVersion}"}

    def stage(name: str) -> TaskStage:
        target = f"file://{folder}/routing/" if name == STAGES[1] else f"file://{folder}/map.json"
        field = None if name == STAGES[1] else name
        steps: Sequence[StageStep] = (
            ConfigUpdateStep(target=target, key="{tenantId}", field=field, value=value),
            Record(folder),
        )
        return CompositeServiceStage(name, steps)

    return [stage(name) for name in STAGES]


def prepare(folder: Path) -> None:
    """The world before the switch: odd on purpose, so that only a restored byte looks right."""
    (folder / "routing").mkdir(parents=True)
    (folder / "map.json").write_text('{\n  "a": {"gateway": {"unit":  "1"}},\n "c":{"billing":4.10, "x": "y"}\n}\n')
    (folder / "routing" / "c.json").write_text('{ "unit" : 1 }\n')


def configs(more: int = 0) -> list[dict[str, Any]]:
    """The tenants of the script, and as many others as wanted."""
    return [
        {
            "tenantId": tenant,
            "deployUnitId": 2,
            "deployUnitVersion": 42,
            "sourceTenantDeployConfig": {"tenantId": tenant, "deployUnitId": 1, "deployUnitVersion": 41},
        }
        for tenant in (*TENANTS, *(f"t{number}" for number in range(more)))
    ]


def _die(*unused: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killing_store(life: Life) -> FaultyStore:
    """The store of a life, with its death in it."""
    done = 0

    def before(number: int, batch: Sequence[Entry]) -> None:
        if number == life.before:
            _die()

    def after(number: int, batch: Sequence[Entry]) -> None:
        nonlocal done
        done += sum(task.status.is_settled for entry in batch for task in entry.tasks)
        if number == life.after or (life.kill_at_done and done >= life.kill_at_done):
            _die()

    inner = SqliteExecutionStore(Path(life.folder) / "switchover.db")
    return FaultyStore(inner=inner, before=before, after=after)


async def live(life: Life) -> None:
    """Go on from wherever the last life ended."""
    folder = Path(life.folder)
    settings = ExecutorSettings(step_timeout_seconds=30)

    def stages(config: TenantDeployConfig) -> Sequence[TaskStage]:
        if config.tenant_id in TENANTS:
            return stages_of(folder)
        return [CompositeServiceStage(name, (Nothing(),)) for name in STAGES]

    started = time.monotonic()
    store = killing_store(life)
    async with open_executor("", settings=settings, stage_factory=stages, store=store) as executor:
        (folder / "opened").write_text(str(time.monotonic() - started))
        await script(executor, folder, life)
    (folder / "commits").write_text(str(store.commits))


async def script(executor: Executor, folder: Path, life: Life) -> None:
    """Create, repair, retry, roll back: each only where it is still to be done."""
    facade = executor.facade
    options = {"planId": PLAN, "maxConcurrency": 64 if life.tenants else 2}
    created = await facade.create_switch_task(configs(life.tenants), options=options, idempotency_key="once")
    assert created.success, created
    await executor.wait_for_plan(PLAN)
    if not (folder / "repaired").exists():
        append(folder / "repaired", "yes")
    failing = await facade.query_task_status_by_tenant(FAILING)
    if failing.status is TaskStatus.FAILED:
        retried = await facade.retry_task_by_tenant(FAILING, True)
        assert retried.success, retried
        await executor.wait_for_plan(PLAN)
    back = await facade.query_task_status_by_tenant(BACK)
    if back.status is TaskStatus.COMPLETED:
        undone = await facade.rollback_task_by_tenant(BACK)
        assert undone.success, undone
        await executor.wait_for_plan(PLAN)


@dataclass(frozen=True, slots=True)
class Nothing:
    """A step that is done at once."""

    name: str = "nothing"

    async def execute(self, context: TaskRuntimeContext) -> None:
        del context


# --- what is left ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """
    What a run left behind.

    Attributes:
        state: What must be the same, however often the process died.
        events: Of the plan and its tasks, in the wire form.
        executions: Task, stage, direction and generation of every stage that ran, in order.
        problems: What the store's own check found.
    """

    state: dict[str, Any]
    events: list[dict[str, Any]]
    executions: list[tuple[str, str, str, int]]
    problems: list[str]


def remains(folder: Path) -> Remains:
    """Look at what is there; no process drives it any more."""
    return asyncio.run(_remains(folder))


async def _remains(folder: Path) -> Remains:
    store = SqliteExecutionStore(folder / "switchover.db")
    await store.open()
    try:
        plan = await store.load_plan(PlanId(PLAN))
        assert plan is not None
        tasks = await store.list_tasks(PlanId(PLAN), statuses=None, after=0, limit=100_000)
        tenants = await store.load_tenants([TenantId(task.tenant_id) for task in tasks])
        events: list[dict[str, Any]] = []
        while page := await store.load_events(PlanId(PLAN), len(events), 10_000):
            events.extend(event.to_dict() for event in page)
        state = {
            "plan": (plan.status, plan.run, plan.unsettled, plan.idle, plan.touched, _counts(plan.counts)),
            "tasks": [_seen(task) for task in tasks],
            "tenants": {
                name: (
                    tenant.owner,
                    tenant.waiting,
                    tenant.hold,
                    None if tenant.last_known_good is None else config_to_dict(tenant.last_known_good),
                )
                for name, tenant in tenants.items()
            },
            "pre-images": [
                [
                    (stage, image.key.replace(str(folder), ""), image.value)
                    for stage in STAGES
                    for image in await store.load_pre_images(task.key, stage)
                ]
                for task in tasks[: len(TENANTS)]
            ],
            "map": (folder / "map.json").read_bytes(),
            "files": {path.name: path.read_bytes() for path in sorted((folder / "routing").glob("*.json"))},
        }
        driver = await store.driver()
        assert driver is not None
        assert not driver.alive
        problems = list(await store.check())
    finally:
        await store.aclose()
    lines = (folder / "executions").read_text().splitlines()
    executions = [(task, stage, way, int(generation)) for task, stage, way, generation in map(str.split, lines)]
    return Remains(state=state, events=events, executions=executions, problems=problems)


def _counts(counts: Any) -> dict[str, int]:  # noqa: ANN401  # a mapping from statuses
    return {str(status): count for status, count in sorted(counts.items()) if count}


def _seen(task: TaskAggregate) -> tuple[object, ...]:
    failure = None if task.failure_info is None else task.failure_info.message
    pending = task.pending_operation
    return (task.task_id, task.tenant_id, task.status, task.marks, task.retry_count, pending, task.lock_held, failure)


# --- many lives -----------------------------------------------------------------------------------------------------


def serve() -> None:
    """Give each line's life a process, and say how it ended: 0, or minus the signal."""
    for line in sys.stdin:
        life = Life(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            code = 1
            with contextlib.suppress(BaseException):
                code = _one_life(life)
            os._exit(code)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _one_life(life: Life) -> int:
    random.seed(os.getpid())
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        asyncio.run(live(life))
    except BaseException as error:
        print(f"a life ended with {error!r}", file=sys.stderr, flush=True)
        raise
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["live", text]:
            _one_life(Life(**json.loads(text)))
        case _:
            sys.exit(f"usage: {sys.argv[0]} serve | live {json.dumps([f.name for f in dataclasses.fields(Life)])}")
