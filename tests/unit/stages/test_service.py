import pytest

from switchover.domain.stage import StageStep, TaskRuntimeContext, TaskStage
from switchover.domain.task import TaskView
from switchover.stages.service import CompositeServiceStage, PreviousConfigRollback
from tests.support.stages import Bench


class Recorded:
    def __init__(self, name: str, journal: list[str], *, fails: bool = False) -> None:
        self.name = name
        self._journal = journal
        self._fails = fails

    async def execute(self, context: TaskRuntimeContext) -> None:
        self._journal.append(self.name)
        if self._fails:
            raise RuntimeError(self.name)


class Nothing:
    async def rollback(self, task: TaskView, context: TaskRuntimeContext) -> None:
        pass


def test_a_stage_is_a_stage() -> None:
    assert isinstance(CompositeServiceStage("gateway", []), TaskStage)


def test_without_a_strategy_the_same_steps_undo_the_stage() -> None:
    steps = [Recorded("one", [])]
    stage = CompositeServiceStage("gateway", steps)
    assert isinstance(stage.rollback, PreviousConfigRollback)
    assert stage.rollback.steps == stage.steps == tuple(steps)


def test_a_strategy_that_is_given_is_used() -> None:
    strategy = Nothing()
    assert CompositeServiceStage("gateway", [], strategy).rollback is strategy
    assert CompositeServiceStage("gateway", [], rollback=strategy).rollback is strategy


def test_the_callers_list_is_not_held() -> None:
    steps: list[StageStep] = [Recorded("one", [])]
    stage = CompositeServiceStage("gateway", steps)
    steps.clear()
    assert len(stage.steps) == 1


async def test_a_rollback_runs_the_steps_in_order_under_their_deadlines(task_view: TaskView) -> None:
    """Through ``run_step``, so that every step gets its deadline."""
    journal: list[str] = []
    seen: list[str] = []

    async def run_step(step: StageStep) -> None:
        seen.append(step.name)
        await step.execute(context)

    context = Bench().context(rolling_back=True, run_step=run_step)
    stage = CompositeServiceStage("gateway", [Recorded(name, journal) for name in ("a", "b", "c")])
    await stage.rollback.rollback(task_view, context)
    assert journal == seen == ["a", "b", "c"]


async def test_the_first_failing_step_ends_a_rollback(task_view: TaskView) -> None:
    journal: list[str] = []
    stage = CompositeServiceStage(
        "gateway", [Recorded("a", journal), Recorded("b", journal, fails=True), Recorded("c", journal)]
    )
    with pytest.raises(RuntimeError, match="b"):
        await stage.rollback.rollback(task_view, Bench().context(rolling_back=True))
    assert journal == ["a", "b"]
