"""Every order of events that behaviour, section 10 names, with what each event says about its task or plan."""

from collections import Counter

import pytest

from switchover.domain.events import Event, EventType
from switchover.domain.plan import PlanStatus
from switchover.domain.task import TaskStatus
from tests.support.harness import Rig, open_rig, text_of

_BORN = ["TaskCreated", "TaskValidated"]
_FIRST_RUN = [*_BORN, "TaskStarted", "TaskStageStarted(A)"]


def _facts(event: Event) -> tuple[str, str, int, int, str | None]:
    return text_of(event), event.status, event.completed, event.total, event.current_stage


async def _facts_of(rig: Rig, tenant_id: str) -> list[tuple[str, str, int, int, str | None]]:
    return [_facts(event) for event in await rig.events() if event.tenant_id == tenant_id]


async def test_success() -> None:
    async with open_rig("A", "B") as rig:
        await rig.create("t1")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert await _facts_of(rig, "t1") == [
            ("TaskCreated", "CREATED", 0, 2, None),
            ("TaskValidated", "PENDING", 0, 2, None),
            ("TaskStarted", "RUNNING", 0, 2, "A"),
            ("TaskStageStarted(A)", "RUNNING", 0, 2, "A"),
            ("TaskStageSucceeded(A)", "RUNNING", 1, 2, "B"),
            ("TaskStageStarted(B)", "RUNNING", 1, 2, "B"),
            ("TaskStageSucceeded(B)", "RUNNING", 2, 2, None),
            ("TaskCompleted", "COMPLETED", 2, 2, None),
        ]
        plan = [_facts(event) for event in await rig.events() if event.key is None]
        assert plan == [
            ("PlanStarted", "RUNNING", 0, 1, None),
            ("PlanProgress", "RUNNING", 1, 1, None),
            ("PlanCompleted", "COMPLETED", 1, 1, None),
        ]


async def test_failure_then_retry_from_the_checkpoint() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1")
        assert await rig.settles() is PlanStatus.FAILED
        assert (await _facts_of(rig, "t1"))[5:] == [
            ("TaskStageStarted(B)", "RUNNING", 1, 2, "B"),
            ("TaskStageFailed(B)", "RUNNING", 1, 2, "B"),
            ("TaskFailed", "FAILED", 1, 2, "B"),
        ]
        await rig.do("retry", "t1")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert (await _facts_of(rig, "t1"))[8:] == [
            ("TaskRetryStarted", "RUNNING", 1, 2, "B"),
            ("TaskStageStarted(B)", "RUNNING", 1, 2, "B"),
            ("TaskStageSucceeded(B)", "RUNNING", 2, 2, None),
            ("TaskCompleted", "COMPLETED", 2, 2, None),
            ("TaskRetryCompleted", "COMPLETED", 2, 2, None),
        ]
        assert (await rig.last(EventType.TASK_RETRY_STARTED)).data == {"fromCheckpoint": True}
        assert (await rig.last(EventType.TASK_RETRY_COMPLETED)).data == {"success": True}


async def test_failure_then_retry_from_scratch() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1", from_checkpoint=False)
        assert await rig.settles() is PlanStatus.COMPLETED
        assert (await _facts_of(rig, "t1"))[8:] == [
            ("TaskRetryStarted", "RUNNING", 0, 2, "A"),
            ("TaskStageStarted(A)", "RUNNING", 0, 2, "A"),
            ("TaskStageSucceeded(A)", "RUNNING", 1, 2, "B"),
            ("TaskStageStarted(B)", "RUNNING", 1, 2, "B"),
            ("TaskStageSucceeded(B)", "RUNNING", 2, 2, None),
            ("TaskCompleted", "COMPLETED", 2, 2, None),
            ("TaskRetryCompleted", "COMPLETED", 2, 2, None),
        ]
        assert (await rig.last(EventType.TASK_RETRY_STARTED)).data == {"fromCheckpoint": False}


