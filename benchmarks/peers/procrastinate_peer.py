"""
Procrastinate on PostgreSQL: a job a tenant, locked by its name, that writes a checkpoint row after each stage.

    procrastinate_peer.py DSN TASKS STAGES STEPS RUNNING

Procrastinate has no workflow steps, so the job keeps its checkpoint itself: one row and one commit a stage, which is
less than what Switchover keeps. Runs in an environment of its own (``backends.Procrastinate`` makes it), on an empty
database. Uses public calls only. Prints one line: ``RESULT`` and JSON.
"""

# procrastinate is in an environment of its own, which the type checker may not see.
# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator, unused-ignore"

import asyncio
import json
import logging
import os
import sys
import time

import procrastinate
from procrastinate.jobs import Job
from psycopg_pool import AsyncConnectionPool

dsn = sys.argv[1]
tasks, stages, steps, running = map(int, sys.argv[2:6])
logging.disable(logging.CRITICAL)
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, min_size=2, max_size=12))
pool = AsyncConnectionPool(dsn, min_size=4, max_size=16, open=False, kwargs={"autocommit": True})
ended: list[str] = []

SAVE = """
INSERT INTO checkpoint VALUES (%s, %s, %s)
ON CONFLICT (task) DO UPDATE SET stage = excluded.stage, document = excluded.document
"""


@app.task(name="switch")
async def switch(task: str) -> None:
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT stage FROM checkpoint WHERE task = %s", (task,))
        row = await cursor.fetchone()
    for stage in range(0 if row is None else row[0] + 1, stages):
        for _ in range(steps):
            await asyncio.sleep(0)
        async with pool.connection() as connection:
            await connection.execute(SAVE, (task, stage, "x" * 200))
    ended.append(task)


def job(number: int) -> Job:
    name = f"task-{number}"
    return Job(
        id=None,
        status="todo",
        queue="plan",
        lock=name,
        queueing_lock=None,
        task_name="switch",
        task_kwargs={"task": name},
        priority=0,
    )


async def unfinished() -> bool:
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'")
        row = await cursor.fetchone()
    return row is None or bool(row[0])


async def main() -> None:
    await pool.open()
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE checkpoint (task text PRIMARY KEY, stage int, document text)")
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, tasks, 500):
            await app.job_manager.batch_defer_jobs_async([job(i) for i in range(start, min(tasks, start + 500))])
        created = time.perf_counter() - began
        worker = asyncio.ensure_future(
            app.run_worker_async(queues=["plan"], concurrency=running, wait=True, install_signal_handlers=False)
        )
        while len(ended) < tasks or await unfinished():  # asking it more often would slow it down
            await asyncio.sleep(0.05)
            if worker.done():
                await worker
        result = {
            "create_seconds": created,
            "run_seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
        }
    print(f"RESULT {json.dumps(result)}", flush=True)
    os._exit(0)


asyncio.run(main())
