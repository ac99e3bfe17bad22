"""
The bare HTTP client: the requests of the HTTP workload, and nothing else.

    http_client.py PORT TASKS STAGES RUNNING

Each stage of each task reads a key, writes it, sends a broadcast and asks for health twice, one after another, as the
steps of Switchover do; as many tasks at once. Prints one line: ``RESULT`` and JSON.
"""

import asyncio
import json
import sys
import time

import aiohttp

VALUE = json.dumps({"deployUnitId": 2, "deployUnitVersion": 42, "deployUnitName": "green", "planVersion": 7})


async def main(port: int, tasks: int, stages: int, running: int) -> None:
    todo = iter(range(tasks))
    base = f"http://127.0.0.1:{port}"
    headers = {"Switchover-Generation": "1", "Content-Type": "application/json"}

    async def send(session: aiohttp.ClientSession, method: str, path: str, body: str | None = None) -> None:
        sent = None if body is None else headers
        async with session.request(method, base + path, data=body, headers=sent) as response:
            await response.read()

    async def lane(session: aiohttp.ClientSession) -> None:
        for task in todo:
            for stage in range(stages):
                key = f"/config-{stage}/tenant-{task}"
                await send(session, "GET", key)
                await send(session, "PUT", key, VALUE)
                await send(session, "POST", "/broadcast", VALUE)
                await send(session, "GET", "/health/1")
                await send(session, "GET", "/health/2")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(lane(session) for _ in range(running)))
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    print(f"RESULT {json.dumps({'run_seconds': seconds, 'cpu_seconds': cpu_seconds})}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
