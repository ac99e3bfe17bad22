"""
Processes that work and ask as fast as they can over one database file.

::

    python -m tests.support.busy_program drive FOLDER
    python -m tests.support.busy_program ask FOLDER NAME COUNT

A driver's steps are short, fail now and then, and write to a target that refuses what is older than what it holds; each
says in ``FOLDER/executions`` what it did. A driver that may drive no more says so in ``FOLDER/stopped``. Whoever asks
writes each request and its answer to ``FOLDER/answers``. While ``FOLDER/closed`` exists, steps wait.
"""

import asyncio
import json
import os
import signal
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

from switchover import TenantDeployConfig
from switchover.bootstrap import open_executor
from switchover.domain.stage import StageStep, TaskRuntimeContext, TaskStage
from switchover.domain.task import Operation, TargetType
from switchover.errors import StaleGenerationError, StepError
from switchover.operations import OperationRequest
from switchover.spi import StepServices
from switchover.stages.service import CompositeServiceStage
from tests.campaigns.crash.stages import append
from tests.support.driving_program import STAGES, in_file

PLAN = 5
TENANTS = tuple(f"t{number}" for number in range(1, 13))


@dataclass(frozen=True, slots=True)
class FencedWrite:
    """Waits while the folder is closed, writes under its generation, and fails for some generations."""

    folder: Path
    name: str = "write"

    async def execute(self, context: TaskRuntimeContext) -> None:
        tenant, stage, generation = context.tenant_id, context.stage, context.generation
        told = f"{tenant} {stage} {generation} {os.getpid()}"
        append(self.folder / "executions", f"{told} begin")
        while (self.folder / "closed").exists():  # noqa: ASYNC110  # another process opens it
            await asyncio.sleep(0.005)
        target = cast("StepServices", context.services).targets.config_target(f"file://{self.folder}/target.json")
        try:
            await target.write(tenant, stage, json.dumps({"by": os.getpid()}).encode(), generation)
        except StaleGenerationError:
            append(self.folder / "executions", f"{told} refused")
            raise
        append(self.folder / "executions", f"{told} wrote")
        if zlib.crc32(f"{tenant} {stage} {generation}".encode()) % 5 == 0 and not context.rolling_back:
            message = "one in five fails"
            raise StepError(message)


def stages_of(folder: Path, config: TenantDeployConfig) -> Sequence[TaskStage]:
    """The same for everybody."""
    steps: Sequence[StageStep] = (FencedWrite(folder),)
    return [CompositeServiceStage(name, steps) for name in STAGES]


async def drive(folder: Path) -> None:
    """Drive, or wait for the chance to, until told to end; say when this process may drive no more."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    factory = lambda config: stages_of(folder, config)  # noqa: E731  # as a stage factory is given
    async with open_executor(in_file(folder), stage_factory=factory, grace_seconds=0) as executor:
        append(folder / "opened", f"{os.getpid()} {'drives' if executor.driving else 'follows'}")
        while not ended.is_set():
            if executor.driver_failure is not None and not executor.driving:
                append(folder / "stopped", f"{os.getpid()} {executor.driver_failure.code}")
                break
            await asyncio.wait({asyncio.ensure_future(ended.wait())}, timeout=0.02)
        await ended.wait()


async def ask(folder: Path, name: str, count: int) -> None:
    """Ask for one thing after another, eight at a time, about tenants and sometimes about the plan."""
    random = Random(name)  # repeatable, not secret
    async with open_executor(in_file(folder), mode="read") as executor:
        append(folder / "opened", f"{os.getpid()} asks")
        turn = asyncio.Semaphore(8)

        async def one(number: int, verb: Operation, target: str) -> None:
            by = TargetType.PLAN if target == str(PLAN) else TargetType.TENANT
            async with turn:
                request = OperationRequest(verb=verb, target_type=by, target=target, reason=f"{name} {number}")
                answer = await executor.facade.operate(request)
            code = None if answer.failure_info is None else str(answer.failure_info.error_code)
            told = [request.reason, str(verb), target, answer.success, code, answer.message]
            append(folder / "answers", json.dumps(told))

        asked = []
        for number in range(count):
            target = str(PLAN) if random.random() < 0.05 else random.choice(TENANTS)  # one in twenty
            asked.append(one(number, random.choice(list(Operation)), target))
        await asyncio.gather(*asked)


if __name__ == "__main__":
    role, place, *rest = sys.argv[1:]
    asyncio.run(drive(Path(place)) if role == "drive" else ask(Path(place), rest[0], int(rest[1])))
