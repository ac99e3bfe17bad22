"""
CheckpointService: when a checkpoint is saved, used and cleared.

A checkpoint is not a thing of its own: it is the CHECKPOINTED mark of each stage, committed with the task's state at
the boundary, so the two cannot disagree. It is cleared by the actions of the state machine on COMPLETED, CANCELLED
and when a rollback begins, and kept on PAUSED and FAILED. Source: behaviour, section 9.
"""

from switchover.domain.policies import CheckpointPolicy
from switchover.domain.task import StageMark, TaskView
from switchover.logs import get_log
from switchover.spi import FOREIGN

_log = get_log("switchover.checkpoints")


class CheckpointService:
    """
    Asks the policy, and reads checkpoints.

    Args:
        policy: Decides what is saved, and whether retries use it.
    """

    def __init__(self, policy: CheckpointPolicy) -> None:
        self._policy = policy

    def saves(self, task: TaskView, index: int) -> bool:
        """Whether the stage that has just succeeded need not be repeated by a retry; a policy that raises says no."""
        try:
            return self._policy.should_checkpoint_after_stage(task, task.stage_names[index])
        except FOREIGN:  # a success is not turned into a failure by what follows it (lesson 42)
            _log.about(task).exception("the checkpoint policy raised; a retry repeats the stage")
            return False

    def restore_on_retry(self) -> bool:
        """Whether a retry from the checkpoint may use it at all; a policy that raises says no."""
        try:
            return self._policy.restore_on_retry()
        except FOREIGN:  # recorded here, and every stage is run again
            _log.exception("the checkpoint policy raised; the retry runs every stage")
            return False

    @staticmethod
    def load(task: TaskView) -> tuple[str, ...]:
        """Names of the stages that a retry from the checkpoint does not repeat."""
        return tuple(
            name for name, mark in zip(task.stage_names, task.marks, strict=True) if mark & StageMark.CHECKPOINTED
        )
