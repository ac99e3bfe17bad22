"""
Live pages: a stream that only says that something has changed.

What has changed is fetched by the page as the parts that it shows; so the browser repeats no rule, and one slow reader
costs one pending answer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from starlette.responses import StreamingResponse

from switchover.bootstrap import Executor

_LEAST_SECONDS = 0.25
_BREATH_SECONDS = 15.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def stream(executor: Executor, stopping: asyncio.Event, token: Callable[[], Awaitable[object]]) -> StreamingResponse:
    """
    An answer that goes on until the reader leaves or the server stops.

    Args:
        token: Something that is another one when the page would look different.
    """
    return StreamingResponse(_said(executor, stopping, token), media_type="text/event-stream", headers=_HEADERS)


async def _said(
    executor: Executor, stopping: asyncio.Event, token: Callable[[], Awaitable[object]]
) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    known: object = await token()
    silent = 0.0
    number = 0
    while not stopping.is_set():
        seen = executor.version
        current = await token()
        if current != known:
            known, silent = current, 0.0
            number += 1
            yield f"event: change\ndata: {number}\n\n"
        elif silent >= _BREATH_SECONDS:
            silent = 0.0
            yield ": still here\n\n"
        began = executor.clock.monotonic()
        await _first_of(stopping.wait(), executor.changed(seen), seconds=_BREATH_SECONDS)
        await _first_of(stopping.wait(), seconds=_LEAST_SECONDS)
        silent += executor.clock.monotonic() - began


async def _first_of(*waits: Awaitable[object], seconds: float) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
