"""Databases that cannot be used, through the library: a paragraph with the place and the next move, nothing changed."""
# ruff: noqa: ASYNC240  # files are read and written before anything runs, or to disturb what runs

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from switchover import ExecutorSettings, PlanStatus, TenantDeployConfig
from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.bootstrap import Executor, open_executor
from switchover.domain.stage import StageStep, TaskRuntimeContext, TaskStage
from switchover.errors import StorageError, StoreUnavailableError, StoreUnusableError
from switchover.stages.service import CompositeServiceStage
from tests.support.small_disk import fill, small_disk

PLAN = 9
STAGES = ("one", "two")


class Gate:
    """A step that waits until it may go on."""

    name = "gate"

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.executions: list[tuple[str, str]] = []

    async def execute(self, context: TaskRuntimeContext) -> None:
        self.executions.append((context.tenant_id, context.stage))
        await self.opened.wait()


def stages(gate: Gate | None = None) -> Any:  # noqa: ANN401  # a stage factory
    steps: Sequence[StageStep] = (gate or Gate(),)

    def factory(config: TenantDeployConfig) -> Sequence[TaskStage]:
        return [CompositeServiceStage(name, steps) for name in STAGES]

    return factory


def configs(count: int = 2) -> list[dict[str, Any]]:
    return [{"tenantId": f"t{n}", "deployUnitId": 2, "deployUnitVersion": 42} for n in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def refusal(path: Path, *, busy_timeout_seconds: float = 10.0) -> StorageError:
    """What opening says; it must not come to life."""
    store = SqliteExecutionStore(path, busy_timeout_seconds=busy_timeout_seconds)
    with pytest.raises(StorageError) as caught:
        async with open_executor("", store=store, stage_factory=stages()):
            pytest.fail("it opened")
    return caught.value


def assert_one_paragraph(error: StorageError, place: Path) -> None:
    """The place, what is wrong, and after it what to do."""
    message = error.message
    assert str(place) in message
    assert "\n" not in message
    assert 60 < len(message) < 600, message
    assert any(
        word in message
        for word in (
            "name another",
            "name a file",
            "create it",
            "Correct",
            "correct",
            "use the",
            "Find out",
            "Make room",
            "restore",
            "Look at",
            "See that",
        )
    ), message


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A database that a run has left behind."""
    path = tmp_path / "place" / "switchover.db"
    path.parent.mkdir()

    async def run() -> None:
        gate = Gate()
        gate.opened.set()
        async with open_executor(f"sqlite:///{path}", stage_factory=stages(gate)) as executor:
            await executor.facade.create_switch_task(configs(), options={"planId": 1})
            await executor.wait_for_plan(1)

    asyncio.run(run())
    return path


async def test_a_text_file_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and I want to keep them\n" * 100)
    before = contents(tmp_path)
    error = await refusal(path)
    assert isinstance(error, StoreUnusableError)
    assert_one_paragraph(error, path)
    assert contents(tmp_path) == before


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    before = contents(tmp_path)
    error = await refusal(path)
    assert isinstance(error, StoreUnusableError)
    assert "another program" in error.message
    assert_one_paragraph(error, path)
    assert contents(tmp_path) == before


async def test_a_newer_schema_is_left_to_the_newer_program(used: Path) -> None:
    connection = sqlite3.connect(used)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = contents(used.parent)
    error = await refusal(used)
    assert isinstance(error, StoreUnusableError)
    assert "newer" in error.message
    assert_one_paragraph(error, used)
    assert contents(used.parent) == before


async def test_a_damaged_database_is_not_written_to(used: Path) -> None:
    size = used.stat().st_size
    damaged = used.read_bytes()
    used.write_bytes(damaged[:4096] + b"\xa5" * (size - 4096))
    before = used.read_bytes()
    error = await refusal(used)
    assert isinstance(error, StoreUnusableError)
    assert_one_paragraph(error, used)
    assert used.read_bytes() == before


async def test_a_directory_is_no_database(tmp_path: Path) -> None:
    error = await refusal(tmp_path)
    assert isinstance(error, StoreUnusableError)
    assert_one_paragraph(error, tmp_path)
    assert not list(tmp_path.iterdir())


async def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "switchover.db"
    error = await refusal(path)
    assert isinstance(error, StoreUnusableError)
    assert_one_paragraph(error, path)
    assert not list(tmp_path.iterdir())


# --- read-only -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() == 0, reason="for root every file is writable")
async def test_a_file_without_write_permission(used: Path) -> None:  # pragma: no cover  # not as root
    used.chmod(0o444)
    error = await refusal(used)
    assert isinstance(error, StoreUnusableError)
    assert_one_paragraph(error, used)


async def test_a_read_only_disk(used: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="4m") as disk:
        path = disk / "switchover.db"
        shutil.copy(used, path)
        remount(disk, "ro")
        before = contents(disk)
        error = await refusal(path)
        assert isinstance(error, StoreUnusableError)
        assert_one_paragraph(error, path)
        assert contents(disk) == before


# --- locked by a foreign program -----------------------------------------------------------------------------------


async def test_a_database_that_a_foreign_program_keeps_locked_cannot_be_opened(used: Path) -> None:
    foreign = sqlite3.connect(used, isolation_level=None)
    foreign.execute("PRAGMA locking_mode = EXCLUSIVE")
    foreign.execute("BEGIN EXCLUSIVE")
    foreign.execute("COMMIT")
    error = await refusal(used, busy_timeout_seconds=0.2)
    assert isinstance(error, StoreUnavailableError)
    assert_one_paragraph(error, used)
    foreign.close()
    async with open_executor(f"sqlite:///{used}", stage_factory=stages()) as executor:
        assert (await executor.facade.query_plan_status(1)).status is PlanStatus.COMPLETED


async def test_a_foreign_lock_delays_what_runs_and_loses_nothing(used: Path) -> None:
    gate = Gate()
    store = SqliteExecutionStore(used, busy_timeout_seconds=0.05)
    async with open_executor("", store=store, stage_factory=stages(gate), grace_seconds=0) as executor:
        await executor.facade.create_switch_task(configs(), options={"planId": PLAN})
        await until(lambda: len(gate.executions) == 2)
        foreign = sqlite3.connect(used, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        gate.opened.set()
        await until(lambda: attempts(executor) >= 2)
        assert (await executor.facade.query_plan_status(PLAN)).status is PlanStatus.RUNNING, "it can be read"
        foreign.execute("ROLLBACK")
        foreign.close()
        assert (await executor.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED
        assert sorted(gate.executions) == sorted((f"t{n}", stage) for n in range(2) for stage in STAGES)
        assert list(await store.check()) == []


# --- a full disk ---------------------------------------------------------------------------------------------------


async def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="64k") as disk:
        fill(disk)
        path = disk / "switchover.db"
        error = await refusal(path)
        assert isinstance(error, StoreUnavailableError)
        assert_one_paragraph(error, path)
        assert not any(data for name, data in contents(disk).items() if name != "ballast")
        (disk / "ballast").unlink()
        remount(disk, "size=4m")
        async with open_executor(f"sqlite:///{path}", stage_factory=stages()) as executor:
            assert executor.driving


async def test_a_disk_that_becomes_full_delays_what_runs_and_refuses_what_is_new(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="2m") as disk:
        gate = Gate()
        path = disk / "switchover.db"
        settings = ExecutorSettings(max_concurrency=2)
        async with open_executor(
            f"sqlite:///{path}", settings=settings, stage_factory=stages(gate), grace_seconds=0
        ) as executor:
            await executor.facade.create_switch_task(configs(), options={"planId": PLAN})
            await until(lambda: len(gate.executions) == 2)
            fill(disk)
            gate.opened.set()
            await until(lambda: attempts(executor) >= 1)
            plan = await executor.facade.query_plan_status(PLAN)
            assert plan.status is PlanStatus.RUNNING
            (disk / "ballast").unlink()
            assert (await executor.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED
            assert sorted(gate.executions) == sorted((f"t{n}", stage) for n in range(2) for stage in STAGES)
            assert list(await executor.store.check()) == []
        async with open_executor(f"sqlite:///{path}", stage_factory=stages()) as executor:
            assert (await executor.facade.query_plan_status(PLAN)).status is PlanStatus.COMPLETED


async def test_a_plan_that_does_not_fit_on_the_disk_is_created_whole_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="2m") as disk:
        gate = Gate()
        gate.opened.set()
        path = disk / "switchover.db"
        async with open_executor(f"sqlite:///{path}", stage_factory=stages(gate), grace_seconds=0) as executor:
            fill(disk)
            created = asyncio.ensure_future(
                executor.facade.create_switch_task(configs(2_000), options={"planId": PLAN})
            )
            await until(lambda: attempts(executor) >= 1)
            assert not (await executor.facade.query_plan_status(PLAN)).found
            assert not gate.executions, "nothing runs before it is durable"
            (disk / "ballast").unlink()
            remount(disk, "size=64m")
            assert (await created).success
            assert (await executor.wait_for_plan(PLAN)).status is PlanStatus.COMPLETED


# --- tools ---------------------------------------------------------------------------------------------------------


def attempts(executor: Executor) -> int:
    """How many commits found the store away."""
    driver = executor._driver
    assert driver is not None
    return driver.commits.health.failed_attempts


async def until(condition: Any) -> None:  # noqa: ANN401  # a callable
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
