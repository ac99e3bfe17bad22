"""
Reading from a store that is away for a while.

A commit that finds the store away is tried again until it is in (``engine.commits``). What a running task or a brake
has to read on its way deserves the same: an outage delays the work, and must not leave a task RUNNING that nobody
runs. So does whoever waits for a plan or follows its events.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from switchover.errors import StoreUnavailableError
from switchover.logs import get_log
from switchover.spi import Clock

_log = get_log("switchover.store")

_Result = TypeVar("_Result")

_AGAIN_SECONDS = 0.5


async def patiently(clock: Clock, read: Callable[[], Awaitable[_Result]]) -> _Result:
    """
    Read, and read again while the store is away.

    Raises:
        StorageError: Waiting does not help.
    """
    away = False
    while True:
        try:
            found = await read()
        except StoreUnavailableError as error:
            if not away:
                away = True
                _log.warning("the store cannot be read; trying again until it can", reason=str(error))
            await clock.sleep(_AGAIN_SECONDS)
        else:
            if away:
                _log.info("the store can be read again")
            return found
