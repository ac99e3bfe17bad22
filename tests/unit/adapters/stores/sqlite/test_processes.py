"""More than one process on one database: who drives, who only asks, and who is killed in the middle."""

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.domain.task import PlanId, TaskKey
from switchover.errors import StoreConflictError
from switchover.spi import Entry, KeepPreImage, RecordLastKnownGood
from switchover.testing.samples import sample_config, sample_plan, sample_pre_image

_DRIVE = """
import asyncio, sys
from switchover.adapters.stores.sqlite import SqliteExecutionStore
async def main():
    store = SqliteExecutionStore(sys.argv[1])
    await store.open()
    lease = await store.acquire_driver("child")
    print("none" if lease is None else lease.epoch, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""

_ASK = """
import asyncio, sys
from switchover.adapters.stores.sqlite import SqliteExecutionStore
async def main():
    store = SqliteExecutionStore(sys.argv[1])
    await store.open()
    for number in range(int(sys.argv[2])):
        print(await store.put_request("pause", str(number).encode()), flush=True)
    await store.aclose()
asyncio.run(main())
"""

# Commits for ever: a new plan, then rounds in which every task changes, with events, pre-images and locks; says each
# commit once it is durable.
_WRITE = """
import asyncio, os, sys
from dataclasses import replace
from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.domain.events import EventType
from switchover.domain.task import TaskStatus
from switchover.spi import BeginRun, Entry, KeepPreImage, RecordLastKnownGood, ReleaseLock
from switchover.testing.samples import sample_config, sample_plan, sample_pre_image

async def main():
    store = SqliteExecutionStore(sys.argv[1])
    await store.open()
    lease = await store.acquire_driver("child")
    state = await store.load_state()
    print("driving", flush=True)
    number, arrival, commits = state.last_plan_id, state.last_arrival, 0
    while True:
        number += 1
        sample = sample_plan(number, [f"t{number}-{i}" for i in range(300)], after_arrival=arrival)
        arrival += 300
        await store.commit(lease, [Entry(new_plan=sample.new_plan(idempotency_key=f"key-{number}"))])
        print(number, 1, flush=True)
        for round in range(1, 5):
            batch = []
            for ordinal in sample.tasks:
                events = [sample.event(EventType.TASK_HEARTBEAT, ordinal), sample.event(EventType.PLAN_PROGRESS)]
                entry = Entry(events=events)
                if round == 1:
                    entry.changes.append(BeginRun(sample.tenant(ordinal), sample.key(ordinal), 1, first=True))
                image = sample_pre_image(str(round), os.urandom(99))
                entry.changes.append(KeepPreImage(sample.key(ordinal), "s", image))
                status = TaskStatus.RUNNING
                if round == 4:
                    status = TaskStatus.COMPLETED
                    entry.changes.append(RecordLastKnownGood(sample.tenant(ordinal), sample_config("x")))
                    entry.changes.append(ReleaseLock(sample.tenant(ordinal), sample.key(ordinal)))
                entry.tasks.append(sample.write_task(ordinal, status=status))
                batch.append(entry)
            batch[-1].plans.append(sample.write_plan())
            await store.commit(lease, batch)
            print(number, sample.plan.version, flush=True)
asyncio.run(main())
"""


@contextmanager
def program(text: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python program with its output to read; killed when the body ends."""
    with subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def output(child: subprocess.Popen[str]) -> IO[str]:
    assert child.stdout is not None
    return child.stdout


