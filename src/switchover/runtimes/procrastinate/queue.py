"""The jobs of Procrastinate, from the side of the worker that takes them."""

import asyncio
import logging
from contextlib import suppress
from typing import Final

import procrastinate
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.worker import Worker as JobWorker

from switchover.domain.task import PlanId, TaskKey
from switchover.logs import get_log
from switchover.runtimes.procrastinate.worker import HandedBackError, Worker

_log = get_log("switchover.worker")

_POLL_SECONDS: Final = 0.25
"""Jobs are announced. Looking is for those whose tenant's lock became free, which nobody announces."""

_AGAIN_SECONDS: Final = 0.5
_SHORT_SECONDS: Final = 0.5
_HEARTBEAT_SECONDS: Final = 1.0
_STALLED_SECONDS: Final = 4.0


class _HandBack(BaseRetryStrategy):
    """A run that was handed back has to be taken by somebody else."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        del job
        return RetryDecision(retry_in={"seconds": 0}) if isinstance(exception, HandedBackError) else None


class JobQueue:
    """
    Takes jobs for a worker, from ``run`` to ``stop``.

    Procrastinate's worker ends when its connection does. Then a new one is started; the runs go on meanwhile.

    Args:
        conninfo: Where the database is, for libpq.
        queue, task_name: As the driver defers them.
    """

    def __init__(self, worker: Worker, *, conninfo: str, queue: str, task_name: str) -> None:
        self._worker = worker
        self._queue = queue
        self._app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(conninfo=conninfo, min_size=1, max_size=4)
        )
        self._app.task(name=task_name, retry=_HandBack())(self._carry_out)
        self._jobs: JobWorker | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Take jobs until ``stop``."""
        # What goes wrong there is said here, in this program's own words.
        for name in ("procrastinate", "psycopg.pool"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        while not self._stopping.is_set():
            try:
                async with self._app.open_async():
                    await self._take_jobs()
            except ConnectorException as error:
                _log.info("no jobs can be taken for the moment", reason=str(error.__cause__ or error))
            if not self._stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _AGAIN_SECONDS)

    def stop(self) -> None:
        """Take no more; jobs end when the worker's runs do."""
        self._stopping.set()
        if self._jobs is not None:
            self._jobs.shutdown_graceful_timeout = None
            self._jobs.stop()  # type: ignore[no-untyped-call]  # it has no annotation

    async def _take_jobs(self) -> None:
        self._jobs = JobWorker(
            self._app,
            queues=[self._queue],
            concurrency=self._worker.concurrency,
            fetch_job_polling_interval=_POLL_SECONDS,
            shutdown_graceful_timeout=_SHORT_SECONDS,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=_HEARTBEAT_SECONDS,
            stalled_worker_timeout=_STALLED_SECONDS,
        )
        try:
            if not self._stopping.is_set():
                await self._jobs.run()  # type: ignore[no-untyped-call]  # it has no annotation
        finally:
            self._jobs = None

    async def _carry_out(self, plan_id: int, ordinal: int, run: int) -> None:
        await self._worker.work(TaskKey(PlanId(plan_id), ordinal), run)
