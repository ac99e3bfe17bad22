"""Live events: history, then what comes; each event once, in order, whatever happens to the line."""

import asyncio
import socket
from collections.abc import MutableMapping, Sequence
from random import Random
from typing import Any

import pytest
from fastapi import FastAPI

from switchover.client import connect
from switchover.domain.plan import PlanStatus
from switchover.interfaces.rest.app import create_app
from switchover.interfaces.rest.permissions import OpenAccess
from switchover.interfaces.rest.streams import Patience
from tests.support.harness import Rig
from tests.support.listening import Message, breaking_line, listening, messages_in, read_stream

EVENTS = "/api/v1/plans/100/events"
TENANTS = tuple(f"t{number}" for number in range(1, 11))


def is_whole(found: Sequence[Message]) -> bool:
    return bool(found) and found[-1].data.get("type") == "PlanCompleted"


async def all_events(rig: Rig) -> list[dict[str, Any]]:
    return [event.to_dict() for event in await rig.events()]


async def settled_plan(rig: Rig, *tenants: str) -> list[dict[str, Any]]:
    await rig.create(*tenants)
    assert await rig.settles() is PlanStatus.COMPLETED
    return await all_events(rig)


async def test_history_comes_first_and_then_what_happens(rig: Rig, app: FastAPI) -> None:
    rig.script.block("t1", "B")
    await rig.create("t1", "t2")
    await rig.entered("t1", "B")
    history = len(await rig.events())
    seen = asyncio.Event()

    def enough(found: Sequence[Message]) -> bool:
        if len(found) >= history:
            seen.set()
        return is_whole(found)

    async with listening(app) as server:
        reading = asyncio.ensure_future(read_stream(server.url + EVENTS, enough))
        await seen.wait()
        rig.script.release("t1", "B")
        found = await reading
    assert [message.data for message in found] == await all_events(rig)
    assert [message.number for message in found] == [message.data["position"] for message in found]


async def test_a_reader_says_behind_which_event_it_wants_to_begin(rig: Rig, app: FastAPI) -> None:
    events = await settled_plan(rig, "t1")
    async with listening(app) as server:
        behind_since = await read_stream(f"{server.url}{EVENTS}?since=3", is_whole)
        behind_last = await read_stream(f"{server.url}{EVENTS}?since=3", is_whole, last=5)
        of_task = await read_stream(
            f"{server.url}/api/v1/tasks/100-1/events?since=1", lambda found: found[-1:] != [], last=2
        )
    assert [message.data for message in behind_since] == events[3:]
    assert [message.data for message in behind_last] == events[5:], "what the reader saw last is newer than its address"
    assert of_task[0].number == of_task[0].data["sequenceId"] == 3


async def test_whoever_is_cut_off_at_any_byte_gets_each_event_once_with_the_last_id(rig: Rig, app: FastAPI) -> None:
    rig.script.block("t10", "B")
    await rig.create(*TENANTS)
    await rig.entered("t10", "B")
    history = len(await rig.events())
    chance = Random(41)  # chance that can be repeated
    found: list[Message] = []
    cuts = 0
    async with listening(app) as server:
        while not is_whole(found):
            last = found[-1].number if found else 0
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            request = f"GET {EVENTS} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\nLast-Event-ID: {last}\r\n\r\n"
            writer.write(request.encode())
            await reader.readuntil(b"\r\n\r\n")
            text, most = b"", chance.randrange(1, 5_000)
            while len(text) < most and not is_whole(messages_in(text)):
                text += await reader.read(most - len(text))
                if len(found) + len(messages_in(text)) >= history:
                    rig.script.release_all()
            writer.transport.abort()
            found += messages_in(text)
            cuts += 1
    assert [message.data for message in found] == await all_events(rig)
    assert cuts > 6


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_client_gets_each_event_once_over_a_line_that_breaks_again_and_again(
    rig: Rig, app: FastAPI, seed: int
) -> None:
    rig.script.block("t10", "B")
    await rig.create(*TENANTS)
    await rig.entered("t10", "B")
    history = len(await rig.events())
    found: list[dict[str, Any]] = []
    async with (
        listening(app) as server,
        breaking_line(server.port, seed) as line,
        connect(line.url, patience_seconds=60.0) as client,
    ):
        async for event in client.events(100):
            found.append(event.to_dict())
            if len(found) == history:
                rig.script.release_all()
            if event.type == "PlanCompleted":
                break
        assert line.breaks >= 4
    assert found == await all_events(rig)


async def test_a_reader_that_reads_nothing_is_cut_off_and_told_so_and_goes_on(rig: Rig) -> None:
    app = create_app(rig.executor, OpenAccess(), patience=Patience(slow_seconds=0.05))
    events = await settled_plan(rig, *(f"t{number}" for number in range(150)))
    assert len(events) > 1_000
    async with listening(app, send_bytes=4_096) as server:
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        line.setblocking(False)  # the name says it
        await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", server.port))
        reader, writer = await asyncio.open_connection(sock=line, limit=1_024)
        writer.write(f"GET {EVENTS} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        while app.state.streams.readers:  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)
        *before, cut_off = messages_in(await reader.read())
        writer.close()
        assert (cut_off.name, cut_off.data["code"]) == ("cut-off", "SLOW_READER")
        assert "Last-Event-ID" in cut_off.data["message"]
        assert 0 < len(before) < len(events)
        assert cut_off.data["resumeFrom"] == str(before[-1].number)
        app.state.patience = Patience()
        rest = await read_stream(server.url + EVENTS, is_whole, last=before[-1].number)
    assert [message.data for message in (*before, *rest)] == events


class _Reader:
    """A client of the application that leaves when it has seen the end."""

    def __init__(self) -> None:
        self.text = b""
        self.has_history = asyncio.Event()
        self._left = asyncio.Event()
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.text += message.get("body", b"")
        if b"data: " in self.text:
            self.has_history.set()
        if b'"PlanCompleted"' in self.text:
            self._left.set()


async def test_a_thousand_readers_get_each_event_once(rig: Rig, app: FastAPI) -> None:
    rig.script.block("t1", "B")
    await rig.create("t1", "t2")
    await rig.entered("t1", "B")
    readers = [_Reader() for _ in range(1_000)]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": EVENTS,
        "query_string": b"",
        "headers": [(b"accept", b"text/event-stream")],
    }
    reading = [asyncio.ensure_future(app({**scope}, reader.receive, reader.send)) for reader in readers]
    for reader in readers:
        await reader.has_history.wait()
    assert app.state.streams.readers == 1_000
    rig.script.release("t1", "B")
    await asyncio.gather(*reading)
    assert app.state.streams.readers == 0
    events = await all_events(rig)
    for reader in readers:
        assert [message.data for message in messages_in(reader.text)] == events


async def test_a_server_that_stops_ends_its_streams_and_says_where_to_go_on(rig: Rig, app: FastAPI) -> None:
    rig.script.block("t1", "B")
    await rig.create("t1")
    await rig.entered("t1", "B")
    history = len(await rig.events())
    async with listening(app) as server:

        def enough(found: Sequence[Message]) -> bool:
            if len(found) == history:
                server.stopping.set()
            return False

        *events, end = await read_stream(server.url + EVENTS, enough)
        await server.stop()
    assert len(events) == history
    assert (end.name, end.data["code"]) == ("end", "SHUTTING_DOWN")
    assert end.data["resumeFrom"] == str(events[-1].number)
