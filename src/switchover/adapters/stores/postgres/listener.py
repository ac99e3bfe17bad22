"""A connection that the server tells of commits and requests, and that is made anew when it is lost."""

import asyncio
from contextlib import suppress
from typing import Final

from switchover.adapters.stores.postgres.connection import Server
from switchover.adapters.stores.postgres.sql import BROKEN, Connection
from switchover.adapters.stores.words import Words
from switchover.errors import StorageError
from switchover.spi import Topic

_CHANNEL: Final = "'switchover_' || 'driver'::regclass::oid"
"""One for each of the stores in a database."""

_ECHO: Final = "echo"
_AGAIN_SECONDS: Final = 1.0
_ALIVE_SECONDS: Final = 5.0


def notify(topic: Topic) -> str:
    """To be evaluated in the transaction that the others are to hear of."""
    return f"pg_notify({_CHANNEL}, '{topic}')"


class Listener:
    """
    Hears, from ``begin`` to ``aclose``.

    Hearing is proven on each connection, by a word that the listener itself sends. Behind a pooler in transaction mode
    even that proves nothing, so there it is not to begin.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._words = Words()
        self._listening: asyncio.Task[None] | None = None
        self._echo = asyncio.Event()
        self._hears = False

    def begin(self) -> None:
        """Connect, and stay connected."""
        self._listening = asyncio.ensure_future(self._listen())

    async def aclose(self) -> None:
        """Hear no more."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None

    @property
    def hears(self) -> bool:
        """Whether a word would arrive now."""
        return self._hears

    def heard(self, topic: Topic) -> int:
        """Rises with every word."""
        return self._words.heard(topic)

    async def hear(self, topic: Topic, seen: int) -> None:
        """Wait for the next word after ``seen``."""
        await self._words.hear(topic, seen)

    async def _listen(self) -> None:
        while True:
            with suppress(*BROKEN, StorageError):
                await self._stay()
            self._hears = False
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _stay(self) -> None:
        """Be connected, until that ends."""
        connection = await self._server.connect()
        ended = asyncio.Event()
        try:
            channel = await connection.fetchval(f"SELECT {_CHANNEL}")
            connection.add_termination_listener(lambda _connection: ended.set())
            await connection.add_listener(channel, self._told)
            while not ended.is_set():
                self._echo.clear()
                await connection.execute("SELECT pg_notify($1, $2)", channel, _ECHO)
                async with asyncio.timeout(_ALIVE_SECONDS):
                    await self._echo.wait()
                if not self._hears:
                    self._hears = True
                    self._words.wake_all()  # whatever was missed meanwhile
                with suppress(TimeoutError):
                    async with asyncio.timeout(_ALIVE_SECONDS):
                        await ended.wait()
        finally:
            connection.terminate()

    def _told(self, _connection: Connection, _pid: int, _channel: str, word: str) -> None:
        self._echo.set()
        with suppress(ValueError):  # an echo, or what a newer program has to say
            self._words.wake(Topic(word))
