"""Live events from a server, across interruptions: each one once, in order."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import aiohttp
import orjson

from switchover.client.connection import Connection
from switchover.domain.events import Event
from switchover.errors import (
    ErrorCode,
    EventsPrunedError,
    ExecutorError,
    ServerError,
    StoreUnavailableError,
    UnreachableError,
)
from switchover.spi import NumberedEvent

_AGAIN_SECONDS: Final = 0.2
_IDLE_SECONDS: Final = 60.0
"""A server that is there says so every 15 s."""


async def follow(
    connection: Connection, path: str, since: int, *, patience_seconds: float
) -> AsyncIterator[NumberedEvent]:
    """
    Events behind ``since``, for ever; a connection that breaks is made again, from the last event that came.

    Args:
        patience_seconds: How long a server may be away.

    Raises:
        UnreachableError: It was away for longer.
        EventsPrunedError: What comes next is no longer kept.
        ServerError: It refuses.
    """
    last = since
    away_since: float | None = None
    while True:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        try:
            async with connection.stream(path, {}, headers, idle_seconds=_IDLE_SECONDS) as response:
                away_since = None
                async for name, number, data in _messages(response):
                    if name == "pruned":
                        newest = int(data["resumeFrom"])
                        raise EventsPrunedError(last, kept_since=newest, newest=newest)
                    if name:
                        break
                    if number is not None and number > last:
                        last = number
                        yield NumberedEvent(number, Event.from_dict(data))
        except (UnreachableError, StoreUnavailableError) as error:
            now = time.monotonic()
            away_since = now if away_since is None else away_since
            never_there = isinstance(error, UnreachableError) and not error.was_connected
            if never_there or now - away_since > patience_seconds:
                raise
        except ServerError as error:
            raise pruned_or(error, last) from error
        await asyncio.sleep(_AGAIN_SECONDS)


def pruned_or(error: ServerError, since: int) -> ExecutorError:
    """The error, or what it says when it is that events are gone."""
    if error.code is not ErrorCode.EVENTS_PRUNED:
        return error
    kept_since, newest = (int(str(error.document[name])) for name in ("keptSince", "resumeFrom"))
    return EventsPrunedError(since, kept_since=kept_since, newest=newest)


async def _messages(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, int | None, Mapping[str, Any]]]:
    """Name (empty: an event), number and data of each message; comments are passed over."""
    name, number, data = "", None, b""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            field, _, value = line.partition(b": ")
            if field == b"event":
                name = value.decode()
            elif field == b"id":
                number = int(value)
            elif field == b"data":
                data = value
            elif not line and data:
                yield name, number, orjson.loads(data)
                name, number, data = "", None, b""
