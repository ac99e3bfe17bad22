"""
Every verb in every situation, asked of a real executor and compared with the table that the docs print.

A situation is a status with what may be pending in it. Each is reached through the public API. The table is read from
docs/reference/verbs.md, and compared with the specification's own, which is written down here a second time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import pytest

from switchover.domain.audit import EVERYTHING
from switchover.domain.task import Operation, TaskAggregate, TaskStatus
from switchover.errors import ErrorCode
from tests.support.harness import Rig, open_rig
from tests.support.postgres import empty, new_schema

SPECIFIED = """
| status | pause | resume | cancel | retry | rollback |
| PENDING | held, at once | if held | at once | - | - |
| RUNNING | boundary | withdraws a pending pause, else - | boundary | - | end of stage |
| PAUSED | same | yes | at once | - | yes |
| RESUMING | at once | same | at once | - | yes |
| FAILED | - | - | withdraws a pending retry, else - | yes | yes |
| COMPLETED | - | - | - | - | yes |
| ROLLBACK_FAILED | - | - | - | - | yes |
| CANCELLED | - | - | same | - | yes |
| ROLLING_BACK | - | - | - | - | same |
| ROLLED_BACK | - | - | - | - | same |
"""
"""Behaviour, section 7."""

_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "verbs.md"


def read_table(text: str) -> dict[tuple[str, str], str]:
    """(status, verb) -> cell, from the first table of a page."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    known = {str(status) for status in TaskStatus}
    return {
        (row[0], verb): cell for row in rows if row[0] in known for verb, cell in zip(head[1:], row[1:], strict=True)
    }


TABLE = read_table(_PAGE.read_text(encoding="utf-8"))


def test_the_printed_table_is_the_specified_one() -> None:
    assert read_table(SPECIFIED) == TABLE


# --- how each situation is reached: t1 is asked, x keeps the only slot busy where t1 shall not get it ----------------


async def _first_stage_of_t1(rig: Rig) -> None:
    rig.script.block("t1", "A")
    rig.script.block("x", "A")
    await rig.create("t1", "x", max_concurrency=1)
    await rig.entered("t1", "A")


async def _pending(rig: Rig) -> None:
    rig.script.block("x", "A")
    await rig.create("x", "t1", max_concurrency=1)
    await rig.entered("x", "A")


async def _held(rig: Rig) -> None:
    await _pending(rig)
    await rig.do("pause", "t1")


async def _running(rig: Rig) -> None:
    await _first_stage_of_t1(rig)


async def _paused(rig: Rig) -> None:
    await _first_stage_of_t1(rig)
    await rig.do("pause", "t1")
    rig.script.release("t1", "A")
    await rig.entered("x", "A")


async def _resuming(rig: Rig) -> None:
    await _paused(rig)
    await rig.do("resume", "t1")


async def _failed(rig: Rig) -> None:
    rig.script.fail("t1", "B", times=1)
    await _first_stage_of_t1(rig)
    rig.script.release("t1", "A")
    await rig.entered("x", "A")


async def _completed(rig: Rig) -> None:
    await _first_stage_of_t1(rig)
    rig.script.release("t1", "A")
    await rig.entered("x", "A")


async def _cancelled(rig: Rig) -> None:
    await _first_stage_of_t1(rig)
    await rig.do("cancel", "t1")
    rig.script.release("t1", "A")
    await rig.entered("x", "A")


async def _make_room(rig: Rig) -> None:
    await rig.do("pause", "x")
    rig.script.release("x", "A")
    await rig.reaches("x", TaskStatus.PAUSED)


async def _rolling_back(rig: Rig) -> None:
    await _completed(rig)
    rig.script.block("t1", "B", restoring=True)
    await rig.do("rollback", "t1")
    await _make_room(rig)
    await rig.entered("t1", "B", restoring=True)


async def _rolled_back(rig: Rig) -> None:
    await _completed(rig)
    await rig.do("rollback", "t1")
    await _make_room(rig)
    await rig.reaches("t1", TaskStatus.ROLLED_BACK)


