"""The application behind a real socket, in the test's own loop; and a line to it that breaks."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
import orjson
from fastapi import FastAPI

from switchover.interfaces.rest.serving import listen, serve

_CHUNK = 16_384


@dataclass(slots=True)
class Message:
    """One server-sent event."""

    name: str
    number: int | None
    data: dict[str, Any]


@dataclass(frozen=True)
class Listening:
    """A server that listens."""

    port: int
    stopping: asyncio.Event
    server: "asyncio.Task[None]"

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        self.stopping.set()
        await self.server


@asynccontextmanager
async def listening(app: FastAPI, *, send_bytes: int | None = None) -> AsyncIterator[Listening]:
    """
    Serve for the length of a block.

    Args:
        send_bytes: How much the system keeps of what a client does not read.
    """
    made = listen("127.0.0.1", 0)
    if send_bytes is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
    started, stopping = asyncio.Event(), asyncio.Event()
    server = asyncio.ensure_future(serve(app, made, stopping, started=started.set))
    opened = Listening(made.getsockname()[1], stopping, server)
    await started.wait()
    try:
        yield opened
    finally:
        await opened.stop()


def messages_in(text: bytes) -> list[Message]:
    """The whole messages in what came; half of one at the end is none."""
    found: list[Message] = []
    for block in text.split(b"\n\n")[:-1]:
        fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
        if b"data" in fields:
            number = int(fields[b"id"]) if b"id" in fields else None
            found.append(Message(fields.get(b"event", b"").decode(), number, orjson.loads(fields[b"data"])))
    return found


async def read_stream(
    url: str, enough: Callable[[Sequence[Message]], bool], *, last: int | None = None
) -> list[Message]:
    """Read a stream until that is enough, or it ends."""
    headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": str(last)})
    text = b""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.content_type == "text/event-stream", await response.text()
        async for chunk in response.content.iter_any():
            text += chunk
            if enough(messages_in(text)):
                break
    return messages_in(text)


@dataclass
class BreakingLine:
    """Passes on so many bytes of each answer, by chance, and then breaks; ``whole`` lets everything pass."""

    port: int
    random: Random
    whole: bool = False
    breaks: int = 0
    own_port: int = 0

    @property
    def url(self) -> str:
        """Where its near end is."""
        return f"http://127.0.0.1:{self.own_port}"

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        asking = asyncio.ensure_future(_copy(reader, far_writer))
        left = self.random.randrange(1, 6_000)
        try:
            while chunk := await far_reader.read(_CHUNK):
                writer.write(chunk if self.whole else chunk[:left])
                await writer.drain()
                left -= len(chunk)
                if left <= 0 and not self.whole:
                    self.breaks += 1
                    break
        except ConnectionError:
            pass
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            far_writer.close()
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def breaking_line(port: int, seed: int) -> AsyncIterator[BreakingLine]:
    """A line to that port, for the length of a block."""
    line = BreakingLine(port, Random(seed))  # chance that can be repeated
    server = await asyncio.start_server(line.pass_on, "127.0.0.1", 0)
    line.own_port = server.sockets[0].getsockname()[1]
    async with server:
        yield line
