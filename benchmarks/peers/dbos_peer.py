"""
DBOS Transact on SQLite: a workflow a tenant, a durable step a stage, in each three no-op actions.

    dbos_peer.py DATABASE TASKS STAGES STEPS RUNNING

Runs in an environment of its own (``backends.DbosBackend`` makes it). Uses public calls only; the queue polls fifty
times a second, which is faster than its default. Prints one line: ``RESULT`` and JSON.
"""

# dbos is in an environment of its own, which the type checker does not see.
# mypy: disable-error-code="import-not-found, untyped-decorator"

import asyncio
import json
import os
import sys
import time

from dbos import DBOS, DBOSConfig, SetWorkflowID

database = sys.argv[1]
tasks, stages, steps, running = map(int, sys.argv[2:6])
config: DBOSConfig = {
    "name": "peer",
    "system_database_url": f"sqlite:///{database}",
    "log_level": "ERROR",
    "application_version": "1",
    "executor_id": "one",
}
DBOS(config=config)
ended: list[str] = []


@DBOS.step()
async def run_stage(task: str, number: int) -> dict[str, object]:
    for _ in range(steps):
        await asyncio.sleep(0)
    return {"task": task, "stage": number, "ok": True, "checkpoint": "x" * 200}


@DBOS.workflow()
async def run_task(task: str) -> int:
    for number in range(stages):
        await run_stage(task, number)
    ended.append(task)
    return stages


async def unfinished() -> bool:
    return bool(await DBOS.list_workflows_async(status=["ENQUEUED", "PENDING"], limit=1, load_input=False))


async def main() -> None:
    began = time.perf_counter()
    cpu = time.process_time()
    enough = asyncio.Semaphore(16)

    async def enqueue(number: int) -> None:
        async with enough:
            with SetWorkflowID(f"task-{number}"):
                await DBOS.enqueue_workflow_async("plan", run_task, f"task-{number}")

    await asyncio.gather(*(enqueue(number) for number in range(tasks)))
    created = time.perf_counter() - began
    while len(ended) < tasks or await unfinished():  # noqa: ASYNC110  # asking it more often would slow it down
        await asyncio.sleep(0.05)
    result = {
        "create_seconds": created,
        "run_seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }
    print(f"RESULT {json.dumps(result)}", flush=True)


DBOS.launch()
DBOS.register_queue("plan", polling_interval_sec=0.02, global_concurrency=running, worker_concurrency=running)
asyncio.run(main())
os._exit(0)
