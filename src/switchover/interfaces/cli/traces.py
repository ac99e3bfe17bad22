"""Traces of what a verb drives, when the settings want them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from switchover.interfaces.cli.extras import need_otel_extra

if TYPE_CHECKING:
    from switchover.adapters.telemetry.tracing import Tracing
    from switchover.config import ExecutorSettings


@asynccontextmanager
async def tracing_of(settings: "ExecutorSettings | None") -> "AsyncGenerator[Tracing | None]":
    """
    None, unless the settings of this machine want them; what has not been sent is sent when the context is left.

    Raises:
        CommandError: The extra is not installed.
    """
    if settings is None or not settings.traces:
        yield None
        return
    need_otel_extra()
    from switchover.adapters.telemetry.tracing import Tracing

    tracing = Tracing.from_environment()
    try:
        yield tracing
    finally:
        await asyncio.to_thread(tracing.close)
