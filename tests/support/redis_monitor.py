"""Everything that changes a Redis server, as the server itself tells it (MONITOR), in the order of its happening."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from tests.support.processes import wait_until

_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SUFFIX = ":generation"


class TargetWrite(NamedTuple):
    """One effective change of a Redis target: a value was written or removed, under a generation."""

    key: str
    field: str | None
    generation: int


@dataclass
class RedisMonitor:
    """
    What was seen so far.

    Attributes:
        writes: Changes that were made; those that the fence refused are not among them.
    """

    address: tuple[str, int]
    writes: list[TargetWrite] = field(default_factory=list)
    _echoes: set[str] = field(default_factory=set)

    def read(self, connection: socket.socket) -> None:
        with connection.makefile("r", encoding="latin-1", newline="\r\n") as lines:
            for line in lines:
                self._read(line)

    def _read(self, line: str) -> None:
        command, *arguments = _ARGUMENT.findall(line) or [""]
        if command.upper() == "ECHO":
            self._echoes.add(arguments[0])
        if " lua] " not in line:
            return
        # Every script writes the generation last, whether it sets or removes the value.
        if command == "HSET" and arguments[-2].endswith(_SUFFIX):
            write = TargetWrite(arguments[0], arguments[-2].removesuffix(_SUFFIX), int(arguments[-1]))
        elif command == "SET" and arguments[0].endswith(_SUFFIX):
            write = TargetWrite(arguments[0].removesuffix(_SUFFIX), None, int(arguments[1]))
        else:
            return
        self.writes.append(write)

    def catch_up(self) -> None:
        """Wait until everything is seen that happened before this call."""
        token = uuid4().hex
        with socket.create_connection(self.address) as connection:
            connection.sendall(f"ECHO {token}\r\n".encode())
            connection.recv(100)
        wait_until(lambda: token in self._echoes, what="the monitor to catch up")


@contextmanager
def monitored(url: str) -> Iterator[RedisMonitor]:
    """Watch a server for the length of a ``with`` block."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    monitor = RedisMonitor((parts.hostname, parts.port))
    with socket.create_connection(monitor.address) as connection:
        connection.sendall(b"MONITOR\r\n")
        thread = threading.Thread(target=monitor.read, args=(connection,))
        thread.start()
        try:
            monitor.catch_up()
            yield monitor
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            thread.join()