async def _rollback_failed(rig: Rig) -> None:
    rig.script.fail("t1", "A", restoring=True, times=1)
    await _completed(rig)
    await rig.do("rollback", "t1")
    await _make_room(rig)
    await rig.reaches("t1", TaskStatus.ROLLBACK_FAILED)
    rig.script.block("x", "B")
    await rig.do("resume", "x")
    await rig.entered("x", "B")


@dataclass(frozen=True, slots=True)
class Situation:
    """Where t1 stands."""

    reach: Callable[[Rig], Awaitable[None]]
    status: TaskStatus
    pending: Operation | None = None
    held: bool = False

    def __str__(self) -> str:
        return f"{self.status}{' held' if self.held else ''}{f' pending {self.pending}' if self.pending else ''}"


_T = TaskStatus
SITUATIONS = (
    Situation(_pending, _T.PENDING),
    Situation(_held, _T.PENDING, held=True),
    Situation(_running, _T.RUNNING),
    Situation(_running, _T.RUNNING, Operation.PAUSE),
    Situation(_running, _T.RUNNING, Operation.CANCEL),
    Situation(_running, _T.RUNNING, Operation.ROLLBACK),
    Situation(_paused, _T.PAUSED),
    Situation(_paused, _T.PAUSED, Operation.ROLLBACK),
    Situation(_resuming, _T.RESUMING),
    Situation(_resuming, _T.RESUMING, Operation.ROLLBACK),
    Situation(_failed, _T.FAILED),
    Situation(_failed, _T.FAILED, Operation.RETRY),
    Situation(_failed, _T.FAILED, Operation.ROLLBACK),
    Situation(_completed, _T.COMPLETED),
    Situation(_completed, _T.COMPLETED, Operation.ROLLBACK),
    Situation(_cancelled, _T.CANCELLED),
    Situation(_cancelled, _T.CANCELLED, Operation.ROLLBACK),
    Situation(_rolling_back, _T.ROLLING_BACK),
    Situation(_rolled_back, _T.ROLLED_BACK),
    Situation(_rollback_failed, _T.ROLLBACK_FAILED),
    Situation(_rollback_failed, _T.ROLLBACK_FAILED, Operation.ROLLBACK),
)


def test_every_status_that_a_query_can_show_has_a_situation() -> None:
    shown = set(TaskStatus) - {_T.CREATED, _T.VALIDATING, _T.VALIDATION_FAILED}
    assert {situation.status for situation in SITUATIONS} == shown
    assert {status for status, _ in TABLE} == {str(status) for status in shown}


# --- what the table says about a situation ----------------------------------------------------------------------------

_STRENGTH = {Operation.PAUSE: 1, Operation.RETRY: 1, Operation.CANCEL: 2, Operation.ROLLBACK: 3}


def _applies(situation: Situation, verb: Operation) -> str:  # noqa: PLR0911  # one return a kind of cell
    """``refused``, ``same``, or ``changes``."""
    cell, pending = TABLE[str(situation.status), str(verb)], situation.pending
    if cell == "-":
        return "refused"
    if cell == "if held":
        return "changes" if situation.held else "refused"
    if cell.startswith("withdraws"):
        withdrawn = Operation.PAUSE if verb is Operation.RESUME else Operation.RETRY
        return "changes" if pending is withdrawn else "refused"
    if pending is verb:
        return "same"
    if pending is not None and _STRENGTH.get(verb, 0) < _STRENGTH[pending]:
        return "refused"
    if cell == "held, at once" and situation.held:
        return "same"
    return "same" if cell == "same" else "changes"


