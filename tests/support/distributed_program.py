"""
A driver or a worker as a process of its own, over one PostgreSQL database, until it is ended.

::

    python -m tests.support.distributed_program driver URL FOLDER
    python -m tests.support.distributed_program worker URL FOLDER CONCURRENCY GRACE

Steps are those of ``driving_program``: they write down their beginning and their end in ``FOLDER/executions``, and wait
between the two until their gate is open.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from switchover.bootstrap import open_executor
from switchover.working import open_worker
from tests.campaigns.crash.stages import append
from tests.support.driving_program import stages_of


async def main(role: str, url: str, folder: Path, concurrency: int = 0, grace: int = 0) -> None:
    """Take part until told to end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    if role == "driver":
        async with open_executor(url, stage_factory=lambda config: stages_of(folder, config), stages_by="workers"):
            append(folder / "opened", f"{os.getpid()} {role}")
            await ended.wait()
    else:
        async with open_worker(
            url,
            stage_factory=lambda config: stages_of(folder, config),
            concurrency=concurrency,
            grace_seconds=grace,
        ):
            append(folder / "opened", f"{os.getpid()} {role}")
            await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:])))
