"""
The ideal: asyncio alone. The same waits, as many at once, and nothing that remembers anything.

    ideal.py TASKS STAGES STEPS RUNNING STEP_SECONDS

Prints one line: ``RESULT`` and JSON. Needs nothing but Python.
"""

import asyncio
import json
import sys
import time


async def main(tasks: int, stages: int, steps: int, running: int, step_seconds: float) -> None:
    todo = iter(range(tasks))

    async def lane() -> None:
        for _ in todo:
            for _ in range(stages * steps):
                await asyncio.sleep(step_seconds)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(lane() for _ in range(running)))
    result = {"run_seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    print(f"RESULT {json.dumps(result)}", flush=True)


if __name__ == "__main__":
    _tasks, _stages, _steps, _running = map(int, sys.argv[1:5])
    asyncio.run(main(_tasks, _stages, _steps, _running, float(sys.argv[5])))
