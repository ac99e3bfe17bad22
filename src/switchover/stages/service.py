"""One service's switch, and how it is undone: by sending the previous good config through the same steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from switchover.domain.stage import RollbackStrategy, StageStep, TaskRuntimeContext
from switchover.domain.task import TaskView


@dataclass(frozen=True, slots=True)
class PreviousConfigRollback:
    """
    Runs the same steps again, in the same order, with the previous good config.

    Config updates put the pre-images back, broadcasts tell the instances under the new and higher generation, and
    health checks confirm that the previous version is effective. Source: behaviour, section 7, rollback.
    """

    steps: Sequence[StageStep]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))

    async def rollback(self, task: TaskView, context: TaskRuntimeContext) -> None:
        """Run them; the first step that fails ends it, and the stage is not restored."""
        del task
        for step in self.steps:
            await context.run_step(step)


@dataclass(frozen=True, slots=True, init=False)
class CompositeServiceStage:
    """
    A stage made of steps.

    Args:
        name: Unique inside the task; recorded for ever.
        steps: In the order in which they run.
        rollback: How the stage is restored; None: ``PreviousConfigRollback`` over the same steps.
    """

    name: str
    steps: Sequence[StageStep]
    rollback: RollbackStrategy

    def __init__(self, name: str, steps: Sequence[StageStep], rollback: RollbackStrategy | None = None) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "steps", tuple(steps))
        object.__setattr__(self, "rollback", PreviousConfigRollback(self.steps) if rollback is None else rollback)
