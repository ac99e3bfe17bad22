"""
An answer never rests on what may still vanish.

What was decided is known in memory before it is durable. Whoever is refused for it, or told that nothing is left to do,
is told so when it is durable; and when it never will be, the answer is that this process writes no more.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from switchover.domain.task import TaskStatus
from switchover.dto import TaskOperationResult
from switchover.errors import StorageError
from tests.support.harness import Rig, open_rig

Step = Callable[[Rig], Awaitable[object]]
Ask = Callable[[Rig], Awaitable[TaskOperationResult]]


async def _the_stage_fails(rig: Rig) -> None:
    rig.script.fail("t1", "A")
    rig.script.release("t1", "A")


def _a_request(ask: Ask) -> Step:
    """Somebody else asks for it, and is not answered yet."""

    async def happens(rig: Rig) -> None:
        asked = asyncio.ensure_future(_awaited(ask(rig)))
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())

    return happens


async def _awaited(answer: Awaitable[TaskOperationResult]) -> TaskOperationResult:
    return await answer


def _twice(ask: Ask) -> tuple[Step, Ask, bool]:
    return _a_request(ask), ask, True


CASES: dict[str, tuple[Step, Ask, bool]] = {
    "a task that has just failed cannot be paused": (_the_stage_fails, lambda rig: rig.ask("pause", "t1"), False),
    "nor cancelled by its id": (_the_stage_fails, lambda rig: rig.facade.cancel_task("100-1"), False),
    "a plan that has just failed cannot be cancelled": (_the_stage_fails, lambda rig: rig.ask_plan("cancel"), False),
    "a cancel loses against a rollback that was just accepted": (
        _a_request(lambda rig: rig.ask("rollback", "t1")),
        lambda rig: rig.ask("cancel", "t1"),
        False,
    ),
    "a pause that was just accepted is already so": _twice(lambda rig: rig.ask("pause", "t1")),
    "a plan that was just paused is already so": _twice(lambda rig: rig.ask_plan("pause")),
    "a tenant that was just put on hold is already": _twice(lambda rig: rig.facade.hold_tenant("t9", "a reason")),
    "a line that was just stopped is already": _twice(lambda rig: rig.facade.stop_line("a reason")),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Step, Ask, bool]:
    found: tuple[Step, Ask, bool] = request.param
    return found


async def _ask_while_commits_are_held(rig: Rig, happens: Step, ask: Ask) -> "asyncio.Task[TaskOperationResult]":
    rig.script.block("t1", "A")
    await rig.create("t1")
    await rig.entered("t1", "A")
    rig.store.hold()
    await happens(rig)
    await rig.quiet()
    asked = asyncio.ensure_future(_awaited(ask(rig)))
    await rig.quiet()
    assert not asked.done(), "what the answer rests on is not durable yet"
    return asked


async def test_an_answer_comes_when_its_reason_is_durable(case: tuple[Step, Ask, bool]) -> None:
    happens, ask, accepted = case
    async with open_rig("A", "B") as rig:
        asked = await _ask_while_commits_are_held(rig, happens, ask)
        rig.store.let_go()
        result = await asked
        assert result.success is accepted, result.message
        rig.script.release_all()


async def test_nobody_is_refused_for_what_never_became_durable(case: tuple[Step, Ask, bool]) -> None:
    happens, ask, _ = case
    async with open_rig("A", "B", judged=False) as rig:
        asked = await _ask_while_commits_are_held(rig, happens, ask)
        rig.store.cut_off()
        rig.store.let_go()
        with pytest.raises(StorageError):
            await asked
        assert await rig.status("t1") is TaskStatus.RUNNING, "as it was"
        with pytest.raises(StorageError):
            await ask(rig)  # nor is anybody who asks later: this process may write no more
        rig.script.release_all()
        await rig.restart()
        assert (await rig.settles()).is_settled
        await rig.assert_sound()
