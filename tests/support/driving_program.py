"""
A program that opens an executor over a database and drives it, or waits for the chance to, until it is ended.

::

    python -m tests.support.driving_program FOLDER [URL]

A step writes down its beginning and its end in ``FOLDER/executions`` and waits between the two until its gate is open:
a file ``FOLDER/gates/<tenant>.<stage>``, or ``FOLDER/gates/all``.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from switchover import TenantDeployConfig
from switchover.bootstrap import open_executor
from switchover.domain.stage import StageStep, TaskRuntimeContext, TaskStage
from switchover.stages.service import CompositeServiceStage
from tests.campaigns.crash.stages import append

STAGES = ("one", "two")


@dataclass(frozen=True, slots=True)
class FileGate:
    """Waits for a file."""

    folder: Path
    name: str = "gate"

    async def execute(self, context: TaskRuntimeContext) -> None:
        told = f"{context.tenant_id} {context.stage} {context.generation} {os.getpid()}"
        append(self.folder / "executions", f"{told} begin")
        gates = (self.folder / "gates" / f"{context.tenant_id}.{context.stage}", self.folder / "gates" / "all")
        while not any(gate.exists() for gate in gates):  # noqa: ASYNC110  # another process opens it
            await asyncio.sleep(0.01)
        append(self.folder / "executions", f"{told} end")


def stages_of(folder: Path, config: TenantDeployConfig) -> Sequence[TaskStage]:
    """The same stages for everybody."""
    steps: Sequence[StageStep] = (FileGate(folder),)
    return [CompositeServiceStage(name, steps) for name in STAGES]


def in_file(folder: Path) -> str:
    """The store, where a test names no other."""
    return f"sqlite:///{folder}/switchover.db"


async def main(folder: Path, url: str) -> None:
    """Drive until told to end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with open_executor(url, stage_factory=lambda config: stages_of(folder, config), grace_seconds=0) as executor:
        append(folder / "opened", f"{os.getpid()} {'drives' if executor.driving else 'follows'}")
        await ended.wait()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    asyncio.run(main(place, sys.argv[2] if len(sys.argv) > 2 else in_file(place)))
