"""
A response that does not end: server-sent events to one reader.

A reader that takes nothing for a while is cut off: the last thing that it finds in the stream, once it reads again, is
an event ``cut-off`` that says so and from where it can go on. It costs nobody anything meanwhile.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from switchover.interfaces.rest.live import Item, PrunedError

STREAM: Final = "text/event-stream"

STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            STREAM: {
                "schema": {"type": "string"},
                "example": 'id: 42\ndata: {"type": "TaskStarted", "position": 42}\n\n',
            }
        }
    }
}
"""What OpenAPI says about live events, beside their page of history."""

_HEADERS = [
    (b"content-type", f"{STREAM}; charset=utf-8".encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_RECONNECT = b"retry: 1000\n\n"
_PING = b": ping\n\n"


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long a reader may keep the server waiting.

    Attributes:
        slow_seconds: It takes nothing for so long: it is cut off.
        last_seconds: So much longer until the connection is closed, whether it has taken the last event or not.
    """

    slow_seconds: float = 10.0
    last_seconds: float = 60.0


class EventStream(Response):
    """
    Sends batches as they come, until they end, the reader leaves or is cut off.

    Args:
        wanted: Which events this reader may see.
        at_the_end: Data of the event ``end`` that follows the last batch.
    """

    def __init__(
        self,
        batches: AsyncGenerator[Sequence[Item] | None],
        *,
        since: str,
        wanted: Callable[[Item], Awaitable[bool]] | None = None,
        patience: Patience,
    ) -> None:
        super().__init__()
        self._batches = batches
        self._wanted = wanted
        self._patience = patience
        self._last = since

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        del scope
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        writing = asyncio.ensure_future(self._write(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            writing.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        try:
            async with aclosing(self._batches):  # whoever is cut off reads no more, however long the last event takes
                last = await self._batches_to(send)
        except _SlowReaderError:
            last = _control(
                "cut-off",
                {
                    "code": "SLOW_READER",
                    "message": f"nothing was read for {self._patience.slow_seconds:g} s; go on with Last-Event-ID",
                    "resumeFrom": self._last,
                },
            )
        except PrunedError as error:
            newest = ".".join(map(str, error.newest))
            last = _control(
                "pruned",
                {
                    "code": "EVENTS_PRUNED",
                    "message": f"events behind {self._last} are no longer kept; look at how things stand, then go on",
                    "resumeFrom": newest,
                },
            )
        async with asyncio.timeout(self._patience.last_seconds):
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _batches_to(self, send: Send) -> bytes:
        await self._send(send, _RECONNECT)
        async for batch in self._batches:
            if batch is None:
                await self._send(send, _PING)
                continue
            wanted = self._wanted
            frames = [item.frame for item in batch if wanted is None or await wanted(item)]
            if frames:
                await self._send(send, b"".join(frames))
            self._last = ".".join(map(str, batch[-1].cursor))
        return _control(
            "end",
            {
                "code": "SHUTTING_DOWN",
                "message": "the server stops; connect again, with Last-Event-ID",
                "resumeFrom": self._last,
            },
        )

    async def _send(self, send: Send, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(self._patience.slow_seconds):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError as error:
            raise _SlowReaderError from error


class _SlowReaderError(Exception):
    pass


def _control(name: str, data: Mapping[str, object]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
