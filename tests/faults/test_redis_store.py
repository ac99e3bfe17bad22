"""What a Redis, and the way to it, can do wrong to the store that lives there; with real servers."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from switchover.adapters.stores.redis import RedisExecutionStore, tenants, writer
from switchover.domain.audit import EVERYTHING
from switchover.domain.events import EventType
from switchover.domain.task import PlanId, TaskKey, TaskStatus
from switchover.errors import StorageError, StoreConflictError, StoreUnavailableError, StoreUnusableError
from switchover.spi import (
    AppendAudit,
    BeginRun,
    Change,
    CommitResult,
    DriverLease,
    Entry,
    KeepPreImage,
    NewPlan,
    NewTask,
    ReleaseLock,
)
from switchover.testing.access_contracts import sample_entry
from switchover.testing.samples import SamplePlan, sample_plan, sample_pre_image
from tests.support.fault_proxy import FaultProxy, Ill, fault_proxy
from tests.support.processes import Program
from tests.support.servers import DURABLE, start_redis

PATIENCE = 200


@dataclass
class Stand:
    """A Redis of one's own that can be stopped and started, a proxy before it, and a back door."""

    directory: Path
    program: Program
    port: int
    proxy: FaultProxy
    back_door: Any

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def behind_proxy(self) -> str:
        return f"redis://{self.proxy.host}:{self.proxy.port}/0"

    def start(self) -> None:
        self.program, _ = start_redis(self.directory, port=self.port, settings=DURABLE)

    async def keys(self) -> set[bytes]:
        return {key async for key in self.back_door.scan_iter("switchover:*", count=10_000)}


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    program, port = start_redis(tmp_path, settings=DURABLE)
    async with AsyncExitStack() as life:
        proxy = await life.enter_async_context(fault_proxy("127.0.0.1", port))
        back_door = Redis(port=port)
        life.push_async_callback(back_door.aclose)
        stand = Stand(tmp_path, program, port, proxy, back_door)
        try:
            yield stand
        finally:
            stand.program.stop()


@asynccontextmanager
async def driven(url: str, *, seconds: float = 10.0) -> AsyncIterator[tuple[RedisExecutionStore, DriverLease]]:
    store = RedisExecutionStore(url, command_seconds=seconds)
    await store.open()
    try:
        lease = await store.acquire_driver("test")
        assert lease is not None
        yield store, lease
    finally:
        with suppress(StorageError):
            await store.aclose()


async def until_done(store: RedisExecutionStore, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
    """As the engine does it: the same batch again, while the store is away."""
    for _ in range(PATIENCE):
        try:
            return await store.commit(lease, batch)
        except StoreUnavailableError:
            await asyncio.sleep(0.02)
    raise AssertionError("the store did not come back")


# --- servers that would lose what they acknowledged ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"appendonly": "no"}, "no append-only file (appendonly no)"),
        ({"appendfsync": "no"}, "appendfsync is no"),
        ({"appendfsync": "everysec"}, "?appendfsync=everysec"),
        ({"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy noeviction"),
    ],
    ids=str,
)
async def test_a_server_that_would_lose_what_it_acknowledged_is_refused(
    stand: Stand, settings: dict[str, str], says: str
) -> None:
    for name, value in settings.items():
        await stand.back_door.config_set(name, value)
    store = RedisExecutionStore(stand.url)
    with pytest.raises(StoreUnusableError) as caught:
        await store.open()
    assert says in str(caught.value)
    assert "CONFIG SET" in str(caught.value)
    assert await stand.keys() == set()


async def test_a_second_of_loss_is_accepted_when_the_url_says_so(stand: Stand) -> None:
    await stand.back_door.config_set("appendfsync", "everysec")
    async with driven(f"{stand.url}?appendfsync=everysec") as (store, lease):
        await store.commit(lease, [Entry(new_plan=sample_plan(1, ["acme"]).new_plan())])
    await stand.back_door.config_set("appendfsync", "no")
    with pytest.raises(StoreUnusableError, match="appendfsync is no"):
        await RedisExecutionStore(f"{stand.url}?appendfsync=everysec").open()
    async with driven(f"{stand.url}?appendfsync=unchecked"):
        pass


async def test_a_server_that_became_unfit_is_not_driven(stand: Stand) -> None:
    store = RedisExecutionStore(stand.url)
    await store.open()
    await stand.back_door.config_set("appendonly", "no")
    with pytest.raises(StoreUnusableError, match="append-only file"):
        await store.acquire_driver("test")
    (problem,) = await store.check()
    assert "append-only file" in problem
    await store.aclose()


