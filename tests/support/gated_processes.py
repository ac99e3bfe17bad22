"""
Processes that share one store and run the same stages, which wait for gates that a test opens.

What a stage does is written down in files, with the process and the generation that did it: see ``driving_program``.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from switchover import ExecutorSettings
from switchover.bootstrap import Executor, open_executor
from tests.support.driving_program import STAGES, in_file, stages_of
from tests.support.event_grammar import assert_legal_log
from tests.support.processes import Program, running, wait_until

PLAN = 5


@contextmanager
def driver(repository: Path, folder: Path, number: int = 1, url: str | None = None) -> Iterator[Program]:
    """Another process that drives the store, or waits for the chance to."""
    argv: list[str | Path] = [sys.executable, "-m", "tests.support.driving_program", folder, url or in_file(folder)]
    with running(argv, log=folder / f"driver-{number}.log", cwd=repository) as program:
        wait_until(lambda: str(program.pid) in opened(folder), timeout_seconds=60, what="the driver")
        yield program


@asynccontextmanager
async def executor(folder: Path, url: str | None = None) -> AsyncIterator[Executor]:
    """This process, over the same store."""
    async with open_executor(
        url or in_file(folder),
        settings=ExecutorSettings(),
        stage_factory=lambda config: stages_of(folder, config),
        grace_seconds=0,
    ) as opened_here:
        yield opened_here


def opened(folder: Path) -> dict[str, str]:
    """Who drove and who followed when it opened the store, by process id."""
    path = folder / "opened"
    return dict(line.split(maxsplit=1) for line in path.read_text().splitlines()) if path.exists() else {}


def configs(*tenants: str) -> list[dict[str, Any]]:
    """What is to be switched."""
    return [
        {
            "tenantId": tenant,
            "deployUnitId": 2,
            "deployUnitVersion": 42,
            "sourceTenantDeployConfig": {"tenantId": tenant, "deployUnitId": 1, "deployUnitVersion": 41},
        }
        for tenant in tenants
    ]


def open_gate(folder: Path, name: str) -> None:
    """Let ``<tenant>.<stage>``, or ``all``, come to an end."""
    (folder / "gates" / name).touch()


def executions(folder: Path) -> list[tuple[str, str, int, int, str]]:
    """Tenant, stage, generation, process and moment of everything that ran, in the order of time."""
    path = folder / "executions"
    lines = path.read_text().splitlines() if path.exists() else []
    fields = [line.split() for line in lines]
    return [(tenant, stage, int(generation), int(pid), moment) for tenant, stage, generation, pid, moment in fields]


def began(folder: Path, tenant: str, stage: str, generation: int) -> bool:
    """Whether this was seen to begin."""
    return any(seen[:3] == (tenant, stage, generation) and seen[4] == "begin" for seen in executions(folder))


def assert_generations_never_interleave(folder: Path) -> None:
    """Once a higher generation of a tenant has touched the target, no lower one does; and each has one process."""
    highest: dict[str, int] = {}
    owners: dict[tuple[str, int], int] = {}
    for tenant, _, generation, pid, _ in executions(folder):
        assert generation >= highest.get(tenant, 0), executions(folder)
        highest[tenant] = generation
        assert owners.setdefault((tenant, generation), pid) == pid, executions(folder)


async def assert_sound(here: Executor, plan_id: int = PLAN) -> None:
    """The log is legal and whole, and the store agrees with itself."""
    log = [event async for event in here.events(plan_id, follow=False)]
    assert_legal_log(log, stages=list(STAGES))
    assert [event.position for event in log] == list(range(1, len(log) + 1))
    assert list(await here.store.check()) == []


async def until(condition: Any) -> None:  # noqa: ANN401  # a callable, awaited or not
    """A fact that another process brings about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
