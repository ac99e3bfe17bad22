"""Orders and jobs in a real database: what a worker may say, and what keeps them in step with the state."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from switchover import TenantDeployConfig
from switchover.adapters.stores.postgres import PostgresExecutionStore
from switchover.bootstrap import Executor, open_executor
from switchover.dispatch import Dispatch, Dispatching, GivenOrder, StageEnd
from switchover.domain.stage import PreImage, TaskStage
from switchover.domain.task import FailureInfo, TaskStatus
from switchover.errors import ErrorCode, ErrorType, StoreConflictError, StoreUnusableError
from switchover.spi import Entry, KeepPreImage
from switchover.stages.service import CompositeServiceStage
from tests.support.postgres import run_sql

FAILED = FailureInfo(
    error_code=ErrorCode.STEP_FAILED,
    error_type=ErrorType.NETWORK_ERROR,
    message="half a pair \ud800 and a zero \0",
    timestamp=datetime(2026, 1, 1, tzinfo=UTC),
)


def stages(_: TenantDeployConfig) -> Sequence[TaskStage]:
    return [CompositeServiceStage(name, []) for name in ("one", "two")]


@asynccontextmanager
async def driving(url: str, tenants: Sequence[str] = ("a", "b")) -> AsyncIterator[tuple[Executor, Dispatch]]:
    """A driver whose tasks wait for workers; the test is the worker."""
    async with open_executor(url, stage_factory=stages, stages_by="workers") as executor:
        assert isinstance(executor.store, Dispatching)
        configs = [
            {
                "tenantId": tenant,
                "deployUnitId": 2,
                "deployUnitVersion": 42,
                "sourceTenantDeployConfig": {"tenantId": tenant, "deployUnitId": 1, "deployUnitVersion": 41},
            }
            for tenant in tenants
        ]
        assert (await executor.facade.create_switch_task(configs, options={"planId": 7})).success
        async with asyncio.timeout(30):
            while len(await executor.store.dispatch.orders()) < len(tenants):
                await executor.changed(executor.version)
        yield executor, executor.store.dispatch


async def jobs(url: str) -> int:
    return len(await run_sql(url, "SELECT id FROM procrastinate_jobs"))


async def claimed(book: Dispatch) -> tuple[int, GivenOrder]:
    """A worker, and the first run, which it has."""
    worker = await book.enlist("test", "1", 4)
    first = (await book.orders())[0]
    (given,) = await book.claim(worker, [(first.order.key, first.run)])
    return worker, given


async def test_a_task_that_runs_has_an_order_and_a_job_and_one_that_does_not_has_neither(postgres_url: str) -> None:
    async with driving(postgres_url) as (executor, book):
        assert {given.order.key.task_id for given in await book.orders()} == {"7-1", "7-2"}
        assert await jobs(postgres_url) == 2
        assert {row[0] for row in await run_sql(postgres_url, "SELECT lock FROM procrastinate_jobs")} == {"a", "b"}
        worker, given = await claimed(book)
        await book.report(worker, [(given, StageEnd(FAILED))], give_back=False)
        await until_gone(executor, given)
        task = await executor.facade.query_task_status(given.order.key.task_id)
        assert task.status is TaskStatus.FAILED
        assert task.failure_info is not None
        assert task.failure_info.message.startswith("half a pair")


async def until_gone(executor: Executor, given: GivenOrder) -> None:
    assert isinstance(executor.store, Dispatching)
    async with asyncio.timeout(30):
        while await executor.store.dispatch.order(given.order.key) is not None:
            await executor.changed(executor.version)


async def test_a_commit_that_is_refused_leaves_no_order_and_no_job(postgres_url: str) -> None:
    async with driving(postgres_url) as (executor, book):
        found = await executor.store.load_tasks([(await book.orders())[0].order.key])
        before = await book.orders(), await jobs(postgres_url)
        assert isinstance(executor.store, PostgresExecutionStore)
        lease = executor._lease  # what the driver commits with
        assert lease is not None
        with pytest.raises(StoreConflictError):
            await executor.store.commit(lease, [Entry(tasks=[found[0].task])])  # its version does not follow
        assert (await book.orders(), await jobs(postgres_url)) == before


async def test_of_two_workers_that_claim_a_run_one_has_it(postgres_url: str) -> None:
    async with driving(postgres_url) as (_, book):
        worker, given = await claimed(book)
        other = await book.enlist("other", "1", 4)
        assert await book.claim(other, [(given.order.key, given.run)]) == []
        assert await book.claim(worker, [(given.order.key, given.run)]) == [given], (
            "asked again, because of a lost answer"
        )
        assert await book.claim(worker, [(given.order.key, given.run + 100)]) == [], "another run"
        assert [info.tasks for info in await book.workers()] == [1, 0]
        assert [run.run for run in await book.mine(worker)] == [given.run]


async def test_only_who_has_the_run_may_say_how_its_stage_ended_or_keep_a_pre_image(postgres_url: str) -> None:
    async with driving(postgres_url) as (executor, book):
        worker, given = await claimed(book)
        other = await book.enlist("other", "1", 4)
        kept = KeepPreImage(given.order.key, "one", PreImage(key="k", value=b"\x00before"))
        late = given._replace(order=given.order._replace(stage_index=1))
        assert await book.report(other, [(given, StageEnd())], give_back=False) == []
        assert await book.report(worker, [(late, StageEnd())], give_back=False) == [], "not the stage of the order"
        assert await book.keep_pre_images(other, [(given, kept)]) == []
        assert await executor.store.load_pre_images(given.order.key, "one") == []
        assert await book.keep_pre_images(worker, [(given, kept), (given, kept)]) == [given.order]
        assert await executor.store.load_pre_images(given.order.key, "one") == [kept.pre_image]
        await book.give_back(worker, [given])
        assert await book.report(worker, [(given, StageEnd())], give_back=False) == [], "it was given back"
        assert given.order in await book.unclaimed()


async def test_whoever_is_buried_has_nothing_any_more_unless_a_heartbeat_came(postgres_url: str) -> None:
    async with driving(postgres_url) as (_, book):
        worker, given = await claimed(book)
        (seen,) = await book.workers()
        assert await book.beat(worker, stopping=True)
        assert not await book.bury(worker, seen.heartbeats), "it has sent another one"
        (seen,) = await book.workers()
        assert seen.stopping
        assert list(await book.adrift()) == []
        assert await book.bury(worker, seen.heartbeats)
        assert not await book.beat(worker, stopping=False)
        # The driver may have begun it again already, under a higher generation.
        after = await book.order(given.order.key)
        assert after is not None
        assert given.order in await book.adrift() or after.order.generation == given.order.generation + 1


async def test_jobs_that_are_missing_are_made_and_jobs_of_dead_workers_are_free_again(postgres_url: str) -> None:
    async with driving(postgres_url):
        pass  # what is ordered stays so, and nobody but this test repairs anything
    store = PostgresExecutionStore(postgres_url)
    await store.open()
    try:
        assert await store.dispatch.reconcile() == 0
        await run_sql(postgres_url, "DELETE FROM procrastinate_jobs")
        assert await store.dispatch.reconcile() == 2
        assert await store.dispatch.reconcile() == 0, "none is made twice"
        assert await jobs(postgres_url) == 2
        # As if a worker had taken one, and died before it claimed the run.
        await run_sql(postgres_url, "UPDATE procrastinate_jobs SET status = 'doing' WHERE lock = 'a'")
        assert await store.dispatch.reconcile() == 1
        assert await run_sql(postgres_url, "SELECT DISTINCT status FROM procrastinate_jobs") == [("todo",)]
    finally:
        await store.aclose()


async def test_any_number_of_processes_may_come_first_at_once(postgres_url: str) -> None:
    async def come() -> None:
        store = PostgresExecutionStore(postgres_url)
        await store.open()
        try:
            await store.dispatch.prepare()
        finally:
            await store.aclose()

    await asyncio.gather(*(come() for _ in range(8)))


async def test_the_functions_of_procrastinate_are_the_ones_that_are_called(postgres_url: str) -> None:
    """When this fails after an upgrade, look at ``jobs.py``."""
    store = PostgresExecutionStore(postgres_url)
    await store.open()
    try:
        await store.dispatch.prepare()
        await store.dispatch.prepare()
        await run_sql(postgres_url, "ALTER FUNCTION procrastinate_defer_jobs_v1 RENAME TO procrastinate_defer_jobs_v9")
        with pytest.raises(StoreUnusableError, match="version of Procrastinate"):
            await store.dispatch.prepare()
    finally:
        await store.aclose()


async def test_who_only_records_a_request_leaves_orders_as_they_are(postgres_url: str) -> None:
    async with driving(postgres_url) as (_, book):
        worker, given = await claimed(book)
    async with open_executor(postgres_url, stage_factory=stages, mode="record") as executor:
        assert executor.driving
        assert (await executor.facade.pause_task_by_plan(7)).success
        assert isinstance(executor.store, Dispatching)
        assert len(await executor.store.dispatch.orders()) == 2
        assert await executor.store.dispatch.report(worker, [(given, StageEnd())], give_back=False) == [given.order]


async def test_a_driver_that_carries_stages_out_itself_takes_all_orders_back(postgres_url: str) -> None:
    async with driving(postgres_url) as (_, book):
        worker, given = await claimed(book)
    async with open_executor(postgres_url, stage_factory=stages) as executor:
        await executor.wait_for_plan(7)
        assert isinstance(executor.store, Dispatching)
        assert list(await executor.store.dispatch.orders()) == []
        assert await executor.store.dispatch.report(worker, [(given, StageEnd())], give_back=False) == []
