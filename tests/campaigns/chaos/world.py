"""The processes of the campaign, and what is done to them."""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.support.processes import Program, start
from tests.support.servers import make_cluster, start_postgres

Role = Literal["driver", "worker"]

DRIVERS = 2
WORKERS = 3
_LONGEST_PAUSE_SECONDS = 0.8
_LONGEST_FREEZE_SECONDS = 8.0


@dataclass
class World:
    """
    A database, drivers and workers.

    Attributes:
        did: How often each kind of thing was done to them.
    """

    repository: Path
    folder: Path
    cluster: Path
    random: random.Random
    port: int = 0
    did: Counter[str] = field(default_factory=Counter)
    _database: Program | None = None
    _members: dict[Role, list[Program]] = field(default_factory=lambda: {"driver": [], "worker": []})
    _frozen: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _started: int = 0

    @property
    def url(self) -> str:
        """Of the database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start all."""
        (self.folder / "target").mkdir()
        self._database, self.port = start_postgres(self.cluster)
        for _ in range(DRIVERS):
            self._join("driver")
        for _ in range(WORKERS):
            self._join("worker")

    def stop(self) -> None:
        """End all."""
        for task in self._frozen.values():
            task.cancel()
        for program in (*self._members["worker"], *self._members["driver"]):
            program.kill()
        if self._database is not None:
            self._database.send(signal.SIGINT)
            self._database.stop()

    def outputs(self) -> str:
        """What everybody said last, for whoever looks for the reason of a finding."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2_000:]}" for path in sorted(self.folder.glob("*.log")))

    async def disturb(self, done: Callable[[], bool], most: int) -> None:
        """Do one thing after another, until it is done or enough."""
        things: list[Callable[[], Awaitable[None]]] = [
            *(2 * [self._kill_worker, self._freeze_worker]),
            *(self._kill_driver, self._freeze_driver, self._replace_worker, self._restart_database),
        ]
        for _ in range(most):
            if done():
                return
            await self.random.choice(things)()
            await asyncio.sleep(self.random.uniform(0.1, _LONGEST_PAUSE_SECONDS))

    async def mend(self) -> None:
        """Everybody is there and awake again."""
        await asyncio.gather(*self._frozen.values())
        for role in ("driver", "worker"):
            for program in self._members[role]:
                if not program.is_running:
                    self._members[role].remove(program)
                    self._join(role)

    # What is done

    async def _kill_worker(self) -> None:
        self._kill("worker")

    async def _kill_driver(self) -> None:
        self._kill("driver")

    def _kill(self, role: Role) -> None:
        self.did[f"{role} killed"] += 1
        victim = self.random.choice(self._members[role])
        self._members[role].remove(victim)
        victim.kill()
        self._join(role)

    async def _freeze_worker(self) -> None:
        self._freeze("worker")

    async def _freeze_driver(self) -> None:
        self._freeze("driver")

    def _freeze(self, role: Role) -> None:
        victim = self.random.choice(self._members[role])
        if victim.pid in self._frozen:
            return
        self.did[f"{role} frozen"] += 1
        seconds = self.random.uniform(0.2, _LONGEST_FREEZE_SECONDS)
        victim.send(signal.SIGSTOP)

        async def thaw() -> None:
            await asyncio.sleep(seconds)
            victim.send(signal.SIGCONT)
            del self._frozen[victim.pid]

        self._frozen[victim.pid] = asyncio.get_running_loop().create_task(thaw())

    async def _replace_worker(self) -> None:
        """As in a rolling upgrade."""
        self.did["worker replaced"] += 1
        victim = self.random.choice(self._members["worker"])
        self._members["worker"].remove(victim)
        self._join("worker")
        await asyncio.to_thread(victim.stop, timeout_seconds=15.0)

    async def _restart_database(self) -> None:
        database = self._database
        if database is None:
            return
        hard = self.random.random() < 0.5  # half of them
        self.did["database crashed" if hard else "database restarted"] += 1
        database.send(signal.SIGQUIT if hard else signal.SIGINT)
        await asyncio.to_thread(database.wait)
        self._database, _ = await asyncio.to_thread(start_postgres, self.cluster, port=self.port)

    def _join(self, role: Role) -> None:
        self._started += 1
        argv: list[str | Path] = [sys.executable, "-m", "tests.campaigns.chaos.program", role, self.url, self.folder]
        log = self.folder / f"{self._started:03}-{role}.log"
        self._members[role].append(start(argv, log=log, cwd=self.repository))


@contextmanager
def world(repository: Path, folder: Path, cluster: Path, seed: int) -> Iterator[World]:
    """
    For the length of a block.

    Args:
        cluster: Where the files of the database go: a folder that is not there yet, and that everybody may enter.
    """
    make_cluster(cluster)
    made = World(repository, folder, cluster, random.Random(seed))  # repeatable on purpose
    try:
        made.start()
        yield made
    finally:
        made.stop()
