"""The extension points: each is asked, decides, and may raise without leaving a lock, slot or heartbeat behind."""

# ruff: noqa: ANN401  # answers of any type

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from switchover.domain.plan import PlanStatus
from switchover.domain.policies import Policies
from switchover.domain.stage import TaskRuntimeContext
from switchover.domain.state_machine import TaskTransitionContext, TransitionOutcome
from switchover.domain.task import Operation, PlanId, TaskKey, TaskStatus, TaskView
from switchover.errors import ErrorCode
from tests.support.harness import Rig, open_rig


class _Angry:
    """Answers what it was given, and raises from the ``calm``-th question on."""

    def __init__(self, answer: Any, calm: int = 0) -> None:
        self.answer = answer
        self.calm = calm
        self.asked = 0

    def _ask(self, *args: object) -> Any:
        self.asked += 1
        if self.asked > self.calm:
            message = "the policy is angry"
            raise RuntimeError(message)
        return self.answer


class AngryRetry(_Angry):
    def allow_retry(self, task: TaskView) -> bool:
        return bool(self._ask())

    def next_delay(self, task: TaskView) -> float:
        return 0.0


class AngryDelay(_Angry):
    def allow_retry(self, task: TaskView) -> bool:
        return True

    def next_delay(self, task: TaskView) -> float:
        return float(self._ask())


class AngryPause(_Angry):
    def should_pause(self, context: TaskRuntimeContext) -> bool:
        return bool(self._ask())


class AngryCompletion(_Angry):
    def is_completed(self, task: TaskView, total_stages: int) -> bool:
        return bool(self._ask())


class AngryRollback(_Angry):
    def can_rollback(self, task: TaskView) -> bool:
        return bool(self._ask())


class AngrySkip(_Angry):
    def should_skip(self, task: TaskView, context: TaskRuntimeContext, stage: object) -> bool:
        return bool(self._ask())


class AngryCheckpoint(_Angry):
    def should_checkpoint_after_stage(self, task: TaskView, stage: str) -> bool:
        return bool(self._ask())

    def restore_on_retry(self) -> bool:
        return bool(self._ask())


async def _ends(rig: Rig, *statuses: TaskStatus) -> None:
    """t1 comes to rest in one of these, holds nothing, and the next plan for the tenant is accepted."""
    await rig.settles()
    assert await rig.status("t1") in statuses
    assert (await rig.tenant("t1")).owner is None
    assert len(rig.driver.heartbeat) == 0
    assert (await rig.try_create("t1", plan_id=101)).success


# --- exceptions ---


@pytest.mark.parametrize("calm", range(5))
async def test_a_retry_policy_that_raises_leaves_nothing_behind(calm: int) -> None:
    policy = AngryRetry(answer=True, calm=calm)
    async with open_rig("A", "B", policies=[policy], judged=False) as rig:
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.ask("retry", "t1")
        await rig.quiet()
        await rig.settles()
        assert await rig.status("t1") in {TaskStatus.FAILED, TaskStatus.COMPLETED}
        assert (await rig.tenant("t1")).owner is None
        await rig.assert_sound()


@pytest.mark.parametrize("calm", range(3))
async def test_a_delay_that_raises_does_not_lose_the_retry(calm: int) -> None:
    async with open_rig("A", policies=[AngryDelay(answer=0.0, calm=calm)]) as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        assert await rig.settles() is PlanStatus.COMPLETED


@pytest.mark.parametrize("calm", range(4))
async def test_a_pause_policy_that_raises_fails_the_task(calm: int) -> None:
    async with open_rig("A", "B", "C", policies=[AngryPause(answer=False, calm=calm)]) as rig:
        await rig.create("t1")
        await rig.settles()
        assert await rig.status("t1") in {TaskStatus.FAILED, TaskStatus.COMPLETED}
        if await rig.status("t1") is TaskStatus.FAILED:
            failure = (await rig.task("t1")).failure_info
            assert failure is not None
            assert failure.error_code is ErrorCode.INTERNAL_ERROR
            assert "angry" in failure.message


@pytest.mark.parametrize("calm", range(3))
async def test_a_completion_policy_that_raises_fails_the_task(calm: int) -> None:
    async with open_rig("A", "B", policies=[AngryCompletion(answer=False, calm=calm)]) as rig:
        await rig.create("t1")
        await _ends(rig, TaskStatus.FAILED)


