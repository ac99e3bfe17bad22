"""
Live pages: a stream that only says that something has changed.

What has changed is fetched by the page as the parts that it shows; so the browser repeats no rule, and one slow reader
costs one pending answer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from starlette.responses import StreamingResponse

_LEAST_SECONDS = 0.25
_BREATH_SECONDS = 15.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Source(Protocol):
    """Something that changes: the executor, or a board."""

    @property
    def version(self) -> int:
        """Rises when something may have changed."""
        ...

    async def changed(self, seen: int) -> None:
        """Wait until something may have changed since ``version`` was ``seen``."""
        ...


def stream(source: Source, stopping: asyncio.Event, token: Callable[[], Awaitable[object]]) -> StreamingResponse:
    """
    An answer that goes on until the reader leaves or the server stops.

    Args:
        source: Says when to look again.
        token: Something that is another one when the page would look different.
    """
    return StreamingResponse(_said(source, stopping, token), media_type="text/event-stream", headers=_HEADERS)


async def _said(source: Source, stopping: asyncio.Event, token: Callable[[], Awaitable[object]]) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    known: object = await token()
    number = 0
    while not stopping.is_set():
        seen = source.version
        current = await token()
        if current != known:
            known = current
            number += 1
            yield f"event: change\ndata: {number}\n\n"
        if not await _first_of(stopping.wait(), source.changed(seen), seconds=_BREATH_SECONDS):
            yield ": still here\n\n"
        await _first_of(stopping.wait(), seconds=_LEAST_SECONDS)


async def _first_of(*waits: Awaitable[object], seconds: float) -> bool:
    """Wait for the first, but no longer than so many seconds; says whether there was one."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return bool(done)
