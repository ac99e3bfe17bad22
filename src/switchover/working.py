"""
The composition root of a worker: a process that carries out stages for whoever drives the store.

``open_worker`` gives a running worker; it decides nothing and writes no state.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from switchover._version import __version__
from switchover.adapters.clock import SystemClock
from switchover.bootstrap import StageMaker, make_store, step_services
from switchover.config import ExecutorSettings
from switchover.dispatch import Dispatching
from switchover.domain.policies import Policies
from switchover.engine.hands import StageHands
from switchover.errors import StoreUnusableError
from switchover.factory import StageFactory
from switchover.runtimes.procrastinate.worker import Worker
from switchover.spi import Clock, HealthCheckClient, RunTracing
from switchover.stages.catalogue import StageCatalogue

DEFAULT_CONCURRENCY = 64


@asynccontextmanager
async def open_worker(
    url: str,
    *,
    settings: ExecutorSettings | None = None,
    stage_factory: StageFactory | None = None,
    policies: Iterable[object] = (),
    health_client: HealthCheckClient | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    clock: Clock | None = None,
    grace_seconds: float = 30.0,
    tracing: RunTracing | None = None,
) -> AsyncGenerator[Worker]:
    """
    Carry out stages for as long as the context is open.

    Args:
        url: ``postgresql://user@host/database``: the store whose driver gives the orders.
        stage_factory: The one that the driver has; stages that differ from those of the plan fail with INVALID_STAGES.
        policies: Of behaviour, section 11; only the HealthCheckPolicy is asked here, all others by the driver.
        health_client: In place of the one over HTTP.
        concurrency: How many tasks at most at once.
        grace_seconds: How long stages may take to end when the context is left; the others begin again elsewhere.
        tracing: Tells whoever collects traces what runs here; closed by whoever made it.

    Raises:
        StorageError: The store cannot be used; the message says what to do.
        ValueError: ``concurrency`` is below 1.
    """
    if concurrency < 1:
        message = f"concurrency is {concurrency}; a worker has at least 1 task at once"
        raise ValueError(message)
    if urlsplit(url).scheme not in {"postgresql", "postgres"}:
        scheme = urlsplit(url).scheme
        message = f"workers share a PostgreSQL database, and the store is {scheme}://; give postgresql://USER@HOST/NAME"
        raise StoreUnusableError(message)
    try:
        # Only now: these need what a plain installation does not have.
        from switchover.adapters.stores.postgres.jobs import QUEUE, TASK_NAME, conninfo
        from switchover.runtimes.procrastinate.queue import JobQueue
    except ImportError as error:
        message = "a worker needs the drivers of PostgreSQL and Procrastinate; install switchover[postgres]"
        raise StoreUnusableError(message) from error
    chosen = settings if settings is not None else ExecutorSettings()
    own_clock = clock if clock is not None else SystemClock()
    own_policies = Policies.of(policies)
    store = make_store(url)
    assert isinstance(store, Dispatching)  # noqa: S101  # the scheme says so
    try:
        await store.open()
        await store.dispatch.prepare()
        async with step_services(chosen, own_clock, own_policies, health_client, tracing) as services:
            hands = StageHands(
                store=store,
                clock=own_clock,
                stages=StageMaker(StageCatalogue(), stage_factory),
                services=services,
                step_timeout_seconds=chosen.step_timeout_seconds,
                watch=None if tracing is None else tracing.step_of,
            )
            worker = Worker(
                book=store.dispatch,
                hands=hands,
                clock=own_clock,
                name=f"process {os.getpid()} on {socket.gethostname()}",
                version=__version__,
                concurrency=concurrency,
            )
            queue = JobQueue(worker, conninfo=conninfo(url), queue=QUEUE, task_name=TASK_NAME)
            worker.on_finish = queue.stop
            await worker.start()
            loops = [asyncio.ensure_future(hands.watch_deadlines()), asyncio.ensure_future(queue.run())]
            try:
                yield worker
            finally:
                try:
                    await worker.stop(grace_seconds)
                finally:
                    loops[0].cancel()
                    await asyncio.gather(*loops, return_exceptions=True)
    finally:
        await store.aclose()
