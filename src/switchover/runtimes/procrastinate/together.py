"""Many small requests, one statement: what is asked for while one is on its way goes into the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from switchover.errors import StoreUnavailableError
from switchover.spi import Clock

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

_AGAIN_SECONDS = 0.2
_MOST_AT_ONCE = 500


class Together(Generic[_Item, _Answer]):
    """
    Asks for many at once; no timer: an idle one asks at once, a busy one batches by itself.

    A store that is away is asked again until it answers: the same items may therefore be asked for twice.

    Args:
        ask: Answers items in their order.
    """

    def __init__(self, clock: Clock, ask: Callable[[Sequence[_Item]], Awaitable[Sequence[_Answer]]]) -> None:
        self._clock = clock
        self._ask = ask
        self._waiting: list[tuple[_Item, asyncio.Future[_Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def put(self, item: _Item) -> _Answer:
        """Ask for one; what the store raises is raised here."""
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask_for_all())
        return await answer

    async def _ask_for_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
                await self._answer(batch)
        finally:
            self._asking = None

    async def _answer(self, batch: Sequence[tuple[_Item, asyncio.Future[_Answer]]]) -> None:
        while True:
            try:
                answers = await self._ask([item for item, _ in batch])
            except StoreUnavailableError:
                await self._clock.sleep(_AGAIN_SECONDS)
                continue
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # its waiter may be gone
                if not isinstance(error, Exception):
                    raise
                return
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
            return
