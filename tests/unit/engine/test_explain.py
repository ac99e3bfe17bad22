"""Why a task waits: exactly one cause, one call away (lesson 34)."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from switchover.domain.admission import Candidate, QueueClass, WaitReason, admit, blocking_reason
from switchover.domain.plan import PlanAggregate, PlanRules, PlanStatus
from switchover.domain.task import Operation, PlanId, TaskStatus, TaskView
from tests.support.harness import Rig, open_rig


def plan_in(status: PlanStatus, *, max_concurrency: int = 10, **values: Any) -> PlanAggregate:  # noqa: ANN401  # fields
    """A plan of three tasks."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    plan = PlanAggregate(
        plan_id=PlanId(100),
        status=status,
        rules=PlanRules(max_concurrency=max_concurrency),
        total=3,
        counts={TaskStatus.PENDING: 3},
        created_at=moment,
        updated_at=moment,
        unsettled=3,
    )
    return replace(plan, **values)


async def _cause(rig: Rig, task_id: str) -> str:
    explanation = await rig.facade.explain_task(task_id)
    assert explanation is not None
    assert explanation.reason
    assert "\n" not in explanation.reason
    assert set(explanation.to_dict()) == {"taskId", "tenantId", "status", "cause", "reason", "nextMove"}
    return explanation.cause


async def test_every_slot_is_taken() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        assert await _cause(rig, "100-2") == "SLOT"
        assert await _cause(rig, "100-1") == "NOT_WAITING"
        rig.script.release("t1")
        await rig.settles()
        assert await _cause(rig, "100-2") == "NOT_WAITING"


async def test_the_tenants_lock_names_its_owner_and_those_behind_wait_for_their_order() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1", plan_id=100)
        await rig.entered("t1", "A")
        await rig.create("t1", "t2", plan_id=101, max_concurrency=1, on_conflict="wait")
        await rig.quiet()
        explanation = await rig.facade.explain_task("101-1")
        assert explanation is not None
        assert explanation.cause == "TENANT_LOCK"
        assert "100-1" in explanation.reason
        assert await _cause(rig, "101-2") == "ORDER"
        rig.script.release("t1")
        await rig.settles(101)


async def test_a_held_task_a_paused_task_and_a_tenant_on_hold() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", "t3", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do("pause", "t2")
        await rig.facade.hold_tenant("t3", "under repair")
        await rig.do("pause", "t1")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        assert await _cause(rig, "100-1") == "PAUSED"
        assert await _cause(rig, "100-2") == "HELD"
        explanation = await rig.facade.explain_task("100-3")
        assert explanation is not None
        assert explanation.cause == "TENANT_HOLD"
        assert "under repair" in explanation.reason


async def test_the_stop_line() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.facade.stop_line("fire")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        assert await _cause(rig, "100-1") == "LINE_STOPPED"
        assert await _cause(rig, "100-2") == "LINE_STOPPED"
        await rig.facade.start_line()
        await rig.settles()


async def test_a_paused_plan() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do_plan("pause")
        assert await _cause(rig, "100-2") == "PLAN_PAUSED"
        rig.script.release("t1", "A")
        await rig.plan_reaches(PlanStatus.PAUSED)
        assert await _cause(rig, "100-2") == "PLAN_PAUSED"
        await rig.do_plan("resume")
        await rig.settles()


async def test_nobody_drives_the_store() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1")
        await rig.entered("t1", "A")
        lease = rig.executor._lease
        assert lease is not None
        await rig.store.inner.release_driver(lease)
        assert await _cause(rig, "100-1") == "NO_DRIVER"
        await rig.crash()


async def test_a_failed_task_does_not_wait_and_says_why_it_failed_and_what_to_do() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1")
        await rig.create("t1")
        await rig.settles()
        explanation = await rig.facade.explain_task("100-1")
        assert explanation is not None
        assert explanation.cause == "NOT_WAITING"
        assert "broken on purpose" in explanation.reason
        assert "retry" in explanation.next_move


