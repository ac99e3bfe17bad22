"""Behind a pooler in transaction mode every transaction may run in another session of the server."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from switchover.adapters.stores.postgres import PostgresExecutionStore
from switchover.domain.task import PlanId
from switchover.errors import StoreConflictError
from switchover.spi import Entry
from switchover.testing.samples import sample_plan
from tests.support.postgres import run_sql, through
from tests.support.processes import accepts_connections, await_ready, free_port, start
from tests.support.servers import as_nobody, find_program


@contextmanager
def pooler(server: str, directory: Path) -> Iterator[int]:
    """A PgBouncer in transaction mode before the server; its port."""
    program, port = find_program("pgbouncer"), free_port()
    settings = (
        "[databases]",
        f"* = host=127.0.0.1 port={urlsplit(server).port} user=postgres",
        "[pgbouncer]",
        f"listen_port = {port}",
        "listen_addr = 127.0.0.1",
        "unix_socket_dir =",
        "auth_type = any",
        "pool_mode = transaction",
    )
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as place:
        # Who is not root may not enter the directories that pytest makes for root.
        Path(place).chmod(0o755)
        file = Path(place) / "pgbouncer.ini"
        file.write_text("\n".join(settings), encoding="utf-8")
        running = start(as_nobody([program, str(file)]), log=directory / "pgbouncer.log", cwd=Path(place))
        try:
            await_ready(running, partial(accepts_connections, port))
            yield port
        finally:
            running.stop()


async def test_a_store_drives_and_is_looked_at_through_a_pooler(postgres_server: str, tmp_path: Path) -> None:
    await run_sql(postgres_server, "CREATE DATABASE pooled")
    with pooler(postgres_server, tmp_path) as port:
        url = f"{through(postgres_server, port)}&statement_cache_size=0".replace("/postgres?", "/pooled?")
        here, there = PostgresExecutionStore(url), PostgresExecutionStore(url)
        await here.open()
        await there.open()
        lease = await here.acquire_driver("here")
        assert lease is not None
        assert await there.acquire_driver("there") is None
        sample = sample_plan(1, ["acme", "bolt"])
        await here.commit(lease, [Entry(new_plan=sample.new_plan())])
        await here.commit(lease, [Entry(tasks=[sample.write_task(1)])])
        assert await there.load_plan(PlanId(1)) == sample.plan
        number = await there.put_request("pause", b"{}")
        assert [request.request_id for request in await here.open_requests(0, 10)] == [number]
        assert not here.hears, "a word would get lost, so everybody looks"
        assert list(await there.check()) == []
        await here.release_driver(lease)
        assert await there.acquire_driver("there") is not None
        with pytest.raises(StoreConflictError):
            await here.commit(lease, [])
        await here.aclose()
        await there.aclose()
