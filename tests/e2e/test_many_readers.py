"""A thousand readers of live events on real sockets of a real server: each gets all, and a stop ends them at once."""

import asyncio
import resource
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.listening import Message, messages_in
from tests.support.served import Served, start_server

pytestmark = pytest.mark.slow

READERS = 1_000
TENANTS = 4
_NEEDED = 4 * READERS
_PATIENCE_SECONDS = 300


@pytest.fixture
def switchover(tmp_path: Path) -> Iterator[CommandLine]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _NEEDED:
        pytest.skip(f"this machine lets a process have {hard} open files, and {_NEEDED} are needed")
    try:
        with CommandLine(tmp_path) as command_line:
            yield command_line
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def start_server_with_few_files(command_line: CommandLine) -> Served:
    """Service managers give a process few open files, and as many as it asks for: the server has to ask."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        return start_server(command_line)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_NEEDED, hard))


def ask(url: str, path: str, body: object) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url + path, orjson.dumps(body), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.status < 300


def plan_of(folder: Path) -> dict[str, object]:
    target = {"target": f"file://{folder}/map.json", "key": "{tenantId}", "value": {"version": "{deployUnitVersion}"}}
    stages = [{"name": name, "steps": [{"configUpdate": {**target, "field": name}}]} for name in ("gateway", "media")]
    tenants = [{"tenantId": f"t{number}", "deployUnitId": 2, "deployUnitVersion": 42} for number in range(TENANTS)]
    spec = {"planId": 100, "services": stages, "tenants": tenants}
    return {"apiVersion": "switchover/v1", "kind": "Plan", "spec": spec}


class Reader:
    """One connection, and what came over it."""

    def __init__(self) -> None:
        self.text = b""
        self.has_history = asyncio.Event()
        self.has_all = asyncio.Event()

    async def read(self, port: int, path: str) -> list[Message]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head.splitlines()[0]
        while chunk := await reader.read(1 << 16):
            self.text += chunk
            if b"data: " in self.text:
                self.has_history.set()
            if b'"PlanCompleted"' in self.text:
                self.has_all.set()
        writer.close()
        return messages_in(self.text)


async def test_a_thousand_readers_get_every_event_once_and_a_stop_ends_them_all(
    switchover: CommandLine, tmp_path: Path
) -> None:
    served = start_server_with_few_files(switchover)
    await asyncio.to_thread(ask, served.url, "/api/v1/line/stop", {"reason": "until everybody listens"})
    await asyncio.to_thread(ask, served.url, "/api/v1/plans", plan_of(tmp_path))
    port = urlsplit(served.url).port or 0
    readers = [Reader() for _ in range(READERS)]
    paths = ("/api/v1/plans/100/events", "/api/v1/events")
    reading = [asyncio.ensure_future(reader.read(port, paths[index % 2])) for index, reader in enumerate(readers)]
    async with asyncio.timeout(_PATIENCE_SECONDS):
        for reader in readers:
            await reader.has_history.wait()
    await asyncio.to_thread(ask, served.url, "/api/v1/line/start", {})
    async with asyncio.timeout(_PATIENCE_SECONDS):
        for reader in readers:
            await reader.has_all.wait()
    assert not any(task.done() for task in reading), "live streams have no end of their own"
    stopped = asyncio.ensure_future(asyncio.to_thread(served.program.stop, timeout_seconds=60))
    found = await asyncio.gather(*reading)
    assert await stopped == 0, served.program.tail()
    *events, _ = found[0]
    positions = [message.data["position"] for message in events]
    assert positions == list(range(1, positions[-1] + 1))
    assert len(events) > TENANTS * 8
    for *told, end in found:
        assert [message.data for message in told] == [message.data for message in events]
        assert [message.number for message in told] == positions
        assert (end.name, end.data["code"], end.data["resumeFrom"]) == ("end", "SHUTTING_DOWN", str(positions[-1]))
