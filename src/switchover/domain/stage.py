"""
Stages and steps: what users write, and what a step may know while it runs.

A stage is the smallest unit that can be paused, checkpointed, retried or rolled back. A step has no rollback: undoing a
stage means sending the previous good config through the same steps again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from switchover.domain.plan import HealthSettings
from switchover.domain.task import PlanId, TaskId, TaskView, TenantDeployConfigSnapshot, TenantId
from switchover.domain.values import new_dict


@runtime_checkable
class StageStep(Protocol):
    """
    One action. Steps are idempotent: after a crash the interrupted stage runs again from its first step.

    A step may also offer ``deadline_seconds(context) -> float``, when ``step_timeout_seconds`` does not fit it.
    """

    @property
    def name(self) -> str:
        """What failures call it; unique inside a stage is helpful, not required."""
        ...

    async def execute(self, context: "TaskRuntimeContext") -> None:
        """Do it; raise to fail the step, and with it the stage."""
        ...


@runtime_checkable
class RollbackStrategy(Protocol):
    """How one stage is restored."""

    async def rollback(self, task: TaskView, context: "TaskRuntimeContext") -> None:
        """Make the previous good config (``context.config``) effective again and see that it is; raise if not."""
        ...


@runtime_checkable
class TaskStage(Protocol):
    """One service's switch inside a task."""

    @property
    def name(self) -> str:
        """Unique inside the task; recorded for ever."""
        ...

    @property
    def steps(self) -> Sequence[StageStep]:
        """In the order in which they run."""
        ...

    @property
    def rollback(self) -> RollbackStrategy:
        """How the stage is restored."""
        ...


@runtime_checkable
class GenerationSource(Protocol):
    """A step that can say which generation its target holds for a tenant: what ``adopt`` asks."""

    async def held_generation(self, config: TenantDeployConfigSnapshot, services: object = None) -> int:
        """
        The highest generation that the target holds for the tenant's keys of this step; 0 when none.

        Args:
            services: What the step would find in its context (``spi.StepServices``).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """
    What a target holds in one place for a tenant, beside what its switch writes there.

    Attributes:
        place: The target, key and field, for people; without credentials.
        pre_image_key: Under which the step keeps the place's pre-image.
        wanted: The bytes that the switch writes.
        held: The bytes that are there now; None for nothing.
        generation: Beside them; 0 for none.
    """

    place: str
    pre_image_key: str
    wanted: bytes
    held: bytes | None
    generation: int


@runtime_checkable
class ObservableStep(Protocol):
    """A step that can say what its target holds for a tenant, without changing it."""

    @property
    def name(self) -> str:
        """As of the step."""
        ...

    async def observe(self, task: TaskView, config: TenantDeployConfigSnapshot, services: object = None) -> Observation:
        """
        Look at the step's place.

        Args:
            services: What the step would find in its context (``spi.StepServices``).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PreImage:
    """
    What a target held before the task's first write to a key.

    Attributes:
        key: Names the place inside the stage; chosen by the step, the same in every run.
        value: The bytes as they were; None when nothing was there.
    """

    key: str
    value: bytes | None


class PreImages(Protocol):
    """The durable pre-images of one stage of one task."""

    async def keep(self, key: str, value: bytes | None) -> PreImage:
        """
        Keep ``value`` for ``key`` unless one was kept before, in any run; durable on return.

        Returns:
            The one that counts: the first ever kept.
        """
        ...

    async def get(self, key: str) -> PreImage | None:
        """The pre-image of ``key``; None when it was never read, and so the key was never written."""
        ...


class Logger(Protocol):
    """The part of a bound structured logger that steps need."""

    def debug(self, event: str, **values: object) -> object:
        """For whoever wrote the step."""
        ...

    def info(self, event: str, **values: object) -> object:
        """What was done."""
        ...

    def warning(self, event: str, **values: object) -> object:
        """What somebody should know."""
        ...

    def error(self, event: str, **values: object) -> object:
        """What went wrong."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class TaskRuntimeContext:
    """
    What a running task carries from step to step: the one mutable class of the domain.

    Attributes:
        stage: Name of the stage that runs.
        step: Name of the step that runs; the last one's between two of them.
        generation: The fencing token of this run; written beside every value.
        config: What to make effective: the target, or the previous good config during a rollback.
        switch_config: The config of the switch, also during a rollback (a previous config without endpoints uses its).
        data: Transient, per run; nothing in it survives a pause or a crash.
        pause_requested: A pause waits for the next stage boundary.
        cancel_requested: A cancel waits for the next stage boundary.
        run_step: Runs a step under its deadline; what a RollbackStrategy should use instead of ``step.execute``.
        pre_images: Of the stage that runs.
        health: How health checks ask, every precedence applied.
        services: Targets, health client and clock: a ``spi.StepServices``, which ``StepServices.of(context)`` reads.
            The domain does not know what they are.
    """

    plan_id: PlanId
    task_id: TaskId
    tenant_id: TenantId
    generation: int
    config: TenantDeployConfigSnapshot
    switch_config: TenantDeployConfigSnapshot
    stage: str
    step: str = ""
    rolling_back: bool
    pre_images: PreImages
    run_step: Callable[[StageStep], Awaitable[None]]
    log: Logger
    health: HealthSettings = field(default_factory=HealthSettings)
    services: object = None
    data: dict[str, object] = field(default_factory=new_dict)
    pause_requested: bool = False
    cancel_requested: bool = False
