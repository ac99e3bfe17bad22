"""
A small simulated fleet on loopback ports: a routing table, and two deploy units that follow it.

The routing table is what a switch writes: one entry per tenant and service, under a generation, and a writer that comes
with a lower generation is refused (409). The instances of both units look at it when they are told that it changed,
which takes them a moment, and then report the version that it names.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from aiohttp import web

GENERATION_HEADER = "Switchover-Generation"

BLUE_VERSION = 41
GREEN_VERSION = 42
BROKEN_ANSWER = "schema migration 42-07 is missing in this tenant's database"

WARM_UP_SECONDS = (0.12, 0.45)
_NAMED_VERSION = re.compile(rb"version\D{0,4}(\d+)")


class Route(NamedTuple):
    """Whose entry: one tenant, one service."""

    tenant: str
    service: str


class Write(NamedTuple):
    """One change that the routing table took; ``value`` is None when the entry was removed."""

    route: Route
    generation: int
    value: bytes | None


@dataclass(slots=True)
class RoutingTable:
    """
    Entries as bytes, with the generation of the last writer beside each.

    Attributes:
        writes: Every change that was taken, in order.
        refused: How many writers came with a generation that was too old.
    """

    entries: dict[Route, bytes] = field(default_factory=dict[Route, bytes])
    generations: dict[Route, int] = field(default_factory=dict[Route, int])
    writes: list[Write] = field(default_factory=list[Write])
    refused: int = 0

    def version_of(self, route: Route) -> int:
        """The version that an entry names, whatever its format; blue's, where there is no entry."""
        found = _NAMED_VERSION.search(self.entries.get(route, b""))
        return BLUE_VERSION if found is None else int(found[1])

    async def handle(self, request: web.Request) -> web.Response:
        """GET, PUT and DELETE of one entry."""
        route = Route(request.match_info["tenant"], request.match_info["service"])
        body = await request.read()
        held = self.generations.get(route, 0)
        if request.method == "GET":
            entry = self.entries.get(route)
            return web.Response(status=404 if entry is None else 200, body=entry, headers=_headers(held))
        generation = int(request.headers[GENERATION_HEADER])
        if generation < held:
            self.refused += 1
            return web.Response(status=409, headers=_headers(held))
        value = body if request.method == "PUT" else None
        if value is None:
            self.entries.pop(route, None)
        else:
            self.entries[route] = value
        self.generations[route] = generation
        self.writes.append(Write(route, generation, value))
        return web.Response(status=204, headers=_headers(generation))


def _headers(generation: int) -> Mapping[str, str]:
    return {GENERATION_HEADER: str(generation)}


@dataclass(slots=True, kw_only=True)
class Fleet:
    """
    The running fleet.

    Attributes:
        url: Base of the routing table and of the change notice.
        blue: Base of the health endpoints of the unit that everybody is on; ``green``: of the new one.
        broken: Routes whose new instance cannot serve.
        warm_up_seconds: From and to: how long an instance takes to notice a change.
    """

    table: RoutingTable
    url: str = ""
    blue: str = ""
    green: str = ""
    broken: set[Route] = field(default_factory=set[Route])
    warm_up_seconds: tuple[float, float] = WARM_UP_SECONDS
    _served: dict[Route, int] = field(default_factory=dict[Route, int])
    _pending: set[asyncio.TimerHandle] = field(default_factory=set[asyncio.TimerHandle])
    _random: random.Random = field(default_factory=lambda: random.Random(42))

    def served(self, route: Route) -> int:
        """The version that the tenant's instances serve now."""
        return self._served.get(route, BLUE_VERSION)

    async def changed(self, request: web.Request) -> web.Response:
        """The change notice: the tenant's instances look at the routing table, each after a moment of its own."""
        message = orjson.loads(await request.read())
        route = Route(message["tenantId"], message["stage"])
        delay = self._random.uniform(*self.warm_up_seconds)
        self._pending.add(asyncio.get_running_loop().call_later(delay, self._follow, route))
        return web.Response(status=202)

    def _follow(self, route: Route) -> None:
        self._served[route] = self.table.version_of(route)

    async def blue_health(self, request: web.Request) -> web.Response:
        """What an instance of the blue unit answers."""
        return self._answer("blue", _route(request))

    async def green_health(self, request: web.Request) -> web.Response:
        """What an instance of the green unit answers, unless it is broken."""
        route = _route(request)
        if route in self.broken:
            return web.json_response({"error": BROKEN_ANSWER}, status=503)
        return self._answer("green", route)

    def _answer(self, unit: str, route: Route) -> web.Response:
        return web.json_response({"unit": unit, "service": route.service, "version": self.served(route)})

    def forget(self) -> None:
        """Drop what instances were still about to do."""
        for handle in self._pending:
            handle.cancel()


def _route(request: web.Request) -> Route:
    return Route(request.match_info["tenant"], request.match_info["service"])


@asynccontextmanager
async def running_fleet(
    table: RoutingTable, *, warm_up_seconds: tuple[float, float] = WARM_UP_SECONDS
) -> AsyncGenerator[Fleet]:
    """Three servers on free loopback ports, for the length of the block."""
    fleet = Fleet(table=table, warm_up_seconds=warm_up_seconds)
    routing, blue, green = web.Application(), web.Application(), web.Application()
    routing.router.add_route("*", "/routes/{tenant}/{service}", table.handle)
    routing.router.add_post("/changed", fleet.changed)
    blue.router.add_get("/{tenant}/{service}/health", fleet.blue_health)
    green.router.add_get("/{tenant}/{service}/health", fleet.green_health)
    runners: list[web.AppRunner] = []
    try:
        fleet.url = await _serve(routing, runners)
        fleet.blue = await _serve(blue, runners)
        fleet.green = await _serve(green, runners)
        yield fleet
    finally:
        fleet.forget()
        for runner in runners:
            await runner.cleanup()


async def _serve(app: web.Application, runners: list[web.AppRunner]) -> str:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    runners.append(runner)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