def _after(task: TaskAggregate, verb: Operation) -> TaskAggregate:  # noqa: PLR0911  # one return an effect
    """The task as an accepted request leaves it at once; t1 gets no slot meanwhile."""
    match task.status, verb:
        case TaskStatus.PENDING, Operation.PAUSE | Operation.RESUME:
            return replace(task, held=verb is Operation.PAUSE)
        case TaskStatus.RUNNING, Operation.RESUME:
            return replace(task, pending_operation=None)
        case TaskStatus.FAILED, Operation.CANCEL:
            return replace(task, pending_operation=None)
        case TaskStatus.PAUSED, Operation.RESUME:
            return replace(task, status=TaskStatus.RESUMING)
        case TaskStatus.RESUMING, Operation.PAUSE:
            return replace(task, status=TaskStatus.PAUSED)
        case TaskStatus.PENDING | TaskStatus.PAUSED | TaskStatus.RESUMING, Operation.CANCEL:
            return replace(task, status=TaskStatus.CANCELLED, pending_operation=None, held=False)
        case _:
            return replace(task, pending_operation=verb)


def _seen(task: TaskAggregate) -> tuple[TaskStatus, Operation | None, bool]:
    return task.status, task.pending_operation, task.held


async def _finish(rig: Rig) -> None:
    """Let everything come to its end, so that the rig can see that nothing was left behind."""
    rig.script.release_all()
    await rig.quiet()
    for tenant_id in ("x", "t1"):
        if (await rig.task(tenant_id)).paused:
            await rig.do("resume", tenant_id)
    await rig.settles()


@pytest.mark.parametrize(("situation", "verb"), list(product(SITUATIONS, Operation)), ids=str)
async def test_a_verb_does_what_the_table_says(situation: Situation, verb: Operation) -> None:
    async with open_rig("A", "B") as rig:
        await _ask_in(rig, situation, verb)


@pytest.mark.parametrize("verb", Operation)
async def test_a_verb_does_so_on_postgresql_too(verb: Operation, postgres_server: str) -> None:
    url = await new_schema(postgres_server)
    for situation in SITUATIONS:
        async with open_rig("A", "B", url=url) as rig:
            await _ask_in(rig, situation, verb)
        await empty(url)


async def _ask_in(rig: Rig, situation: Situation, verb: Operation) -> None:
    await situation.reach(rig)
    if situation.pending is not None:
        await rig.do(situation.pending, "t1")
    await rig.quiet()
    task_id = (await rig.task("t1")).task_id
    assert task_id is not None
    before, events, changing = await rig.aggregate(task_id), await rig.events(), rig.store.changing
    assert _seen(before) == (situation.status, situation.pending, situation.held)

    result = await rig.ask(verb, "t1")
    await rig.quiet()

    after = await rig.aggregate(task_id)
    applies = _applies(situation, verb)
    assert result.success == (applies != "refused"), result.message
    assert result.target_id == task_id
    if applies == "changes":
        assert _seen(after) == _seen(_after(before, verb))
        assert result.final_status is after.status
        told = 2 if after.status is not before.status and after.status is TaskStatus.CANCELLED else 0
        told += verb is Operation.CANCEL and before.status is TaskStatus.FAILED  # it settles: PlanProgress
        assert len(await rig.events()) == len(events) + told
    else:
        assert (after, rig.store.changing) == (before, changing), "nothing is written but the audit log"
        assert await rig.events() == events
        assert result.final_status is before.status
    told_of = (await rig.store.access.list_audit(EVERYTHING, before=None, limit=1))[0].entry
    assert (told_of.verb, told_of.target, told_of.outcome == "accepted") == (verb, "t1", result.success)
    if applies == "refused":
        assert result.failure_info is not None
        assert result.failure_info.error_code is ErrorCode.ILLEGAL_STATE
        assert task_id in result.message
    else:
        assert result.failure_info is None
    await _finish(rig)


async def test_a_pause_of_what_the_stop_line_paused_makes_it_the_operators() -> None:
    """The one ``same`` that is remembered: the start-line leaves it paused."""
    async with open_rig("A", "B") as rig:
        await _first_stage_of_t1(rig)
        await rig.facade.stop_line("look first")
        rig.script.release("t1", "A")
        await rig.reaches("t1", TaskStatus.PAUSED)
        await rig.do("pause", "t1")
        await rig.facade.start_line()
        await rig.entered("x", "A")
        await rig.quiet()
        assert await rig.status("t1") is TaskStatus.PAUSED
        await _finish(rig)
