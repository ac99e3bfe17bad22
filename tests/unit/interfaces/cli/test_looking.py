"""Looking costs the same whatever the size of the plan, and agrees with the store."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from switchover.bootstrap import open_executor
from switchover.domain.task import PlanId, TaskAggregate, TaskKey, TaskStatus
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.looking import PlanSubject, TaskSubject
from tests.support.harness import Script, config_of, open_rig


async def test_a_look_at_a_plan_shows_who_needs_attention() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.fail("t1", "A")
        rig.script.block("t2", "B")
        await rig.create("t1", "t2", "t3", plan_id=100, maxConcurrency=1)
        await rig.entered("t2", "B")
        subject = PlanSubject(rig.executor, PlanId(100))
        seen = await subject.look()
        assert [task.tenant_id for task in seen.failed] == ["t1"]
        assert [task.tenant_id for task in seen.running] == ["t2"]
        assert not seen.at_rest
        assert seen.around.driving
        await rig.facade.pause_task_by_plan(100)
        rig.script.release("t2", "B")
        await rig.executor.wait_for_plan(100)
        seen = await subject.look()
        assert seen.at_rest
        assert seen.code is ExitCode.PAUSED
        await rig.facade.cancel_task_by_plan(100)
        assert (await subject.look()).code is ExitCode.CANCELLED


async def test_a_plan_in_which_nothing_runs_says_why() -> None:
    async with open_rig("A") as rig:
        await rig.facade.stop_line("fire")
        await rig.create("t1", plan_id=100)
        seen = await PlanSubject(rig.executor, PlanId(100)).look()
        assert seen.waits is not None
        assert seen.waits.cause == "LINE_STOPPED"
        assert seen.around.line is not None
        task = await TaskSubject(rig.executor, TaskKey(PlanId(100), 1)).look()
        assert task.waits is not None
        assert not task.at_rest
        await rig.facade.start_line()
        await rig.executor.wait_for_plan(100)
        assert (await TaskSubject(rig.executor, TaskKey(PlanId(100), 1)).look()).code is ExitCode.DONE


async def test_a_look_reads_no_more_than_a_few_pages(monkeypatch: Any) -> None:  # noqa: ANN401
    async with open_rig("A") as rig:
        rig.script.fail("*", "A")
        await rig.create(*(f"t{number}" for number in range(300)), plan_id=100, maxConcurrency=50)
        await rig.executor.wait_for_plan(100)
        read = 0
        list_tasks = rig.executor.store.list_tasks

        async def counted(
            plan_id: PlanId, *, statuses: frozenset[TaskStatus] | None, after: int, limit: int
        ) -> Sequence[TaskAggregate]:
            nonlocal read
            page = await list_tasks(plan_id, statuses=statuses, after=after, limit=limit)
            read += len(page)
            return page

        monkeypatch.setattr(rig.executor.store, "list_tasks", counted)
        seen = await PlanSubject(rig.executor, PlanId(100)).look()
        assert seen.plan.count(TaskStatus.FAILED) == 300
        assert read <= 50


async def test_whoever_waits_for_its_turn_to_drive_is_told_from_whoever_only_looks(tmp_path: Path) -> None:
    url, script = f"sqlite:///{tmp_path / 'x.db'}", Script(["A"])
    script.block("t1", "A")
    async with (
        open_executor(url, stage_factory=script.factory) as first,
        open_executor(url, stage_factory=script.factory) as next_one,
        open_executor(url, mode="read") as reader,
    ):
        assert [one.takes_over for one in (first, next_one, reader)] == [False, True, False]
        await first.facade.create_switch_task([config_of("t1")], options={"planId": 100})
        await first.stop()
        # The next one may drive by now, and if it does not, it is about to; whoever only looks never is.
        assert not (await PlanSubject(next_one, PlanId(100)).look()).around.nobody_drives
        async with asyncio.timeout(60):
            while not next_one.driving:  # noqa: ASYNC110  # another process would be waited for in the same way
                await asyncio.sleep(0.01)
        assert not next_one.takes_over
        script.release_all()
        await next_one.wait_for_plan(100)