async def test_a_failure_says_where_and_why() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B")
        await rig.create("t1")
        await rig.settles()
        for kind in (EventType.TASK_STAGE_FAILED, EventType.TASK_FAILED):
            failure = (await rig.last(kind)).failure_info
            assert failure is not None
            assert failure.failed_at is not None
            assert (failure.failed_at.stage, failure.failed_at.step) == ("B", "switch")
            assert "t1" in failure.message
            assert "broken on purpose" in failure.message
        assert (await rig.last(EventType.PLAN_FAILED)).failure_info is not None


async def test_a_retry_that_fails_again_completes_without_success() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B")
        await rig.create("t1")
        await rig.settles()
        await rig.do("retry", "t1")
        await rig.settles()
        assert await rig.story("t1", after="TaskRetryStarted") == [
            "TaskStageStarted(B)",
            "TaskStageFailed(B)",
            "TaskFailed",
            "TaskRetryCompleted",
        ]
        assert (await rig.last(EventType.TASK_RETRY_COMPLETED)).data == {"success": False}


async def test_pause_after_a_then_resume() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do("pause", "t1")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        assert (await _facts_of(rig, "t1"))[3:] == [
            ("TaskStageStarted(A)", "RUNNING", 0, 2, "A"),
            ("TaskStageSucceeded(A)", "RUNNING", 1, 2, "B"),
            ("TaskPaused", "PAUSED", 1, 2, "B"),
        ]
        await rig.do("resume", "t1")
        await rig.settles()
        assert (await _facts_of(rig, "t1"))[6:] == [
            ("TaskResumed", "RUNNING", 1, 2, "B"),
            ("TaskStageStarted(B)", "RUNNING", 1, 2, "B"),
            ("TaskStageSucceeded(B)", "RUNNING", 2, 2, None),
            ("TaskCompleted", "COMPLETED", 2, 2, None),
        ]


async def test_cancel_during_a() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do("cancel", "t1")
        rig.script.release("t1", "A")
        assert await rig.settles() is PlanStatus.CANCELLED
        assert (await _facts_of(rig, "t1"))[3:] == [
            ("TaskStageStarted(A)", "RUNNING", 0, 2, "A"),
            ("TaskStageSucceeded(A)", "RUNNING", 1, 2, "B"),
            ("TaskCancelled", "CANCELLED", 1, 2, None),
        ]
        assert await rig.plan_story() == ["PlanStarted", "PlanProgress", "PlanCancelled"]


async def test_rollback_of_a_failed_task() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B")
        await rig.create("t1")
        await rig.settles()
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        facts = await _facts_of(rig, "t1")
        assert facts[8:] == [
            ("TaskRollingBack", "ROLLING_BACK", 1, 2, "B"),
            ("TaskStageRollingBack(B)", "ROLLING_BACK", 1, 2, "B"),
            ("TaskStageRolledBack(B)", "ROLLING_BACK", 1, 2, "A"),
            ("TaskStageRollingBack(A)", "ROLLING_BACK", 1, 2, "A"),
            ("TaskStageRolledBack(A)", "ROLLING_BACK", 0, 2, None),
            ("TaskRolledBack", "ROLLED_BACK", 0, 2, None),
        ]
        assert await rig.plan_story(after="PlanFailed") == ["PlanRollingBack", "PlanProgress", "PlanRolledBack"]


_BACK = [
    "TaskRollingBack",
    "TaskStageRollingBack(B)",
    "TaskStageRolledBack(B)",
    "TaskStageRollingBack(A)",
    "TaskStageRolledBack(A)",
    "TaskRolledBack",
]


async def test_rollback_of_a_completed_task() -> None:
    async with open_rig("A", "B") as rig:
        await rig.create("t1")
        await rig.settles()
        await rig.do("rollback", "t1")
        await rig.settles()
        assert await rig.story("t1", after="TaskCompleted") == _BACK


