"""The way from one process to the store that all processes share: every call is two moments of the schedule."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.errors import StoreClosedError
from switchover.spi import DriverLease, Entry, ExecutionStore
from tests.schedules.loop import Process, SeededLoop

_AT_ONCE = frozenset({"open", "aclose", "release_driver"})


class SharedStore:
    """
    A process's own view of the shared data.

    A call takes effect at one moment and is answered at a later one; others come in between. When the process dies,
    what has taken effect has, and nothing is answered any more.

    Args:
        committed: Told of each commit in the moment in which it takes effect.
    """

    def __init__(
        self,
        *,
        loop: SeededLoop,
        process: Process,
        inner: MemoryExecutionStore,
        committed: Callable[[Sequence[Entry]], None],
    ) -> None:
        self.inner = inner
        self.lease: DriverLease | None = None
        self.cut = False
        self._loop = loop
        self._process = process
        self._committed = committed

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        inner = getattr(self.inner, name)

        async def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401  # whatever the store answers
            if name in _AT_ONCE:
                return None if self.cut else await inner(*args, **kwargs)
            await self._point()
            answer = await inner(*args, **kwargs)
            if name == "acquire_driver":
                self.lease = answer
            elif name == "commit":
                self._committed(cast("Sequence[Entry]", args[1]))
            await self._point()
            return answer

        return call

    async def _point(self) -> None:
        if not self.cut:
            await self._loop.point(self._process)
        if self.cut:
            message = "this process is dead"
            raise StoreClosedError(message)

    def as_store(self) -> ExecutionStore:
        """What the engine takes it for."""
        return cast("ExecutionStore", self)