async def test_a_wrong_password_is_told_without_the_password(stand: Stand) -> None:
    await stand.back_door.config_set("requirepass", "right")
    for url in (stand.url, stand.url.replace("//", "//:wr0ng@")):
        with pytest.raises(StoreUnusableError) as caught:
            await RedisExecutionStore(url).open()
        assert "password" in str(caught.value)
        assert "wr0ng" not in str(caught.value)
    async with driven(stand.url.replace("//", "//:right@")) as (store, _):
        assert "right" not in store.place


async def test_a_user_with_the_documented_rights_can_do_everything(stand: Stand) -> None:
    rights = "~switchover:* &switchover:* +@read +@write +@scripting +@connection +@pubsub"
    rights += " -@dangerous +info +config|get +time"
    await stand.back_door.execute_command("ACL", "SETUSER", "ops", "on", ">secret", *rights.split())
    async with driven(stand.url.replace("//", "//ops:secret@")) as (store, lease):
        sample = sample_plan(1, ["acme"])
        await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        await store.put_request("pause", b"{}")
        await store.access.append_audit([sample_entry()])
        assert await store.check() == []
    await stand.back_door.execute_command("ACL", "SETUSER", "ops", "-xadd")
    store = RedisExecutionStore(stand.url.replace("//", "//ops:secret@"))
    await store.open()
    with pytest.raises(StoreUnusableError, match="may not do that"):
        await store.acquire_driver("test")  # better than to find out in the middle of a commit
    await store.aclose()
    await stand.back_door.execute_command("ACL", "SETUSER", "ops", "-config|get")
    with pytest.raises(StoreUnusableError, match="appendfsync=unchecked"):
        await RedisExecutionStore(stand.url.replace("//", "//ops:secret@")).open()


async def test_a_format_of_a_newer_version_is_left_alone(stand: Stand) -> None:
    await stand.back_door.hset("switchover:meta", "format", "2")
    with pytest.raises(StoreUnusableError, match="Take a newer version"):
        await RedisExecutionStore(stand.url).open()


# --- servers that cannot now -----------------------------------------------------------------------------------------


async def _becomes_replica(stand: Stand) -> None:
    await stand.back_door.execute_command("REPLICAOF", "127.0.0.1", "1")


async def _becomes_primary(stand: Stand) -> None:
    await stand.back_door.execute_command("REPLICAOF", "NO", "ONE")


async def _has_no_memory(stand: Stand) -> None:
    await stand.back_door.config_set("maxmemory", "100kb")


async def _has_memory(stand: Stand) -> None:
    await stand.back_door.config_set("maxmemory", "0")


async def _wants_replicas(stand: Stand) -> None:
    await stand.back_door.config_set("min-replicas-to-write", "1")


async def _wants_none(stand: Stand) -> None:
    await stand.back_door.config_set("min-replicas-to-write", "0")


def _says(answer: str) -> Callable[[Stand], Awaitable[None]]:
    async def say(stand: Stand) -> None:
        stand.proxy.answer, stand.proxy.fault = f"-{answer}\r\n".encode(), Ill.ANSWER

    return say


async def _says_nothing_more(stand: Stand) -> None:
    stand.proxy.fault = None


@pytest.mark.parametrize(
    ("fault", "mend", "says"),
    [
        (_becomes_replica, _becomes_primary, "read-only replica"),
        (_has_no_memory, _has_memory, "Raise maxmemory"),
        (_wants_replicas, _wants_none, "min-replicas-to-write"),
        (_says("LOADING Redis is loading the dataset in memory"), _says_nothing_more, "still loading"),
        (_says("MISCONF Errors writing to the AOF file: No space left on device"), _says_nothing_more, "log and disk"),
        (_says("BUSY Redis is busy running a script."), _says_nothing_more, "busy with a script"),
        (_says("ERR Protocol error: unbalanced quotes in request"), _says_nothing_more, "the connection failed"),
        (_says("MASTERDOWN Link with MASTER is down"), _says_nothing_more, "replica without its primary"),
    ],
    ids=["replica", "memory", "replicas", "loading", "disk", "busy", "garbled", "masterdown"],
)
async def test_what_a_server_cannot_do_now_is_done_later_and_once(
    stand: Stand,
    fault: Callable[[Stand], Awaitable[None]],
    mend: Callable[[Stand], Awaitable[None]],
    says: str,
) -> None:
    async with driven(stand.behind_proxy) as (store, lease):
        sample = sample_plan(1, ["acme"])
        await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        batch = [Entry(tasks=[sample.write_task(1, retry_count=1)], changes=[AppendAudit(sample_entry("retry"))])]
        await fault(stand)
        for _ in range(3):
            with pytest.raises(StoreUnavailableError, match=says):
                await store.commit(lease, batch)
        await mend(stand)
        await store.commit(lease, batch)
        assert (await store.load_tasks([sample.key(1)]))[0].task == sample.tasks[1]
        assert len(await store.access.list_audit(EVERYTHING, before=None, limit=9)) == 1
        assert await store.check() == []