@pytest.mark.parametrize("on_failure", ["manual", "auto"])
@pytest.mark.parametrize("calm", range(4))
async def test_a_rollback_policy_that_raises_refuses(calm: int, on_failure: str) -> None:
    async with open_rig("A", "B", policies=[AngryRollback(answer=True, calm=calm)]) as rig:
        rig.script.fail("t1", "B")
        await rig.create("t1", rollback={"on_failure": on_failure})
        await rig.settles()
        await rig.ask("rollback", "t1")
        await rig.settles()
        assert await rig.status("t1") in {TaskStatus.FAILED, TaskStatus.ROLLED_BACK}
        assert (await rig.tenant("t1")).owner is None


@pytest.mark.parametrize("outcome", ["fails", "succeeds"])
@pytest.mark.parametrize("calm", range(3))
async def test_a_rollback_policy_that_raises_at_the_end_of_a_stage_leaves_nothing_behind(
    calm: int, outcome: str
) -> None:
    async with open_rig("A", "B", policies=[AngryRollback(answer=True, calm=calm)]) as rig:
        rig.script.block("t1", "A")
        if outcome == "fails":
            rig.script.fail("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.ask("rollback", "t1")
        rig.script.release("t1", "A")
        await rig.settles()
        assert (await rig.tenant("t1")).owner is None


@pytest.mark.parametrize("calm", range(3))
async def test_a_skip_evaluator_that_raises_fails_the_task(calm: int) -> None:
    async with open_rig("A", "B", policies=[AngrySkip(answer=False, calm=calm)]) as rig:
        await rig.create("t1")
        await _ends(rig, TaskStatus.FAILED, TaskStatus.COMPLETED)


@pytest.mark.parametrize("calm", range(5))
async def test_a_checkpoint_policy_that_raises_leaves_nothing_behind(calm: int) -> None:
    async with open_rig("A", "B", policies=[AngryCheckpoint(answer=True, calm=calm)]) as rig:
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.ask("retry", "t1")
        await rig.settles()
        assert await rig.status("t1") in {TaskStatus.FAILED, TaskStatus.COMPLETED}
        assert (await rig.tenant("t1")).owner is None


async def test_an_instrumentation_that_raises_changes_nothing() -> None:
    class Broken:
        def before_guard(self, source: TaskStatus, target: TaskStatus, context: TaskTransitionContext) -> None:
            raise RuntimeError

        def after_transition(
            self, source: TaskStatus, target: TaskStatus, success: bool, context: TaskTransitionContext
        ) -> None:
            raise RuntimeError

    async with open_rig("A", policies=[Broken()]) as rig:
        await rig.create("t1")
        assert await rig.settles() is PlanStatus.COMPLETED


# --- decisions ---


async def test_a_retry_policy_that_says_no_refuses_with_the_limit() -> None:
    class Never:
        def allow_retry(self, task: TaskView) -> bool:
            return False

        def next_delay(self, task: TaskView) -> float:
            return 0.0

    async with open_rig("A", policies=[Never()]) as rig:
        rig.script.fail("t1")
        await rig.create("t1")
        await rig.settles()
        failure = (await rig.ask("retry", "t1")).failure_info
        assert failure is not None
        assert failure.error_code is ErrorCode.RETRY_LIMIT_EXCEEDED


class Delayed:
    def allow_retry(self, task: TaskView) -> bool:
        return True

    def next_delay(self, task: TaskView) -> float:
        return 30.0


async def test_a_delayed_retry_takes_its_slot_when_the_delay_is_over() -> None:
    async with open_rig("A", policies=[Delayed()]) as rig:
        assert rig.clock is not None
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.clock.advance(29.9)
        assert (await rig.task("t1")).pending_operation is Operation.RETRY
        await rig.clock.advance(0.2)
        assert await rig.settles() is PlanStatus.COMPLETED


@pytest.mark.parametrize("crash", [True, False], ids=["crash", "stop"])
async def test_the_delay_of_a_retry_goes_on_after_a_restart(crash: bool) -> None:
    async with open_rig("A", policies=[Delayed()]) as rig:
        assert rig.clock is not None
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.clock.advance(20)
        await rig.restart(crash=crash)
        await rig.clock.advance(9.9)
        assert (await rig.task("t1")).pending_operation is Operation.RETRY
        assert rig.script.done() == ["t1 A"]
        await rig.clock.advance(0.2)
        assert await rig.settles() is PlanStatus.COMPLETED
        (stored,) = await rig.store.inner.load_tasks([TaskKey(PlanId(100), 1)])
        assert stored.task.not_before is None


async def test_a_delay_that_ended_while_nobody_drove_is_over() -> None:
    async with open_rig("A", policies=[Delayed()]) as rig:
        assert rig.clock is not None
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.quiet()
        await rig.crash()
        await rig.clock.advance(31)
        await rig.start()
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_setting_the_clock_back_does_not_prolong_a_delay() -> None:
    async with open_rig("A", policies=[Delayed()]) as rig:
        assert rig.clock is not None
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.quiet()
        rig.clock.set_wall(rig.clock.now() - timedelta(hours=1))
        await rig.clock.advance(30.1)
        assert await rig.settles() is PlanStatus.COMPLETED


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, "soon"])
async def test_a_delay_that_is_none_delays_nothing(seconds: object) -> None:
    class Odd(Delayed):
        def next_delay(self, task: TaskView) -> float:
            return cast("float", seconds)

    async with open_rig("A", policies=[Odd()]) as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_rollback_that_replaces_a_delayed_retry_does_not_wait() -> None:
    async with open_rig("A", policies=[Delayed()]) as rig:
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.quiet()
        await rig.do("rollback", "t1")
        await rig.reaches("t1", TaskStatus.ROLLED_BACK)


