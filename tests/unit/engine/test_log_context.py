"""Every line says whose run it comes from, and never that of the run that only gave the reason for it."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from switchover import CompositeServiceStage, TaskRuntimeContext, TenantDeployConfig, open_executor
from switchover.domain.stage import TaskStage
from switchover.logs import CURRENT_RUN, Line, get_log, run_values
from tests.support.harness import config_of

_log = get_log("tests.own")


class Lines(logging.Handler):
    """What was told, with what each line says about its run."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, dict[str, Any]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        line: object = record.msg
        if isinstance(line, Line):
            self.told.append((line.event, dict(line.values)))
        else:
            self.told.append((record.getMessage(), dict(run_values())))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [values for told, values in self.told if told == event]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("tests")
    logger.addHandler(handler)
    before, level = logger.level, logging.DEBUG
    logger.setLevel(level)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)


def _about(tenant: str, number: int, **more: object) -> dict[str, Any]:
    return {"plan_id": 7, "task_id": f"7-{number}", "tenant_id": tenant, "generation": 1, **more}


@dataclass(frozen=True)
class Telling:
    name: str

    async def execute(self, context: TaskRuntimeContext) -> None:
        _log.info("ours", detail=1)
        logging.getLogger("tests.foreign").info("a library's")
        await asyncio.gather(self._inner(), asyncio.to_thread(_log.info, "from a thread"))
        get_log("tests.own").bind(task_id="9-9").info("about another task")

    async def _inner(self) -> None:
        await asyncio.sleep(0)
        _log.info("from a task of the step")


async def test_lines_of_a_step_name_plan_task_tenant_generation_stage_and_step(lines: Lines) -> None:
    def stages(config: TenantDeployConfig) -> Sequence[TaskStage]:
        return [CompositeServiceStage("A", [Telling("first"), Telling("second")])]

    async with open_executor("memory://", stage_factory=stages) as executor:
        await executor.facade.create_switch_task([config_of("t1")], options={"planId": 7})
        await executor.wait_for_plan(7)
    whole = [_about("t1", 1, stage="A", step=step) for step in ("first", "second")]
    assert lines.of("ours") == [{"detail": 1, **one} for one in whole]
    for event in ("a library's", "from a thread", "from a task of the step"):
        assert lines.of(event) == whole, event
    assert lines.of("about another task") == [{"task_id": "9-9"}] * 2
    assert CURRENT_RUN.get() is None


@dataclass(frozen=True)
class Asking:
    """A step that asks for something about another tenant: what follows is that tenant's."""

    executors: list[Any]
    name: str = "asks"

    async def execute(self, context: TaskRuntimeContext) -> None:
        _log.info("runs", mine=context.tenant_id)
        if context.tenant_id == "t1":
            await self.executors[0].facade.resume_task_by_tenant("t3")


async def test_what_one_run_gives_the_reason_for_is_not_logged_as_its_own(lines: Lines) -> None:
    executors: list[Any] = []

    def stages(config: TenantDeployConfig) -> Sequence[TaskStage]:
        # Called when a task is about to start: because another one has ended, or has asked for it.
        _log.info("stages are made", mine=config.tenant_id)
        return [CompositeServiceStage("A", [Asking(executors)])]

    async with open_executor("memory://", stage_factory=stages) as executor:
        executors.append(executor)
        facade = executor.facade
        await facade.stop_line("so that all is ready before anything starts")
        configs = [config_of(tenant) for tenant in ("t1", "t2", "t3")]
        await facade.create_switch_task(configs, options={"planId": 7, "maxConcurrency": 1})
        await facade.pause_task_by_tenant("t3")
        lines.told.clear()  # the validation has asked for the stages, too
        await facade.start_line()
        await executor.wait_for_plan(7)
    made = lines.of("stages are made")
    assert sorted(values["mine"] for values in made) == ["t1", "t2", "t3"]
    assert [values for values in made if "task_id" in values] == []
    assert sorted(lines.of("runs"), key=lambda values: values["task_id"]) == [
        {"mine": tenant, **_about(tenant, number, stage="A", step="asks")}
        for number, tenant in enumerate(("t1", "t2", "t3"), start=1)
    ]


async def test_a_line_about_a_task_that_does_not_run_names_it_in_full(caplog: pytest.LogCaptureFixture) -> None:
    broken = False

    def stages(config: TenantDeployConfig) -> Sequence[TaskStage]:
        if broken:
            raise RuntimeError("on purpose")
        return [CompositeServiceStage("A", [Telling("first")])]

    async with open_executor("memory://", stage_factory=stages) as executor:
        await executor.facade.stop_line("so that it is created, and not started")
        await executor.facade.create_switch_task([config_of("t1")], options={"planId": 7})
        broken = True
        await executor.facade.start_line()
        await executor.wait_for_plan(7)
    told = [record.msg for record in caplog.records if "cannot be made" in record.getMessage()]
    assert [line.values for line in told if isinstance(line, Line)] == [
        {"plan_id": 7, "task_id": "7-1", "tenant_id": "t1", "generation": 0, "error": "RuntimeError: on purpose"}
    ]
