import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from switchover.spi import Clock
from switchover.testing.clock import ManualClock


async def test_it_is_a_clock() -> None:
    clock: Clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    assert clock.now() == datetime(2030, 1, 1, tzinfo=UTC)
    assert clock.monotonic() == 0


async def test_sleepers_wake_in_the_order_in_which_they_are_due() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleep(name: str, *naps: float) -> None:
        for seconds in naps:
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic()))

    tasks = [
        asyncio.create_task(sleep("late", 3)),
        asyncio.create_task(sleep("twice", 1, 1)),
        asyncio.create_task(sleep("tie", 2)),
    ]
    start = clock.now()
    await clock.advance(2.5)
    # "tie" fell asleep before the second nap of "twice".
    assert woken == [("twice", 1), ("tie", 2), ("twice", 2)]
    assert clock.now() - start == timedelta(seconds=2.5)
    assert clock.next_due_seconds == 0.5
    assert clock.sleepers == 1
    await clock.advance(0.5)
    await asyncio.gather(*tasks)
    assert woken[3:] == [("late", 3)]


async def test_what_a_sleeper_sets_off_is_done_before_the_next_one_wakes() -> None:
    clock = ManualClock()
    order: list[str] = []

    async def chain(depth: int) -> None:
        if depth:
            await asyncio.create_task(chain(depth - 1))
        else:
            order.append("chain")

    async def first() -> None:
        await clock.sleep(1)
        await chain(20)

    async def second() -> None:
        await clock.sleep(1)
        order.append("second")

    tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
    await clock.advance(1)
    assert order == ["chain", "second"]
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("seconds", [0, -1])
async def test_nothing_to_wait_for_is_no_wait(seconds: float) -> None:
    await asyncio.wait_for(ManualClock().sleep(seconds), timeout=5)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.settle()
    task.cancel()
    await clock.settle()
    assert clock.sleepers == 0
    assert clock.next_due_seconds is None
    assert not await clock.advance_to_next()
    await clock.advance(5)
    assert clock.monotonic() == 5


async def test_run_lets_time_pass_whenever_nothing_else_can_run() -> None:
    clock = ManualClock()

    async def work() -> str:
        for _ in range(1000):
            await clock.sleep(60)
        await asyncio.to_thread(lambda: None)
        return "done"

    assert await clock.run(work()) == "done"
    assert clock.monotonic() == 60_000


async def test_run_passes_errors_on() -> None:
    clock = ManualClock()

    async def work() -> None:
        await clock.sleep(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await clock.run(work())


async def test_wall_clock_time_may_jump_alone() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.settle()
    clock.set_wall(datetime(1999, 1, 1, tzinfo=UTC))
    await clock.settle()
    assert not task.done()
    assert clock.monotonic() == 0
    await clock.advance(1)
    assert task.done()
    assert clock.now() == datetime(1999, 1, 1, 0, 0, 1, tzinfo=UTC)
