"""Connections that are lost at any moment of a commit, statements that the server ends, and servers that restart."""

import signal
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchover.adapters.stores.postgres import PostgresExecutionStore
from switchover.errors import StoreConflictError, StoreUnavailableError
from switchover.spi import DriverLease, Entry
from switchover.testing.samples import sample_plan
from tests.support.fault_proxy import Ill, fault_proxy
from tests.support.postgres import new_schema, run_sql, through
from tests.support.servers import make_cluster, start_postgres

LOST = (Ill.RESET, Ill.CLOSE, Ill.CUT_ANSWER, Ill.CUT_MIDWAY)
_MOST_STATEMENTS = 40


async def committed(store: PostgresExecutionStore, lease: DriverLease, entry: Entry) -> int:
    """Commit as the engine does, once and again; how often the answer was lost."""
    lost = 0
    while True:
        try:
            await store.commit(lease, [entry])
        except StoreUnavailableError:
            lost += 1
            assert lost < 10, "one loss at a time"
        except StoreConflictError:
            assert lost, "nobody else writes"
            return lost
        else:
            return lost


@pytest.mark.parametrize("ill", LOST)
async def test_a_connection_lost_at_any_statement_of_a_commit_loses_and_doubles_nothing(
    ill: Ill, postgres_url: str
) -> None:
    port = int(postgres_url.rpartition(":")[2].partition("/")[0])
    async with fault_proxy("127.0.0.1", port) as proxy:
        # Without a listener, and with one heartbeat in an hour, all that is said is the commit.
        url = f"{through(postgres_url, proxy.port)}&statement_cache_size=0"
        store = PostgresExecutionStore(url, beat_seconds=3600.0, lost_seconds=7200.0)
        await store.open()
        lease = await store.acquire_driver("me")
        assert lease is not None
        await store.commit(lease, [])
        plans, met = 0, 0
        for number in range(_MOST_STATEMENTS):
            proxy.ailing = deque([None] * number + [ill])
            plans += 1
            sample = sample_plan(plans, [f"tenant-{plans}"], after_arrival=plans - 1)
            met += await committed(store, lease, Entry(new_plan=sample.new_plan()))
            stored = await store.load_plan(sample.plan.plan_id)
            assert stored == sample.plan
            if proxy.ailing:
                break  # a commit has no statement of that number
        assert met > 5, "as many as there are statements"
        proxy.ailing.clear()
        assert len(await store.list_plans(before=None, limit=100)) == plans
        assert list(await store.check()) == []
        await store.aclose()


@pytest.fixture
def cluster() -> Iterator[Path]:
    """The files of a server of one's own."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as place:
        # Who is not root may not enter the directories that pytest makes for root.
        Path(place).chmod(0o755)
        make_cluster(Path(place) / "data")
        yield Path(place) / "data"


@pytest.mark.postgres
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_a_server_that_restarts_interrupts_and_ends_nothing(how: signal.Signals, cluster: Path) -> None:
    program, port = start_postgres(cluster)
    try:
        url = await new_schema(f"postgresql://postgres@127.0.0.1:{port}/postgres")
        store = PostgresExecutionStore(url, lost_seconds=3600.0)
        await store.open()
        lease = await store.acquire_driver("me")
        assert lease is not None
        first, second = sample_plan(1, ["acme"]), sample_plan(2, ["bolt"], after_arrival=1)
        await store.commit(lease, [Entry(new_plan=first.new_plan())])
        program.send(how)
        program.popen.wait()
        with pytest.raises(StoreUnavailableError):
            await store.commit(lease, [Entry(new_plan=second.new_plan())])
        with pytest.raises(StoreUnavailableError):
            await store.load_plan(first.plan.plan_id)
        program, _ = start_postgres(cluster, port=port)
        assert await store.load_plan(first.plan.plan_id) == first.plan
        assert await store.load_plan(second.plan.plan_id) is None
        await store.commit(lease, [Entry(new_plan=second.new_plan())])
        info = await store.driver()
        assert info is not None
        assert (info.epoch, info.alive) == (lease.epoch, True)
        await store.aclose()
    finally:
        program.send(signal.SIGQUIT)
        program.stop()


@pytest.mark.parametrize(
    ("setting", "told"),
    [("lock_timeout = '50ms'", "a lock was not to be had"), ("statement_timeout = '50ms'", "gave up after its time")],
)
async def test_a_limit_of_the_server_is_told_and_the_next_attempt_goes_through(
    setting: str, told: str, postgres_url: str
) -> None:
    await run_sql(postgres_url, f"ALTER ROLE postgres SET {setting}")
    blocker = PostgresExecutionStore(postgres_url)
    store = PostgresExecutionStore(postgres_url)
    try:
        await blocker.open()
        await store.open()
        lease = await store.acquire_driver("me")
        assert lease is not None
        sample = sample_plan(1, ["acme"])
        assert blocker._pool is not None
        async with blocker._pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE plan")
            with pytest.raises(StoreUnavailableError, match=told):
                await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        await store.commit(lease, [Entry(new_plan=sample.new_plan())])
        assert await store.load_plan(sample.plan.plan_id) == sample.plan
    finally:
        await store.aclose()
        await blocker.aclose()
        await run_sql(postgres_url, "ALTER ROLE postgres RESET ALL")


async def test_a_server_that_takes_no_writes_is_waited_for(postgres_url: str) -> None:
    store = PostgresExecutionStore(postgres_url)
    await store.open()
    lease = await store.acquire_driver("me")
    assert lease is not None
    await store.aclose()
    reader = PostgresExecutionStore(f"{postgres_url}&default_transaction_read_only=on")
    await reader.open()
    assert await reader.load_plan(sample_plan(1, ["acme"]).plan.plan_id) is None
    with pytest.raises(StoreUnavailableError, match="accepted no write"):
        await reader.put_request("pause", b"{}")
    with pytest.raises(StoreUnavailableError, match="accepted no write"):
        await reader.acquire_driver("me")
    await reader.aclose()
