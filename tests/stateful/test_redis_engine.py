"""The engine against the model once more, over a real Redis; see ``test_engine``."""

from itertools import count

import pytest
from hypothesis import Phase, settings

from switchover.adapters.stores.redis import RedisExecutionStore
from switchover.spi import ExecutionStore
from tests.stateful.machine import EngineMachine
from tests.stateful.test_engine import examples

_NUMBERS = count(1)


class RedisMachine(EngineMachine):
    """Every life connects anew, as a new process would."""

    server = ""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"{self.server}/1?appendfsync=everysec&prefix=machine-{next(_NUMBERS)}"

    async def open_store(self, before: ExecutionStore | None) -> ExecutionStore:
        if before is not None:
            await before.aclose()
        store = RedisExecutionStore(self.url)
        await store.open()
        return store


class TestRedis(RedisMachine.TestCase):  # type: ignore[misc,valid-type]  # Hypothesis makes the class
    # As with SQLite: its answers come when they come, so a shorter example proves nothing.
    settings = settings(examples(6), phases=(Phase.explicit, Phase.reuse, Phase.generate))

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: str) -> None:
        RedisMachine.server = redis_server