async def test_a_retry_asked_for_again_after_it_was_withdrawn_waits_its_own_delay() -> None:
    async with open_rig("A", policies=[Delayed()]) as rig:
        assert rig.clock is not None
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.clock.advance(20)
        await rig.do("cancel", "t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.clock.advance(20)
        assert await rig.status("t1") is TaskStatus.FAILED
        await rig.clock.advance(11)
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_pause_policy_pauses_whether_or_not_somebody_asked() -> None:
    class AfterA:
        def should_pause(self, context: TaskRuntimeContext) -> bool:
            return context.stage == "A"

    async with open_rig("A", "B", policies=[AfterA()]) as rig:
        await rig.create("t1")
        await rig.reaches("t1", TaskStatus.PAUSED)
        await rig.do("resume", "t1")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_completion_policy_may_end_a_task_early() -> None:
    class Enough:
        def is_completed(self, task: TaskView, total_stages: int) -> bool:
            return task.completed_stages >= 1

    async with open_rig("A", "B", policies=[Enough()]) as rig:
        await rig.create("t1")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert rig.script.done() == ["t1 A"]


async def test_a_completion_policy_that_never_agrees_fails_the_task() -> None:
    class Never:
        def is_completed(self, task: TaskView, total_stages: int) -> bool:
            return False

    async with open_rig("A", policies=[Never()]) as rig:
        await rig.create("t1")
        await _ends(rig, TaskStatus.FAILED)


async def test_a_checkpoint_policy_decides_what_a_retry_repeats() -> None:
    class OnlyA:
        def should_checkpoint_after_stage(self, task: TaskView, stage: str) -> bool:
            return stage == "A"

        def restore_on_retry(self) -> bool:
            return True

    async with open_rig("A", "B", "C", policies=[OnlyA()]) as rig:
        rig.script.fail("t1", "C", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.settles()
        assert rig.script.done() == ["t1 A", "t1 B", "t1 C", "t1 B", "t1 C"]


async def test_a_checkpoint_policy_may_make_every_retry_one_from_scratch() -> None:
    class FromScratch:
        def should_checkpoint_after_stage(self, task: TaskView, stage: str) -> bool:
            return True

        def restore_on_retry(self) -> bool:
            return False

    async with open_rig("A", "B", policies=[FromScratch()]) as rig:
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.settles()
        assert rig.script.done() == ["t1 A", "t1 B", "t1 A", "t1 B"]


async def test_a_rollback_policy_that_says_no_refuses_and_changes_nothing() -> None:
    class Never:
        def can_rollback(self, task: TaskView) -> bool:
            return False

    async with open_rig("A", policies=[Never()]) as rig:
        await rig.create("t1")
        await rig.settles()
        before = await rig.aggregate("100-1")
        assert not (await rig.ask("rollback", "t1")).success
        assert await rig.aggregate("100-1") == before


# --- instrumentation and the transition's context ---


@dataclass
class Watcher:
    seen: list[str] = field(default_factory=list)
    contexts: list[TaskTransitionContext] = field(default_factory=list)

    def before_guard(self, source: TaskStatus, target: TaskStatus, context: TaskTransitionContext) -> None:
        self.seen.append(f"? {source} {target}")
        self.contexts.append(context)

    def after_transition(
        self, source: TaskStatus, target: TaskStatus, success: bool, context: TaskTransitionContext
    ) -> None:
        self.seen.append(f"{'+' if success else '-'} {source} {target}")


async def test_every_transition_is_watched_before_its_guard_and_after_it_was_made() -> None:
    watcher = Watcher()
    async with open_rig("A", policies=[watcher]) as rig:
        await rig.create("t1", max_concurrency=3)
        await rig.settles()
        assert watcher.seen == ["? PENDING RUNNING", "+ PENDING RUNNING", "? RUNNING COMPLETED", "+ RUNNING COMPLETED"]
        context = watcher.contexts[-1]
        assert (context.total_stages, context.max_concurrency, context.lock_held) == (1, 3, True)
        assert context.task.status is TaskStatus.RUNNING
        assert context.runtime is not None


async def test_what_has_a_part_missing_is_not_attempted_and_nothing_breaks() -> None:
    """No runtime context is registered for a running task: INCOMPLETE, no guard, no watcher, nothing changed."""
    watcher = Watcher()
    async with open_rig("A", "B", policies=[watcher]) as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        record = next(iter(rig.driver.residents.tasks.values()))
        plan = next(iter(rig.driver.residents.plans.values()))
        runtime, record.runtime = record.runtime, None
        seen = list(watcher.seen)
        edit = rig.driver.manager.change(plan).task(record)
        for target in (TaskStatus.PAUSED, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.ROLLING_BACK):
            assert edit.transition(target) is TransitionOutcome.INCOMPLETE
        assert edit.task is record.task
        assert watcher.seen == seen
        record.runtime = runtime
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.COMPLETED


async def test_a_transition_that_no_row_allows_is_illegal_and_changes_nothing() -> None:
    async with open_rig("A", mode="record") as rig:
        await rig.create("t1")
        key = (await rig.aggregate("100-1")).key
        record = await rig.driver.residents.task(key)
        plan = next(iter(rig.driver.residents.plans.values()))
        edit = rig.driver.manager.change(plan).task(record)
        for target in TaskStatus:
            if target in {TaskStatus.RUNNING, TaskStatus.CANCELLED}:
                continue
            if target is TaskStatus.ROLLING_BACK:
                continue  # it would hold a slot, and so needs a runtime context first
            assert edit.transition(target) is TransitionOutcome.ILLEGAL
        assert edit.task is record.task


# --- sorting ---


def test_objects_are_sorted_by_what_they_implement() -> None:
    retry, watcher = AngryRetry(answer=True), Watcher()
    policies = Policies.of([retry, watcher])
    assert policies.retry is retry
    assert policies.instrumentation == (watcher,)


def test_an_object_that_implements_nothing_is_an_error() -> None:
    with pytest.raises(TypeError, match="none of the policies"):
        Policies.of([object()])


def test_two_policies_for_one_point_are_an_error() -> None:
    with pytest.raises(TypeError, match="two policies for retry"):
        Policies.of([AngryRetry(answer=True), AngryDelay(answer=0.0)])


class _PlainHealth:
    interval = 0.5
    max_attempts = 4

    def success_predicate(self, response: object) -> bool:
        return response == {"ready": True}


class _AskedHealth(_PlainHealth):
    def interval(self) -> float:  # type: ignore[override]
        return 0.5

    def max_attempts(self) -> int:  # type: ignore[override]
        return 4


@pytest.mark.parametrize("given", [_PlainHealth(), _AskedHealth()])
def test_the_numbers_of_a_health_check_policy_are_methods_or_attributes(given: object) -> None:
    policy = Policies.of([given]).health_check
    assert policy is not None
    assert (policy.interval(), policy.max_attempts()) == (0.5, 4)
    assert policy.success_predicate({"ready": True})
    assert not policy.success_predicate({"ready": "yes"})