async def test_a_delayed_retry() -> None:
    class Delayed:
        def allow_retry(self, task: TaskView) -> bool:
            return True

        def next_delay(self, task: TaskView) -> float:
            return 30.0

    async with open_rig("A", policies=[Delayed()]) as rig:
        assert rig.clock is not None
        rig.script.fail("t1", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.quiet()
        assert await _cause(rig, "100-1") == "RETRY_DELAY"
        for _ in ("the driving process", "the next one, which never asked the policy"):
            explanation = await rig.facade.explain_task("100-1")
            assert explanation is not None
            assert explanation.cause == "RETRY_DELAY"
            assert "until 2026-01-01 00:00:30 UTC" in explanation.reason
            assert "cancel --tenant t1" in explanation.next_move
            await rig.restart()
            await rig.quiet()
        await rig.clock.advance(31)
        await rig.settles()


async def test_an_unknown_task_is_not_explained() -> None:
    async with open_rig("A") as rig:
        assert await rig.facade.explain_task("100-1") is None
        assert await rig.facade.explain_task("nonsense") is None


# --- the decision itself ---

_RUNNING = plan_in(PlanStatus.RUNNING, run=1)


@pytest.mark.parametrize(
    ("candidate", "line_stopped", "plan", "expected"),
    [
        (Candidate(1, QueueClass.PENDING), False, _RUNNING, None),
        (Candidate(1, QueueClass.PENDING, held=True, on_hold=True), True, _RUNNING, WaitReason.HELD),
        (Candidate(1, QueueClass.PENDING, lock_held=False, on_hold=True), True, _RUNNING, WaitReason.TENANT_LOCK),
        (Candidate(1, QueueClass.PENDING, on_hold=True), True, _RUNNING, WaitReason.TENANT_HOLD),
        (Candidate(1, QueueClass.RETRIED, on_hold=True), False, _RUNNING, WaitReason.TENANT_HOLD),
        (Candidate(1, QueueClass.ROLLBACK, on_hold=True), True, _RUNNING, None),
        (Candidate(1, QueueClass.RESUMED), True, _RUNNING, WaitReason.LINE_STOPPED),
        (Candidate(1, QueueClass.PENDING), False, plan_in(PlanStatus.PAUSED), WaitReason.PLAN_PAUSED),
        (Candidate(1, QueueClass.RETRIED, own_request=True), False, plan_in(PlanStatus.PAUSED), None),
        (
            Candidate(1, QueueClass.PENDING),
            False,
            plan_in(PlanStatus.RUNNING, pending_operation=Operation.PAUSE),
            WaitReason.PLAN_PAUSED,
        ),
        (Candidate(1, QueueClass.PENDING), False, plan_in(PlanStatus.ROLLING_BACK), WaitReason.PLAN_ROLLING_BACK),
        (Candidate(1, QueueClass.ROLLBACK), False, plan_in(PlanStatus.ROLLING_BACK), None),
        (Candidate(1, QueueClass.RETRIED, delayed=True), False, _RUNNING, WaitReason.RETRY_DELAY),
    ],
    ids=[str(number) for number in range(13)],
)
def test_one_cause_blocks_a_candidate(
    candidate: Candidate, line_stopped: bool, plan: PlanAggregate, expected: WaitReason | None
) -> None:
    assert blocking_reason(plan, candidate, line_stopped=line_stopped) is expected


def test_free_slots_are_given_in_order_and_no_more() -> None:
    candidates = [Candidate(ordinal, QueueClass.PENDING, held=ordinal == 2) for ordinal in range(1, 7)]
    admission = admit(_RUNNING, candidates, line_stopped=False, free_slots=3)
    assert admission.starts == (1, 3, 4)
    assert admission.waits == {2: WaitReason.HELD}
    assert admit(_RUNNING, candidates, line_stopped=False, free_slots=0).starts == ()


def test_strict_order_stops_at_a_lock_and_not_at_a_held_task() -> None:
    plan = plan_in(PlanStatus.RUNNING, max_concurrency=1)
    candidates = [
        Candidate(1, QueueClass.PENDING, held=True),
        Candidate(2, QueueClass.PENDING, lock_held=False),
        Candidate(3, QueueClass.PENDING),
    ]
    admission = admit(plan, candidates, line_stopped=False, free_slots=1)
    assert admission.starts == ()
    assert admission.waits == {1: WaitReason.HELD, 2: WaitReason.TENANT_LOCK}