async def test_rollback_of_a_paused_task_touches_what_was_started_only() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do("pause", "t1")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        await rig.do("rollback", "t1")
        await rig.settles()
        assert await rig.story("t1", after="TaskPaused") == [
            "TaskRollingBack",
            "TaskStageRollingBack(A)",
            "TaskStageRolledBack(A)",
            "TaskRolledBack",
        ]


async def test_rollback_of_a_cancelled_task() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        await rig.do("cancel", "t1")
        rig.script.release("t1", "A")
        await rig.settles()
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert (await rig.story("t1", after="TaskCancelled"))[0] == "TaskRollingBack"


@pytest.mark.parametrize("outcome", ["succeeds", "fails"])
async def test_rollback_of_a_running_task_begins_at_the_end_of_its_stage_whatever_its_outcome(outcome: str) -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")
        if outcome == "fails":
            rig.script.fail("t1", "B")
        await rig.create("t1")
        await rig.entered("t1", "B")
        await rig.do("rollback", "t1")
        assert await rig.status("t1") is TaskStatus.RUNNING
        rig.script.release("t1", "B")
        await rig.reaches("t1", TaskStatus.ROLLED_BACK)
        ended = "TaskStageSucceeded(B)" if outcome == "succeeds" else "TaskStageFailed(B)"
        assert await rig.story("t1", after="TaskStageStarted(B)") == [ended, *_BACK]
        assert await rig.plan_story() == ["PlanStarted", "PlanProgress", "PlanFailed"]


async def test_a_rollback_that_fails_says_which_stages_are_not_restored_and_is_repeated_for_them_only() -> None:
    async with open_rig("A", "B", "C") as rig:
        rig.script.fail("t1", "B", restoring=True)
        await rig.create("t1")
        await rig.settles()
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLBACK_FAILED
        assert await rig.story("t1", after="TaskRollingBack") == [
            "TaskStageRollingBack(C)",
            "TaskStageRolledBack(C)",
            "TaskStageRollingBack(B)",
            "TaskStageRollbackFailed(B)",
            "TaskStageRollingBack(A)",
            "TaskStageRolledBack(A)",
            "TaskRollbackFailed",
        ]
        failed = await rig.last(EventType.TASK_ROLLBACK_FAILED)
        assert failed.data == {"notRestored": ["B"]}
        assert failed.failure_info is not None
        assert "B" in failed.failure_info.message
        assert (failed.current_stage, failed.completed) == ("B", 1)
        assert await rig.plan_story(after="PlanRollingBack") == ["PlanProgress", "PlanRollbackFailed"]
        rig.script.heal("t1", "B", restoring=True)
        await rig.do("rollback", "t1")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert await rig.story("t1", after="TaskRollbackFailed") == [
            "TaskRollingBack",
            "TaskStageRollingBack(B)",
            "TaskStageRolledBack(B)",
            "TaskRolledBack",
        ]


async def test_automatic_rollback_begins_in_the_commit_that_failed_the_task() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "B")
        await rig.create("t1", rollback={"onFailure": "auto"})
        await rig.settles()
        assert await rig.story("t1", after="TaskStageStarted(B)") == ["TaskStageFailed(B)", "TaskFailed", *_BACK]
        entry = next(e for e in rig.store.entries if any(event.type is EventType.TASK_FAILED for event in e.events))
        assert [text_of(event) for event in entry.events] == [
            "TaskStageFailed(B)",
            "TaskFailed",
            "TaskRollingBack",
            "TaskStageRollingBack(B)",
        ]
        assert await rig.plan_story() == ["PlanStarted", "PlanProgress", "PlanFailed"]


