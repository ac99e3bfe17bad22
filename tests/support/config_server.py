"""A configuration service with the fence that HTTP targets rely on, on a free loopback port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

GENERATION = "Switchover-Generation"


@dataclass
class ConfigService:
    """What it holds, and what it was asked."""

    url: str = ""
    values: dict[str, bytes] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    posted: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    stale_status: int = 409

    async def handle(self, request: web.Request) -> web.StreamResponse:
        key = request.rel_url.raw_path
        self.requests.append(f"{request.method} {key}")
        if request.method == "POST":
            self.posted.append((key, dict(request.headers), await request.read()))
            return web.Response(status=202)
        held = self.generations.get(key, 0)
        headers = {GENERATION: str(held)}
        if request.method == "GET":
            if key not in self.values:
                return web.Response(status=404, headers=headers)
            return web.Response(body=self.values[key], content_type="application/json", headers=headers)
        body = await request.read()
        generation = int(request.headers[GENERATION])
        # The body was read before the check: nothing awaits between the check and the write.
        held = self.generations.get(key, 0)
        if generation < held:
            return web.Response(status=self.stale_status, headers={GENERATION: str(held)})
        self.generations[key] = generation
        if request.method == "PUT":
            self.values[key] = body
        else:
            self.values.pop(key, None)
        return web.Response(status=204)


@asynccontextmanager
async def config_service() -> AsyncIterator[ConfigService]:
    """A running service; its base URL has a path, so that nobody can get away with replacing it."""
    service = ConfigService()
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_route("*", "/{tail:.*}", service.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    service.url = f"http://127.0.0.1:{port}/v1/config"
    try:
        yield service
    finally:
        await runner.cleanup()
