"""
Gives each life a process of its own.

``python -m tests.campaigns.crash.host`` keeps everything imported and forks for each line it reads, so a life costs
milliseconds and is as real as any process; ``Host`` is the other end.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from switchover import ExecutorSettings
from switchover.bootstrap import open_executor
from tests.campaigns.crash.dying_store import DyingStore
from tests.campaigns.crash.fate import Death, Fate
from tests.campaigns.crash.scripts import SCRIPTS, World
from tests.campaigns.crash.stages import append, stage_factory

_GRACE_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """
    One process.

    Attributes:
        role: ``drive`` or ``ask``.
        server: URL of the configuration service, where the script has one.
        stop_at: Leave in good order when so many steps have run in this life.
    """

    folder: str
    script: str
    role: str = "drive"
    death: Death | None = None
    server: str = ""
    checkpoint_pages: int = 0
    stop_at: int = 0


async def live(life: Life) -> None:
    """Go on from wherever the last life ended."""
    folder = Path(life.folder)
    append(folder / f"pid-{life.role}", str(os.getpid()))
    script = SCRIPTS[life.script]
    fate = Fate(folder, life.death)
    store = DyingStore(folder / "switchover.db", fate, checkpoint_pages=life.checkpoint_pages)
    stages = stage_factory(fate, server=life.server, **script.stages)
    settings = ExecutorSettings(step_timeout_seconds=60)
    drives = life.role == "drive"
    part = script.drive if drives else script.ask
    assert part is not None
    while not drives and not (folder / "switchover.db").exists():  # noqa: ASYNC110  # another process makes it
        await asyncio.sleep(0.002)
    async with open_executor(
        "",
        settings=settings,
        stage_factory=stages,
        store=store,
        mode="drive" if drives else "read",
        grace_seconds=_GRACE_SECONDS,
    ) as executor:
        fate.phase = "running"
        if not life.stop_at:
            await part(World(executor, fate))
            append(folder / f"finished-{life.role}", "yes")
        else:
            await _until_stop(part(World(executor, fate)), fate, life)
        fate.phase = "stopping"
    (folder / f"commits-{life.role}").write_text(str(store.commits))
    fate.write_down(life.role)


async def _until_stop(part: Any, fate: Fate, life: Life) -> None:  # noqa: ANN401  # a coroutine
    work = asyncio.ensure_future(part)
    while not work.done() and fate.count("step") < life.stop_at:  # noqa: ASYNC110  # counted in any thread
        await asyncio.sleep(0)
    if work.done():
        await work
        append(fate.folder / f"finished-{life.role}", "yes")
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def one_life(life: Life) -> None:
    """In this process."""
    random.seed(os.getpid())
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        asyncio.run(live(life))
    except BaseException as error:
        print(f"a life ended with {error!r}", file=sys.stderr, flush=True)
        raise


def serve() -> None:
    """``start`` and a life: its process id. ``wait``: which ended next, and how (0, or minus the signal)."""
    for line in sys.stdin:
        request = json.loads(line)
        if request is None:
            pid, status = os.wait()
            answer = [pid, os.waitstatus_to_exitcode(status)]
        else:
            death = request.pop("death")
            life = Life(**request, death=None if death is None else Death(**death))
            pid = os.fork()
            if pid == 0:
                code = 1
                with contextlib.suppress(BaseException):
                    one_life(life)
                    code = 0
                os._exit(code)
            answer = [pid]
        print(json.dumps(answer), flush=True)


@dataclass(frozen=True, slots=True)
class Host:
    """A program that gives lives."""

    program: subprocess.Popen[str]
    log: Path

    def start(self, life: Life) -> int:
        """Its process id."""
        return int(self._ask(asdict(life))[0])

    def wait(self) -> tuple[int, int]:
        """Which life ended next, and how."""
        pid, code = self._ask(None)
        return pid, code

    def _ask(self, request: object) -> list[int]:
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(json.dumps(request) + "\n")
        self.program.stdin.flush()
        answer: list[int] = json.loads(self.program.stdout.readline())
        return answer


@contextmanager
def host(repository: Path, log: Path) -> Iterator[Host]:
    """A host, until the context is left."""
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "tests.campaigns.crash.host"],
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as program,
    ):
        try:
            yield Host(program, log)
        finally:
            assert program.stdin is not None
            program.stdin.close()
            program.wait(30)


if __name__ == "__main__":
    serve()
