"""
The program that is measured: one workload on Switchover, in a process of its own.

    python -m benchmarks.subject '{"do": "whole", "database": ..., "workload": {...}}'

``do``: ``create`` records the plan and runs nothing; ``run`` drives what is in the database until it is settled;
``whole`` is both in one process; ``alone`` is ``whole`` with one task at a time, and times the gap between two stages;
``waiting`` is ``run`` up to the moment when every task waits for its next poll; ``subscribers`` is ``whole`` with a
thousand subscribers, and times how long events take to reach them; ``readers`` is that behind a server, with readers on
sockets, in another process; ``gaps`` in the order times the way from stage to
stage for all tasks of ``whole``. Prints one line: ``RESULT`` and JSON.
"""

import asyncio
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.workloads import Workload
from switchover import (
    CompositeServiceStage,
    Executor,
    ExecutorSettings,
    HealthCheckStep,
    TaskRuntimeContext,
    TaskStatus,
)
from switchover.bootstrap import open_executor


@dataclass(slots=True)
class Probe:
    """What steps saw."""

    started_at: list[float] = field(default_factory=list[float])
    ended_at: float | None = None
    gaps: list[float] = field(default_factory=list[float])
    ends: dict[str, float] = field(default_factory=dict[str, float])
    polled: int = 0
    enough_polls: int = 0
    all_polled: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Step:
    """Gives way, or waits."""

    name: str
    seconds: float

    async def execute(self, context: TaskRuntimeContext) -> None:
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class FirstStep:
    """Notes when a task began to work in this process, for the tasks that can run at once."""

    name: str
    seconds: float
    probe: Probe
    most: int

    async def execute(self, context: TaskRuntimeContext) -> None:
        if len(self.probe.started_at) < self.most:
            self.probe.started_at.append(time.time())
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class GapStart:
    """Notes how long ago the stage before ended."""

    name: str
    probe: Probe
    first: bool

    async def execute(self, context: TaskRuntimeContext) -> None:
        if not self.first and self.probe.ended_at is not None:
            self.probe.gaps.append(time.perf_counter() - self.probe.ended_at)


@dataclass(frozen=True, slots=True)
class GapEnd:
    """Notes when its stage's work was done."""

    name: str
    probe: Probe

    async def execute(self, context: TaskRuntimeContext) -> None:
        await asyncio.sleep(0)
        self.probe.ended_at = time.perf_counter()


@dataclass(frozen=True, slots=True)
class AnyGapStart:
    """Notes how long ago the stage before of the same task ended."""

    name: str
    probe: Probe

    async def execute(self, context: TaskRuntimeContext) -> None:
        ended_at = self.probe.ends.pop(context.task_id, None)
        if ended_at is not None:
            self.probe.gaps.append(time.perf_counter() - ended_at)
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class AnyGapEnd:
    """Notes when the work of one task's stage was done."""

    name: str
    probe: Probe
    last: bool

    async def execute(self, context: TaskRuntimeContext) -> None:
        await asyncio.sleep(0)
        if not self.last:
            self.probe.ends[context.task_id] = time.perf_counter()


@dataclass(slots=True)
class NotYet:
    """A health client to which every instance says that it still has the old version."""

    probe: Probe

    async def get(self, url: str) -> Mapping[str, object]:
        self.probe.polled += 1
        if self.probe.polled == self.probe.enough_polls:
            self.probe.all_polled.set()
        return {"status": "UP", "version": "41"}


Stages = Sequence[CompositeServiceStage]

CREATION_EVENTS = 2
"""Of each task, in every new plan."""
PLAN_ENDS = {"PlanCompleted", "PlanFailed"}


