"""Staying with the work: when it ends, and what a signal does to it."""

import asyncio
import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from switchover.bootstrap import StoreOutage
from switchover.domain.plan import PlanStatus
from switchover.domain.task import TaskStatus
from switchover.errors import StoreConflictError, StoreUnavailableError
from switchover.interfaces.cli.driving import Companion, Interrupts
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.looking import Look
from switchover.interfaces.cli.screens import SilentScreen
from tests.support.cli_samples import NOW, around, look

S, P = TaskStatus, PlanStatus
RUNNING = look({S.RUNNING: 1})
DONE = look({S.COMPLETED: 1}, P.COMPLETED)


class Executor:
    """As much of one as a companion needs."""

    def __init__(self, *, driving: bool = True) -> None:
        self.driving = driving
        self.takes_over = False
        self.driver_failure: Exception | None = None
        self.version = 0
        self.stops: list[float] = []
        self.stages_ended = asyncio.Event()

    async def changed(self, _seen: int) -> None:
        await asyncio.sleep(0)

    async def stop(self, *, finish_stages_within_seconds: float) -> None:
        self.stops.append(finish_stages_within_seconds)
        if finish_stages_within_seconds:
            await self.stages_ended.wait()


class Subject:
    name = "plan 100"

    def __init__(self) -> None:
        self.now: Look = RUNNING
        self.looks = 0
        self.when: dict[int, Callable[[], None]] = {}

    async def look(self) -> Look:
        self.looks += 1
        self.when.get(self.looks, lambda: None)()
        return self.now


class Screen(SilentScreen):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


class Setting:
    def __init__(self) -> None:
        self.executor = Executor()
        self.subject = Subject()
        self.screen = Screen()
        self.interrupts = Interrupts()

    def companion(self) -> Companion:
        return Companion(
            executor=cast("Any", self.executor),
            subject=self.subject,
            screen=self.screen,
            interrupts=self.interrupts,
            go_on="switchover run plan.yaml",
        )

    def becomes(self, now: Look) -> Callable[[], None]:
        return lambda: setattr(self.subject, "now", now)


@pytest.fixture
async def setting() -> Setting:
    return Setting()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (DONE, ExitCode.DONE),
        (look({S.FAILED: 1}, P.FAILED), ExitCode.FAILED),
        (look({S.PAUSED: 1}, P.PAUSED), ExitCode.PAUSED),
        (look({S.PAUSED: 1, S.COMPLETED: 1}, P.RUNNING, plan={"idle": 1}), ExitCode.PAUSED),
    ],
)
async def test_it_stays_until_the_work_has_come_to_rest(setting: Setting, end: Look, code: ExitCode) -> None:
    setting.subject.when[5] = setting.becomes(end)
    assert await setting.companion().stay() == (code, end)
    assert setting.subject.looks == 5
    assert setting.executor.stops == []


async def test_one_signal_waits_for_the_running_stages(setting: Setting) -> None:
    setting.subject.when[2] = setting.interrupts.first.set
    setting.subject.when[5] = setting.executor.stages_ended.set
    code, _ = await setting.companion().stay()
    assert code is ExitCode.PAUSED
    assert setting.executor.stops == [math.inf]
    assert setting.screen.said[-1] == "stopped; plan 100 goes on from here with: switchover run plan.yaml"


async def test_a_plan_that_settles_while_its_last_stages_end_is_done(setting: Setting) -> None:
    setting.subject.when[2] = setting.interrupts.first.set
    setting.subject.when[4] = setting.executor.stages_ended.set
    setting.subject.when[5] = setting.becomes(DONE)
    code, _ = await setting.companion().stay()
    assert code is ExitCode.DONE
    assert not any("goes on from here" in text for text in setting.screen.said)


async def test_two_signals_stop_at_once(setting: Setting) -> None:
    setting.subject.when[2] = setting.interrupts.first.set
    setting.subject.when[4] = setting.interrupts.second.set
    code, _ = await setting.companion().stay()
    assert code is ExitCode.PAUSED
    assert setting.executor.stops == [math.inf, 0]
    assert any(text.startswith("stopped at once") for text in setting.screen.said)


async def test_whoever_does_not_drive_only_leaves(setting: Setting) -> None:
    setting.executor.driving = False
    setting.subject.when[2] = setting.interrupts.first.set
    code, _ = await setting.companion().stay()
    assert code is ExitCode.DISCONNECTED
    assert setting.executor.stops == []


async def test_a_driver_that_may_write_no_more_says_so(setting: Setting) -> None:
    setting.executor.driver_failure = StoreConflictError("another process drives")
    with pytest.raises(StoreConflictError):
        await setting.companion().stay()


async def test_a_store_that_cannot_be_read_for_a_while_ends_nothing_and_is_told_once(setting: Setting) -> None:
    def away() -> None:
        raise StoreUnavailableError("locked by a backup")

    setting.subject.when = {2: away, 3: away, 4: away, 6: setting.becomes(DONE)}
    assert await setting.companion().stay() == (ExitCode.DONE, DONE)
    assert setting.screen.said == [
        "the store cannot be read: locked by a backup. Looking again until it can",
        "the store can be read again",
    ]


async def test_watching_a_store_that_cannot_be_read_ends_with_the_time_and_the_reason(setting: Setting) -> None:
    def away() -> None:
        raise StoreUnavailableError("locked by a backup")

    setting.subject.when = dict.fromkeys(range(1, 100), away)
    with pytest.raises(StoreUnavailableError, match="locked by a backup"):
        await setting.companion().watch(0.05)


async def test_an_outage_of_the_store_is_told_when_it_begins_and_when_it_ends(setting: Setting) -> None:
    outage = StoreOutage(since=NOW, reason="the disk is full; make room", attempts=3)
    away = look({S.RUNNING: 1}, around=around(outage=outage))
    setting.subject.when = {2: setting.becomes(away), 4: setting.becomes(RUNNING), 5: setting.becomes(DONE)}
    await setting.companion().stay()
    began, ended = setting.screen.said
    assert began.startswith("the store takes no commits: the disk is full; make room. Nothing is lost")
    assert ended == "the store takes commits again, and the work goes on"


async def test_watching_ends_with_the_time(setting: Setting) -> None:
    code, _ = await setting.companion().watch(0.05)
    assert code is ExitCode.TIMED_OUT
    code, _ = await setting.companion().watch(0.0)
    assert code is ExitCode.TIMED_OUT
    setting.subject.now = DONE
    assert (await setting.companion().watch(0.0))[0] is ExitCode.DONE


async def test_watching_ends_with_a_signal(setting: Setting) -> None:
    setting.subject.when[2] = setting.interrupts.first.set
    assert (await setting.companion().watch(None))[0] is ExitCode.DISCONNECTED


async def test_a_second_signal_that_nobody_attends_to_ends_what_is_being_done() -> None:
    async def work() -> None:
        with Interrupts() as interrupts:
            interrupts._note()
            await asyncio.sleep(0)
            interrupts._note()
            await asyncio.sleep(3600)

    with pytest.raises(asyncio.CancelledError):
        await work()
    current = asyncio.current_task()
    assert current is not None
    while current.cancelling():
        current.uncancel()
