"""
The eight extension points, each with a default that behaves as the specification says.

A policy is consulted under no lock and no await; an exception in one is recorded and leads to a refusal or a failed
task, never to a lost lock. Source: behaviour, section 11.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from switchover.domain.task import TaskStatus, TaskView

if TYPE_CHECKING:
    from switchover.domain.stage import TaskRuntimeContext, TaskStage
    from switchover.domain.state_machine import TaskTransitionContext


@runtime_checkable
class RetryPolicy(Protocol):
    """Whether, and how soon, a failed task may run again on request."""

    def allow_retry(self, task: TaskView) -> bool:
        """False refuses with RETRY_LIMIT_EXCEEDED."""
        ...

    def next_delay(self, task: TaskView) -> float:
        """How many seconds an accepted retry waits before it takes a slot; asked once, kept across restarts."""
        ...


@runtime_checkable
class PausePolicy(Protocol):
    """Whether a task pauses at the boundary that it has reached."""

    def should_pause(self, context: "TaskRuntimeContext") -> bool:
        """True pauses, whether or not somebody asked for it."""
        ...


@runtime_checkable
class CompletionPolicy(Protocol):
    """Whether a task is done."""

    def is_completed(self, task: TaskView, total_stages: int) -> bool:
        """Asked after each stage."""
        ...


@runtime_checkable
class RollbackPolicy(Protocol):
    """Whether a task may be rolled back, beyond what the state machine demands."""

    def can_rollback(self, task: TaskView) -> bool:
        """False refuses with ILLEGAL_STATE."""
        ...


@runtime_checkable
class StageSkipEvaluator(Protocol):
    """Whether a stage is recorded as succeeded without being run."""

    def should_skip(self, task: TaskView, context: "TaskRuntimeContext", stage: "TaskStage") -> bool:
        """Asked when the stage would start."""
        ...


@runtime_checkable
class HealthCheckPolicy(Protocol):
    """How health checks ask; registered, it wins over plan and settings. The first two may be plain attributes too."""

    def interval(self) -> float:
        """Wait after a failed round, in seconds."""
        ...

    def max_attempts(self) -> int:
        """Rounds at most."""
        ...

    def success_predicate(self, response: Mapping[str, object]) -> bool:
        """Judges one body, in place of the comparison of versions."""
        ...


@runtime_checkable
class CheckpointPolicy(Protocol):
    """What a retry or a restart may rely on."""

    def should_checkpoint_after_stage(self, task: TaskView, stage: str) -> bool:
        """False: a retry runs the stage again."""
        ...

    def restore_on_retry(self) -> bool:
        """False: every retry is from scratch."""
        ...


@runtime_checkable
class TransitionInstrumentation(Protocol):
    """Watches transitions; what it raises is logged and goes no further."""

    def before_guard(self, source: TaskStatus, target: TaskStatus, context: "TaskTransitionContext") -> None:
        """Called before the guard is asked."""
        ...

    def after_transition(
        self,
        source: TaskStatus,
        target: TaskStatus,
        success: bool,  # noqa: FBT001  # the signature that the specification gives
        context: "TaskTransitionContext",
    ) -> None:
        """Called after the transition was made or refused."""
        ...


class DefaultRetryPolicy:
    """As many as the plan allows, without delay."""

    def allow_retry(self, task: TaskView) -> bool:
        """The plan's own limit is the state machine's business."""
        return task.status is TaskStatus.FAILED

    def next_delay(self, task: TaskView) -> float:
        """At once."""
        del task
        return 0.0


class DefaultPausePolicy:
    """Pause when somebody asked for it."""

    def should_pause(self, context: "TaskRuntimeContext") -> bool:
        """The request, and nothing else."""
        return context.pause_requested


class DefaultCompletionPolicy:
    """Done when every stage is complete."""

    def is_completed(self, task: TaskView, total_stages: int) -> bool:
        """Count them."""
        return task.completed_stages >= total_stages


class DefaultRollbackPolicy:
    """A previous good config is needed to go back to, and something to undo."""

    def can_rollback(self, task: TaskView) -> bool:
        """Behaviour, section 4."""
        return task.previous_known and task.any_stage_started


class DefaultStageSkipEvaluator:
    """Skip nothing."""

    def should_skip(self, task: TaskView, context: "TaskRuntimeContext", stage: "TaskStage") -> bool:
        """Never."""
        del task, context, stage
        return False


class DefaultCheckpointPolicy:
    """A checkpoint after every stage, and retries that use it."""

    def should_checkpoint_after_stage(self, task: TaskView, stage: str) -> bool:
        """Always."""
        del task, stage
        return True

    def restore_on_retry(self) -> bool:
        """Always."""
        return True


def _called(value: Any) -> Any:  # noqa: ANN401  # whatever users write
    return cast("Callable[[], object]", value)() if callable(value) else value


class _HealthCheckValues:
    """A health check policy whose numbers may be attributes as well as methods."""

    def __init__(self, policy: Any) -> None:  # noqa: ANN401  # whatever users write
        self._policy = policy

    def __repr__(self) -> str:
        return repr(self._policy)

    def interval(self) -> float:
        return float(_called(self._policy.interval))

    def max_attempts(self) -> int:
        return int(_called(self._policy.max_attempts))

    def success_predicate(self, response: Mapping[str, object]) -> bool:
        return bool(self._policy.success_predicate(response))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """One of each, chosen when the executor is put together. ``health_check`` None: the plan's health settings."""

    retry: RetryPolicy = field(default_factory=DefaultRetryPolicy)
    pause: PausePolicy = field(default_factory=DefaultPausePolicy)
    completion: CompletionPolicy = field(default_factory=DefaultCompletionPolicy)
    rollback: RollbackPolicy = field(default_factory=DefaultRollbackPolicy)
    stage_skip: StageSkipEvaluator = field(default_factory=DefaultStageSkipEvaluator)
    checkpoint: CheckpointPolicy = field(default_factory=DefaultCheckpointPolicy)
    health_check: HealthCheckPolicy | None = None
    instrumentation: tuple[TransitionInstrumentation, ...] = ()

    @staticmethod
    def of(objects: Iterable[object]) -> "Policies":
        """
        Sort objects into the extension points that they implement; one object may serve several.

        Raises:
            TypeError: An object implements none, or a second one implements a point that takes one.
        """
        chosen: dict[str, Any] = {}
        watchers: list[TransitionInstrumentation] = []
        for candidate in objects:
            names = [name for name, protocol in _POINTS.items() if isinstance(candidate, protocol)]
            if isinstance(candidate, TransitionInstrumentation):
                watchers.append(candidate)
            elif not names:
                msg = f"{candidate!r} implements none of the policies: {', '.join(_POINTS)}, instrumentation"
                raise TypeError(msg)
            for name in names:
                if name in chosen:
                    msg = f"two policies for {name}: {chosen[name]!r} and {candidate!r}; give one"
                    raise TypeError(msg)
                chosen[name] = _HealthCheckValues(candidate) if name == "health_check" else candidate
        return Policies(**chosen, instrumentation=tuple(watchers))


_POINTS: Mapping[str, type] = {
    "retry": RetryPolicy,
    "pause": PausePolicy,
    "completion": CompletionPolicy,
    "rollback": RollbackPolicy,
    "stage_skip": StageSkipEvaluator,
    "checkpoint": CheckpointPolicy,
    "health_check": HealthCheckPolicy,
}