async def test_a_replica_is_told_when_the_store_is_opened(stand: Stand) -> None:
    await _becomes_replica(stand)
    with pytest.raises(StoreUnavailableError, match=r"read-only replica of 127\.0\.0\.1:1"):
        await RedisExecutionStore(stand.url).open()


async def test_a_commit_is_never_cut_off_in_the_middle_for_lack_of_memory(stand: Stand) -> None:
    """Redis looks before a script begins: one that has begun is carried out, the next one is refused as a whole."""
    sample = sample_plan(1, ["acme"])
    kept = 0
    async with driven(stand.url) as (store, lease):
        await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        used = int((await stand.back_door.info("memory"))["used_memory"])
        await stand.back_door.config_set("maxmemory", str(used + 300_000))

        def entry() -> Entry:
            changes: list[Change] = [
                KeepPreImage(sample.key(1), f"stage-{kept}", sample_pre_image(str(number), b"x" * 50_000))
                for number in range(4)
            ]
            events = [sample.event(EventType.TASK_HEARTBEAT, 1)]
            return Entry(events=events, tasks=[sample.write_task(1)], plans=[sample.write_plan()], changes=changes)

        before = replace(sample.plan)
        batch: list[Entry] = []
        with suppress(StoreUnavailableError):
            while kept < PATIENCE:
                batch = [entry()]
                await store.commit(lease, batch)
                before = replace(sample.plan)
                kept += 1
        with pytest.raises(StoreUnavailableError, match="Raise maxmemory"):
            await store.commit(lease, batch)
        assert kept > 0
        assert await store.load_plan(PlanId(1)) == before
        assert await store.load_pre_images(sample.key(1), f"stage-{kept}") == []
        for stage in range(kept):
            assert len(await store.load_pre_images(sample.key(1), f"stage-{stage}")) == 4
        info = await store.driver()
        assert info is not None
        assert info.alive
        await _has_memory(stand)
        await store.commit(lease, batch)
        assert await store.check() == []


async def test_a_plan_for_which_memory_does_not_suffice_leaves_nothing(stand: Stand) -> None:
    sample = sample_plan(1, [f"tenant-{number}" for number in range(3_000)])
    async with driven(stand.url) as (store, lease):
        before = await stand.keys()
        used = int((await stand.back_door.info("memory"))["used_memory"])
        await stand.back_door.config_set("maxmemory", str(used + 500_000))
        with pytest.raises(StoreUnavailableError, match="maxmemory"):
            await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        assert await stand.keys() - before <= {b"switchover:stage_lists", b"switchover:stage_list_numbers"}
        await _has_memory(stand)
        await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        assert await store.check() == []


async def test_scripts_that_are_forgotten_are_brought_again(stand: Stand) -> None:
    async with driven(stand.url) as (store, lease):
        sample = sample_plan(1, ["acme"])
        for _ in range(3):
            await stand.back_door.script_flush()
            if not sample.plan.version > 1:
                await store.commit(lease, [Entry(new_plan=sample.new_plan())])
            await stand.back_door.script_flush()
            await store.commit(lease, [Entry(plans=[sample.write_plan()])])
            await stand.back_door.script_flush()
            assert await store.load_plan(PlanId(1)) == sample.plan


async def test_keys_of_another_program_are_not_touched(stand: Stand) -> None:
    sample = sample_plan(1, ["acme"])
    async with driven(stand.url) as (store, lease):
        for key in ("switchover:plans", "switchover:tenants", "switchover:plan:1:tasks", "switchover:log"):
            await stand.back_door.set(key, "foreign")
            before = await stand.keys()
            with pytest.raises(StoreUnusableError, match="nother program"):
                await store.commit(lease, [Entry(new_plan=sample.new_plan())])
            assert await stand.back_door.get(key) == b"foreign"
            assert await stand.keys() - before <= {b"switchover:stage_lists", b"switchover:stage_list_numbers"}
            await stand.back_door.delete(key)
        await store.commit(lease, [Entry(new_plan=sample.new_plan())])


