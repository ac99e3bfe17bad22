"""EmbeddedRuntime: a run is an asyncio task of this process."""

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

from switchover.domain.task import TaskKey
from switchover.logs import get_log
from switchover.spi import Clock

_log = get_log("switchover.runtime")

_MOST_NAMED = 20


class EmbeddedRuntime:
    """Owns the asyncio task of every run; runs end by themselves, or when it is finished."""

    def __init__(self) -> None:
        self._runs: dict[asyncio.Task[None], TaskKey] = {}
        # What runs are launched in: not that of the run whose end has freed the slot, or its log would be theirs, too.
        # The callbacks share one: each of them would keep its own until it ends.
        self._context = copy_context()
        self._on_end = self._ended

    def __len__(self) -> int:
        return len(self._runs)

    def launch(self, key: TaskKey, run: Coroutine[Any, Any, None]) -> None:
        """Carry out a run, beginning with the next turn of the loop."""
        task = asyncio.get_running_loop().create_task(run, context=self._context.copy())
        self._runs[task] = key
        task.add_done_callback(self._on_end, context=self._context)

    async def finish(self, clock: Clock, seconds: float) -> None:
        """Wait for runs to end, but no longer than this; then interrupt them."""
        if self._runs and seconds > 0:
            limit = asyncio.ensure_future(clock.sleep(seconds))
            ended = asyncio.ensure_future(asyncio.wait(set(self._runs)))
            await asyncio.wait({limit, ended}, return_when=asyncio.FIRST_COMPLETED)
            limit.cancel()
            ended.cancel()
            await asyncio.gather(limit, ended, return_exceptions=True)
        runs = list(self._runs)
        if runs and seconds > 0:
            _log.warning(
                "stages that have not ended in time are interrupted; whoever drives next runs them again",
                limit_seconds=seconds,
                count=len(runs),
                tasks=[self._runs[run].task_id for run in runs[:_MOST_NAMED]],
            )
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)

    def _ended(self, done: asyncio.Task[None]) -> None:
        key = self._runs.pop(done)
        if not done.cancelled() and (error := done.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"the run of task {key.task_id} ended with an error", "exception": error, "task": done}
            )
