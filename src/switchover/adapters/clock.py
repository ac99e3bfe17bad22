"""The machine's clock."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any


class SystemClock:
    """Implements ``switchover.spi.Clock`` over the operating system and the running event loop."""

    __slots__ = ()

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever rise."""
        return time.monotonic()

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait; not at all when ``seconds`` is zero or less."""
        # Not a coroutine of its own around the one that sleeps: twenty thousand tasks may be in it at once.
        return asyncio.sleep(seconds) if seconds > 0 else _no_wait()


async def _no_wait() -> None:
    """Ended as soon as it is awaited."""
