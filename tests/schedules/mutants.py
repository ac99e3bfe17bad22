"""
Engines that are broken on purpose: a judge that lets one of them pass could not be believed about the real one.

Each function breaks one thing for as long as it is open.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, cast
from unittest.mock import patch

from switchover.adapters.stores import memory
from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.domain.admission import admit
from switchover.domain.task import TaskKey, TaskStatus
from switchover.engine import orchestrator, scheduler
from switchover.engine.boundaries import Boundaries
from switchover.engine.executor import _Run
from switchover.engine.orchestrator import PlanOrchestrator
from switchover.engine.records import Residents
from switchover.engine.state_manager import Change, TaskEdit
from switchover.spi import CommitResult, DriverLease, Entry, ReleaseLock

Mutant = Callable[[], AbstractContextManager[object]]


def the_lock_is_released_at_a_pause() -> AbstractContextManager[object]:
    finish = TaskEdit.finish

    def broken(edit: TaskEdit) -> None:
        finish(edit)
        if edit.task.status is TaskStatus.PAUSED:
            edit.change.store(ReleaseLock(edit.record.tenant_id, edit.task.key))

    return patch.object(TaskEdit, "finish", broken)


@contextmanager
def a_former_driver_may_commit() -> Generator[None]:
    commit = MemoryExecutionStore.commit

    async def broken(store: MemoryExecutionStore, lease: DriverLease, batch: Sequence[Entry]) -> CommitResult:
        data = store._data
        holder, data.holder = data.holder, store
        assert data.driver is not None
        try:
            return await commit(store, DriverLease(owner=lease.owner, epoch=data.driver.epoch), batch)
        finally:
            data.holder = holder

    with patch.object(MemoryExecutionStore, "commit", broken), patch.object(memory, "_check_version", _nothing):
        yield


def a_pending_request_is_forgotten_at_a_boundary() -> AbstractContextManager[object]:
    after_stage = Boundaries._after_stage

    def broken(boundaries: Boundaries, edit: TaskEdit) -> None:
        edit.set(pending_operation=None)
        if edit.record.runtime is not None:
            edit.record.runtime.pause_requested = False
        after_stage(boundaries, edit)

    return patch.object(Boundaries, "_after_stage", broken)


def a_retry_takes_no_lock() -> AbstractContextManager[object]:
    return patch.object(TaskEdit, "acquire_lock", _nothing)


def one_task_too_many_may_run() -> AbstractContextManager[object]:
    def broken(*args: Any, free_slots: int, **options: Any) -> object:  # noqa: ANN401  # passed on
        return admit(*args, free_slots=free_slots + 1, **options)

    return patch.object(scheduler, "admit", broken)


def a_granted_lock_is_not_noticed() -> AbstractContextManager[object]:
    def broken(residents: Residents, key: TaskKey) -> bool:
        return True

    return patch.object(Residents, "invalidate", broken)


def those_who_take_locks_do_not_wait_for_each_other() -> AbstractContextManager[object]:
    @asynccontextmanager
    async def broken(self: PlanOrchestrator) -> AsyncGenerator[None]:
        yield

    return patch.object(PlanOrchestrator, "admission", broken)


def the_end_of_the_owner_is_not_seen() -> AbstractContextManager[object]:
    return patch.object(orchestrator, "_has_left", lambda record, tenant: False)


@contextmanager
def a_take_over_keeps_the_generation() -> Generator[None]:
    recover, raise_generation = Boundaries.recover, TaskEdit.raise_generation
    recovering = False

    def broken(boundaries: Boundaries, *args: Any, **options: Any) -> asyncio.Future[None]:  # noqa: ANN401  # passed on
        nonlocal recovering
        recovering = True
        try:
            return recover(boundaries, *args, **options)
        finally:
            recovering = False

    def kept(edit: TaskEdit, *args: Any, **options: Any) -> None:  # noqa: ANN401  # passed on
        if not recovering:
            raise_generation(edit, *args, **options)

    with patch.object(Boundaries, "recover", broken), patch.object(TaskEdit, "raise_generation", kept):
        yield


def an_answer_comes_before_the_commit() -> AbstractContextManager[object]:
    async def broken(self: PlanOrchestrator, change: Change, outcome: object, reply: Callable[[Any], Any]) -> None:
        change.submit_with(lambda: reply(outcome))

    return patch.object(PlanOrchestrator, "_make_durable", broken)


def a_refusal_does_not_wait_for_its_reason() -> AbstractContextManager[object]:
    async def broken(self: PlanOrchestrator, outcome: Any, reply: Callable[[Any], Any]) -> None:  # noqa: ANN401  # passed on
        self.manager.commits.submit(Entry(changes=list(reply(outcome))))

    return patch.object(PlanOrchestrator, "_answer", broken)


def a_cancelled_task_keeps_its_lock() -> AbstractContextManager[object]:
    store = Change.store

    def broken(change: Change, item: object) -> None:
        if not isinstance(item, ReleaseLock) or not any(
            record.task.status is TaskStatus.PAUSED for record in change.manager.commits.residents.tasks.values()
        ):
            store(change, cast("Any", item))

    return patch.object(Change, "store", broken)


def an_old_run_does_not_see_that_another_one_has_its_task() -> AbstractContextManager[object]:
    def broken(run: _Run) -> object:
        return None if run._executor.stopping else run._executor.next_work(run._record)

    return patch.object(_Run, "_next", broken)


def two_events_take_one_number() -> AbstractContextManager[object]:
    heartbeat = Boundaries.heartbeat

    def broken(boundaries: Boundaries, plan: Any, record: Any) -> asyncio.Future[None]:  # noqa: ANN401  # passed on
        durable = heartbeat(boundaries, plan, record)
        record.task = record.task.__class__(
            **{name: getattr(record.task, name) for name in record.task.__slots__ if name != "sequence_id"},
            sequence_id=record.task.sequence_id - 1,
        )
        return durable

    return patch.object(Boundaries, "heartbeat", broken)


def _nothing(*args: object, **options: object) -> None:
    return None


FOUND_BY_DUELS: Sequence[Mutant] = (
    those_who_take_locks_do_not_wait_for_each_other,
    the_end_of_the_owner_is_not_seen,
)

FOUND_BY_SCHEDULES: Sequence[Mutant] = (
    the_lock_is_released_at_a_pause,
    a_former_driver_may_commit,
    a_pending_request_is_forgotten_at_a_boundary,
    a_retry_takes_no_lock,
    one_task_too_many_may_run,
    a_granted_lock_is_not_noticed,
    those_who_take_locks_do_not_wait_for_each_other,
    a_take_over_keeps_the_generation,
    an_answer_comes_before_the_commit,
    a_refusal_does_not_wait_for_its_reason,
    a_cancelled_task_keeps_its_lock,
    two_events_take_one_number,
    an_old_run_does_not_see_that_another_one_has_its_task,
)