def stages_of(order: dict[str, Any], workload: Workload, probe: Probe) -> Stages:
    """The stages that every task of the workload has."""
    numbers = range(1, workload.stages + 1)
    if order["do"] == "alone":
        return [
            CompositeServiceStage(f"stage-{i}", [GapStart("start", probe, first=i == 1), GapEnd("end", probe)])
            for i in numbers
        ]
    if order["do"] == "waiting":
        return [CompositeServiceStage(f"stage-{i}", [HealthCheckStep(interval="1h")]) for i in numbers]
    seconds = workload.step_seconds
    if order.get("gaps"):
        middle = [Step(f"step-{i}", seconds) for i in range(2, workload.steps)]
        return [
            CompositeServiceStage(
                f"stage-{i}",
                [AnyGapStart("start", probe), *middle, AnyGapEnd("end", probe, last=i == workload.stages)],
            )
            for i in numbers
        ]
    rest = [Step(f"step-{i}", seconds) for i in range(2, workload.steps + 1)]
    first = FirstStep("step-1", seconds, probe, workload.running) if order["do"] == "run" else Step("step-1", seconds)
    return [CompositeServiceStage(f"stage-{i}", [first, *rest]) for i in numbers]


def config_of(number: int) -> dict[str, object]:
    """What one tenant brings: about as much as the floor stores for it."""
    return {
        "tenantId": f"tenant-{number:06d}",
        "deployUnitId": 2,
        "deployUnitVersion": 42,
        "deployUnitName": "green",
        "planVersion": 7,
        "nacosNameSpace": "namespace-of-the-calls",
        "networkEndpoints": [{"key": f"call-{k}", "value": f"http://10.0.0.{k}:8080/health"} for k in (1, 2)],
        "sourceTenantDeployConfig": {
            "tenantId": f"tenant-{number:06d}",
            "deployUnitId": 1,
            "deployUnitVersion": 41,
            "deployUnitName": "blue",
            "planVersion": 6,
        },
    }


def options_of(order: dict[str, Any], workload: Workload) -> dict[str, object]:
    options: dict[str, object] = {"maxConcurrency": workload.running}
    if "services" in order:
        options["services"] = order["services"]
    return options


async def create(executor: Executor, order: dict[str, Any], workload: Workload) -> tuple[int, float]:
    configs = [config_of(number) for number in range(1, workload.tasks + 1)]
    began = time.perf_counter()
    result = await executor.facade.create_switch_task(configs, options=options_of(order, workload))
    seconds = time.perf_counter() - began
    if result.plan_id is None:
        sys.exit(f"the plan was refused: {result.to_dict()}")
    return int(result.plan_id), seconds


async def measure(order: dict[str, Any]) -> dict[str, Any]:
    workload = Workload(**order["workload"])
    probe = Probe(enough_polls=workload.tasks * 2)  # each task has two endpoints
    shared = stages_of(order, workload, probe)

    def factory(config: object) -> Stages:
        return shared

    result: dict[str, Any] = {}
    waiting = order["do"] == "waiting"
    async with open_executor(
        f"sqlite:///{order['database']}",
        settings=ExecutorSettings(endpoint_allow_list=("127.0.0.0/8", "10.0.0.0/8")),
        stage_factory=factory,
        health_client=NotYet(probe) if waiting else None,
        mode="record" if order["do"] == "create" else "drive",
        grace_seconds=0.0,
    ) as executor:
        plan_id = order.get("plan_id")
        if order["do"] == "readers":
            return await delays_over_sockets(executor, order, workload)
        if plan_id is None:
            plan_id, result["create_seconds"] = await create(executor, order, workload)
            result["plan_id"] = plan_id
            if order["do"] == "create":
                result["peak_bytes"] = peak_bytes()
                return result
            forget_peak()
        if waiting:
            result["resident_bytes"] = await resident_when_all_wait(probe)
            print(f"RESULT {json.dumps(result)}", flush=True)
            os._exit(0)  # nobody waits for twenty thousand polls to end
        if order.get("announce_half"):
            await announce_half(executor, plan_id, workload.tasks)
        subscribers = (
            asyncio.ensure_future(delays_of_events(executor, plan_id, workload.tasks))
            if order["do"] == "subscribers"
            else None
        )
        began, cpu = time.perf_counter(), time.process_time()
        settled = await executor.wait_for_plan(plan_id)
        result["run_seconds"], result["cpu_seconds"] = time.perf_counter() - began, time.process_time() - cpu
        result["peak_bytes"] = peak_bytes()
        result["status"] = str(settled.status)
        if subscribers is not None:
            result["event_seconds"] = worst_of_a_hundred(await subscribers)
    if probe.started_at:
        result["first_start_at"], result["all_started_at"] = probe.started_at[0], probe.started_at[-1]
    if probe.gaps:
        result["gap_seconds"] = statistics.median(probe.gaps)
        result["slow_gap_seconds"] = worst_of_a_hundred(probe.gaps)
    return result