async def test_the_kernel_takes_the_lease_of_a_killed_driver(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteExecutionStore(path)
    await store.open()
    with program(_DRIVE, path) as child:
        epoch = int(await asyncio.to_thread(output(child).readline))
        assert await store.acquire_driver("me") is None
        info = await store.driver()
        assert info is not None
        assert (info.owner, info.epoch, info.alive) == ("child", epoch, True)
        child.send_signal(signal.SIGSTOP)  # frozen is not dead
        assert await store.acquire_driver("me") is None
        child.send_signal(signal.SIGKILL)
        await asyncio.to_thread(child.wait)
        info = await store.driver()
        assert info is not None
        assert not info.alive
        lease = await store.acquire_driver("me")
        assert lease is not None
        assert lease.epoch == epoch + 1
    with program(_DRIVE, path) as child:
        assert await asyncio.to_thread(output(child).readline) == "none\n"
    await store.aclose()


async def test_without_the_lock_file_the_epoch_still_fences(tmp_path: Path) -> None:
    """Somebody who tidies up takes the lock file away, and two processes hold a lock: only the younger one writes."""
    path = tmp_path / "store.db"
    old, new = SqliteExecutionStore(path), SqliteExecutionStore(path)
    await old.open()
    await new.open()
    old_lease = await old.acquire_driver("old")
    path.with_name("store.db.driver").unlink()
    new_lease = await new.acquire_driver("new")
    assert old_lease is not None
    assert new_lease is not None
    with pytest.raises(StoreConflictError, match="epoch 2 drives"):
        await old.commit(old_lease, [Entry(new_plan=sample_plan(1, ["acme"]).new_plan())])
    await new.commit(new_lease, [Entry(new_plan=sample_plan(1, ["acme"]).new_plan())])
    await old.aclose()
    await new.aclose()


async def test_others_leave_requests_while_one_drives(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteExecutionStore(path)
    await store.open()
    lease = await store.acquire_driver("me")
    assert lease is not None
    sample = sample_plan(1, ["acme"])
    await store.commit(lease, [Entry(new_plan=sample.new_plan())])
    before = await store.change_token()
    with program(_ASK, path, 50) as first, program(_ASK, path, 50) as second:
        ids: list[int] = []
        while first.poll() is None or second.poll() is None:
            await store.commit(lease, [Entry(tasks=[sample.write_task(1)])])
        for child in (first, second):
            ids.extend(int(line) for line in output(child))
            assert child.returncode == 0
    assert len(set(ids)) == 100
    requests = await store.open_requests(0, 1000)
    assert sorted(ids) == [request.request_id for request in requests]
    assert await store.change_token() != before
    await store.aclose()


@pytest.mark.slow
async def test_a_killed_writer_leaves_what_it_had_acknowledged_and_nothing_half(tmp_path: Path) -> None:
    """Killed (-9) at random moments, again and again on one database."""
    path = tmp_path / "store.db"
    dice = random.Random(20260301)
    for _ in range(6):
        with program(_WRITE, path) as child:
            assert await asyncio.to_thread(output(child).readline) == "driving\n"
            killing = asyncio.create_task(asyncio.to_thread(output(child).read))
            await asyncio.sleep(dice.uniform(0.05, 0.6))  # the moment is what is at random
            child.kill()
            acknowledged = [tuple(map(int, line.split())) for line in (await killing).splitlines()]
        store = SqliteExecutionStore(path)
        await store.open()
        assert list(await store.check()) == []
        for number, version in acknowledged:
            plan = await store.load_plan(PlanId(number))
            assert plan is not None
            assert plan.version >= version
            assert await store.find_idempotency(f"key-{number}") is not None
        for plan in await store.list_plans(before=None, limit=1):
            # Of the last plan, all tasks are at one round: rounds are commits, and those are whole.
            tasks = await store.list_tasks(plan.plan_id, statuses=None, after=0, limit=1000)
            assert {task.version for task in tasks} == {plan.version}
            images = [await store.load_pre_images(TaskKey(plan.plan_id, i), "s") for i in (1, 300)]
            assert [len(kept) for kept in images] == [plan.version - 1] * 2
        await store.aclose()


async def test_a_killed_writer_does_not_wait_for_a_checkpoint(tmp_path: Path) -> None:
    """What is only in the journal when the process dies is there for the next one."""
    path = tmp_path / "store.db"
    store = SqliteExecutionStore(path)
    await store.open()
    lease = await store.acquire_driver("me")
    assert lease is not None
    sample = sample_plan(1, ["acme"])
    await store.commit(lease, [Entry(new_plan=sample.new_plan())])
    key = sample.key(1)
    await store.commit(lease, [Entry(changes=[KeepPreImage(key, "routing", sample_pre_image("k", b"\x00"))])])
    await store.commit(lease, [Entry(changes=[RecordLastKnownGood(sample.tenant(1), sample_config("acme"))])])
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):  # what a dead process leaves, while this one still lives
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    other = SqliteExecutionStore(copy)
    await other.open()
    assert list(await other.load_pre_images(key, "routing")) == [sample_pre_image("k", b"\x00")]
    assert list(await other.check()) == []
    await other.aclose()
    await store.aclose()
