"""
A configuration service that sees every write that ever reaches it, in order, and kills the writer where it is told to.

It runs in the judge's process, so what it has logged survives whoever wrote.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from aiohttp import web

from tests.support.config_server import GENERATION, ConfigService


@dataclass(frozen=True, slots=True)
class Write:
    """One that reached the service."""

    key: str
    generation: int
    accepted: bool
    late: bool = False


@dataclass
class DeadlyService(ConfigService):
    """
    The service of one case.

    Attributes:
        folder: Where the driving life left its process id.
        kill_at: At which write to kill the writer; 0: never.
        side: ``before`` it is applied, ``after``, or ``late``: the write is kept back, as if it had been on its way
            when its sender died, and arrives when all is over.
    """

    folder: Path = Path()
    kill_at: int = 0
    side: str = "before"
    writes: list[Write] = field(default_factory=list[Write])
    kept_back: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method not in {"PUT", "DELETE"}:
            return await super().handle(request)
        await request.read()
        self.kill_at -= 1
        key, generation = request.rel_url.raw_path, int(request.headers[GENERATION])
        if self.kill_at == 0 and self.side != "after":
            if self.side == "late":
                self.kept_back.append((key, generation))
            self._kill()
            return web.Response(status=500)
        response = await super().handle(request)
        self.writes.append(Write(key, generation, response.status < 300))
        if self.kill_at == 0:
            self._kill()
        return response

    def let_late_writes_arrive(self) -> None:
        """They are judged by the rule of the service, as any other."""
        for key, generation in self.kept_back:
            self.writes.append(Write(key, generation, generation >= self.generations.get(key, 0), late=True))

    def _kill(self) -> None:
        pid = int((self.folder / "pid-drive").read_text().split()[-1])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass
class Stand:
    """Where the service of the present case stands: the port is the same for all."""

    url: str = ""
    service: DeadlyService = field(default_factory=DeadlyService)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """By the service of the moment."""
        return await self.service.handle(request)


@contextmanager
def stand() -> Iterator[Stand]:
    """A running server, in a thread of its own."""
    held, ready, loop = Stand(), Event(), asyncio.new_event_loop()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", held.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        held.url = f"http://127.0.0.1:{runner.addresses[0][1]}/config"
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            runner = loop.run_until_complete(serve())
        finally:
            ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    assert held.url, "the service does not stand"
    try:
        yield held
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