# --- connections that break ------------------------------------------------------------------------------------------

_TENANTS = [f"tenant-{number}" for number in range(12)]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen tenants are laid ready in several parts, as thousands are otherwise."""
    monkeypatch.setattr(tenants, "_AT_ONCE", 10)
    monkeypatch.setattr(writer, "_AT_ONCE", 5)


def _history() -> tuple[SamplePlan, SamplePlan, Iterator[list[Entry]]]:
    """Batches of every kind, each to be made when the one before is in."""
    first = sample_plan(1, _TENANTS)
    second = sample_plan(2, _TENANTS[:2], after_arrival=len(_TENANTS), lock_held=False)

    def batches() -> Iterator[list[Entry]]:
        yield [Entry(new_plan=first.new_plan(idempotency_key="key"))]
        started = first.event(EventType.TASK_STARTED, 1)
        task = first.write_task(1, status=TaskStatus.RUNNING)
        begin: list[Change] = [BeginRun(first.tenant(1), first.key(1), 7, first=True)]
        yield [
            Entry(new_plan=second.new_plan()),
            Entry(plans=[first.write_plan()], tasks=[task], events=[started], changes=begin),
        ]
        yield [Entry(changes=[AppendAudit(sample_entry("hold"))])]
        ended = first.event(EventType.TASK_COMPLETED, 1)
        task = first.write_task(1, status=TaskStatus.COMPLETED)
        release: list[Change] = [ReleaseLock(first.tenant(1), first.key(1)), AppendAudit(sample_entry("release"))]
        yield [Entry(plans=[first.write_plan()], tasks=[task], events=[ended], changes=release)]

    return first, second, batches()


async def _play(
    stand: Stand, url: str, prefix: str, faults: Sequence[Ill | None] = ()
) -> tuple[list[object], list[object]]:
    """Commit the history, and tell what was answered and what is stored."""
    first, second, batches = _history()
    async with driven(f"{url}?prefix={prefix}", seconds=0.5) as (store, lease):
        assert store._open is not None
        await store._open.listener.aclose()  # what it says to the server is not what is to be counted
        stand.proxy.met.clear()
        stand.proxy.ailing.extend(faults)
        answers: list[object] = [await until_done(store, lease, batch) for batch in batches]
        stand.proxy.ailing.clear()
    stored: list[object] = []
    store = RedisExecutionStore(f"{stand.url}?prefix={prefix}")
    await store.open()
    try:
        for sample in (first, second):
            stored.append(await store.load_plan(sample.plan.plan_id))
            stored.append([item.task for item in await store.load_tasks(list(map(sample.key, sample.tasks)))])
            stored.append(await store.load_events(sample.plan.plan_id, 0, 5_000))
        stored.append(await store.load_tenants([sample.tenant(1) for sample in (first, second)]))
        stored.append((await store.load_all_events(0, 5_000)).newest)
        stored.append([record.entry.verb for record in await store.access.list_audit(EVERYTHING, before=None, limit=9)])
        assert await store.check() == []
    finally:
        await store.aclose()
    return answers, stored


@pytest.mark.parametrize("ill", [Ill.RESET, Ill.CLOSE, Ill.GARBAGE, Ill.CUT_ANSWER, Ill.CUT_MIDWAY, Ill.HANG], ids=str)
async def test_a_connection_that_breaks_at_any_moment_loses_and_doubles_nothing(
    stand: Stand, small_parts: None, ill: Ill
) -> None:
    expected = await _play(stand, stand.url, "whole")
    number = 0
    while True:
        faults = [*[None] * number, ill]
        assert await _play(stand, stand.behind_proxy, f"broken-{number}", faults) == expected
        if not stand.proxy.met:
            break
        number += 1
    assert number > 8, "as many messages as the history has at least"


# --- deaths ----------------------------------------------------------------------------------------------------------


async def test_a_server_that_is_killed_at_any_moment_loses_nothing_that_it_acknowledged(stand: Stand) -> None:
    sample = sample_plan(1, ["acme", "bolt"])
    acknowledged = 0
    deaths = 5

    async with driven(stand.url, seconds=2) as (store, lease):
        await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        dying = asyncio.Event()

        async def go_on_committing() -> None:
            nonlocal acknowledged
            while not dying.is_set() or acknowledged < 100:
                events = [sample.event(EventType.TASK_HEARTBEAT, 1), sample.event(EventType.PLAN_PROGRESS)]
                audit = AppendAudit(sample_entry("beat"))
                entry = Entry(plans=[sample.write_plan()], tasks=[sample.write_task(1)], events=events, changes=[audit])
                await until_done(store, lease, [entry])
                acknowledged += 1
                seen = await _patiently(lambda: store.load_plan(PlanId(1)))
                assert seen == sample.plan

        committing = asyncio.ensure_future(go_on_committing())
        for death in range(1, deaths + 1):
            before = acknowledged
            async with asyncio.timeout(60):
                while acknowledged < before + 7 * death and not committing.done():  # noqa: ASYNC110  # a count, no event
                    await asyncio.sleep(0)
            stand.program.kill()
            await asyncio.to_thread(stand.start)
        dying.set()
        await committing
        events = await store.load_events(PlanId(1), 0, 10_000)
        assert [event.position for event in events] == list(range(1, 4 + 2 * acknowledged + 1))
        assert len(await store.access.list_audit(EVERYTHING, before=None, limit=10_000)) == acknowledged
        assert await store.check() == []


async def _patiently(read: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  # whatever is read
    for _ in range(PATIENCE):
        try:
            return await read()
        except StoreUnavailableError:
            await asyncio.sleep(0.02)
    raise AssertionError("the store did not come back")


async def test_a_server_that_has_lost_commits_is_not_written_over(stand: Stand) -> None:
    sample = sample_plan(1, ["acme", "bolt"])
    files, copy = stand.directory / "appendonlydir", stand.directory / "copy"
    async with driven(stand.url) as (store, lease):
        await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        shutil.copytree(files, copy)
        await store.commit(lease, [Entry(tasks=[sample.write_task(1)])])
        stand.program.kill()
        shutil.rmtree(files)
        copy.rename(files)
        await asyncio.to_thread(stand.start)
        with pytest.raises(StoreUnusableError, match="has lost commits"):
            await until_done(store, lease, [Entry(tasks=[sample.write_task(2)])])
        assert [item.task.version for item in await store.load_tasks([sample.key(1), sample.key(2)])] == [1, 1]


async def test_a_driver_whose_lease_ran_out_cannot_write_and_one_that_died_is_followed(stand: Stand) -> None:
    sample = sample_plan(1, ["acme"])
    async with driven(stand.url) as (old, old_lease):
        await old.commit(old_lease, [Entry(new_plan=sample.new_plan())])
        other = RedisExecutionStore(stand.url)
        await other.open()
        assert await other.acquire_driver("other") is None
        await stand.back_door.hset("switchover:driver", "until", "1")  # as if it had not been renewed for long
        info = await other.driver()
        assert info is not None
        lease = await other.acquire_driver("other")
        assert lease is not None
        with pytest.raises(StoreConflictError, match="epoch 2 \\(other\\) drives"):
            await old.commit(old_lease, [Entry(tasks=[sample.write_task(1)])])
        await old.release_driver(old_lease)
        info = await other.driver()
        assert info is not None
        assert (info.owner, info.alive) == ("other", True)
        await other.commit(lease, [Entry(tasks=[sample.tasks[1]])])
        await other.aclose()


async def test_a_plan_whose_driver_died_half_way_in_is_not_there_and_its_remains_are_swept(
    stand: Stand, small_parts: None
) -> None:
    sample = sample_plan(1, _TENANTS)

    async with driven(stand.behind_proxy) as (store, lease):
        before = await stand.keys()

        def making() -> Iterator[NewTask]:
            for number, task in enumerate(sample.new_plan().tasks):
                if number == 10:
                    stand.proxy.fault = Ill.RESET
                yield task

        with pytest.raises(StoreUnavailableError):
            await store.commit(lease, [Entry(new_plan=NewPlan(plan=sample.plan, tasks=making()))])
        assert b"switchover:plan:1:tasks" in await stand.keys()
    await stand.back_door.hset("switchover:driver", "until", "1")
    async with driven(stand.url) as (store, lease):
        assert await stand.keys() - before <= {b"switchover:stage_lists", b"switchover:stage_list_numbers"}
        assert await store.load_plan(PlanId(1)) is None
        assert await store.load_events(PlanId(1), 0, 9) == []
        assert await store.load_tasks([TaskKey(PlanId(1), 1)]) == []
        await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        assert await store.check() == []
