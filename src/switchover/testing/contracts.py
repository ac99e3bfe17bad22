"""
What every execution store must promise, as tests.

Inherit, say how to reach the store, and run pytest (with pytest-asyncio)::

    class TestMyStore(ExecutionStoreContract):
        @pytest.fixture
        def place(self, tmp_path: Path) -> object: ...
        def connect(self, place: object) -> ExecutionStore: ...
        async def count_rows(self, place: object) -> Mapping[str, int]: ...

``connect`` is called more than once for one place and must give a store of its own each time, as another process would
have it. ``count_rows`` looks behind the store's back, so that a store which only remembers what it was told cannot
pass.
"""
# ruff: noqa: D102  # the name of a test states the promise
# ruff: noqa: PLR2004  # expected values are literals

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.domain.events import Event, EventType
from switchover.domain.plan import HealthSettings, OnConflict, OnFailure, PlanAggregate, PlanRules, PlanStatus
from switchover.domain.task import (
    FailureInfo,
    FailurePoint,
    NetworkEndpointSnapshot,
    Operation,
    PlanId,
    TaskAggregate,
    TaskKey,
    TaskStatus,
    TenantDeployConfigSnapshot,
    TenantId,
)
from switchover.errors import ErrorCode, ErrorType, StoreClosedError, StoreConflictError
from switchover.spi import (
    AcquireLock,
    AnswerRequest,
    BeginRun,
    Change,
    CommitResult,
    DriverLease,
    Entry,
    ExecutionStore,
    FixPrevious,
    Hold,
    KeepPreImage,
    KnownCreation,
    LiftGeneration,
    NewPlan,
    NewTask,
    PruneEvents,
    RecordLastKnownGood,
    ReleaseLock,
    SetHold,
    SetLine,
    StopLine,
    TenantRecord,
)
from switchover.testing.samples import SAMPLE_MOMENT, SamplePlan, sample_config, sample_plan, sample_pre_image

FULL_CONFIG: Final = TenantDeployConfigSnapshot(
    tenant_id="acme",
    deploy_unit_id=2**53 + 1,
    deploy_unit_version=0,
    deploy_unit_name='grün "and" \\ back\x00slash 🟢',
    network_endpoints=(
        NetworkEndpointSnapshot(
            key="k",
            value="v",
            source_ip="10.0.0.1",
            source_domain="a.example",
            target_ip="::1",
            target_domain="b.example",
        ),
        NetworkEndpointSnapshot(),
    ),
    nacos_name_space="",
    default_flag=False,
    called_number_rules="^\\d+$",
    trunk_group="trunk",
    plan_id=7,
    plan_version=3,
    source_tenant_deploy_config=sample_config("acme", version=1),
)
"""A value in every field, none of them the default, some of them falsy."""

FULL_FAILURE: Final = FailureInfo(
    error_code=ErrorCode.HEALTH_CHECK_FAILED,
    error_type=ErrorType.TIMEOUT_ERROR,
    message="expected 2, got 'ünknown'\nand no more",
    timestamp=SAMPLE_MOMENT,
    failed_at=FailurePoint(stage="media", step="health"),
    retryable=True,
)
"""A value in every field."""


class Driven:
    """A store that is driven: what most tests need."""

    def __init__(self, store: ExecutionStore, lease: DriverLease) -> None:
        self.store = store
        self.lease = lease

    async def commit(self, *entries: Entry) -> CommitResult:
        """Commit under the lease."""
        return await self.store.commit(self.lease, entries)

    async def create(self, *plans: SamplePlan) -> CommitResult:
        """Commit new plans, one entry each."""
        return await self.commit(*(Entry(new_plan=plan.new_plan()) for plan in plans))

    async def change(self, *changes: Change) -> CommitResult:
        """Commit one entry with these changes."""
        return await self.commit(Entry(changes=list(changes)))

    async def tenant(self, tenant_id: str) -> TenantRecord:
        """What the store knows about one tenant."""
        return (await self.store.load_tenants([TenantId(tenant_id)]))[TenantId(tenant_id)]


