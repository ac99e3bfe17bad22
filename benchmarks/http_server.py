"""
The other side of the HTTP workload: keeps configurations, hears broadcasts, and answers health checks.

    http_server.py        prints its port, and serves until it is killed

No framework: a server that costs more than its clients would be what is measured. Needs nothing but Python.
"""

import asyncio

HEALTHY = b'{"status":"UP","version":"42"}'


class Connection(asyncio.Protocol):
    """One client; requests may be pipelined, and bodies have a Content-Length."""

    kept: dict[bytes, bytes] = {}  # noqa: RUF012  # shared by all connections on purpose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end]
            length = 0
            for line in head.split(b"\r\n")[1:]:
                if line[:15].lower() == b"content-length:":
                    length = int(line[15:])
            if len(self.received) < end + 4 + length:
                return
            body = self.received[end + 4 : end + 4 + length]
            self.received = self.received[end + 4 + length :]
            method, path, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
            self.transport.write(self.answer(method, path, body))

    def answer(self, method: bytes, path: bytes, body: bytes) -> bytes:
        if path.startswith(b"/health"):
            return _response(b"200 OK", HEALTHY)
        if method == b"PUT":
            self.kept[path] = body
            return _response(b"200 OK", b"")
        if method == b"GET":
            found = self.kept.get(path)
            return _response(b"404 Not Found", b"") if found is None else _response(b"200 OK", found)
        return _response(b"202 Accepted", b"")


def _response(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