def worst_of_a_hundred(values: list[float]) -> float:
    """The 99th percentile."""
    return sorted(values)[len(values) * 99 // 100]


SUBSCRIBERS = 1_000
SLOW_SUBSCRIBERS = 10


async def delays_of_events(executor: Executor, plan_id: int, tasks: int) -> list[float]:
    """
    How long each event took to each subscriber, from the instant that it tells of: its commit is in it.

    What happened before everybody was there is history, and does not count. Ten more subscribers take a second for
    each event, and should be nobody's concern.
    """
    delays: list[float] = []
    behind = SUBSCRIBERS
    all_there_at = float("inf")

    async def subscribe() -> None:
        nonlocal behind, all_there_at
        first = True
        async for event in executor.events(plan_id, tasks * CREATION_EVENTS):
            told_at = event.timestamp.timestamp()
            if first:
                first, behind = False, behind - 1
                if not behind:
                    all_there_at = time.time()
            elif told_at > all_there_at:
                delays.append(time.time() - told_at)
            if event.type in PLAN_ENDS:
                return

    async def dawdle() -> None:
        async for _ in executor.events(plan_id):
            await asyncio.sleep(1.0)

    slow = [asyncio.ensure_future(dawdle()) for _ in range(SLOW_SUBSCRIBERS)]
    await asyncio.gather(*(subscribe() for _ in range(SUBSCRIBERS)))
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    return delays


async def delays_over_sockets(executor: Executor, order: dict[str, Any], workload: Workload) -> dict[str, Any]:
    """What ``benchmarks.readers`` saw of a server in this process; nothing runs before everybody is there."""
    # The others measure memory, and have no server.
    from switchover.interfaces.rest.app import create_app  # noqa: PLC0415  # see above
    from switchover.interfaces.rest.permissions import OpenAccess  # noqa: PLC0415  # see above
    from switchover.interfaces.rest.serving import allow_many_connections, listen, serve  # noqa: PLC0415  # see above

    allow_many_connections()
    await executor.facade.stop_line("until everybody is there")
    plan_id, _ = await create(executor, order, workload)
    made, started, stopping = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    server = asyncio.ensure_future(serve(create_app(executor, OpenAccess()), made, stopping, started=started.set))
    await started.wait()
    arguments = ("-m", "benchmarks.readers", str(made.getsockname()[1]), str(plan_id), str(SUBSCRIBERS))
    readers = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert readers.stdout is not None
    await readers.stdout.readuntil(b"READY\n")
    await executor.facade.start_line()
    said = await readers.stdout.read()
    await readers.wait()
    stopping.set()
    await server
    result: dict[str, Any] = json.loads(said.removeprefix(b"RESULT "))
    return result


async def announce_half(executor: Executor, plan_id: int, tasks: int) -> None:
    """Print HALF when half of the tasks are done; whoever reads it may kill this process."""
    while True:
        seen = executor.version
        if (await executor.facade.query_plan_status(plan_id)).counts.get(TaskStatus.COMPLETED, 0) >= tasks // 2:
            print("HALF", flush=True)
            return
        await executor.changed(seen)


async def resident_when_all_wait(probe: Probe) -> int:
    await probe.all_polled.wait()
    await asyncio.sleep(1.0)  # until the last commits are done, too
    gc.collect()
    return resident_bytes("VmRSS")


def resident_bytes(what: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    sys.exit("the memory of a process is read from /proc, so these benchmarks need Linux")


def peak_bytes() -> int:
    """The highest resident memory since the process began, or since ``forget_peak``."""
    return resident_bytes("VmHWM")


def forget_peak() -> None:
    """Measure the highest resident memory from here."""
    gc.collect()
    with suppress(OSError):  # refused in some containers; then the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main(order: dict[str, Any]) -> None:
    result = asyncio.run(measure(order))
    result["database_bytes"] = Path(order["database"]).stat().st_size
    print(f"RESULT {json.dumps(result)}", flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
