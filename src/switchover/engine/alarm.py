"""One sleeper for many due moments: what replaces a timer per task."""

import asyncio

from switchover.spi import Clock


class Alarm:
    """
    Sleeps until the earliest due moment, and can be told of an earlier one.

    Args:
        clock: All waiting goes through it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wake = asyncio.Event()

    def ring(self) -> None:
        """The earliest due moment may have changed: look again."""
        self._wake.set()

    async def wait_until(self, due: float | None) -> None:
        """
        Return at ``due`` (monotonic seconds), or earlier when it rings; None waits for the ring alone.

        What rang since the last call counts, so that no moment is missed between looking and waiting.
        """
        if due is None:
            await self._wake.wait()
        elif not self._wake.is_set():
            sleeper = asyncio.ensure_future(self._clock.sleep(due - self._clock.monotonic()))
            waker = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait({sleeper, waker}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeper.cancel()
                waker.cancel()
                await asyncio.gather(sleeper, waker, return_exceptions=True)
        self._wake.clear()
