"""Bursts of requests from many processes, take-overs again and again, and a driver that wakes up too late."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from itertools import groupby
from pathlib import Path

import pytest

from switchover.bootstrap import Executor, open_executor
from switchover.domain.audit import AuditEntry, AuditFilter, Outcome
from switchover.domain.events import EventType
from switchover.domain.task import Operation, TargetType
from switchover.operations import OperationRequest
from tests.support.busy_program import PLAN, TENANTS
from tests.support.driving_program import in_file
from tests.support.gated_processes import assert_sound, configs, executions, opened, until
from tests.support.processes import Program, running, wait_until

pytestmark = pytest.mark.slow

_REQUESTS = int(os.environ.get("SWITCHOVER_TEST_REQUESTS", "60"))
_ROUNDS = int(os.environ.get("SWITCHOVER_TEST_ROUNDS", "5"))
"""``make takeovers`` takes more of both."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "closed").touch()
    return tmp_path


class Processes:
    """The programs of one test, each ended with it."""

    def __init__(self, repository: Path, folder: Path, stack: ExitStack) -> None:
        self._repository, self._folder, self._stack = repository, folder, stack
        self._count = 0

    def start(self, role: str, *arguments: str) -> Program:
        """Without waiting for it."""
        self._count += 1
        argv: list[str | Path] = [sys.executable, "-m", "tests.support.busy_program", role, self._folder, *arguments]
        log = self._folder / f"{role}-{self._count}.log"
        return self._stack.enter_context(running(argv, log=log, cwd=self._repository))

    def drive(self) -> Program:
        """A process that drives, or follows."""
        program = self.start("drive")
        self.await_opened(program)
        return program

    def await_opened(self, program: Program) -> None:
        """It has opened the store."""
        wait_until(lambda: str(program.pid) in opened(self._folder), timeout_seconds=60, what=program.tail())


@pytest.fixture
def processes(repository: Path, folder: Path) -> Iterator[Processes]:
    with ExitStack() as stack:
        yield Processes(repository, folder, stack)


@asynccontextmanager
async def _reader(folder: Path) -> AsyncIterator[Executor]:
    """This process reads and asks, and never drives."""
    async with open_executor(in_file(folder), mode="read") as here:
        yield here


async def _audit(here: Executor) -> list[AuditEntry]:
    """Every entry, the oldest first."""
    entries: list[AuditEntry] = []
    before = None
    while page := await here.store.access.list_audit(AuditFilter(), before=before, limit=500):
        before = page[-1].number
        entries += [record.entry for record in page]
    return entries[::-1]


async def _rests_settled(here: Executor) -> bool:
    status = (await here.wait_for_plan(PLAN)).status
    return status is not None and status.is_settled


async def _let_everything_end(here: Executor, folder: Path) -> None:
    (folder / "closed").unlink(missing_ok=True)
    while not await _rests_settled(here):
        await here.facade.resume_task_by_plan(PLAN)
        for task in await here.facade.list_tasks(PLAN):
            if task.paused or task.status == "PAUSED":
                await here.facade.resume_task_by_tenant(str(task.tenant_id))


async def test_a_burst_from_many_processes_is_answered_once_each_and_as_the_log_says(
    folder: Path, processes: Processes
) -> None:
    processes.drive()
    async with _reader(folder) as here:
        created = await here.facade.create_switch_task(
            configs(*TENANTS), options={"planId": PLAN, "maxConcurrency": 4, "retry": {"max": 50}}
        )
        assert created.success, created.message
        askers = [processes.start("ask", name, str(_REQUESTS)) for name in ("one", "two", "three")]
        for asker in askers:
            processes.await_opened(asker)
        (folder / "closed").unlink()
        for asker in askers:
            assert await asyncio.to_thread(asker.wait, timeout_seconds=120) == 0, asker.tail()
        await _let_everything_end(here, folder)

        told = [json.loads(line) for line in (folder / "answers").read_text().splitlines()]
        assert Counter(reason for reason, *_ in told) == Counter(
            f"{name} {number}" for name in ("one", "two", "three") for number in range(_REQUESTS)
        ), "each is answered once"
        entries = Counter(entry.reason for entry in await _audit(here) if entry.reason)
        assert entries == Counter(reason for reason, *_ in told), "and decided once"
        decided = {entry.reason: entry for entry in await _audit(here) if entry.reason}
        for reason, verb, target, success, code, message in told:
            entry = decided[reason]
            assert (entry.verb, entry.target, entry.code, entry.message) == (verb, target, code, message)
            assert (entry.outcome is Outcome.ACCEPTED) is success
        assert not await here.store.open_requests(0, 10)
        await _assert_every_effect_was_asked_for(here)
        await assert_sound(here)


_CAUSES = {
    EventType.TASK_PAUSED: Operation.PAUSE,
    EventType.TASK_RESUMED: Operation.RESUME,
    EventType.TASK_CANCELLED: Operation.CANCEL,
    EventType.TASK_RETRY_STARTED: Operation.RETRY,
    EventType.TASK_ROLLING_BACK: Operation.ROLLBACK,
}


