"""Deadlines of steps: what one run leaves, the next one uses."""

import asyncio
import gc
import weakref

import pytest

from switchover.engine.deadlines import DeadlineScheduler
from switchover.testing.clock import ManualClock


async def test_a_run_that_ended_is_forgotten_long_before_its_deadline_would_have_come() -> None:
    deadlines = DeadlineScheduler(ManualClock())

    async def run() -> None:
        deadline = deadlines.take()
        deadline.arm(3600.0)
        deadlines.give_back(deadline)

    ended = asyncio.ensure_future(run())
    await ended
    watched = weakref.ref(ended)
    del ended
    await asyncio.sleep(0)  # until the loop itself has let go of it
    gc.collect()
    assert watched() is None


async def test_a_deadline_that_was_given_back_interrupts_nobody_and_serves_the_next_run() -> None:
    clock = ManualClock()
    deadlines = DeadlineScheduler(clock)
    watch = asyncio.ensure_future(deadlines.run())
    first = deadlines.take()
    first.arm(1.0)
    deadlines.give_back(first)
    second = deadlines.take()
    assert second is first
    await clock.advance(2.0)
    assert not second.expired

    async def overrun() -> None:
        await clock.advance(2.0)
        await asyncio.sleep(3600.0)

    second.arm(1.0)
    with pytest.raises(asyncio.CancelledError):
        await overrun()
    assert await second.settle()
    watch.cancel()
