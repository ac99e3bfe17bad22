"""
Threads that own a connection each, and the way there and back.

One hop per piece of work: the event loop puts it into a queue, the thread does all of it and hands the result back with
one call. Work is never begun twice, and goes on when the caller stopped waiting: a commit has no half-way.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar, cast

_Result = TypeVar("_Result")

_Work = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[sqlite3.Connection], Any] | None]
"""Who waits, and what is to be done; None: close the connection and end."""


class ConnectionThreads:
    """
    One or more threads that share a queue of work, each with a connection of its own.

    Args:
        connect: Called in each thread when it needs a connection: at its first work, and after one was closed.
        count: How many threads.
    """

    def __init__(self, name: str, connect: Callable[[], sqlite3.Connection], *, count: int = 1) -> None:
        self._connect = connect
        self._work: SimpleQueue[_Work] = SimpleQueue()
        self._threads = [
            # Daemons: a program that ends without closing its store must still end.
            Thread(target=self._serve, name=f"switchover-{name}-{number}", daemon=True)
            for number in range(1, count + 1)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, function: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do it in one of the threads, with its connection."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._work.put((loop, cast("asyncio.Future[Any]", future), function))
        return await future

    async def stop(self) -> None:
        """Let the threads finish what is queued, close their connections, and end. Nothing may be put in afterwards."""
        loop = asyncio.get_running_loop()
        closed = [loop.create_future() for _ in self._threads]
        for future in closed:
            self._work.put((loop, future, None))
        await asyncio.gather(*closed)
        for thread in self._threads:
            thread.join()  # it has said that it ends, so this does not wait

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        ends = False
        while not ends:
            loop, future, function = self._work.get()
            result: Any = None
            error: BaseException | None = None
            try:
                if function is not None:
                    if connection is None or not _is_usable(connection):
                        connection = self._connect()
                    result = function(connection)
                else:
                    ends = True
                    if connection is not None:
                        connection.close()
            except BaseException as caught:  # noqa: BLE001  # whatever it is, it belongs to the caller
                error = caught
            with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
                loop.call_soon_threadsafe(_settle, future, result, error)
            # What this thread keeps between two pieces of work would stay in memory until the next one comes.
            del loop, future, function, result, error


def _settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _is_usable(connection: sqlite3.Connection) -> bool:
    try:
        return connection.total_changes >= 0
    except sqlite3.ProgrammingError:  # it was closed
        return False
