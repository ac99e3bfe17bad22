"""Steps by hand: a context, pre-images and targets in memory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from switchover.domain.plan import HealthSettings
from switchover.domain.policies import HealthCheckPolicy
from switchover.domain.stage import PreImage, StageStep, TaskRuntimeContext
from switchover.domain.task import (
    NetworkEndpointSnapshot,
    PlanId,
    TaskId,
    TenantDeployConfigSnapshot,
    TenantId,
)
from switchover.errors import StaleGenerationError
from switchover.spi import Clock, ConfigTarget, HealthCheckClient, HeldValue, StepServices
from switchover.testing.clock import ManualClock
from switchover.testing.health import ScriptedHealthCheckClient

GREEN = TenantDeployConfigSnapshot(
    tenant_id="acme",
    deploy_unit_id=2,
    deploy_unit_version=42,
    deploy_unit_name="green",
    plan_version=7,
    network_endpoints=(NetworkEndpointSnapshot(key="one", value="http://10.0.0.1/health"),),
)
BLUE = replace(GREEN, deploy_unit_id=1, deploy_unit_version=41, deploy_unit_name="blue", network_endpoints=())


class MemoryPreImages:
    """Keeps the first of each key, and the order of what was done."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.kept: dict[str, PreImage] = {}
        self.journal = [] if journal is None else journal

    async def keep(self, key: str, value: bytes | None) -> PreImage:
        self.journal.append("keep")
        return self.kept.setdefault(key, PreImage(key=key, value=value))

    async def get(self, key: str) -> PreImage | None:
        return self.kept.get(key)


class MemoryTarget:
    """A fenced dictionary; what is broadcast is kept too."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.values: dict[tuple[str, str | None], bytes] = {}
        self.generations: dict[tuple[str, str | None], int] = {}
        self.published: list[tuple[str | None, bytes]] = []
        self.listeners: int | None = 1
        self.journal = [] if journal is None else journal

    async def read(self, key: str, field: str | None) -> HeldValue:
        self.journal.append("read")
        return HeldValue(value=self.values.get((key, field)), generation=self.generations.get((key, field), 0))

    async def write(self, key: str, field: str | None, value: bytes, generation: int) -> None:
        self._fence(key, field, generation, "write")
        self.values[key, field] = value

    async def remove(self, key: str, field: str | None, generation: int) -> None:
        self._fence(key, field, generation, "remove")
        self.values.pop((key, field), None)

    async def publish(self, channel: str | None, message: bytes) -> int | None:
        self.published.append((channel, message))
        return self.listeners

    def _fence(self, key: str, field: str | None, generation: int, verb: str) -> None:
        held = self.generations.get((key, field), 0)
        if held > generation:
            message = f"memory, key {key!r} holds generation {held}"
            raise StaleGenerationError(message, held_generation=held)
        self.generations[key, field] = generation
        self.journal.append(verb)


class OneTarget:
    """A provider that knows one target, and which URLs it was asked for."""

    def __init__(self, target: MemoryTarget) -> None:
        self.target = target
        self.urls: list[str] = []

    def config_target(self, url: str) -> ConfigTarget:
        self.urls.append(url)
        return self.target

    def broadcast_target(self, url: str) -> MemoryTarget:
        self.urls.append(url)
        return self.target


@dataclass
class RecordingLog:
    """A logger that remembers."""

    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def debug(self, event: str, **values: object) -> None:
        self.lines.append(("debug", event, values))

    def info(self, event: str, **values: object) -> None:
        self.lines.append(("info", event, values))

    def warning(self, event: str, **values: object) -> None:
        self.lines.append(("warning", event, values))

    def error(self, event: str, **values: object) -> None:
        self.lines.append(("error", event, values))


@dataclass
class Bench:
    """Everything a step touches."""

    journal: list[str] = field(default_factory=list)
    health: ScriptedHealthCheckClient | HealthCheckClient = field(default_factory=ScriptedHealthCheckClient)
    clock: ManualClock = field(default_factory=ManualClock)
    policy: HealthCheckPolicy | None = None
    log: RecordingLog = field(default_factory=RecordingLog)

    def __post_init__(self) -> None:
        self.target = MemoryTarget(self.journal)
        self.provider = OneTarget(self.target)
        self.pre_images = MemoryPreImages(self.journal)

    def services(self, clock: Clock | None = None) -> StepServices:
        return StepServices(
            targets=self.provider,
            health_client=self.health,
            clock=self.clock if clock is None else clock,
            health_policy=self.policy,
        )

    def context(
        self,
        *,
        config: TenantDeployConfigSnapshot = GREEN,
        switch_config: TenantDeployConfigSnapshot = GREEN,
        generation: int = 5,
        rolling_back: bool = False,
        health: HealthSettings | None = None,
        clock: Clock | None = None,
        run_step: Callable[[StageStep], Awaitable[None]] | None = None,
    ) -> TaskRuntimeContext:
        context: TaskRuntimeContext

        async def run(step: StageStep) -> None:
            await step.execute(context)

        context = TaskRuntimeContext(
            plan_id=PlanId(100),
            task_id=TaskId("100-1"),
            tenant_id=TenantId(switch_config.tenant_id),
            generation=generation,
            config=config,
            switch_config=switch_config,
            stage="gateway",
            rolling_back=rolling_back,
            pre_images=self.pre_images,
            run_step=run if run_step is None else run_step,
            log=self.log,
            health=HealthSettings() if health is None else health,
            services=self.services(clock),
        )
        return context

    def rollback(self, *, generation: int = 6, config: TenantDeployConfigSnapshot = BLUE) -> TaskRuntimeContext:
        return self.context(config=config, generation=generation, rolling_back=True)
