"""
The typed client of the HTTP API: what the library has for a store, for a server.

::

    async with connect("http://127.0.0.1:8080", token=token) as client:
        await client.facade.pause_task_by_plan(100)
        async for event in client.events(100):
            ...
"""

from switchover.client.client import ServerClient, connect
from switchover.errors import ServerError, UnreachableError

__all__ = ["ServerClient", "ServerError", "UnreachableError", "connect"]