async def _assert_every_effect_was_asked_for(here: Executor) -> None:
    """No task was paused, resumed, cancelled, retried or rolled back more often than that was accepted."""
    accepted: Counter[tuple[str, str]] = Counter()
    by_plan: Counter[str] = Counter()
    for entry in await _audit(here):
        if entry.outcome is Outcome.ACCEPTED and entry.target_type == "PLAN":
            by_plan[entry.verb] += 1
        elif entry.outcome is Outcome.ACCEPTED:
            accepted[entry.verb, entry.target] += 1
    by_plan[Operation.CANCEL] += by_plan[Operation.ROLLBACK]  # which cancels what has not started
    happened: Counter[tuple[str, str]] = Counter()
    async for event in here.events(PLAN, follow=False):
        if event.type in _CAUSES:
            happened[str(_CAUSES[event.type]), str(event.tenant_id)] += 1
    assert happened, "the burst had effects"
    for (verb, tenant), times in happened.items():
        assert times <= accepted[verb, tenant] + by_plan[verb], (verb, tenant, times)


async def test_again_and_again_the_driver_is_killed_and_another_takes_over(folder: Path, processes: Processes) -> None:
    programs = {program.pid: program for program in (processes.drive(), processes.drive(), processes.drive())}
    owners: list[tuple[int, int]] = []
    async with _reader(folder) as here:
        created = await here.facade.create_switch_task(configs(*TENANTS), options={"planId": PLAN, "maxConcurrency": 3})
        assert created.success, created.message
        for number in range(_ROUNDS + 1):
            info = await _the_next_driver(here, owners[-1][0] if owners else 0)
            owners.append(info)
            await until(lambda pid=info[1]: any(seen[3] == pid for seen in executions(folder)))
            if number == _ROUNDS:
                break
            programs.pop(info[1]).kill()
            # Asked while nobody drives, and answered by whoever drives next.
            verb = Operation.PAUSE if number % 2 else Operation.RESUME
            request = OperationRequest(verb=verb, target_type=TargetType.PLAN, target=str(PLAN), reason=str(number))
            asked = asyncio.ensure_future(here.facade.operate(request))
            replacement = processes.start("drive")
            programs[replacement.pid] = replacement
            assert (await asked).target_id == PLAN
            if number % 2:
                assert (await here.facade.resume_task_by_plan(PLAN)).success
        await _let_everything_end(here, folder)
        assert [epoch for epoch, _ in owners] == list(range(1, _ROUNDS + 2)), "one driver after the other"
        seen = [pid for pid, _ in groupby(pid for *_, pid, _ in executions(folder))]
        assert seen == [pid for _, pid in owners], "nobody touches anything before or after his time"
        assert Counter(entry.reason for entry in await _audit(here) if entry.reason) == Counter(
            str(number) for number in range(_ROUNDS)
        )
        await assert_sound(here)


async def _the_next_driver(here: Executor, after: int) -> tuple[int, int]:
    """Its epoch and its process, when it drives."""
    async with asyncio.timeout(60):
        while True:
            info = await here.driver()
            if info is not None and info.alive and info.epoch > after:
                return info.epoch, int(info.owner.split()[1])
            await asyncio.sleep(0.02)


async def test_a_driver_that_wakes_up_too_late_commits_and_writes_nothing_and_says_so(
    folder: Path, processes: Processes
) -> None:
    """What is frozen keeps the store, so somebody has to take the lock file away before another one can take over."""
    old = processes.drive()
    async with _reader(folder) as here:
        created = await here.facade.create_switch_task(configs("t2", "t4"), options={"planId": PLAN})
        assert created.success, created.message
        await until(lambda: len(executions(folder)) == 2)
        old.send(signal.SIGSTOP)
        (folder / "switchover.db.driver").unlink()
        new = processes.drive()
        assert await _the_next_driver(here, 1) == (2, new.pid)
        (folder / "closed").unlink()
        assert await _rests_settled(here)
        held = (folder / "target.json").read_bytes()
        events = [event async for event in here.events(PLAN, follow=False)]
        before = len(executions(folder))

        old.send(signal.SIGCONT)
        await until((folder / "stopped").exists)
        assert (folder / "stopped").read_text() == f"{old.pid} STORE_CONFLICT\n"
        assert "this process may write no more" in old.output()
        late = executions(folder)[before:]
        assert {seen[3] for seen in late} == {old.pid}
        assert {seen[4] for seen in late} == {"refused"}, "the target refused both of its writes"
        assert (folder / "target.json").read_bytes() == held
        assert [event async for event in here.events(PLAN, follow=False)] == events
        assert old.is_running, "it has stopped driving, and has not ended"
        assert await _the_next_driver(here, 1) == (2, new.pid)
        answer = await here.facade.pause_task_by_tenant("t2")
        assert not answer.success, "answered by the one that drives"
        await assert_sound(here)
