"""The machine's clock."""

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """Implements ``switchover.spi.Clock`` over the operating system and the running event loop."""

    __slots__ = ()

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever rise."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait; not at all when ``seconds`` is zero or less."""
        if seconds > 0:
            await asyncio.sleep(seconds)
