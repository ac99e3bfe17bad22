"""
What follows from what: every decision at the start of a run and at a stage boundary, and the events that it makes.

Each function is one decision without an await: it takes a record, changes it through the state manager, and leaves in
``record.task`` what the executor has to do next (``work_of``). The order of events is behaviour, section 10.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from switchover.domain.events import NO_DATA, EventType
from switchover.domain.plan import OnFailure
from switchover.domain.stage import TaskStage
from switchover.domain.state_machine import TransitionOutcome
from switchover.domain.task import (
    FailureInfo,
    FailurePoint,
    Operation,
    StageMark,
    TaskStatus,
)
from switchover.engine.checkpoints import CheckpointService
from switchover.engine.failures import defect_of
from switchover.engine.records import NO_FAILURES, PlanRecord, TaskRecord
from switchover.engine.state_manager import TaskEdit, TaskStateManager
from switchover.errors import ErrorCode, ErrorType, text_of
from switchover.logs import get_log
from switchover.spi import FOREIGN, RecordLastKnownGood

_log = get_log("switchover.boundaries")

_DONE = TransitionOutcome.DONE

# As plain numbers: what an IntFlag takes to combine two of its members is a good part of a boundary.
_STARTED = int(StageMark.STARTED)
_COMPLETED = int(StageMark.COMPLETED)
_SKIPPED = int(StageMark.SKIPPED)
_RESTORED = int(StageMark.RESTORED)
_RESTORE_FAILED = int(StageMark.RESTORE_FAILED)
_CHECKPOINTED = int(StageMark.CHECKPOINTED)


@dataclass(frozen=True, slots=True)
class Work:
    """What a running task does next: the stage at ``index``, forward or back."""

    index: int
    restoring: bool


def work_of(record: TaskRecord) -> Work | None:
    """The stage to run or to restore next; None when the task does not run."""
    task = record.task
    if task.status is TaskStatus.RUNNING:
        index = task.next_stage
        return None if index is None else _work(index, restoring=False)
    if task.status is TaskStatus.ROLLING_BACK:
        index = task.next_rollback_stage
        return None if index is None else _work(index, restoring=True)
    return None


@lru_cache(maxsize=1024)
def _work(index: int, *, restoring: bool) -> Work:
    return Work(index, restoring)


class Boundaries:
    """
    The decisions.

    Args:
        manager: Carries them out.
        checkpoints: Says what a retry may rely on.
    """

    def __init__(self, *, manager: TaskStateManager, checkpoints: CheckpointService) -> None:
        self._manager = manager
        self._checkpoints = checkpoints
        self._policies = manager.policies

    # The start of a run

    def start(self, plan: PlanRecord, record: TaskRecord) -> asyncio.Future[None] | None:
        """
        Give the task its slot: first start, resume, retry or rollback, whatever it waited for.

        Returns:
            Done when the start is durable; None when a guard refused it and the request was dropped.
        """
        refused = False

        def begin(edit: TaskEdit) -> None:
            nonlocal refused
            refused = not self._begin(edit)
            if refused:
                edit.set(pending_operation=None, own_request=False)
            elif edit.task.status is TaskStatus.RUNNING:
                self._next_stage(edit)

        durable = self._decide(plan, record, begin, otherwise=self._begin)
        return None if refused else durable

    def start_failed(self, plan: PlanRecord, record: TaskRecord, error: Exception) -> asyncio.Future[None]:
        """
        The start met what nobody foresaw: the run begins, and what would have been its first stage says so.

        No policy is asked about a stage.

        Raises:
            Exception: ``error``, when the run cannot even begin.
        """

        def fail(edit: TaskEdit) -> None:
            if not self._begin(edit):
                raise error
            if edit.task.status is TaskStatus.RUNNING:
                self._fail(edit, _defect(edit, error))

        return self._change(plan, record, fail)

    def _begin(self, edit: TaskEdit) -> bool:
        task = edit.task
        data: Mapping[str, object] = NO_DATA
        if task.pending_operation is Operation.ROLLBACK:
            return self._begin_rollback(edit)
        if task.status is TaskStatus.PENDING:
            kind = EventType.TASK_STARTED
            outcome = edit.begin_run(TaskStatus.RUNNING)
        elif task.status is TaskStatus.RESUMING:
            kind = EventType.TASK_RESUMED
            outcome = edit.transition(TaskStatus.RUNNING)
        else:
            from_checkpoint = task.pending_from_checkpoint and self._checkpoints.restore_on_retry()
            kind, data = EventType.TASK_RETRY_STARTED, {"fromCheckpoint": from_checkpoint}
            outcome = edit.begin_run(TaskStatus.RUNNING, from_checkpoint=from_checkpoint)
        if outcome is not _DONE:
            return False
        edit.emit(kind, data)
        return True

    def _decide(
        self,
        plan: PlanRecord,
        record: TaskRecord,
        decide: Callable[[TaskEdit], object],
        *,
        otherwise: Callable[[TaskEdit], object],
    ) -> asyncio.Future[None]:
        """
        Make one decision about one task.

        Policies belong to users and may raise. Then nothing of the decision counts; ``otherwise`` says what is true all
        the same, without asking a policy about the next stage, and the task fails with the policy's error. When that
        raises as well, the policy was asked whether to start at all: then the request is dropped.
        """
        change = self._manager.change(plan)
        edit = change.task(record)
        try:
            decide(edit)
        except FOREIGN as error:  # it becomes the task's failure
            _log.about(record.task).exception("a policy raised")
            edit.abandon()
            change = self._manager.change(plan)
            edit = change.task(record)
            try:
                otherwise(edit)
                if edit.task.status is TaskStatus.RUNNING:
                    self._fail(edit, _policy_failure(edit, error))
            except FOREIGN:
                edit.abandon()
                if record.task.status.holds_slot:
                    raise  # no request began this: the run fails
                _log.about(record.task).exception("a policy raised again; the request is dropped")
                change = self._manager.change(plan)
                edit = change.task(record)
                edit.set(pending_operation=None, own_request=False)
        edit.finish()
        return change.submit()

    def recover(self, plan: PlanRecord, record: TaskRecord, *, pause: bool) -> asyncio.Future[None]:
        """
        Pick up a task that was RUNNING or ROLLING_BACK when its process died.

        The interrupted stage is announced again, under a new generation; or the task is paused where it stands.
        """

        def pick_up(edit: TaskEdit) -> None:
            # What rolls back has no edge to PAUSED, and goes on.
            pausing = pause and record.task.pending_operation in {None, Operation.PAUSE}
            if pausing and edit.transition(TaskStatus.PAUSED, recovering=True) is _DONE:
                edit.emit(EventType.TASK_PAUSED, {"reason": "restart"})
            if edit.task.status.holds_slot:
                edit.raise_generation()
                work = work_of(record)
                if work is None:
                    self._nothing_left(edit)
                else:
                    kind = EventType.TASK_STAGE_ROLLING_BACK if work.restoring else EventType.TASK_STAGE_STARTED
                    edit.emit(kind, {"stage": record.task.stage_names[work.index], "recovered": True})

        return self._change(plan, record, pick_up)

    # The end of a stage

    def stage_succeeded(self, plan: PlanRecord, record: TaskRecord, index: int) -> asyncio.Future[None]:
        """The stage is complete; what comes next is what was asked for meanwhile, or the next stage."""

        def succeed(edit: TaskEdit) -> None:
            self._complete(edit, index)
            edit.emit(EventType.TASK_STAGE_SUCCEEDED, {"stage": record.task.stage_names[index]})

        def advance(edit: TaskEdit) -> None:
            succeed(edit)
            self._after_stage(edit)

        return self._decide(plan, record, advance, otherwise=succeed)

    def stage_failed(
        self, plan: PlanRecord, record: TaskRecord, index: int, failure: FailureInfo
    ) -> asyncio.Future[None]:
        """The stage failed: the task fails, unless a rollback was asked for; then that begins at once."""

        def fail(edit: TaskEdit) -> None:
            edit.emit(EventType.TASK_STAGE_FAILED, {"stage": record.task.stage_names[index]}, failure)
            if not (record.task.pending_operation is Operation.ROLLBACK and self._begin_rollback(edit)):
                self._fail(edit, failure)

        return self._change(plan, record, fail)

    def run_failed(self, plan: PlanRecord, record: TaskRecord, error: BaseException) -> asyncio.Future[None]:
        """
        The run met what nobody foresaw: the stage that it stands in failed, and says so.

        When no stage is left, what follows from that is decided; a success stays one.
        """
        work = work_of(record)
        if work is None:
            return self._change(plan, record, self._nothing_left)
        stage = record.task.stage_names[work.index]
        failure = defect_of(error, task=record.task, stage=stage, now=self._manager.clock.now())
        if work.restoring:
            return self.stage_not_restored(plan, record, work.index, failure)
        return self.stage_failed(plan, record, work.index, failure)

    def stage_restored(self, plan: PlanRecord, record: TaskRecord, index: int) -> asyncio.Future[None]:
        """The previous good config of the stage is seen to be back."""

        def restored(edit: TaskEdit) -> None:
            edit.mark(index, _RESTORED)
            edit.emit(EventType.TASK_STAGE_ROLLED_BACK, {"stage": record.task.stage_names[index]})
            self._next_restore(edit)

        return self._change(plan, record, restored)

    def stage_not_restored(
        self, plan: PlanRecord, record: TaskRecord, index: int, failure: FailureInfo
    ) -> asyncio.Future[None]:
        """The stage could not be restored; the others are tried all the same."""

        def not_restored(edit: TaskEdit) -> None:
            edit.mark(index, _RESTORE_FAILED)
            record.restore_failures = {**record.restore_failures, index: failure.message}
            edit.emit(EventType.TASK_STAGE_ROLLBACK_FAILED, {"stage": record.task.stage_names[index]}, failure)
            self._next_restore(edit)

        return self._change(plan, record, not_restored)

    def heartbeat(self, plan: PlanRecord, record: TaskRecord) -> asyncio.Future[None]:
        """The task is alive."""
        return self._change(plan, record, lambda edit: edit.emit(EventType.TASK_HEARTBEAT))

    # At once, on request

    def cancel_now(self, edit: TaskEdit) -> None:
        """Cancel a task that does not run."""
        retrying = edit.task.retrying
        if edit.transition(TaskStatus.CANCELLED) is _DONE:
            edit.emit(EventType.TASK_CANCELLED)
            self._retry_completed(edit, retrying=retrying, success=False)

    # Inside

    def _change(
        self, plan: PlanRecord, record: TaskRecord, decide: Callable[[TaskEdit], object]
    ) -> asyncio.Future[None]:
        """One decision about one task; when it raises, nothing of it counts and no number is used up."""
        change = self._manager.change(plan)
        edit = change.task(record)
        try:
            decide(edit)
        except BaseException:
            edit.abandon()
            raise
        edit.finish()
        return change.submit()

    def _complete(self, edit: TaskEdit, index: int, *, skipped: bool = False) -> None:
        mark = _COMPLETED | _SKIPPED if skipped else _COMPLETED
        if self._checkpoints.saves(edit.task, index):
            mark |= _CHECKPOINTED
        edit.mark(index, mark)

    def _after_stage(self, edit: TaskEdit) -> None:
        pending = edit.task.pending_operation
        if pending is Operation.ROLLBACK and self._begin_rollback(edit):
            return
        retrying = edit.task.retrying
        if self._try_complete(edit):
            return
        if pending is Operation.CANCEL and edit.transition(TaskStatus.CANCELLED) is _DONE:
            edit.emit(EventType.TASK_CANCELLED)
            self._retry_completed(edit, retrying=retrying, success=False)
            return
        if self._should_pause(edit) and edit.transition(TaskStatus.PAUSED) is _DONE:
            edit.emit(EventType.TASK_PAUSED, {"reason": "stop-line"} if edit.task.line_held else NO_DATA)
            return
        self._next_stage(edit)

    def _should_pause(self, edit: TaskEdit) -> bool:
        runtime = edit.record.runtime
        return self._manager.brakes.line_stopped or (runtime is not None and self._policies.pause.should_pause(runtime))

    def _try_complete(self, edit: TaskEdit) -> bool:
        task, retrying = edit.task, edit.task.retrying
        if not self._policies.completion.is_completed(task, task.total_stages):
            return False
        if edit.transition(TaskStatus.COMPLETED) is not _DONE:
            return False
        edit.change.store(RecordLastKnownGood(edit.record.tenant_id, edit.record.config))
        edit.emit(EventType.TASK_COMPLETED)
        self._retry_completed(edit, retrying=retrying, success=True)
        return True

    def _next_stage(self, edit: TaskEdit) -> None:
        """Start the next stage; those that the evaluator skips are complete, and were not started."""
        record = edit.record
        while (index := edit.task.next_stage) is not None:
            if not self._skips(edit, index):
                edit.mark(index, _STARTED)
                edit.emit(EventType.TASK_STAGE_STARTED, {"stage": record.task.stage_names[index]})
                return
            self._complete(edit, index, skipped=True)
            edit.emit(EventType.TASK_STAGE_SUCCEEDED, {"stage": record.task.stage_names[index], "skipped": True})
        self._nothing_left(edit)

    def _skips(self, edit: TaskEdit, index: int) -> bool:
        runtime, stage = edit.record.runtime, _stage(edit.record, index)
        if runtime is None or stage is None:
            return False
        return self._policies.stage_skip.should_skip(edit.task, runtime, stage)

    def _nothing_left(self, edit: TaskEdit) -> None:
        """Every stage is done, and yet the task runs: it completes, or its completion policy has to explain itself."""
        if edit.task.status is TaskStatus.ROLLING_BACK:
            self._next_restore(edit)
        elif not self._try_complete(edit):
            failure = FailureInfo(
                error_code=ErrorCode.INTERNAL_ERROR,
                error_type=ErrorType.SYSTEM_ERROR,
                message=f"task {edit.task.task_id}: every stage is complete, but the completion policy says that the "
                "task is not; correct the policy and retry",
                timestamp=edit.change.now,
                retryable=True,
            )
            self._fail(edit, failure)

    def _fail(self, edit: TaskEdit, failure: FailureInfo) -> None:
        retrying = edit.task.retrying
        edit.transition(TaskStatus.FAILED, failure=failure)
        edit.emit(EventType.TASK_FAILED, failure=failure)
        self._retry_completed(edit, retrying=retrying, success=False)
        if edit.change.plan.plan.rules.on_failure is OnFailure.AUTO:
            self._begin_rollback(edit)

    def _begin_rollback(self, edit: TaskEdit) -> bool:
        """Events and first stage of a rollback; False when a guard refuses, and then nothing has changed."""
        retrying = edit.task.retrying
        succeeded = edit.task.next_stage is None
        before_rollback = edit.task
        if not self._may_roll_back(edit):
            return False
        edit.record.restore_failures = NO_FAILURES
        if retrying:
            # It ends the retry's run, so it tells of the status that the run ended in.
            after_rollback, edit.task = edit.task, before_rollback
            self._retry_completed(edit, retrying=retrying, success=succeeded)
            edit.task = after_rollback
        edit.emit(EventType.TASK_ROLLING_BACK)
        self._next_restore(edit)
        return True

    def _may_roll_back(self, edit: TaskEdit) -> bool:
        try:
            return edit.begin_run(TaskStatus.ROLLING_BACK) is _DONE
        except FOREIGN:  # recorded here: the run ends as it would have ended without the request
            _log.about(edit.task).exception("the rollback policy raised; the rollback is refused")
            return False

    def _next_restore(self, edit: TaskEdit) -> None:
        record, index = edit.record, edit.task.next_rollback_stage
        if index is not None:
            edit.emit(EventType.TASK_STAGE_ROLLING_BACK, {"stage": record.task.stage_names[index]})
            return
        change = edit.change
        if edit.transition(TaskStatus.ROLLED_BACK) is _DONE:
            if record.previous is not None:
                change.store(RecordLastKnownGood(record.tenant_id, record.previous))
            edit.emit(EventType.TASK_ROLLED_BACK)
            if change.plan.plan.rules.hold_after_rollback:
                change.hold(record.tenant_id, f"task {record.task.task_id} was rolled back")
            return
        failure = _not_restored(edit)
        edit.transition(TaskStatus.ROLLBACK_FAILED, failure=failure)
        edit.emit(
            EventType.TASK_ROLLBACK_FAILED,
            {"notRestored": [name for name, mark in _stages(edit) if mark & _RESTORE_FAILED]},
            failure,
        )
        change.hold(
            record.tenant_id,
            f"the rollback of task {record.task.task_id} failed, so nobody knows what its services hold",
        )

    def _retry_completed(self, edit: TaskEdit, *, retrying: bool, success: bool) -> None:
        if retrying:
            edit.emit(EventType.TASK_RETRY_COMPLETED, {"success": success})


def _stages(edit: TaskEdit) -> list[tuple[str, int]]:
    return list(zip(edit.task.stage_names, edit.task.marks, strict=True))


def _stage(record: TaskRecord, index: int) -> TaskStage | None:
    return None if record.stages is None else record.stages[index]


def _not_restored(edit: TaskEdit) -> FailureInfo:
    task, causes = edit.task, edit.record.restore_failures
    failed = [(index, name) for index, (name, mark) in enumerate(_stages(edit)) if mark & _RESTORE_FAILED]
    text = "; ".join(f"{name}: {causes[index]}" if index in causes else name for index, name in failed)
    return FailureInfo(
        error_code=ErrorCode.ROLLBACK_INCOMPLETE,
        error_type=ErrorType.BUSINESS_ERROR,
        message=f"tenant {task.tenant_id}: {len(failed)} of {task.total_stages} stages are not restored ({text}); "
        "mend the cause and roll back again, which repeats only these",
        timestamp=edit.change.now,
        failed_at=FailurePoint(stage=failed[0][1] if failed else None),
        retryable=True,
    )


def _defect(edit: TaskEdit, error: Exception) -> FailureInfo:
    return FailureInfo(
        error_code=ErrorCode.INTERNAL_ERROR,
        error_type=ErrorType.SYSTEM_ERROR,
        message=f"tenant {edit.task.tenant_id}: a defect of this program ended the start: {text_of(error)}; report it "
        "with the log, and retry",
        timestamp=edit.change.now,
        retryable=True,
    )


def _policy_failure(edit: TaskEdit, error: BaseException) -> FailureInfo:
    return FailureInfo(
        error_code=ErrorCode.INTERNAL_ERROR,
        error_type=ErrorType.SYSTEM_ERROR,
        message=f"tenant {edit.task.tenant_id}: a policy raised {text_of(error)} at a stage boundary; "
        "correct it and retry",
        timestamp=edit.change.now,
        retryable=True,
    )
