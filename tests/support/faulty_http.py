"""An HTTP server that misbehaves on purpose: one fault per path, on a free loopback port."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@dataclass
class FaultyServer:
    """Where it listens, and what it was asked: request head by request head."""

    host: str = "127.0.0.1"
    port: int = 0
    heads: list[str] = field(default_factory=list)
    connections: int = 0
    pages: dict[str, Callable[[int], bytes]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    ills: dict[str, str] = field(default_factory=dict)
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    def page(self, path: str, *answers: bytes) -> str:
        """Answer these bytes one after another, the last one for ever; returns the URL."""
        self.pages[path] = lambda number: answers[min(number, len(answers) - 1)]
        return self.url + path

    def fall_ill(self, path: str, fault: str) -> str:
        """Behave at this path as at the path ``fault``, in place of its pages, until ``heal``; returns the URL."""
        self.ills[path] = fault
        return self.url + path

    def heal(self) -> None:
        """Answer with the pages everywhere."""
        self.ills.clear()

    def json(self, path: str, *bodies: str) -> str:
        """Answer these bodies as a healthy server would."""
        return self.page(path, *(respond(body) for body in bodies))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
            writer.close()
        finally:
            if not writer.is_closing():
                writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        goes_on = True
        while goes_on:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            path = head.split(" ")[1]
            await reader.readexactly(_length_of(head))
            fault = _FAULTS.get(self.ills.get(path, path))
            if fault is not None:
                goes_on = await fault(reader, writer)
            else:
                self.asked[path] = number = self.asked.get(path, -1) + 1
                page = self.pages[path](number)
                writer.write(page)
                goes_on = bool(page) and "connection: close" not in head.lower()
            await writer.drain()


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await reader.read()
    return False


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.transport.abort()
    return False


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    return False


async def _half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(_HEAD + b'Content-Length: 100\r\n\r\n{"version":')
    return False


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(_HEAD + b"Content-Length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)
    return False


async def _headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(_HEAD)
    while not writer.is_closing():
        writer.write(b"X")
        await writer.drain()
        await asyncio.sleep(0.01)
    return False


async def _many_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(_HEAD)
    while not writer.is_closing():
        writer.write(b"X-More: " + b"x" * 0x1000 + b"\r\n")
        await writer.drain()
    return False


async def _hundred_megabytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(_HEAD + b"Content-Length: 104857600\r\n\r\n")
    for _ in range(100):
        writer.write(b" " * 0x100000)
        await writer.drain()
    return True


async def _huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()
    return False


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"\x00\xff\x00 this is not HTTP \r\n\r\n")
    return False


async def _loop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n")
    return True


_FAULTS: dict[str, Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]] = {
    "/hang": _hang,
    "/reset": _reset,
    "/close": _close,
    "/half": _half,
    "/drip": _drip,
    "/huge": _huge,
    "/garbage": _garbage,
    "/loop": _loop,
    "/headers": _headers,
    "/many-headers": _many_headers,
    "/100-mb": _hundred_megabytes,
}
"""What each path does to its connection; True: it can go on."""


def _length_of(head: str) -> int:
    """The bytes of a request's body."""
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


def respond(body: str, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole response."""
    return respond_raw(body.encode(), status, headers)


def respond_raw(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole response, whatever the bytes of its body."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@cache
def bomb() -> bytes:
    """A hundred kilobytes that unpack to a hundred megabytes."""
    return gzip.compress(b" " * 100_000_000, compresslevel=6)


@asynccontextmanager
async def faulty_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[FaultyServer]:
    """A running one; open connections end with it."""
    server = FaultyServer(scheme="http" if tls is None else "https")
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(accept, server.host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()
