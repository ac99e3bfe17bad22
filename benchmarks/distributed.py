"""
Stages at workers, over PostgreSQL: a driver and its workers as processes of their own.

    python -m benchmarks.distributed '{"url": ..., "concurrency": 64, "workload": {...}, "worker": true}'

Without ``worker`` it drives: creates the plan, runs it, and prints one line: ``RESULT`` and JSON.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import postgres
from benchmarks.backends import SCRATCH, Figures, answer_of, start
from benchmarks.subject import Step
from benchmarks.workloads import Workload
from switchover import CompositeServiceStage, TaskStage
from switchover.bootstrap import open_executor
from switchover.working import open_worker

_READY = "READY"


@dataclass(frozen=True, slots=True)
class Workers:
    """
    Switchover with its stages at workers.

    Attributes:
        workers: How many processes.
        concurrency: Of each.
    """

    workers: int
    concurrency: int

    def run(self, workload: Workload) -> Figures:
        """Create and run, on a private PostgreSQL that is empty."""
        SCRATCH.mkdir(parents=True, exist_ok=True)
        with postgres.private_server(SCRATCH) as dsn:
            parts = dict(part.split("=") for part in dsn.split())
            url = f"postgresql://{parts['user']}@{parts['host']}:{parts['port']}/{parts['dbname']}"
            order = {"url": url, "concurrency": self.concurrency, "workload": asdict(workload)}
            members: list[subprocess.Popen[str]] = []
            try:
                for _ in range(self.workers):
                    members.append(_start({**order, "worker": True}))
                    assert members[-1].stdout is not None
                    members[-1].stdout.readline()
                return answer_of(_start(order))
            finally:
                for member in members:
                    member.terminate()
                for member in members:
                    member.communicate()


def _start(order: Mapping[str, Any]) -> subprocess.Popen[str]:
    return start(sys.executable, "-m", "benchmarks.distributed", json.dumps(order))


async def main(order: Mapping[str, Any]) -> None:
    """Take part."""
    workload = Workload(**order["workload"])
    steps = [Step(f"step{number}", workload.step_seconds) for number in range(workload.steps)]
    stages = [CompositeServiceStage(f"stage{number}", steps) for number in range(workload.stages)]

    def made(_: object) -> Sequence[TaskStage]:
        return stages

    if order.get("worker"):
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        async with open_worker(order["url"], stage_factory=made, concurrency=order["concurrency"]):
            print(_READY, flush=True)
            await ended.wait()
        return
    async with open_executor(order["url"], stage_factory=made, stages_by="workers") as executor:
        configs = [_config(f"t{number}") for number in range(workload.tasks)]
        began = time.perf_counter()
        created = await executor.facade.create_switch_task(configs, options={"maxConcurrency": workload.running})
        assert created.plan_id is not None, created.message
        accepted = time.perf_counter()
        done = await executor.wait_for_plan(created.plan_id)
        ended_at = time.perf_counter()
    figures = {
        "tasks": workload.tasks,
        "status": str(done.status),
        "create_seconds": accepted - began,
        "run_seconds": ended_at - accepted,
        "cpu_seconds": time.process_time(),
    }
    print("RESULT " + json.dumps(figures), flush=True)


def _config(tenant_id: str) -> dict[str, object]:
    blue = {"tenantId": tenant_id, "deployUnitId": 1, "deployUnitVersion": 41}
    return {**blue, "deployUnitId": 2, "deployUnitVersion": 42, "sourceTenantDeployConfig": blue}


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
