"""A connection on which the server tells of commits and requests, and which is made anew when it is lost."""

import asyncio
from contextlib import suppress
from typing import Final

from switchover.adapters.stores.redis.refusals import BROKEN
from switchover.adapters.stores.redis.server import Server
from switchover.adapters.stores.words import Words
from switchover.spi import Topic

_AGAIN_SECONDS: Final = 1.0
_ALIVE_SECONDS: Final = 5.0
_CANCEL_SECONDS: Final = 0.2


class Listener:
    """
    Hears, from ``begin`` to ``aclose``.

    The scripts that commit and leave requests publish a word under the prefix. Nobody may rely on it: words to a
    connection that is dead, and does not know it yet, are lost.
    """

    def __init__(self, server: Server, words: Words) -> None:
        self.hears = False
        self._words = words
        self._server = server
        self._listening: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Connect, and stay connected."""
        self._listening = asyncio.ensure_future(self._listen())

    async def aclose(self) -> None:
        """Hear no more."""
        listening, self._listening = self._listening, None
        while listening is not None and not listening.done():
            # More than once: redis-py swallows a cancellation that comes while it connects.
            listening.cancel()
            await asyncio.wait({listening}, timeout=_CANCEL_SECONDS)
        self.hears = False

    async def _listen(self) -> None:
        while self._listening is not None:
            with suppress(*BROKEN):
                await self._stay()
            self.hears = False
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _stay(self) -> None:
        """Be connected, until that ends."""
        channel = self._server.pubsub()
        try:
            await channel.subscribe(f"{self._server.address.prefix}:heard")
            asked = False
            while True:
                message = await channel.get_message(timeout=_ALIVE_SECONDS)
                if message is None and asked:
                    return  # silence, and no answer to the question whether anybody is there
                asked = message is None
                if message is None:
                    await channel.ping()
                elif message["type"] == "subscribe":
                    self.hears = True
                    self._words.wake_all()  # whatever was missed meanwhile
                elif message["type"] == "message":
                    with suppress(ValueError):  # what a newer program has to say
                        self._words.wake(Topic(message["data"].decode()))
        finally:
            await channel.aclose()