async def test_automatic_rollback_after_a_retry_completes_the_retry_first() -> None:
    """TaskRetryCompleted(success=false) comes before the TaskRollingBack that ends the retry's run."""
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "A")
        rig.script.fail("t1", "A", restoring=True, times=0)
        await rig.create(
            "t1", source_unit=None, rollback={"onFailure": "auto"}
        )  # not allowed yet: nothing to go back to
        await rig.settles()
        assert await rig.status("t1") is TaskStatus.FAILED
        assert (await rig.story("t1"))[-1] == "TaskFailed"
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")
        rig.script.fail("t1", "B")
        await rig.create("t1")
        await rig.entered("t1", "B")
        rig.script.release("t1", "B")
        await rig.settles()
        rig.script.block("t1", "B")
        await rig.do("retry", "t1")
        await rig.entered("t1", "B")
        await rig.do("rollback", "t1")
        rig.script.release("t1", "B")
        await rig.settles()
        assert await rig.story("t1", after="TaskRetryStarted") == [
            "TaskStageStarted(B)",
            "TaskStageFailed(B)",
            "TaskRetryCompleted",
            *_BACK,
        ]
        assert (await rig.last(EventType.TASK_RETRY_COMPLETED)).data == {"success": False}


@pytest.mark.parametrize("ending", ["cancel", "rollback while paused"])
async def test_each_retry_started_gets_one_retry_completed(ending: str) -> None:
    async with open_rig("A", "B", "C") as rig:
        rig.script.fail("t1", "B", times=1)
        await rig.create("t1")
        await rig.settles()
        rig.script.block("t1", "B")
        await rig.do("retry", "t1")
        await rig.entered("t1", "B")
        if ending == "cancel":
            await rig.do("cancel", "t1")
            rig.script.release("t1", "B")
            await rig.settles()
            assert (await rig.story("t1"))[-3:] == ["TaskStageSucceeded(B)", "TaskCancelled", "TaskRetryCompleted"]
        else:
            await rig.do("pause", "t1")
            rig.script.release("t1", "B")
            await rig.reaches("t1", TaskStatus.PAUSED)
            await rig.do("rollback", "t1")
            await rig.settles()
            assert (await rig.story("t1", after="TaskPaused"))[:2] == ["TaskRetryCompleted", "TaskRollingBack"]
        assert (await rig.story("t1")).count("TaskRetryCompleted") == 1
        assert (await rig.last(EventType.TASK_RETRY_COMPLETED)).data == {"success": False}


async def test_a_skipped_stage_succeeds_without_being_started() -> None:
    class SkipA:
        def should_skip(self, task: object, context: object, stage: object) -> bool:
            return getattr(stage, "name", "") == "A"

    async with open_rig("A", "B", policies=[SkipA()]) as rig:
        await rig.create("t1")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert await rig.story("t1") == [
            *_BORN,
            "TaskStarted",
            "TaskStageSucceeded(A)",
            "TaskStageStarted(B)",
            "TaskStageSucceeded(B)",
            "TaskCompleted",
        ]
        skipped = next(e for e in await rig.events() if text_of(e) == "TaskStageSucceeded(A)")
        assert skipped.data == {"stage": "A", "skipped": True}
        assert rig.script.done() == ["t1 B"]
        await rig.do("rollback", "t1")
        await rig.settles()
        assert rig.script.done() == ["t1 B", "t1 -B"]


async def test_a_task_whose_every_stage_is_skipped_completes_with_its_start() -> None:
    class SkipAll:
        def should_skip(self, task: object, context: object, stage: object) -> bool:
            return True

    async with open_rig("A", "B", policies=[SkipAll()]) as rig:
        await rig.create("t1", "t2", max_concurrency=1)
        assert await rig.settles() is PlanStatus.COMPLETED
        assert (await rig.plan()).counts == {TaskStatus.COMPLETED: 2}
        refusal = await rig.ask("rollback", "t1")
        assert not refusal.success


