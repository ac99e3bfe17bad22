import asyncio
from datetime import UTC, datetime, timedelta

from switchover.adapters.clock import SystemClock


async def test_it_is_the_machines_clock() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    before = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.009


async def test_no_wait_is_no_wait() -> None:
    """Not even a turn of the loop: what runs stays what runs."""
    task = asyncio.ensure_future(asyncio.sleep(0))
    await SystemClock().sleep(0)
    await SystemClock().sleep(-1)
    assert not task.done()
    await task
