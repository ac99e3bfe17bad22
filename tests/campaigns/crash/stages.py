"""What the tenants of the scripts go through: stages over real targets, each step of which writes down that it ran."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from switchover import TenantDeployConfig
from switchover.domain.stage import StageStep, TaskRuntimeContext, TaskStage
from switchover.errors import StepError
from switchover.stages.config_update import ConfigUpdateStep
from switchover.stages.service import CompositeServiceStage
from tests.campaigns.crash.fate import Fate

STAGES = ("gateway", "routing", "billing")
ASKED = ("pausing", "cancelling", "undoing", "failing", "wavering", "plain")
"""Tenants named for what a second process asks for them."""

_POLL_SECONDS = 0.002

StageFactory = Callable[[TenantDeployConfig], Sequence[TaskStage]]


def append(path: Path, line: str) -> None:
    """Append a line in one system call: a process that is killed leaves whole lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (line + "\n").encode())
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Begin:
    """The first step of each stage: says that it runs, and fails where the script says so."""

    fate: Fate
    failing: tuple[str, str] | None = None
    name: str = "begin"

    async def execute(self, context: TaskRuntimeContext) -> None:
        way = "back" if context.rolling_back else "forth"
        line = f"{context.task_id} {context.stage} {way} {context.generation}"
        append(self.fate.folder / "executions", line)
        self.fate.reach("step")
        fails = (context.tenant_id, context.stage) == self.failing and not context.rolling_back
        if fails and not (self.fate.folder / "repaired").exists():
            message = "the new unit does not come up"
            raise StepError(message)


@dataclass(frozen=True, slots=True)
class End:
    """The last step of each stage; waits where the script has a gate."""

    fate: Fate
    gated: bool = False
    name: str = "end"

    async def execute(self, context: TaskRuntimeContext) -> None:
        gate = self.fate.folder / f"gate-{context.tenant_id}"
        while self.gated and not context.rolling_back and not gate.exists():  # noqa: ASYNC110  # another process opens it
            await asyncio.sleep(_POLL_SECONDS)
        self.fate.reach("stepped")


def stage_factory(
    fate: Fate,
    *,
    server: str = "",
    failing: tuple[str, str] | None = None,
    gated: frozenset[str] = frozenset(),
    names: Sequence[str] = STAGES,
    every: int = 1,
) -> StageFactory:
    """
    Stages whose configuration goes to a map file, to a file for each tenant, and to a server or the map again.

    Args:
        failing: Tenant and stage that fail until the file ``repaired`` is there.
        gated: Tenants whose first stage waits for the file ``gate-<tenant>``.
        every: Only each so many-th tenant (by the number in its name) has targets; the others' steps only run.
    """
    folder = fate.folder
    value = {"unit": "{deployUnitId}", "version": "{deployUnitVersion}"}
    map_file, files = f"file://{folder}/map.json", f"file://{folder}/routing/"

    def update(name: str) -> ConfigUpdateStep:
        if name == STAGES[0] and server:
            return ConfigUpdateStep(target=server, key="{tenantId}", field=None, value=value)
        if name == STAGES[1] or every > 1:
            return ConfigUpdateStep(target=files, key="{tenantId}", field=None, value=value)
        return ConfigUpdateStep(target=map_file, key="{tenantId}", field=name, value=value)

    def stages(config: TenantDeployConfig) -> Sequence[TaskStage]:
        tenant = config.tenant_id
        number = int("".join(filter(str.isdigit, tenant)) or "0")
        made: list[TaskStage] = []
        for name in names:
            writes: Sequence[StageStep] = (update(name),) if number % every == 0 and (every == 1 or made) else ()
            gate = tenant in gated and name == STAGES[0]
            made.append(CompositeServiceStage(name, (Begin(fate, failing), *writes, End(fate, gate))))
        return made

    return stages


def prepare(folder: Path) -> None:
    """
    The world before the switch: odd on purpose, so that only a restored byte looks right.

    Every tenant has its place in the map, for the order of new ones would tell which of them came first.
    """
    (folder / "routing").mkdir(parents=True)
    others = "".join(f', "{name}" :{{}}\n' for name in (*"bd", *ASKED))
    (folder / "map.json").write_text(
        f'{{\n  "a": {{"gateway": {{"unit":  "1"}}}},\n "c":{{"billing":4.10}}{others}}}\n'
    )
    (folder / "routing" / "c.json").write_text('{ "unit" : 1 }\n')
