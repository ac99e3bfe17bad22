"""
Seed Redis, write the plan, and be the instances of both units until Ctrl-C.

An instance answers the version that Redis names for its tenant and service. Some instances of the green unit are broken
until somebody repairs them:

    curl -X POST 'http://127.0.0.1:8700/control/repair'
    curl -X POST 'http://127.0.0.1:8700/control/break?tenants=t0003,t0004'

And the gateways can be made to wait, so that a plan stands in the middle as long as you like: after so many more
changes none follows, until it is let go.

    curl -X POST 'http://127.0.0.1:8700/control/hold?after=150'
    curl -X POST 'http://127.0.0.1:8700/control/release'
"""

import argparse
import asyncio
import json
import re
from pathlib import Path
from typing import cast

from aiohttp import web
from fleet import BLUE, SERVICES, TOPIC, plan, plan_lines, state_before, tenants
from redis.asyncio import BlockingConnectionPool, Redis

NAMED_VERSION = re.compile(rb"version\W{0,4}(\d+)\b(?!\.)")


def named_version(entry: bytes | None) -> int:
    """The version that an entry names, whatever its format; where it names none, the tenant is on blue."""
    found = NAMED_VERSION.search(entry or b"")
    return BLUE if found is None else int(found[1])


class Instances:
    """
    Every instance of both units: each serves what Redis named when it last looked.

    Args:
        served: The version that each tenant's service is on.
        broken: Tenants whose green routing instance does not come up.
        warm_up_seconds: How long an instance takes to follow a change that it hears of.
    """

    def __init__(
        self, redis: Redis, served: dict[tuple[str, str], int], broken: set[str], warm_up_seconds: float
    ) -> None:
        self.redis = redis
        self.served = served
        self.broken = broken
        self.warm_up_seconds = warm_up_seconds
        self.heard = 0
        self.held = 0
        self.hold_after: int | None = None
        self.released = asyncio.Event()

    async def listen(self) -> None:
        """Follow every change that is announced."""
        async with self.redis.pubsub() as channel, asyncio.TaskGroup() as warming_up:
            await channel.subscribe(TOPIC)
            async for message in channel.listen():
                if message["type"] == "message":
                    change = json.loads(message["data"])
                    self.heard += 1
                    warming_up.create_task(self.follow(change["tenantId"], change["stage"]))

    async def follow(self, tenant: str, service: str) -> None:
        if service == "gateway" and self.hold_after is not None and self.heard > self.hold_after:
            self.held += 1
            await self.released.wait()
        await asyncio.sleep(self.warm_up_seconds)
        if service == "gateway":
            entry = await self.redis.hget(f"tenant_config:{tenant}", "gateway")
        else:
            entry = await self.redis.get(f"tenant_route:{tenant}")
        self.served[tenant, service] = named_version(cast("bytes | None", entry))

    async def health(self, request: web.Request) -> web.Response:
        unit, tenant, service = (request.match_info[name] for name in ("unit", "tenant", "service"))
        if unit == "green" and service == SERVICES[-1] and tenant in self.broken:
            return web.json_response({"error": "out of disk space"}, status=503)
        return web.json_response({"unit": unit, "version": self.served[tenant, service]})

    async def control(self, request: web.Request) -> web.Response:
        listed = {name for name in request.query.get("tenants", "").split(",") if name}
        match request.match_info["what"]:
            case "break":
                self.broken |= listed
            case "repair":
                self.broken -= listed or set(self.broken)
            case what:
                self.let_go()
                if what == "hold":
                    self.hold_after = self.heard + int(request.query.get("after", "0"))
        return await self.state(request)

    def let_go(self) -> None:
        """Those that wait go on; whoever is held from now on waits for another word."""
        self.released.set()
        self.released = asyncio.Event()
        self.held, self.hold_after = 0, None

    async def state(self, request: web.Request) -> web.Response:
        return web.json_response({"broken": sorted(self.broken), "heard": self.heard, "held": self.held})


async def seed(redis: Redis, count: int) -> None:
    """Put the state before the switch into an empty database."""
    if await redis.dbsize():
        raise SystemExit("this Redis database is not empty; give --redis another one, for example …/7")
    async with redis.pipeline(transaction=False) as pipeline:
        for key, value in state_before(count).items():
            if isinstance(value, dict):
                pipeline.hset(key, mapping=dict(value.items()))
            else:
                pipeline.set(key, value)
        await pipeline.execute()


async def serve(options: argparse.Namespace) -> None:
    redis = Redis.from_pool(BlockingConnectionPool.from_url(options.redis, max_connections=32))
    await seed(redis, options.tenants)
    everybody = tenants(options.tenants)
    step = max(1, len(everybody) // max(1, options.broken))
    broken = set(everybody[step // 2 :: step][: options.broken])
    served = {(tenant, service): BLUE for tenant in everybody for service in SERVICES}
    instances = Instances(redis, served, broken, options.warm_up)
    listening = asyncio.ensure_future(instances.listen())
    app = web.Application()
    app.router.add_get("/{unit}/{tenant}/{service}/health", instances.health)
    app.router.add_post("/control/{what:break|repair|hold|release}", instances.control)
    app.router.add_get("/control", instances.state)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    content = plan(options.tenants, redis=options.redis, health=url, concurrency=options.concurrency)
    as_json = options.plan.suffix == ".json"
    text = json.dumps(content) if as_json else "\n".join(plan_lines(content)) + "\n"
    options.plan.write_text(text, encoding="utf-8")
    print(
        f"{options.plan}: {options.tenants} tenants, {len(instances.broken)} of them broken; health at {url}",
        flush=True,
    )
    try:
        await listening
    finally:
        listening.cancel()
        await runner.cleanup()
        await redis.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/7", help="an empty database")
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--broken", type=int, default=20, help="tenants whose new unit does not come up at first")
    parser.add_argument("--warm-up", type=float, default=0.2, help="seconds that an instance takes to follow a change")
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--port", type=int, default=8700, help="of the health endpoints; 0: any free one")
    parser.add_argument("--plan", type=Path, default=Path("plan.yaml"), help="written here; .json for JSON")
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
