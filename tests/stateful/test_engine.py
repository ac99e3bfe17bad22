"""
The engine against a model, under random requests, failures, time, deaths and outages.

``HYPOTHESIS_PROFILE=thorough make stateful`` looks for longer.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import Phase, settings

from switchover.adapters.stores.postgres import PostgresExecutionStore
from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.spi import ExecutionStore
from tests.stateful.machine import EngineMachine
from tests.support.postgres import empty, new_schema

STEPS = 30


def examples(usual: int) -> settings:
    """As many as the profile says; in the normal run, as many as fit into it."""
    profile = settings.default
    many = profile is not None and profile.max_examples > settings.get_profile("default").max_examples
    return settings(max_examples=profile.max_examples if many and profile else usual, stateful_step_count=STEPS)


class ContinuingMachine(EngineMachine):
    """What ran when the process ended goes on by itself."""


class PausingMachine(EngineMachine):
    """What ran when the process ended is paused at the restart."""

    recovery = "pause"


class SqliteMachine(EngineMachine):
    """Every life opens the file anew, as a new process would."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()

    async def open_store(self, before: ExecutionStore | None) -> ExecutionStore:
        if before is not None:
            await before.aclose()
        store = SqliteExecutionStore(Path(self.folder.name) / "switchover.db")
        await store.open()
        return store

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.folder.cleanup()


class PostgresMachine(EngineMachine):
    """Every life connects anew, as a new process would; all machines share one schema, which each finds empty."""

    url: ClassVar[str]

    async def open_store(self, before: ExecutionStore | None) -> ExecutionStore:
        if before is None:
            await empty(self.url)
        else:
            await before.aclose()
        store = PostgresExecutionStore(self.url)
        await store.open()
        return store


@pytest.fixture(scope="module")
def postgres_place(postgres_server: str) -> None:
    """The schema of the machines, with its tables."""

    async def make() -> str:
        url = await new_schema(postgres_server)
        store = PostgresExecutionStore(url)
        await store.open()
        await store.aclose()
        return url

    PostgresMachine.url = asyncio.run(make())


TestContinuing = ContinuingMachine.TestCase
TestContinuing.settings = examples(50)

TestPausing = PausingMachine.TestCase
TestPausing.settings = examples(25)

TestSqlite = SqliteMachine.TestCase
# Its threads make each run a little different, so that a shorter example proves nothing: no shrinking.
TestSqlite.settings = settings(examples(10), phases=(Phase.explicit, Phase.reuse, Phase.generate))

TestPostgres = pytest.mark.usefixtures("postgres_place")(PostgresMachine.TestCase)
# The server's answers come when they come, as those of threads do.
TestPostgres.settings = settings(examples(5), phases=(Phase.explicit, Phase.reuse, Phase.generate))
