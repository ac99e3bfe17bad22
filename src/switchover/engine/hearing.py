"""Waiting for what other processes do: until the store hears of it, or until it is time to look anyway."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from switchover.spi import Clock, ExecutionStore, HearingStore, Topic

_SAFETY_SECONDS = 1.0
"""Between two looks at a store that would have heard of something."""


def heard(store: ExecutionStore, topic: Topic) -> int:
    """To be taken before looking; see ``hear``."""
    return store.heard(topic) if isinstance(store, HearingStore) else 0


async def hear(store: ExecutionStore, clock: Clock, topic: Topic, seen: int, *, poll_seconds: float) -> None:
    """
    Wait until looking is worth while.

    Args:
        seen: What ``heard`` gave before the last look.
        poll_seconds: Between two looks at a store that hears nothing.
    """
    if isinstance(store, HearingStore) and store.hears:
        await first_of(store.hear(topic, seen), clock.sleep(max(poll_seconds, _SAFETY_SECONDS)))
    else:
        await clock.sleep(poll_seconds)


async def first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Wait for one of them; the others are cancelled."""
    waiting = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in waiting:
            future.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
