"""
A TCP proxy that misbehaves on purpose, whatever the protocol: between the engine and a Redis, an HTTP service ...

What it does is looked up each time the client has sent something, so a connection that was kept alive in good times
meets the fault as well. ``ailing`` faults happen once each, in their order; then ``fault`` goes on while it is set.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

_CHUNK = 64 * 1024
_BETWEEN_DRIPS_SECONDS = 0.02


class Ill(Enum):
    """What happens to what the client has just sent."""

    RESET = auto()
    """It is thrown away, and the connection is reset."""
    CLOSE = auto()
    """It is thrown away, and the connection is closed in good order."""
    HALF_CLOSE = auto()
    """No answer will come, as the end of the stream says; the other direction stays open."""
    HANG = auto()
    """It is swallowed, and nothing ever comes back."""
    GARBAGE = auto()
    """Bytes come back that belong to no protocol."""
    ANSWER = auto()
    """``answer`` comes back at once, and the connection goes on; the server is not asked."""
    DRIP = auto()
    """It is passed on, and the answer comes back byte by byte, too slowly for anybody."""
    CUT_ANSWER = auto()
    """It is passed on and carried out, and the connection is reset instead of the answer."""
    CUT_MIDWAY = auto()
    """It is passed on and carried out, and the connection is reset in the middle of the answer."""


_PASSED_ON = frozenset({None, Ill.DRIP, Ill.CUT_ANSWER, Ill.CUT_MIDWAY})


@dataclass
class FaultProxy:
    """Where it listens, and what it does."""

    upstream: tuple[str, int]
    host: str = "127.0.0.1"
    port: int = 0
    fault: Ill | None = None
    answer: bytes = b""
    ailing: deque[Ill | None] = field(default_factory=deque)
    connections: int = 0
    met: list[Ill] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def accept(self) -> None:
        """Listen; again on the same port after ``refuse``."""
        self._server = await asyncio.start_server(self._accepted, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Listen no more, and end what is open: the next connection is refused."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._open):
            writer.transport.abort()
        await asyncio.gather(*self._serving)
        if self._server is not None:
            await self._server.wait_closed()
        self._server = None

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(ConnectionError):
                await self._between(reader, writer)
        finally:
            self._open.discard(writer)
            await _close(writer)

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        theirs_reader, theirs = await asyncio.open_connection(*self.upstream)
        answers = _Answers(theirs_reader, writer)
        answering = asyncio.ensure_future(answers.pump())
        try:
            while data := await reader.read(_CHUNK):
                ill = self.ailing.popleft() if self.ailing else self.fault
                if ill is not None:
                    self.met.append(ill)
                if ill in _PASSED_ON:
                    answers.ill = ill
                    theirs.write(data)
                    await theirs.drain()
                elif not await self._harm(ill, writer):
                    return
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            await _close(theirs)

    async def _harm(self, ill: Ill | None, client: asyncio.StreamWriter) -> bool:
        """What comes instead of the server's answer; False when the connection is over."""
        match ill:
            case Ill.RESET:
                _reset(client)
            case Ill.HALF_CLOSE:
                client.write_eof()
            case Ill.GARBAGE:
                client.write(b"\x00\xffthis is nothing that anybody speaks\r\n\r\n")
                await client.drain()
            case Ill.ANSWER:
                client.write(self.answer)
                await client.drain()
        return ill in {Ill.HALF_CLOSE, Ill.HANG, Ill.ANSWER}


@dataclass
class _Answers:
    """The way back."""

    server: asyncio.StreamReader
    client: asyncio.StreamWriter
    ill: Ill | None = None

    async def pump(self) -> None:
        while data := await self.server.read(_CHUNK):
            if self.ill is Ill.DRIP:
                for number in range(len(data)):
                    self.client.write(data[number : number + 1])
                    await self.client.drain()
                    await asyncio.sleep(_BETWEEN_DRIPS_SECONDS)
                continue
            if self.ill is Ill.CUT_MIDWAY:
                self.client.write(data[: len(data) // 2])
                await self.client.drain()
            if self.ill in {Ill.CUT_ANSWER, Ill.CUT_MIDWAY}:
                _reset(self.client)
                return
            self.client.write(data)
            await self.client.drain()
        self.client.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    # Linger for no time at all: the kernel sends RST in place of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def fault_proxy(host: str, port: int) -> AsyncIterator[FaultProxy]:
    """A proxy that passes everything on until it is told otherwise."""
    proxy = FaultProxy(upstream=(host, port))
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.refuse()
