"""
The wire between one incarnation of the engine and its store: it can be cut, and it can fail for a while.

Cutting it is what a crash looks like from the store: what was committed is committed, and nothing comes any more,
however much of the dead process still runs in this test's loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from switchover.errors import StoreClosedError, StoreUnavailableError
from switchover.spi import DriverLease, ExecutionStore, ServedStore

_NEVER_FAILS = frozenset({"acquire_driver", "release_driver", "driver", "open", "aclose"})


_NOT_PASSED_ON = frozenset({"hears", "heard", "hear", "dispatch", "give_orders"})
"""Whoever hears is woken at moments that no test decides; and stages are carried out here."""


class Wire:
    """
    Passes every call on to ``inner``.

    Attributes:
        cut: Every call fails from now on, and what is on its way never comes back.
        commit_failures, read_failures: How many of the next calls find the store away.
        failures: The same for one method by its name, whoever else reads meanwhile.
        failed: Failures since somebody looked.
        busy: Calls that have not come back.
    """

    def __init__(self, inner: ExecutionStore) -> None:
        self.inner = inner
        self.cut = False
        self.commit_failures = 0
        self.read_failures = 0
        self.failures: dict[str, int] = {}
        self.failed = 0
        self.busy = 0
        self.lease: DriverLease | None = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name in _NOT_PASSED_ON:
            raise AttributeError(name)
        inner = getattr(self.inner, name)  # what the store has not, the wire has not either

        async def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401  # whatever the store answers
            self._check()
            self._fail(name)
            self.busy += 1
            try:
                answer = await self._carried_out(inner(*args, **kwargs))
            finally:
                self.busy -= 1
            # A process may die between the commit and its knowing of it.
            await asyncio.sleep(0)
            self._check()
            if name == "acquire_driver":
                self.lease = answer
            return answer

        return call

    async def _carried_out(self, call: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  # as above
        # A process that dies does not tell a server to stop what it is at.
        return await (asyncio.shield(call) if isinstance(self.inner, ServedStore) else call)

    def as_store(self) -> ExecutionStore:
        """What the engine takes it for."""
        return cast("ExecutionStore", self)

    def _check(self) -> None:
        if self.cut:
            message = "this process is dead"
            raise StoreClosedError(message)

    def _fail(self, name: str) -> None:
        if name in _NEVER_FAILS:
            return
        if self.failures.get(name, 0):
            self.failures[name] -= 1
            self.failed += 1
            message = f"{name} finds the store away (a test says so)"
            raise StoreUnavailableError(message)
        if name == "commit":
            if self.commit_failures:
                self.commit_failures -= 1
                self.failed += 1
                message = "the store is away (a test says so)"
                raise StoreUnavailableError(message)
        elif self.read_failures:
            self.read_failures -= 1
            self.failed += 1
            message = "the store cannot be read (a test says so)"
            raise StoreUnavailableError(message)