class ExecutionStoreContract(ABC):
    """The promises; see ``switchover.spi.ExecutionStore``."""

    @pytest.fixture
    def place(self) -> object:
        """Where a store may keep its data; empty for each test."""
        raise NotImplementedError

    @abstractmethod
    def connect(self, place: object) -> ExecutionStore:
        """A store over the place, not open yet."""

    @abstractmethod
    async def count_rows(self, place: object) -> Mapping[str, int]:
        """How many plans, tasks, events, tenants and pre-images really lie there, and more if you like."""

    @asynccontextmanager
    async def opened(self, place: object) -> AsyncGenerator[ExecutionStore]:
        """A store over the place, open."""
        store = self.connect(place)
        await store.open()
        try:
            yield store
        finally:
            await store.aclose()

    @asynccontextmanager
    async def driven(self, place: object) -> AsyncGenerator[Driven]:
        """A store over the place, open, with its driver's lease."""
        async with self.opened(place) as store:
            lease = await store.acquire_driver("test")
            assert lease is not None
            yield Driven(store, lease)

    # --- opening and closing ---------------------------------------------------------------------------------------

    async def test_a_store_that_is_not_open_answers_nothing(self, place: object) -> None:
        store = self.connect(place)
        lease = DriverLease(owner="nobody", epoch=1)
        calls: Sequence[Callable[[], Awaitable[object]]] = (
            lambda: store.acquire_driver("x"),
            lambda: store.release_driver(lease),
            store.driver,
            lambda: store.commit(lease, []),
            lambda: store.put_request("pause", b"{}"),
            lambda: store.open_requests(0, 1),
            lambda: store.load_request(1),
            store.load_state,
            lambda: store.load_live(PlanId(1), 0, 1),
            lambda: store.load_tasks([]),
            lambda: store.load_plan(PlanId(1)),
            lambda: store.list_plans(before=None, limit=1),
            lambda: store.list_tasks(PlanId(1), statuses=None, after=0, limit=1),
            lambda: store.load_tenants([]),
            store.list_holds,
            store.load_line,
            lambda: store.tenant_history(TenantId("acme"), 1),
            lambda: store.load_events(PlanId(1), 0, 1),
            lambda: store.load_task_events(TaskKey(PlanId(1), 1), 0, 1),
            lambda: store.load_all_events(0, 1),
            lambda: store.load_event_spans(ended_before=SAMPLE_MOMENT, limit=1),
            lambda: store.load_pre_images(TaskKey(PlanId(1), 1), "routing"),
            lambda: store.find_idempotency("key"),
            store.change_token,
            store.check,
        )
        for call in calls:
            with pytest.raises(StoreClosedError):
                await call()
        await store.open()
        await store.aclose()
        for call in calls:
            with pytest.raises(StoreClosedError):
                await call()

    async def test_closing_and_opening_twice_is_fine(self, place: object) -> None:
        store = self.connect(place)
        await store.aclose()
        await store.open()
        await store.open()
        await store.aclose()
        await store.aclose()

    async def test_an_empty_store_says_so(self, place: object) -> None:
        async with self.opened(place) as store:
            state = await store.load_state()
            assert (state.plans, state.line, dict(state.holds)) == ((), None, {})
            assert (state.last_arrival, state.last_plan_id) == (0, 0)
            assert await store.driver() is None
            assert list(await store.list_plans(before=None, limit=10)) == []
            assert await store.load_plan(PlanId(1)) is None
            assert list(await store.load_tasks([TaskKey(PlanId(1), 1)])) == []
            assert list(await store.load_events(PlanId(1), 0, 10)) == []
            assert list(await store.load_task_events(TaskKey(PlanId(1), 1), 0, 10)) == []
            assert dict(await store.load_tenants([TenantId("acme")])) == {}
            assert list(await store.tenant_history(TenantId("acme"), 10)) == []
            assert await store.load_request(1) is None
            assert await store.find_idempotency("key") is None
            assert list(await store.check()) == []

    async def test_what_was_committed_is_there_for_the_next_store(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        async with self.driven(place) as driven:
            await driven.create(sample)
        counted = await self.count_rows(place)
        assert {name: counted[name] for name in ("plans", "tasks", "events", "tenants", "pre_images")} == {
            "plans": 1,
            "tasks": 2,
            "events": 4,
            "tenants": 2,
            "pre_images": 0,
        }
        async with self.opened(place) as store:
            assert await store.load_plan(PlanId(1)) == sample.plan

    # --- driving ---------------------------------------------------------------------------------------------------

    async def test_one_drives_at_a_time(self, place: object) -> None:
        async with self.driven(place) as driven, self.opened(place) as other:
            assert await other.acquire_driver("other") is None
            assert await driven.store.acquire_driver("again") is None
            await driven.store.release_driver(driven.lease)
            lease = await other.acquire_driver("other")
            assert lease is not None
            assert lease.epoch > driven.lease.epoch

    async def test_everybody_sees_who_drives(self, place: object) -> None:
        async with self.opened(place) as other:
            async with self.driven(place) as driven:
                info = await other.driver()
                assert info is not None
                assert (info.owner, info.epoch, info.alive) == ("test", driven.lease.epoch, True)
                assert info.since.tzinfo is not None
                assert info == await driven.store.driver()
            info = await other.driver()
            assert info is not None
            assert (info.owner, info.alive) == ("test", False)

    async def test_looking_who_drives_keeps_nobody_from_driving(self, place: object) -> None:
        async with self.opened(place) as store, self.opened(place) as other:
            for number in range(20):
                lease, _ = await asyncio.gather(store.acquire_driver(str(number)), other.driver())
                assert lease is not None
                await store.release_driver(lease)

    async def test_closing_gives_the_lease_back(self, place: object) -> None:
        async with self.driven(place) as first:
            pass
        async with self.driven(place) as second:
            assert second.lease.epoch > first.lease.epoch

    async def test_a_commit_under_an_old_lease_is_refused(self, place: object) -> None:
        """A frozen process that wakes up cannot write."""
        async with self.driven(place) as old, self.opened(place) as store:
            await old.store.release_driver(old.lease)
            with pytest.raises(StoreConflictError):
                await old.create(sample_plan(1, ["acme"]))
            lease = await store.acquire_driver("new")
            assert lease is not None
            for epoch in (lease.epoch - 1, lease.epoch + 1):
                with pytest.raises(StoreConflictError):
                    await store.commit(DriverLease(owner="new", epoch=epoch), [])
            with pytest.raises(StoreConflictError):
                await old.create(sample_plan(1, ["acme"]))
            assert await store.load_plan(PlanId(1)) is None
            await store.release_driver(old.lease)
            await store.commit(lease, [Entry(new_plan=sample_plan(1, ["acme"]).new_plan())])

    # --- plans and tasks -------------------------------------------------------------------------------------------

    async def test_every_field_of_a_plan_comes_back(self, place: object) -> None:
        plan = PlanAggregate(
            plan_id=PlanId(3),
            status=PlanStatus.PARTIAL_FAILED,
            rules=PlanRules(
                max_concurrency=4,
                on_conflict=OnConflict.WAIT,
                on_failure=OnFailure.AUTO,
                hold_after_rollback=True,
                max_retry=1,
                health=HealthSettings(
                    interval_seconds=0.25,
                    attempts=2,
                    timeout_seconds=1.5,
                    path="/ready",
                    version_key="$.a.b",
                    expect="{generation}",
                    consecutive=3,
                ),
                services=({"name": "ünit", "steps": [{"kind": "config", "retries": 2, "on": None}]}, {"name": "b"}),
            ),
            total=0,
            counts={TaskStatus.CREATED: 1, TaskStatus.ROLLBACK_FAILED: 2, TaskStatus.FAILED: 3},
            created_at=SAMPLE_MOMENT,
            updated_at=SAMPLE_MOMENT + timedelta(microseconds=1),
            name='a "plan"',
            labels={"team": "vöice", "": ""},
            plan_version=0,
            unsettled=1,
            idle=2,
            touched=3,
            sequence_id=4,
            position=5,
            version=6,
            run=7,
            started_tasks=8,
            pending_operation=Operation.PAUSE,
            cancelled=True,
            started_at=SAMPLE_MOMENT + timedelta(days=1),
            ended_at=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            failure_info=FULL_FAILURE,
        )
        defaults = replace(
            sample_plan(4, []).plan, unsettled=0, rules=PlanRules(), name=None, labels={}, plan_version=None
        )
        async with self.driven(place) as driven:
            for value in (plan, defaults):
                await driven.commit(Entry(new_plan=NewPlan(plan=value, tasks=())))
                assert await driven.store.load_plan(value.plan_id) == value
            changed = replace(plan, version=7, status=PlanStatus.ROLLED_BACK, counts={}, failure_info=None, run=9)
            await driven.commit(Entry(plans=[changed]))
            assert await driven.store.load_plan(PlanId(3)) == changed
            state = await driven.store.load_state()
            assert state.plans == (changed,)

    async def test_every_field_of_a_task_comes_back(self, place: object) -> None:
        task = TaskAggregate(
            key=TaskKey(PlanId(1), 1),
            tenant_id=TenantId("acme"),
            status=TaskStatus.ROLLING_BACK,
            stage_names=("größe", "b", "c"),
            marks=(63, 0, 44),
            created_at=SAMPLE_MOMENT,
            updated_at=SAMPLE_MOMENT + timedelta(microseconds=1),
            sequence_id=1,
            version=2,
            generation=3,
            retry_count=4,
            pending_operation=Operation.ROLLBACK,
            pending_from_checkpoint=False,
            not_before=SAMPLE_MOMENT + timedelta(seconds=30, microseconds=1),
            held=True,
            lock_held=True,
            line_held=True,
            own_request=True,
            retrying=True,
            previous_known=True,
            arrival=5,
            started_order=6,
            started_at=SAMPLE_MOMENT + timedelta(days=1),
            ended_at=SAMPLE_MOMENT + timedelta(days=2),
            failure_info=FULL_FAILURE,
        )
        plain = replace(
            sample_plan(1, ["x", "bolt"]).tasks[2], stage_names=(), marks=(), arrival=6, sequence_id=0, version=0
        )
        plan = replace(sample_plan(1, ["acme", "bolt"]).plan, total=2)
        new = [
            NewTask(task=task, config=FULL_CONFIG, events=()),
            NewTask(task=plain, config=sample_config("bolt"), events=()),
        ]
        async with self.driven(place) as driven:
            await driven.commit(Entry(new_plan=NewPlan(plan=plan, tasks=new)))
            stored = await driven.store.load_tasks([plain.key, task.key])
            assert [item.task for item in stored] == [plain, task]
            assert [item.config for item in stored] == [sample_config("bolt"), FULL_CONFIG]
            assert [item.previous for item in stored] == [None, None]
            assert stored[1].tenant == TenantRecord(tenant_id=TenantId("acme"), owner=task.key, newest=task.key)
            for flag in ("pending_from_checkpoint", "held", "line_held", "own_request", "retrying", "previous_known"):
                # One at a time, so that no two can be mixed up.
                task = replace(task, version=task.version + 1, **{flag: not getattr(task, flag)})  # type: ignore[arg-type]  # bools
                await driven.commit(Entry(tasks=[task]))
                assert (await driven.store.load_tasks([task.key]))[0].task == task
            for status in TaskStatus:
                task = replace(task, version=task.version + 1, status=status, pending_operation=None, failure_info=None)
                await driven.commit(Entry(tasks=[task]))
                assert list(await driven.store.list_tasks(PlanId(1), statuses=None, after=0, limit=1)) == [task]
            for operation in Operation:
                task = replace(task, version=task.version + 1, pending_operation=operation)
                await driven.commit(Entry(tasks=[task]))
                assert (await driven.store.tenant_history(TenantId("acme"), 1))[0] == task

    async def test_every_status_of_a_plan_comes_back(self, place: object) -> None:
        sample = sample_plan(1, [])
        async with self.driven(place) as driven:
            await driven.create(sample)
            for status in PlanStatus:
                for operation in (None, *Operation):
                    plan = sample.write_plan(status=status, pending_operation=operation)
                    await driven.commit(Entry(plans=[plan]))
                    assert await driven.store.load_plan(PlanId(1)) == plan

    async def test_a_plan_id_is_used_once(self, place: object) -> None:
        async with self.driven(place) as driven:
            await driven.create(sample_plan(1, ["acme"]))
            before = await self.count_rows(place)
            with pytest.raises(StoreConflictError):
                await driven.create(sample_plan(1, ["bolt"], after_arrival=1))
            assert await self.count_rows(place) == before

    async def test_an_idempotency_key_is_used_once(self, place: object) -> None:
        async with self.driven(place) as driven:
            findings = b'[{"message":"gr\xc3\xbcn"}]'
            first = sample_plan(1, ["acme"]).new_plan(idempotency_key="kéy", content_digest="d1", findings=findings)
            await driven.commit(Entry(new_plan=first))
            assert await driven.store.find_idempotency("kéy") == KnownCreation(PlanId(1), "d1", findings)
            assert await driven.store.find_idempotency("key") is None
            second = sample_plan(2, ["bolt"], after_arrival=1).new_plan(idempotency_key="kéy", content_digest="d2")
            with pytest.raises(StoreConflictError) as refused:
                await driven.commit(Entry(new_plan=second))
            assert "kéy" not in str(refused.value), "a key is nobody's business but its owner's"
            assert await driven.store.find_idempotency("kéy") == KnownCreation(PlanId(1), "d1", findings)
            assert await driven.store.load_plan(PlanId(2)) is None

    async def test_a_moment_before_which_a_task_does_not_start_is_kept_and_forgotten(self, place: object) -> None:
        async with self.driven(place) as driven:
            sample = sample_plan(1, ["acme"])
            await driven.create(sample)
            for moment in (SAMPLE_MOMENT, SAMPLE_MOMENT + timedelta(days=1), None):
                task = sample.write_task(1, not_before=moment)
                await driven.commit(Entry(tasks=[task]))
                assert (await driven.store.load_tasks([task.key]))[0].task.not_before == moment
                assert (await driven.store.list_tasks(PlanId(1), statuses=None, after=0, limit=1))[0] == task

    async def test_a_plan_of_ten_thousand_tasks(self, place: object) -> None:
        names = [f"tenant-{number:05d}" for number in range(10_000)]
        sample = sample_plan(1, names)
        async with self.driven(place) as driven:
            await driven.create(sample)
            found: list[TaskAggregate] = []
            while page := await driven.store.list_tasks(
                PlanId(1), statuses=None, after=found[-1].key.ordinal if found else 0, limit=3_000
            ):
                found.extend(page)
            assert found == list(sample.tasks.values())
            live = await driven.store.load_live(PlanId(1), 0, 20_000)
            assert [task.ordinal for task in live] == list(range(1, 10_001))
            tenants = await driven.store.load_tenants([TenantId(name) for name in [*names, "nobody"]])
            assert len(tenants) == 10_000
            assert [event.position for event in await driven.store.load_events(PlanId(1), 19_990, 100)] == list(
                range(19_991, 20_001)
            )
            assert (await driven.store.load_state()).last_arrival == 10_000
            assert list(await driven.store.check()) == []

    async def test_a_plan_whose_tasks_cannot_be_made_leaves_nothing(self, place: object) -> None:
        """The error of the iterator comes through as it is."""
        sample = sample_plan(1, [f"t{number}" for number in range(1_000)])

        class NoMoreError(Exception):
            pass

        def broken() -> Iterator[NewTask]:
            yield from sample.new_plan().tasks
            raise NoMoreError

        async with self.driven(place) as driven:
            before = await self.count_rows(place)
            with pytest.raises(NoMoreError):
                await driven.commit(Entry(new_plan=NewPlan(plan=sample.plan, tasks=broken())))
            assert await self.count_rows(place) == before
            assert (await driven.store.load_state()).last_arrival == 0
            await driven.create(sample)
            assert list(await driven.store.check()) == []

    async def test_a_task_belongs_to_its_plan_and_is_in_it_once(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        tasks = list(sample.new_plan().tasks)
        foreign = replace(tasks[1], task=replace(tasks[1].task, key=TaskKey(PlanId(2), 2)))
        twice = replace(tasks[1], task=replace(tasks[1].task, key=TaskKey(PlanId(1), 1)), events=())
        async with self.driven(place) as driven:
            for second in (foreign, twice):
                with pytest.raises(StoreConflictError):
                    await driven.commit(Entry(new_plan=NewPlan(plan=sample.plan, tasks=[tasks[0], second])))
            await driven.create(sample)

    # --- versions and atomicity ------------------------------------------------------------------------------------

    async def test_a_write_must_follow_what_is_stored(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        task, plan = sample.tasks[1], sample.plan
        async with self.driven(place) as driven:
            await driven.create(sample)
            for version in (0, 1, 3):
                with pytest.raises(StoreConflictError):
                    await driven.commit(Entry(tasks=[replace(task, version=version, retry_count=9)]))
                with pytest.raises(StoreConflictError):
                    await driven.commit(Entry(plans=[replace(plan, version=version, run=9)]))
            assert (await driven.store.load_tasks([task.key]))[0].task == task
            assert await driven.store.load_plan(PlanId(1)) == plan
            for unknown in (TaskKey(PlanId(1), 2), TaskKey(PlanId(2), 1)):
                for version in (0, 1, 2):
                    with pytest.raises(StoreConflictError):
                        await driven.commit(Entry(tasks=[replace(task, key=unknown, version=version)]))
            for version in (0, 1, 2):
                with pytest.raises(StoreConflictError):
                    await driven.commit(Entry(plans=[replace(plan, plan_id=PlanId(2), version=version)]))
            await driven.commit(Entry(tasks=[replace(task, version=2)], plans=[replace(plan, version=2)]))

    async def test_several_writes_in_one_batch_follow_each_other(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        async with self.driven(place) as driven:
            await driven.create(sample)
            entries = [
                Entry(
                    plans=[sample.write_plan(run=number)],
                    tasks=[sample.write_task(ordinal, retry_count=number) for ordinal in (1, 2)],
                    events=[sample.event(EventType.TASK_HEARTBEAT, 1), sample.event(EventType.PLAN_PROGRESS)],
                )
                for number in range(1, 6)
            ]
            entries.append(Entry(plans=[sample.write_plan()], tasks=[sample.write_task(1)]))
            await driven.commit(*entries)
            stored = await driven.store.load_tasks([sample.key(1), sample.key(2)])
            assert [item.task for item in stored] == [sample.tasks[1], sample.tasks[2]]
            assert await driven.store.load_plan(PlanId(1)) == sample.plan
            assert len(await driven.store.load_events(PlanId(1), 0, 100)) == 14
            assert list(await driven.store.check()) == []

    async def test_a_gap_inside_a_batch_is_refused(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        task, plan = sample.tasks[1], sample.plan
        async with self.driven(place) as driven:
            await driven.create(sample)
            for versions in ((2, 4), (2, 2), (3, 2), (2, 1)):
                with pytest.raises(StoreConflictError):
                    await driven.commit(*(Entry(tasks=[replace(task, version=version)]) for version in versions))
                with pytest.raises(StoreConflictError):
                    await driven.commit(*(Entry(plans=[replace(plan, version=version)]) for version in versions))
            assert (await driven.store.load_tasks([task.key]))[0].task == task

    async def test_a_plan_may_be_created_and_changed_in_one_batch(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        created = Entry(new_plan=sample.new_plan())
        started = sample.event(EventType.TASK_STARTED, 1)
        task = sample.write_task(1, status=TaskStatus.RUNNING, generation=1)
        changes: list[Change] = [BeginRun(sample.tenant(1), sample.key(1), 1, first=True)]
        changed = Entry(plans=[sample.write_plan()], tasks=[task], events=[started], changes=changes)
        async with self.driven(place) as driven:
            with pytest.raises(StoreConflictError):
                await driven.commit(changed, created)
            assert await driven.store.load_plan(PlanId(1)) is None
            await driven.commit(created, changed)
            stored = (await driven.store.load_tasks([task.key]))[0]
            assert stored.task == task
            assert stored.tenant.generation == 1
            assert list(await driven.store.check()) == []

    async def test_one_bad_entry_and_nothing_of_the_batch_remains(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        other = sample_plan(2, ["cove", "bolt"], after_arrival=2, lock_held=False)
        key, tenant_id = sample.key(1), sample.tenant(1)
        first = sample.tasks[1]
        async with self.driven(place) as driven:
            await driven.create(sample)
            request_id = await driven.store.put_request("pause", b"{}")
            rows = await self.count_rows(place)
            before = await self._everything(driven.store)
            good = Entry(
                new_plan=other.new_plan(idempotency_key="key"),
                plans=[sample.write_plan(run=5)],
                events=[sample.event(EventType.TASK_HEARTBEAT, 1), sample.event(EventType.PLAN_PROGRESS)],
                tasks=[sample.write_task(1, retry_count=2)],
                changes=[
                    BeginRun(tenant_id, key, 4, first=True),
                    ReleaseLock(tenant_id, key),
                    AcquireLock(tenant_id, other.key(1)),
                    LiftGeneration(TenantId("new"), 9),
                    RecordLastKnownGood(tenant_id, FULL_CONFIG),
                    SetHold(tenant_id, Hold(reason="x", since=SAMPLE_MOMENT)),
                    FixPrevious(key, FULL_CONFIG),
                    KeepPreImage(key, "routing", sample_pre_image("k", b"v")),
                    SetLine(StopLine(reason="x", since=SAMPLE_MOMENT)),
                    AnswerRequest(request_id, b"{}"),
                    PruneEvents(PlanId(1), 2),
                ],
            )
            bad: Sequence[Entry] = (
                Entry(tasks=[replace(first, version=first.version)]),
                Entry(plans=[replace(sample.plan, version=99)]),
                Entry(changes=[BeginRun(tenant_id, other.key(1), 1, first=False)]),
                Entry(changes=[AcquireLock(sample.tenant(2), key)]),
                Entry(changes=[FixPrevious(TaskKey(PlanId(9), 9), FULL_CONFIG)]),
                Entry(changes=[KeepPreImage(TaskKey(PlanId(9), 9), "routing", sample_pre_image("k", None))]),
                Entry(events=[replace(sample.event(EventType.TASK_HEARTBEAT, 2), position=1)]),
                Entry(new_plan=sample_plan(1, ["dune"], after_arrival=9).new_plan()),
                Entry(new_plan=sample_plan(3, ["dune", "bolt"], after_arrival=9).new_plan()),
            )
            for entry in bad:
                for batch in ((good, entry), (entry, good), (good, entry, Entry())):
                    with pytest.raises(StoreConflictError):
                        await driven.commit(*batch)
                    assert await self.count_rows(place) == rows
                    assert await self._everything(driven.store) == before
            await driven.commit(good)

    async def _everything(self, store: ExecutionStore) -> Sequence[object]:
        state = await store.load_state()
        return [
            state,
            await store.list_plans(before=None, limit=100),
            await store.load_tasks([TaskKey(PlanId(plan), ordinal) for plan in range(4) for ordinal in range(4)]),
            await store.load_tenants([TenantId(name) for name in ("acme", "bolt", "cove", "dune", "new")]),
            await store.load_events(PlanId(1), 0, 100),
            await store.load_all_events(0, 100),
            await store.open_requests(0, 100),
            await store.find_idempotency("key"),
        ]

    async def test_commits_that_come_at_once_are_all_done(self, place: object) -> None:
        names = [f"t{number}" for number in range(20)]
        sample = sample_plan(1, names)
        async with self.driven(place) as driven:
            await driven.create(sample)
            await asyncio.gather(
                *(
                    driven.commit(Entry(tasks=[sample.write_task(ordinal, retry_count=ordinal)]))
                    for ordinal in sample.tasks
                )
            )
            assert list(await driven.store.list_tasks(PlanId(1), statuses=None, after=0, limit=99)) == list(
                sample.tasks.values()
            )

    async def test_a_read_sees_one_instant(self, place: object) -> None:
        """Two tasks that always change together are never seen apart, by nobody."""
        sample = sample_plan(1, ["acme", "bolt"])

        async def change(driven: Driven) -> None:
            for number in range(1, 60):
                tasks = [sample.write_task(ordinal, retry_count=number) for ordinal in (1, 2)]
                await driven.commit(Entry(tasks=tasks, changes=[LiftGeneration(sample.tenant(1), number)]))

        async with self.driven(place) as driven, self.opened(place) as other:
            await driven.create(sample)
            changing = asyncio.ensure_future(change(driven))
            while not changing.done():
                await asyncio.sleep(0)  # a store that answers without waiting would let nobody else run
                first, second = await other.list_tasks(PlanId(1), statuses=None, after=0, limit=2)
                assert first.retry_count == second.retry_count
                stored = await driven.store.load_tasks([sample.key(1)])
                assert stored[0].tenant.generation == stored[0].task.retry_count
            await changing

    # --- events ----------------------------------------------------------------------------------------------------

    async def test_every_field_of_an_event_comes_back(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        kinds = list(EventType)
        contents: Sequence[dict[str, object]] = (
            {},
            {"stage": "routing"},
            {"stage": "media"},
            {"stage": "unknown", "recovered": True},
            {"stage": "routing", "skipped": True},
            {"stage": None},
            {"counts": {"COMPLETED": 1}, "ünits": [1, 2.5, None, "x\x00y"]},
            {"n": 2**53 + 1},
        )
        events: list[Event] = []
        for number, kind in enumerate(kinds):
            ordinal = None if kind.value.startswith("Plan") else 1
            stage = (None, "routing", "media", "unknown")[number % 4]
            failure = FULL_FAILURE if number % 3 == 0 else None
            moment = SAMPLE_MOMENT + timedelta(microseconds=number * 7)
            data = contents[number % len(contents)]
            events.append(
                sample.event(
                    kind, ordinal, current_stage=stage, failure_info=failure, data=data, timestamp=moment, completed=9
                )
            )
        async with self.driven(place) as driven:
            await driven.create(sample_plan(1, ["acme"]))
            # Some with the task beside them, some without: a store may write them differently, not read them so.
            await driven.commit(Entry(events=events[:10]))
            await driven.commit(Entry(tasks=[sample.write_task(1)], plans=[sample.write_plan()], events=events[10:]))
            assert list(await driven.store.load_events(PlanId(1), 2, 100)) == events
            of_task = [event for event in events if event.key is not None]
            assert list(await driven.store.load_task_events(sample.key(1), 2, 100)) == of_task

    async def test_events_are_read_in_pages(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        other = sample_plan(2, ["cove"], after_arrival=2)
        async with self.driven(place) as driven:
            await driven.create(sample, other)
            events = [sample.event(EventType.TASK_HEARTBEAT, 1 + number % 2) for number in range(10)]
            tasks = [sample.write_task(1), sample.write_task(2)]
            await driven.commit(Entry(events=events, tasks=tasks, plans=[sample.write_plan()]))
            seen: list[int] = []
            while page := await driven.store.load_events(PlanId(1), seen[-1] if seen else 0, 3):
                assert len(page) <= 3
                seen.extend(event.position for event in page)
            assert seen == list(range(1, 15))
            numbers = [event.sequence_id for event in await driven.store.load_task_events(sample.key(2), 3, 3)]
            assert numbers == [4, 5, 6]
            assert list(await driven.store.load_events(PlanId(1), 14, 3)) == []
            assert list(await driven.store.load_events(PlanId(1), 0, 0)) == []
            assert len(await driven.store.load_events(PlanId(2), 0, 100)) == 2

    async def test_an_event_is_stored_once_and_belongs_to_something(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        async with self.driven(place) as driven:
            await driven.create(sample)
            good = sample.event(EventType.TASK_HEARTBEAT, 1)
            own = sample.event(EventType.PLAN_PROGRESS)
            await driven.commit(Entry(events=[good, own], tasks=[sample.write_task(1)], plans=[sample.write_plan()]))
            rows = await self.count_rows(place)
            for bad in (
                good,
                replace(good, position=77),
                replace(good, sequence_id=77),
                own,
                replace(own, position=77),
                replace(own, plan_id=PlanId(2)),
                replace(good, plan_id=PlanId(2), key=TaskKey(PlanId(2), 1)),
                replace(good, position=77, sequence_id=77, key=TaskKey(PlanId(1), 2)),
            ):
                with pytest.raises(StoreConflictError):
                    await driven.commit(Entry(events=[bad]))
            assert await self.count_rows(place) == rows

    # --- the events of all plans -----------------------------------------------------------------------------------

    async def test_the_events_of_all_plans_come_in_commit_order(self, place: object) -> None:
        one, two = sample_plan(1, ["acme"]), sample_plan(2, ["bolt"], after_arrival=1)
        async with self.driven(place) as driven, self.opened(place) as other:
            empty = await other.load_all_events(0, 9)
            assert (list(empty.events), empty.newest, empty.pruned) == ([], 0, 0)
            await driven.create(one, two)
            await driven.commit(_events_of(two, 1), _events_of(one, 2), _events_of(two, 2))
            await driven.commit(_events_of(one, 1))
            page = await other.load_all_events(0, 99)
            told = [(item.event.plan_id, item.event.position) for item in page.events]
            assert told == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (1, 3), (1, 4), (2, 4), (2, 5), (1, 5)]
            assert [item.event for item in page.events if item.event.plan_id == 2] == list(
                await other.load_events(PlanId(2), 0, 99)
            )
            numbers = [item.number for item in page.events]
            assert numbers == sorted(set(numbers))
            assert (page.newest, page.pruned) == (numbers[-1], 0)
            assert numbers[0] > 0

    async def test_the_events_of_all_plans_are_read_in_pages_from_any_number(self, place: object) -> None:
        one, two = sample_plan(1, ["acme"]), sample_plan(2, ["bolt"], after_arrival=1)
        async with self.driven(place) as driven:
            await driven.create(one, two)
            for count in (1, 3, 2, 4):
                await driven.commit(_events_of(one, count), _events_of(two, count))
            everything = (await driven.store.load_all_events(0, 999)).events
            assert len(everything) == 24
            for start in range(len(everything)):
                for limit in (0, 1, 3, 5):
                    page = await driven.store.load_all_events(everything[start].number, limit)
                    assert list(page.events) == list(everything[start + 1 : start + 1 + limit])

    async def test_the_order_of_all_events_goes_on_after_a_refusal_and_with_another_driver(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        async with self.driven(place) as driven:
            await driven.create(sample)
            bad = SamplePlan(plan=sample.plan, tasks=dict(sample.tasks), configs={}, created={})
            with pytest.raises(StoreConflictError):
                await driven.commit(_events_of(bad, 2), Entry(plans=[replace(sample.plan, version=99)]))
            await driven.commit(_events_of(sample, 1))
        async with self.driven(place) as driven:
            await driven.commit(_events_of(sample, 1))
            page = await driven.store.load_all_events(0, 99)
            assert [item.event.position for item in page.events] == [1, 2, 3, 4]
            assert [item.number for item in page.events] == sorted({item.number for item in page.events})
            assert list(await driven.store.check()) == []

    # --- pruning ---------------------------------------------------------------------------------------------------

    async def test_pruned_events_are_gone_wherever_they_could_be_read(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        async with self.driven(place) as driven, self.opened(place) as other:
            await driven.create(sample)
            await driven.commit(_events_of(sample, 4))
            before = (await other.load_all_events(0, 99)).events
            await driven.change(PruneEvents(PlanId(1), 3))
            assert [event.position for event in await other.load_events(PlanId(1), 0, 99)] == [4, 5, 6, 7, 8]
            assert [event.position for event in await other.load_task_events(sample.key(1), 0, 99)] == [5, 6, 7, 8]
            assert [event.sequence_id for event in await other.load_task_events(sample.key(2), 0, 99)] == [2]
            page = await other.load_all_events(0, 99)
            assert list(page.events) == list(before[3:])
            assert (page.newest, page.pruned) == (before[-1].number, before[2].number)
            assert await other.load_plan(PlanId(1)) == sample.plan
            assert list(await other.check()) == []

    async def test_numbers_go_on_behind_what_was_pruned_and_the_newest_event_stays(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        async with self.driven(place) as driven:
            await driven.create(sample)
            await driven.commit(_events_of(sample, 3))
            newest = (await driven.store.load_all_events(0, 99)).newest
            for _ in range(2):
                await driven.change(PruneEvents(PlanId(1), 999))
                page = await driven.store.load_all_events(0, 99)
                assert [item.event.position for item in page.events] == [5]
                assert page.newest == newest
                assert page.pruned < newest
        async with self.driven(place) as driven:
            await driven.commit(_events_of(sample, 1))
            page = await driven.store.load_all_events(newest, 99)
            assert [item.event.position for item in page.events] == [6]
            assert page.newest > newest
            assert [event.position for event in await driven.store.load_events(PlanId(1), 0, 99)] == [5, 6]
            assert list(await driven.store.check()) == []

    async def test_who_reads_all_plans_gets_only_what_lies_behind_everything_pruned(self, place: object) -> None:
        old, new = sample_plan(1, ["acme"]), sample_plan(2, ["bolt"], after_arrival=1)
        async with self.driven(place) as driven:
            await driven.create(old)
            await driven.create(new)
            await driven.commit(_events_of(new, 3), _events_of(old, 1))
            await driven.change(PruneEvents(PlanId(2), 4))
            page = await driven.store.load_all_events(0, 99)
            assert [(item.event.plan_id, item.event.position) for item in page.events] == [(2, 5), (1, 3)]
            assert page.pruned == page.events[0].number - 1
            assert len(await driven.store.load_events(PlanId(1), 0, 99)) == 3
            await driven.change(PruneEvents(PlanId(1), 1))
            assert await driven.store.load_all_events(0, 99) == page
            assert list(await driven.store.check()) == []

    async def test_pruning_comes_after_all_else_of_its_batch(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        async with self.driven(place) as driven:
            await driven.commit(
                Entry(changes=[PruneEvents(PlanId(1), 4)]), Entry(new_plan=sample.new_plan()), _events_of(sample, 3)
            )
            assert [event.position for event in await driven.store.load_events(PlanId(1), 0, 99)] == [5]
            with pytest.raises(StoreConflictError):
                await driven.change(PruneEvents(PlanId(9), 1))
            with pytest.raises(StoreConflictError):
                await driven.commit(
                    Entry(changes=[PruneEvents(PlanId(1), 9)]), Entry(plans=[replace(sample.plan, version=99)])
                )
            assert [event.position for event in await driven.store.load_events(PlanId(1), 0, 99)] == [5]

    async def test_only_plans_that_ended_in_time_have_events_to_forget(self, place: object) -> None:
        plans = [sample_plan(number, [f"t{number}"], after_arrival=number - 1) for number in range(1, 6)]
        day = timedelta(days=1)
        async with self.driven(place) as driven:
            await driven.create(*plans)
            for plan, age in zip(plans[1:], (3, 1, 4, 5), strict=True):
                task = plan.write_task(1, status=TaskStatus.COMPLETED)
                ended = plan.write_plan(status=PlanStatus.COMPLETED, ended_at=SAMPLE_MOMENT - age * day)
                await driven.commit(Entry(tasks=[task], plans=[ended]))
            assert await self._spans(driven, SAMPLE_MOMENT - 2 * day) == [(5, 1, 2), (4, 1, 2), (2, 1, 2)]
            assert await self._spans(driven, SAMPLE_MOMENT - 2 * day, limit=2) == [(5, 1, 2), (4, 1, 2)]
            assert await self._spans(driven, SAMPLE_MOMENT - 4 * day) == [(5, 1, 2)]
            await driven.change(PruneEvents(PlanId(5), 1))
            assert await self._spans(driven, SAMPLE_MOMENT) == [(4, 1, 2), (2, 1, 2), (3, 1, 2)]

    async def _spans(self, driven: Driven, ended_before: datetime, limit: int = 9) -> list[tuple[int, int, int]]:
        found = await driven.store.load_event_spans(ended_before=ended_before, limit=limit)
        return [(span.plan_id, span.first, span.last) for span in found]

    # --- locks -----------------------------------------------------------------------------------------------------

    async def test_a_lock_that_is_taken_cannot_be_taken_by_a_new_plan(self, place: object) -> None:
        async with self.driven(place) as driven:
            await driven.create(sample_plan(1, ["acme"]))
            with pytest.raises(StoreConflictError):
                await driven.create(sample_plan(2, ["bolt", "acme"], after_arrival=1))
            assert await driven.store.load_plan(PlanId(2)) is None
            assert dict(await driven.store.load_tenants([TenantId("bolt")])) == {}

    async def test_locks_are_handed_over_in_order_of_arrival(self, place: object) -> None:
        plans = [
            sample_plan(number, ["acme"], after_arrival=number - 1, lock_held=number == 1) for number in range(1, 5)
        ]
        acme = TenantId("acme")
        async with self.driven(place) as driven:
            for plan in plans:
                assert (await driven.create(plan)).granted == ()
            assert (await driven.tenant("acme")).waiting == 3
            for owner, heir in zip(plans, [*plans[1:], None], strict=True):
                record = await driven.tenant("acme")
                assert record.owner == owner.key(1)
                assert record.newest == plans[-1].key(1)
                result = await driven.change(ReleaseLock(acme, owner.key(1)))
                assert result.granted == (() if heir is None else (heir.key(1),))
                late = await driven.change(ReleaseLock(acme, owner.key(1)))
                assert late.granted == ()
            record = await driven.tenant("acme")
            assert (record.owner, record.waiting) == (None, 0)

    async def test_the_lock_shows_in_the_task(self, place: object) -> None:
        """Whatever the task's own value says: the tenant decides."""
        first = sample_plan(1, ["acme"])
        second = sample_plan(2, ["acme"], after_arrival=1, lock_held=False)
        acme = TenantId("acme")

        async def seen(store: ExecutionStore) -> list[bool]:
            (one,) = await store.load_live(PlanId(1), 0, 9)
            (two,) = await store.load_live(PlanId(2), 0, 9)
            listed = [(await store.list_tasks(PlanId(i), statuses=None, after=0, limit=9))[0] for i in (1, 2)]
            loaded = [item.task for item in await store.load_tasks([first.key(1), second.key(1)])]
            history = (await store.tenant_history(acme, 9))[::-1]
            flags = [one.lock_held, two.lock_held]
            for tasks in (listed, loaded, history):
                assert [task.lock_held for task in tasks] == flags
            return flags

        async with self.driven(place) as driven:
            await driven.create(first, second)
            assert await seen(driven.store) == [True, False]
            assert (await driven.change(ReleaseLock(acme, first.key(1)))).granted == (second.key(1),)
            assert await seen(driven.store) == [False, True]
            await driven.commit(Entry(tasks=[first.write_task(1, lock_held=True), second.write_task(1)]))
            assert await seen(driven.store) == [False, True]

    async def test_who_waits_may_leave_the_queue(self, place: object) -> None:
        plans = [
            sample_plan(number, ["acme"], after_arrival=number - 1, lock_held=number == 1) for number in range(1, 4)
        ]
        acme = TenantId("acme")
        async with self.driven(place) as driven:
            await driven.create(*plans)
            assert (await driven.change(ReleaseLock(acme, plans[1].key(1)))).granted == ()
            record = await driven.tenant("acme")
            assert (record.owner, record.waiting) == (plans[0].key(1), 1)
            assert (await driven.change(ReleaseLock(acme, plans[0].key(1)))).granted == (plans[2].key(1),)

    async def test_only_who_owns_the_lock_at_the_end_of_the_batch_is_granted(self, place: object) -> None:
        plans = [
            sample_plan(number, ["acme"], after_arrival=number - 1, lock_held=number == 1) for number in range(1, 4)
        ]
        acme = TenantId("acme")
        async with self.driven(place) as driven:
            await driven.create(*plans)
            result = await driven.commit(
                Entry(changes=[ReleaseLock(acme, plans[0].key(1))]), Entry(changes=[ReleaseLock(acme, plans[1].key(1))])
            )
            assert result.granted == (plans[2].key(1),)
            assert (await driven.tenant("acme")).owner == plans[2].key(1)

    async def test_who_would_wait_for_a_free_lock_gets_it(self, place: object) -> None:
        """The owner may release in the batch that brings the one who waits for it; nobody may wait for ever."""
        first = sample_plan(1, ["acme"])
        second = sample_plan(2, ["acme", "bolt"], after_arrival=1, lock_held=False)
        release: list[Change] = [ReleaseLock(TenantId("acme"), first.key(1))]
        async with self.driven(place) as driven:
            await driven.create(first)
            result = await driven.commit(Entry(changes=release), Entry(new_plan=second.new_plan()))
            assert result.granted == (second.key(1), second.key(2))
            assert (await driven.tenant("acme")).owner == second.key(1)

    async def test_two_tasks_of_one_plan_may_want_one_lock(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "acme"])
        sample.tasks[2] = replace(sample.tasks[2], lock_held=False)
        async with self.driven(place) as driven:
            await driven.create(sample)
            record = await driven.tenant("acme")
            assert (record.owner, record.waiting, record.newest) == (sample.key(1), 1, sample.key(2))

    async def test_a_settled_task_may_take_a_free_lock_again(self, place: object) -> None:
        first, second = sample_plan(1, ["acme"]), sample_plan(2, ["acme"], after_arrival=1)
        acme = TenantId("acme")
        async with self.driven(place) as driven:
            await driven.create(first)
            await driven.change(ReleaseLock(acme, first.key(1)))
            await driven.create(second)
            with pytest.raises(StoreConflictError):
                await driven.change(AcquireLock(acme, first.key(1)))
            await driven.change(AcquireLock(acme, second.key(1)))
            await driven.change(ReleaseLock(acme, second.key(1)), AcquireLock(acme, first.key(1)))
            assert (await driven.tenant("acme")).owner == first.key(1)
            with pytest.raises(StoreConflictError):
                await driven.change(AcquireLock(TenantId("bolt"), TaskKey(PlanId(7), 1)))

    # --- tenants ---------------------------------------------------------------------------------------------------

    async def test_a_run_begins_with_the_lock_and_a_higher_generation(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        acme, key = TenantId("acme"), sample.key(1)
        async with self.driven(place) as driven:
            with pytest.raises(StoreConflictError):
                await driven.change(BeginRun(acme, key, 1, first=True))
            await driven.create(sample)
            await driven.change(BeginRun(acme, key, 5, first=False))
            record = await driven.tenant("acme")
            assert (record.generation, record.last_started) == (5, None)
            for refused in (
                BeginRun(acme, key, 5, first=True),
                BeginRun(acme, key, 4, first=True),
                BeginRun(acme, TaskKey(PlanId(1), 2), 6, first=True),
            ):
                with pytest.raises(StoreConflictError):
                    await driven.change(refused)
            await driven.change(BeginRun(acme, key, 6, first=True))
            await driven.change(ReleaseLock(acme, key))
            with pytest.raises(StoreConflictError):
                await driven.change(BeginRun(acme, key, 7, first=True))
            record = await driven.tenant("acme")
            assert (record.generation, record.last_started, record.owner) == (6, key, None)

    async def test_generations_are_lifted_and_never_lowered(self, place: object) -> None:
        async with self.driven(place) as driven:
            await driven.change(LiftGeneration(TenantId("new"), 9))
            await driven.change(LiftGeneration(TenantId("new"), 4))
            assert await driven.tenant("new") == TenantRecord(tenant_id=TenantId("new"), generation=9)

    async def test_holds_are_set_and_lifted(self, place: object) -> None:
        hold = Hold(reason="after a röllback", since=SAMPLE_MOMENT)
        acme, bolt = TenantId("acme"), TenantId("bolt")
        async with self.driven(place) as driven:
            await driven.change(SetHold(acme, hold), SetHold(bolt, hold))
            assert (await driven.tenant("acme")).hold == hold
            assert dict(await driven.store.list_holds()) == {acme: hold, bolt: hold}
            newer = replace(hold, reason="other", since=SAMPLE_MOMENT + timedelta(seconds=1))
            await driven.change(SetHold(acme, newer), SetHold(bolt, None))
            assert dict(await driven.store.list_holds()) == {acme: newer}
            assert dict((await driven.store.load_state()).holds) == {acme: newer}
            assert (await driven.tenant("bolt")).hold is None
            await driven.change(SetHold(acme, None), SetHold(acme, None))
            assert dict(await driven.store.list_holds()) == {}

    async def test_the_last_known_good_is_the_last_recorded(self, place: object) -> None:
        acme = TenantId("acme")
        async with self.driven(place) as driven:
            await driven.create(sample_plan(1, ["acme"]))
            assert (await driven.tenant("acme")).last_known_good is None
            await driven.change(RecordLastKnownGood(acme, FULL_CONFIG))
            assert (await driven.tenant("acme")).last_known_good == FULL_CONFIG
            second = sample_config("acme", version=8)
            await driven.change(
                RecordLastKnownGood(acme, sample_config("acme", version=7)), RecordLastKnownGood(acme, second)
            )
            assert (await driven.tenant("acme")).last_known_good == second

    async def test_the_previous_config_is_fixed_once(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        async with self.driven(place) as driven:
            await driven.create(sample)
            await driven.change(FixPrevious(sample.key(1), FULL_CONFIG), FixPrevious(sample.key(1), sample_config("x")))
            await driven.change(FixPrevious(sample.key(1), sample_config("y")))
            assert (await driven.store.load_tasks([sample.key(1)]))[0].previous == FULL_CONFIG
            with pytest.raises(StoreConflictError):
                await driven.change(FixPrevious(TaskKey(PlanId(1), 2), FULL_CONFIG))

    async def test_the_history_of_a_tenant_begins_with_the_newest(self, place: object) -> None:
        acme = TenantId("acme")
        plans = [sample_plan(number, ["acme"], after_arrival=number, lock_held=number == 3) for number in (3, 1, 2)]
        async with self.driven(place) as driven:
            # Their arrivals, not their ids or the order of the commits, say which is newer.
            arrivals = [10, 30, 20]
            for plan, arrival in zip(plans, arrivals, strict=True):
                plan.tasks[1] = replace(plan.tasks[1], arrival=arrival)
            await driven.create(*plans)
            history = await driven.store.tenant_history(acme, 10)
            assert [task.arrival for task in history] == [30, 20, 10]
            assert [task.arrival for task in await driven.store.tenant_history(acme, 2)] == [30, 20]
            assert (await driven.tenant("acme")).newest == plans[1].key(1)
            assert (await driven.store.load_state()).last_arrival == 30
            assert (await driven.change(ReleaseLock(acme, plans[0].key(1)))).granted == (plans[2].key(1),)

    async def test_loading_tenants_asks_for_any_number(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        async with self.driven(place) as driven:
            await driven.create(sample)
            found = await driven.store.load_tenants([TenantId(f"none-{i}") for i in range(12_000)] + [TenantId("bolt")])
            assert list(found) == [TenantId("bolt")]
            assert dict(await driven.store.load_tenants([])) == {}

    # --- pre-images ------------------------------------------------------------------------------------------------

    async def test_the_first_pre_image_counts(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        key = sample.key(1)

        def keep(name: str, value: bytes | None, stage: str = "routing", of: TaskKey = key) -> KeepPreImage:
            return KeepPreImage(of, stage, sample_pre_image(name, value))

        async with self.driven(place) as driven:
            await driven.create(sample)
            await driven.change(keep("z", b"\x00\xff{}"), keep("a", None), keep("z", b"later"))
            await driven.change(keep("m", b""), keep("a", b"later"), keep("a", b"other stage", "media"))
            await driven.change(keep("a", b"other task", of=sample.key(2)))
            assert list(await driven.store.load_pre_images(key, "routing")) == [
                sample_pre_image("z", b"\x00\xff{}"),
                sample_pre_image("a", None),
                sample_pre_image("m", b""),
            ]
            assert list(await driven.store.load_pre_images(key, "media")) == [sample_pre_image("a", b"other stage")]
            assert list(await driven.store.load_pre_images(sample.key(2), "media")) == []
            assert (await self.count_rows(place))["pre_images"] == 5
            with pytest.raises(StoreConflictError):
                await driven.change(keep("z", None, of=TaskKey(PlanId(5), 1)))

    # --- the line, requests, changes -------------------------------------------------------------------------------

    async def test_the_line_is_stopped_and_started(self, place: object) -> None:
        line = StopLine(reason="sömething is wrong", since=SAMPLE_MOMENT)
        async with self.driven(place) as driven:
            assert await driven.store.load_line() is None
            await driven.change(SetLine(line))
            assert await driven.store.load_line() == line
            assert (await driven.store.load_state()).line == line
            newer = replace(line, reason="more")
            await driven.change(SetLine(None), SetLine(newer))
            assert await driven.store.load_line() == newer
            await driven.change(SetLine(None))
            await driven.change(SetLine(None))
            assert await driven.store.load_line() is None

    async def test_requests_of_others_reach_the_driver_and_are_answered(self, place: object) -> None:
        async with self.driven(place) as driven, self.opened(place) as other:
            payload = b'{"tenant": "\xc3\xa9"}'
            ids = [await other.put_request(verb, payload) for verb in ("pause", "cancel", "resume")]
            assert ids == sorted(set(ids))
            requests = await driven.store.open_requests(0, 10)
            assert [request.request_id for request in requests] == ids
            assert [request.verb for request in requests] == ["pause", "cancel", "resume"]
            assert {request.payload for request in requests} == {payload}
            assert all(request.answer is None and request.submitted_at.tzinfo is not None for request in requests)
            assert list(await driven.store.open_requests(ids[0], 1)) == [requests[1]]
            await driven.change(AnswerRequest(ids[1], b'{"ok": true}'))
            await driven.change(AnswerRequest(ids[1], b'{"ok": "later"}'), AnswerRequest(10_000, b"{}"))
            assert [request.request_id for request in await other.open_requests(0, 10)] == [ids[0], ids[2]]
            answered = await other.load_request(ids[1])
            assert answered == replace(requests[1], answer=b'{"ok": true}')
            assert await other.load_request(ids[0]) == requests[0]
            assert await other.load_request(10_000) is None
            assert await other.put_request("retry", b"") > ids[-1]

    async def test_the_change_token_differs_after_any_commit_by_anybody(self, place: object) -> None:
        async with self.driven(place) as driven, self.opened(place) as other:
            stores = (driven.store, other)

            async def changed(action: Awaitable[object]) -> None:
                before = [await store.change_token() for store in stores]
                assert before == [await store.change_token() for store in stores]
                await action
                after = [await store.change_token() for store in stores]
                assert all(one != two for one, two in zip(before, after, strict=True))

            await changed(driven.create(sample_plan(1, ["acme"])))
            await changed(driven.change(SetLine(StopLine(reason="x", since=SAMPLE_MOMENT))))
            await changed(other.put_request("pause", b"{}"))
            await changed(driven.store.put_request("pause", b"{}"))

    # --- reading ---------------------------------------------------------------------------------------------------

    async def test_plans_are_listed_newest_first(self, place: object) -> None:
        async with self.driven(place) as driven:
            for number in (2, 7, 4):
                await driven.create(sample_plan(number, [f"t{number}"], after_arrival=number))
            listed = await driven.store.list_plans(before=None, limit=2)
            assert [plan.plan_id for plan in listed] == [7, 4]
            assert [plan.plan_id for plan in await driven.store.list_plans(before=4, limit=2)] == [2]
            assert list(await driven.store.list_plans(before=2, limit=2)) == []
            state = await driven.store.load_state()
            assert [plan.plan_id for plan in state.plans] == [2, 4, 7]
            assert (state.last_plan_id, state.last_arrival) == (7, 8)

    async def test_settled_plans_are_not_driven(self, place: object) -> None:
        sample = sample_plan(1, ["acme"])
        async with self.driven(place) as driven:
            await driven.create(sample)
            task = sample.write_task(1, status=TaskStatus.COMPLETED)
            plan = sample.write_plan(status=PlanStatus.COMPLETED)
            release: list[Change] = [ReleaseLock(sample.tenant(1), sample.key(1))]
            await driven.commit(Entry(tasks=[task], plans=[plan], changes=release))
            state = await driven.store.load_state()
            assert state.plans == ()
            assert (state.last_plan_id, state.last_arrival) == (1, 1)
            assert list(await driven.store.load_live(PlanId(1), 0, 10)) == []
            assert list(await driven.store.check()) == []
            # An accepted rollback makes both live again.
            task = sample.write_task(1, pending_operation=Operation.ROLLBACK)
            acquire: list[Change] = [AcquireLock(sample.tenant(1), sample.key(1))]
            await driven.commit(Entry(tasks=[task], plans=[sample.write_plan()], changes=acquire))
            assert (await driven.store.load_state()).plans == (sample.plan,)
            (live,) = await driven.store.load_live(PlanId(1), 0, 10)
            assert (live.status, live.pending_operation, live.lock_held) == ("COMPLETED", "rollback", True)

    async def test_tasks_are_listed_by_status_and_in_pages(self, place: object) -> None:
        sample = sample_plan(1, [f"t{number}" for number in range(9)])
        async with self.driven(place) as driven:
            await driven.create(sample)
            failed = [sample.write_task(ordinal, status=TaskStatus.FAILED) for ordinal in (2, 5, 8)]
            running = [sample.write_task(3, status=TaskStatus.RUNNING, started_order=1, held=True)]
            await driven.commit(Entry(tasks=[*failed, *running]))

            async def ordinals(statuses: frozenset[TaskStatus] | None, after: int, limit: int) -> list[int]:
                tasks = await driven.store.list_tasks(PlanId(1), statuses=statuses, after=after, limit=limit)
                return [task.key.ordinal for task in tasks]

            assert await ordinals(frozenset({TaskStatus.FAILED}), 0, 10) == [2, 5, 8]
            assert await ordinals(frozenset({TaskStatus.FAILED, TaskStatus.RUNNING}), 2, 2) == [3, 5]
            assert await ordinals(frozenset(), 0, 10) == []
            assert await ordinals(None, 6, 10) == [7, 8, 9]
            assert await ordinals(None, 0, 0) == []
            live = await driven.store.load_live(PlanId(1), 1, 3)
            assert [task.ordinal for task in live] == [3, 4, 6]
            assert (live[0].status, live[0].held, live[0].started_order) == (TaskStatus.RUNNING, True, 1)
            assert (live[0].line_held, live[0].own_request, live[0].pending_operation) == (False, False, None)

    async def test_tasks_are_loaded_in_the_order_asked_for(self, place: object) -> None:
        sample = sample_plan(1, ["a", "b", "c"])
        async with self.driven(place) as driven:
            await driven.create(sample)
            keys = [sample.key(3), TaskKey(PlanId(1), 9), sample.key(1), TaskKey(PlanId(8), 1), sample.key(2)]
            found = await driven.store.load_tasks(keys)
            assert [item.task.key.ordinal for item in found] == [3, 1, 2]
            assert list(await driven.store.load_tasks([])) == []

    async def test_the_check_tells_what_does_not_agree(self, place: object) -> None:
        sample = sample_plan(1, ["acme", "bolt"])
        async with self.driven(place) as driven:
            await driven.create(sample)
            assert list(await driven.store.check()) == []
            plan = sample.write_plan(counts={TaskStatus.FAILED: 2}, position=99, unsettled=7)
            await driven.commit(
                Entry(
                    plans=[plan],
                    tasks=[sample.write_task(1, sequence_id=9)],
                    changes=[ReleaseLock(sample.tenant(2), sample.key(2))],
                )
            )
            told = "\n".join(await driven.store.check())
            for part in ("99", "FAILED", "7", "1-1", "1-2"):
                assert part in told


def _events_of(plan: SamplePlan, count: int) -> Entry:
    """The next events of the first task, with what belongs to them."""
    events = [plan.event(EventType.TASK_HEARTBEAT, 1) for _ in range(count)]
    return Entry(events=events, tasks=[plan.write_task(1)], plans=[plan.write_plan()])


class AgreementContract(ExecutionStoreContract):
    """A random history, played to the store and to the reference: both say the same, step by step."""

    @pytest.mark.parametrize("seed", range(8))
    async def test_it_says_what_the_reference_says(self, place: object, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311  # a repeatable history
        reference = MemoryExecutionStore()
        await reference.open()
        lease = await reference.acquire_driver("test")
        assert lease is not None
        async with self.driven(place) as driven:
            history = _History(dice)
            for _ in range(60):
                batch = history.batch()
                told: CommitResult | None = None
                try:
                    told = await reference.commit(lease, batch)
                except StoreConflictError:
                    with pytest.raises(StoreConflictError):
                        await driven.store.commit(driven.lease, batch)
                else:
                    assert await driven.store.commit(driven.lease, batch) == told
                    history.accept()
                assert await history.look(driven.store) == await history.look(reference)


class _History:
    """Makes batches, most of them right, over three tenants and as many plans as come."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._plans: list[SamplePlan] = []
        self._maybe: list[SamplePlan] = []
        self._arrival = 0
        self._generation = 0
        self._tenants = [TenantId(name) for name in ("acme", "bolt", "cove")]

    def batch(self) -> list[Entry]:
        self._maybe = [
            SamplePlan(plan=plan.plan, tasks=dict(plan.tasks), configs=plan.configs, created=plan.created)
            for plan in self._plans
        ]
        return [self._entry() for _ in range(self._dice.randint(1, 4))]

    def accept(self) -> None:
        self._plans = self._maybe

    async def look(self, store: ExecutionStore) -> Sequence[object]:
        keys = [task.key for plan in self._maybe for task in plan.tasks.values()]
        state = await store.load_state()
        return [
            state.plans,
            state.line,
            dict(state.holds),
            (state.last_arrival, state.last_plan_id),
            list(await store.load_tasks(keys)),
            dict(await store.load_tenants(self._tenants)),
            [list(await store.load_events(plan.plan.plan_id, 0, 10_000)) for plan in self._maybe],
            [list(await store.load_task_events(key, 0, 10_000)) for key in keys],
            [item.event for item in (await store.load_all_events(0, 10_000)).events],
            [list(await store.load_pre_images(key, "routing")) for key in keys],
            [list(await store.tenant_history(tenant_id, 100)) for tenant_id in self._tenants],
            [list(await store.load_live(plan.plan.plan_id, 0, 100)) for plan in self._maybe],
        ]

    def _entry(self) -> Entry:
        dice = self._dice
        entry = Entry()
        if not self._maybe or dice.random() < 0.1:
            number = 1 + max((plan.plan.plan_id for plan in self._maybe), default=0) - (dice.random() < 0.05)
            names = dice.sample(self._tenants, dice.randint(1, 3))
            plan = sample_plan(number, names, after_arrival=self._arrival, lock_held=dice.random() < 0.2)
            self._arrival += len(names)
            entry.new_plan = plan.new_plan()
            self._maybe.append(plan)
            return entry
        plan = dice.choice(self._maybe)
        ordinal = dice.choice(list(plan.tasks))
        for _ in range(dice.randint(0, 3)):
            event = plan.event(dice.choice(list(EventType)), ordinal if dice.random() < 0.8 else None)
            entry.events.append(event if dice.random() > 0.01 else replace(event, position=event.position - 1))
        if dice.random() < 0.7:
            status = dice.choice([TaskStatus.RUNNING, TaskStatus.PAUSED, TaskStatus.FAILED, TaskStatus.COMPLETED])
            marks = tuple(dice.randint(0, 63) for _ in range(2))
            task = plan.write_task(ordinal, status=status, marks=marks, retry_count=dice.randint(0, 3))
            entry.tasks.append(task if dice.random() > 0.02 else replace(task, version=task.version + 1))
        if dice.random() < 0.7:
            entry.plans.append(plan.write_plan())
        entry.changes = [self._change(plan, ordinal) for _ in range(dice.randint(0, 3))]
        return entry

    def _change(self, plan: SamplePlan, ordinal: int) -> Change:
        dice = self._dice
        key, tenant_id = plan.key(ordinal), plan.tenant(ordinal)
        config = sample_config(tenant_id, version=dice.randint(1, 99))
        self._generation += dice.random() < 0.95
        hold = Hold(reason=str(dice.random()), since=SAMPLE_MOMENT)
        image = sample_pre_image(dice.choice("abc"), dice.choice([None, b"", b"x"]))
        changes: Sequence[Change] = (
            ReleaseLock(tenant_id, key),
            ReleaseLock(dice.choice(self._tenants), key),
            BeginRun(tenant_id, key, self._generation, first=dice.random() < 0.5),
            AcquireLock(tenant_id, key),
            LiftGeneration(tenant_id, self._generation),
            RecordLastKnownGood(tenant_id, config),
            SetHold(tenant_id, dice.choice([None, hold])),
            FixPrevious(key, config),
            KeepPreImage(key, "routing", image),
            SetLine(dice.choice([None, StopLine(reason="x", since=SAMPLE_MOMENT)])),
            PruneEvents(key.plan_id, dice.randint(0, plan.plan.position)),
        )
        return dice.choices(changes, weights=[6, 1, 1, 1, 2, 2, 2, 2, 3, 1, 1])[0]
