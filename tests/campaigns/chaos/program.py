"""
One process of the campaign: ``python -m tests.campaigns.chaos.program ROLE URL FOLDER``.

Its stages write the target, wait a little, and look whether the target still holds their generation.
"""

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from switchover import TenantDeployConfig
from switchover.bootstrap import open_executor
from switchover.domain.stage import TaskRuntimeContext, TaskStage
from switchover.stages.service import CompositeServiceStage
from switchover.working import open_worker
from tests.campaigns.chaos.target import RecordingTarget
from tests.campaigns.crash.stages import append

STAGES = ("one", "two", "three")
CONCURRENCY = 6
_STEP_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class WriteTarget:
    """Writes, under the generation of its run, at the beginning and at the end."""

    target: RecordingTarget
    name: str = "write"

    async def execute(self, context: TaskRuntimeContext) -> None:
        """Do it."""
        for _ in range(2):
            restoring = context.rolling_back
            self.target.write(context.tenant_id, context.stage, context.generation, restoring=restoring)
            await asyncio.sleep(_STEP_SECONDS)


async def main(role: str, url: str, folder: Path) -> None:
    """Take part until told to end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    step = WriteTarget(RecordingTarget(folder / "target"))

    def stages(_: TenantDeployConfig) -> list[TaskStage]:
        return [CompositeServiceStage(name, [step]) for name in STAGES]

    if role == "driver":
        async with open_executor(url, stage_factory=stages, stages_by="workers", grace_seconds=0):
            append(folder / "opened", f"{role}")
            await ended.wait()
    else:
        async with open_worker(url, stage_factory=stages, concurrency=CONCURRENCY, grace_seconds=5):
            append(folder / "opened", f"{role}")
            await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