async def test_order_inside_the_commits_of_a_plan() -> None:
    """PlanStarted leads; the settling task's event, PlanProgress and the plan's settling event come last."""
    async with open_rig("A") as rig:
        rig.script.fail("t2", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        assert await rig.settles() is PlanStatus.PARTIAL_FAILED
        assert (await rig.whole_story())[4:] == [
            "PlanStarted",
            "t1 TaskStarted",
            "t1 TaskStageStarted(A)",
            "t1 TaskStageSucceeded(A)",
            "t1 TaskCompleted",
            "PlanProgress",
            "t2 TaskStarted",
            "t2 TaskStageStarted(A)",
            "t2 TaskStageFailed(A)",
            "t2 TaskFailed",
            "PlanProgress",
            "PlanFailed",
        ]
        ended = await rig.last(EventType.PLAN_FAILED)
        assert ended.data == {"partial": True}
        assert (ended.status, ended.completed, ended.total) == ("PARTIAL_FAILED", 1, 2)
        progress = await rig.last(EventType.PLAN_PROGRESS)
        assert progress.data == {"completed": 1, "total": 2, "counts": {"COMPLETED": 1, "FAILED": 1}}
        last = rig.store.entries[-1].events
        assert [text_of(event) for event in last] == ["TaskStageFailed(A)", "TaskFailed", "PlanProgress", "PlanFailed"]


async def test_a_plan_that_fails_as_a_whole_is_not_partial() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", "A")
        await rig.create("t1")
        assert await rig.settles() is PlanStatus.FAILED
        assert (await rig.last(EventType.PLAN_FAILED)).data == {"partial": False}


async def test_a_retry_starts_the_plans_next_run() -> None:
    async with open_rig("A") as rig:
        rig.script.fail("t1", "A", times=2)
        await rig.create("t1")
        await rig.settles()
        first_end = (await rig.last(EventType.PLAN_FAILED)).position
        await rig.do("retry", "t1")
        await rig.settles()
        assert await rig.whole_story(after_position=first_end) == [
            "PlanStarted",
            "t1 TaskRetryStarted",
            "t1 TaskStageStarted(A)",
            "t1 TaskStageFailed(A)",
            "t1 TaskFailed",
            "t1 TaskRetryCompleted",
            "PlanProgress",
            "PlanFailed",
        ]
        await rig.do_plan("retry")
        assert await rig.settles() is PlanStatus.COMPLETED
        runs = [event.data for event in await rig.events() if event.type is EventType.PLAN_STARTED]
        assert runs == [{"run": 1}, {"run": 2}, {"run": 3}]


async def test_pause_and_resume_of_a_plan() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t1", "A")
        await rig.do_plan("pause")
        rig.script.release("t1", "A")
        await rig.plan_reaches(PlanStatus.PAUSED)
        assert (await rig.whole_story())[-3:] == ["t1 TaskStageSucceeded(A)", "t1 TaskPaused", "PlanPaused"]
        position = (await rig.last(EventType.PLAN_PAUSED)).position
        await rig.do_plan("resume")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert (await rig.whole_story(after_position=position))[:3] == [
            "PlanResumed",
            "t1 TaskResumed",
            "t1 TaskStageStarted(B)",
        ]


async def test_rollback_of_a_plan() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.settles()
        position = (await rig.last(EventType.PLAN_COMPLETED)).position
        await rig.do_plan("rollback")
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert await rig.whole_story(after_position=position) == [
            "PlanRollingBack",
            "t2 TaskRollingBack",
            "t2 TaskStageRollingBack(A)",
            "t2 TaskStageRolledBack(A)",
            "t2 TaskRolledBack",
            "PlanProgress",
            "t1 TaskRollingBack",
            "t1 TaskStageRollingBack(A)",
            "t1 TaskStageRolledBack(A)",
            "t1 TaskRolledBack",
            "PlanProgress",
            "PlanRolledBack",
        ]


async def test_every_event_carries_its_identity_and_its_instant() -> None:
    async with open_rig("A") as rig:
        await rig.create("t1")
        await rig.settles()
        for event in await rig.events():
            wire = event.to_dict()
            assert wire["planId"] == 100
            if wire["sequenceType"] == "TASK":
                assert (wire["taskId"], wire["tenantId"]) == ("100-1", "t1")
                assert wire["eventId"] == f"task-100-1-{event.sequence_id}"
            else:
                assert (wire["taskId"], wire["tenantId"]) == (None, None)
                assert wire["eventId"] == f"plan-100-{event.sequence_id}"
            assert wire["timestamp"] == "2026-01-01T00:00:00.000000Z"
            assert isinstance(wire["data"], dict)


async def test_a_stage_that_a_crash_interrupted_is_announced_again() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")
        await rig.create("t1")
        await rig.entered("t1", "B")
        await rig.restart()
        await rig.entered("t1", "B")
        assert (await rig.story("t1"))[-2:] == ["TaskStageStarted(B)", "TaskStageStarted(B)"]
        assert (await rig.last(EventType.TASK_STAGE_STARTED)).data == {"stage": "B", "recovered": True}
        rig.script.release("t1", "B")
        await rig.settles()
        assert await rig.story("t1") == [
            *_FIRST_RUN,
            "TaskStageSucceeded(A)",
            "TaskStageStarted(B)",
            "TaskStageStarted(B)",
            "TaskStageSucceeded(B)",
            "TaskCompleted",
        ]
        assert rig.script.done() == ["t1 A", "t1 B", "t1 B"]


async def test_a_restore_that_a_crash_interrupted_is_announced_again() -> None:
    async with open_rig("A", "B") as rig:
        await rig.create("t1")
        await rig.settles()
        rig.script.block("t1", "A", restoring=True)
        await rig.do("rollback", "t1")
        await rig.entered("t1", "A", restoring=True)
        await rig.restart()
        await rig.entered("t1", "A", restoring=True)
        assert (await rig.last(EventType.TASK_STAGE_ROLLING_BACK)).data == {"stage": "A", "recovered": True}
        rig.script.release("t1", "A", restoring=True)
        assert await rig.settles() is PlanStatus.ROLLED_BACK
        assert rig.script.done() == ["t1 A", "t1 B", "t1 -B", "t1 -A", "t1 -A"]


async def _judge(rig: Rig) -> None:
    """One reader's view: the plan, its tasks, and the events agree."""
    plan, tasks, events = await rig.plan(), await rig.facade.list_tasks(100), await rig.events()
    if not plan.found:
        return
    assert plan.counts == Counter(task.status for task in tasks)
    assert sum(plan.counts.values()) == plan.total == len(tasks)
    for task in tasks:
        last = [event for event in events if event.task_id == task.task_id][-1]
        assert (last.completed, last.total) == (task.completed_stages, task.total_stages)
        assert task.progress_percent == 100 * task.completed_stages // task.total_stages
        if task.status not in {TaskStatus.RESUMING, TaskStatus.CANCELLED}:  # of which no event, or no other one, tells
            assert (last.status, last.current_stage) == (task.status, task.current_stage)
    if plan.status is not None and plan.status.is_settled:
        assert all(task.status is not None and task.status.is_settled for task in tasks)
        assert events[-1].status == plan.status


async def test_whatever_a_reader_sees_agrees_with_itself_after_every_commit() -> None:
    async with open_rig("A", "B", "C") as rig:
        judged: list[int] = []

        async def judge() -> None:
            await _judge(rig)
            judged.append(1)

        rig.store.after_commit = judge
        rig.script.fail("t2", "C", times=1)
        rig.script.block("t3", "B")
        await rig.create("t1", "t2", "t3", max_concurrency=2)
        await rig.entered("t3", "B")
        await rig.do("pause", "t3")
        rig.script.release("t3", "B")
        await rig.reaches("t3", TaskStatus.PAUSED)
        await rig.do("resume", "t3")
        await rig.settles()
        await rig.do("retry", "t2")
        await rig.settles()
        await rig.do_plan("rollback")
        await rig.settles()
        assert len(judged) == rig.store.commits > 20
