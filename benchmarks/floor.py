"""
The floor: the smallest program with the same durability, not an engine.

One event loop, one SQLite writer thread with group commit (synchronous=FULL), tasks admitted from the database as lanes
come free. Every transition is a row of state; a task with three stages has nine events, numbered without a gap. It has
no lock, no generation, no pause, no plan: what an engine adds is what the distance to this program measures.

    floor.py plan DATABASE TASKS STAGES STEPS RUNNING STEP_SECONDS   makes the plan if the database is new; else resumes
    floor.py commits DATABASE COMMITS                                one transition at a time: the price of one commit

Prints one line: ``RESULT`` and JSON. Needs nothing but Python.
"""

import asyncio
import json
import os
import queue
import resource
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

UPDATE = "update task set status=?, stage=?, seq=? where id=?"
EVENT = "insert into event values(?,?,?,?,?)"
CONFIG = json.dumps({"deployUnit": "x" * 100, "endpoints": ["10.0.0.1:80", "10.0.0.2:80"], "pad": "y" * 150})
MOST_IN_A_COMMIT = 2000

Transition = tuple[tuple[int, int, int, int], list[tuple[int, int, int, float, str]], "asyncio.Future[None]"]


def connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=wal", "synchronous=FULL", "cache_size=-65536"):
        connection.execute(f"pragma {pragma}")
    return connection


def make_plan(connection: sqlite3.Connection, tasks: int) -> None:
    now = time.time()
    created = '{"planId":"p1","status":"CREATED"}'
    connection.execute(
        "create table task(id integer primary key, tenant text, status int, stage int, seq int, cfg text)"
    )
    connection.execute(
        "create table event(task int, seq int, kind int, ts real, doc text, primary key(task,seq)) without rowid"
    )
    connection.execute("create index todo on task(status,id) where status<2")
    connection.execute("begin")
    connection.executemany("insert into task values(?,?,0,0,1,?)", ((i, f"tenant-{i}", CONFIG) for i in range(tasks)))
    connection.executemany("insert into event values(?,1,0,?,?)", ((i, now, created) for i in range(tasks)))
    connection.execute("commit")


class Writer:
    """Everything that queued up while the last commit was made durable goes into the next one."""

    def __init__(self, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.queue: queue.SimpleQueue[Transition] = queue.SimpleQueue()
        self.connection = connection
        self.loop = loop
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            batch = [self.queue.get()]
            try:
                while len(batch) < MOST_IN_A_COMMIT:
                    batch.append(self.queue.get_nowait())
            except queue.Empty:
                pass
            write = self.connection
            write.execute("begin")
            write.executemany(UPDATE, [state for state, _, _ in batch])
            write.executemany(EVENT, [event for _, events, _ in batch for event in events])
            write.execute("commit")
            self.loop.call_soon_threadsafe(self.tell, batch)

    @staticmethod
    def tell(batch: list[Transition]) -> None:
        for _, _, durable in batch:
            durable.set_result(None)


async def run_plan(connection: sqlite3.Connection, path: str, workload: tuple[int, int, int, float]) -> dict[str, Any]:
    stages, steps, running, step_seconds = workload
    loop = asyncio.get_running_loop()
    writer = Writer(connection, loop)
    reader = sqlite3.connect(path)
    found = reader.execute("select id,status,stage,seq from task where status<2 order by status desc, id").fetchall()
    todo: Iterator[tuple[int, int, int, int]] = iter(found)
    locks: dict[int, int] = {}
    first_start: list[float] = []

    def put(task: int, status: int, stage: int, seq: int, kinds: tuple[int, ...]) -> tuple[asyncio.Future[None], int]:
        durable = loop.create_future()
        now = time.time()
        events: list[tuple[int, int, int, float, str]] = []
        for kind in kinds:
            seq += 1
            document = {
                "planId": "p1",
                "taskId": task,
                "sequenceType": "TASK",
                "status": status,
                "currentStage": stage,
                "completed": stage,
                "total": stages,
                "cfgVersion": 17,
                "pad": "x" * 120,
            }
            events.append((task, seq, kind, now, json.dumps(document)))
        writer.queue.put(((status, stage, seq, task), events, durable))
        return durable, seq

    async def lane() -> None:
        for task, status, done, number in todo:
            assert task not in locks
            locks[task] = 1
            seq = number
            if status == 0:
                durable, seq = put(task, 1, 0, seq, (1, 2))  # TaskStarted, StageStarted
                await durable
            if not first_start:
                first_start.append(time.time())
            for stage in range(done, stages):
                for _ in range(steps):
                    await asyncio.sleep(step_seconds)
                last = stage == stages - 1
                # StageSucceeded, and TaskCompleted or the next StageStarted
                durable, seq = put(task, 2 if last else 1, stage + 1, seq, (3, 4) if last else (3, 2))
                await durable
            del locks[task]

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(lane() for _ in range(running)))
    run_seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    gaps = reader.execute(
        "select count(*) from (select max(seq) m, count(*) c from event group by task having m<>c)"
    ).fetchone()[0]
    return {
        "ran": len(found),
        "run_seconds": run_seconds,
        "cpu_seconds": cpu_seconds,
        "first_start_at": first_start[0] if first_start else None,
        "events": reader.execute("select count(*) from event").fetchone()[0],
        "gaps": gaps,
        "database_bytes": database_bytes(path),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def price_of_a_commit(connection: sqlite3.Connection, commits: int) -> dict[str, Any]:
    make_plan(connection, 1)
    document = json.dumps({"pad": "x" * 250})
    seconds: list[float] = []
    for number in range(commits):
        began = time.perf_counter()
        connection.execute("begin")
        connection.execute(UPDATE, (1, number, number, 0))
        connection.executemany(EVENT, [(0, 2 * number + k, 1, time.time(), document) for k in (2, 3)])
        connection.execute("commit")
        seconds.append(time.perf_counter() - began)
    return {"commit_seconds": statistics.median(seconds)}


def database_bytes(path: str) -> int:
    return sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))  # noqa: PTH202, PTH110  # imports cost start time


def main() -> None:
    what, path, *numbers = sys.argv[1:]
    new = not os.path.exists(path)  # noqa: PTH110  # as above
    connection = connect(path)
    if what == "commits":
        result = price_of_a_commit(connection, int(numbers[0]))
    else:
        tasks, stages, steps, running = map(int, numbers[:4])
        began = time.perf_counter()
        if new:
            make_plan(connection, tasks)
        created = time.perf_counter() - began
        result = asyncio.run(run_plan(connection, path, (stages, steps, running, float(numbers[4]))))
        result["create_seconds"] = created
    print(f"RESULT {json.dumps(result)}", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
