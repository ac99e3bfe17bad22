"""Calls to one Redis server: its scripts, and what its errors mean to whoever uses the store."""

from collections.abc import Awaitable, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final, Protocol, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from switchover.adapters.stores.redis.address import Address
from switchover.adapters.stores.redis.refusals import BROKEN, LOST, translate

_CONNECTIONS: Final = 9
_QUEUE_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 5.0
_ATTEMPTS: Final = 2

Argument = str | bytes | int


class _Client(Protocol):
    """The part of redis-py that is used, with the types that it has here."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Argument) -> Awaitable[Any]: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: Argument) -> Awaitable[Any]: ...
    def execute_command(self, *args: Argument) -> Awaitable[Any]: ...
    def pubsub(self) -> "PubSub": ...
    @property
    def response_callbacks(self) -> dict[str, object]: ...


class PubSub(Protocol):
    """A connection that hears, with the types that it has here."""

    def subscribe(self, channel: str) -> Awaitable[None]: ...  # noqa: D102  # redis-py's
    def get_message(self, *, timeout: float) -> Awaitable[dict[str, Any] | None]: ...  # noqa: D102  # redis-py's
    def ping(self) -> Awaitable[object]: ...  # noqa: D102  # redis-py's
    def aclose(self) -> Awaitable[None]: ...  # noqa: D102  # redis-py's


class Script:
    """One of the scripts beside this module; the server knows it by the digest of its text."""

    def __init__(self, name: str) -> None:
        place = files("switchover.adapters.stores.redis") / "scripts" / f"{name}.lua"
        self.text = place.read_text("utf-8")
        self.digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@cache
def script(name: str) -> Script:
    """The script of this name."""
    return Script(name)


class Server:
    """
    One server.

    Args:
        command_seconds: After this long without an answer to one call the server counts as away.
    """

    def __init__(self, address: Address, *, command_seconds: float) -> None:
        self.address = address
        options = cast("dict[str, Any]", parse_url(address.url))
        self._pool = BlockingConnectionPool(
            **options,
            max_connections=_CONNECTIONS,
            timeout=_QUEUE_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=command_seconds,
            retry=Retry(NoBackoff(), 0),  # what may be sent twice is decided here, not there
            protocol=2,
            decode_responses=False,
        )
        self._client = cast("_Client", Redis(connection_pool=self._pool))
        self._client.response_callbacks.clear()  # answers as they come: shapes of its own are no help here

    @property
    def place(self) -> str:
        """For messages."""
        return self.address.shown

    async def read(self, doing: str, name: str, *arguments: Argument) -> Any:  # noqa: ANN401  # what the script answers
        """Ask something by a script; again, once, when the connection turns out to be dead."""
        return await self._call(doing, _ATTEMPTS, lambda: self._run(script(name), arguments))

    async def write(self, doing: str, name: str, *arguments: Argument) -> Any:  # noqa: ANN401  # as above
        """Change something by a script; never sent twice."""
        return await self._call(doing, 1, lambda: self._run(script(name), arguments))

    async def command(self, doing: str, *arguments: Argument) -> Any:  # noqa: ANN401  # as above
        """Ask something by one command."""
        return await self._call(doing, _ATTEMPTS, lambda: self._client.execute_command(*arguments))

    async def info(self, doing: str, *sections: str) -> dict[str, str]:
        """What the server tells about itself."""
        text: bytes = await self.command(doing, "INFO", *sections)
        facts: dict[str, str] = {}
        for line in text.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            facts[name] = value
        return facts

    def pubsub(self) -> PubSub:
        """A connection that hears what is published."""
        return self._client.pubsub()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def _run(self, wanted: Script, arguments: Sequence[Argument]) -> Any:  # noqa: ANN401  # as above
        prefix = self.address.prefix
        try:
            return await self._client.evalsha(wanted.digest, 0, prefix, *arguments)
        except NoScriptError:
            # The server was restarted, or somebody flushed its scripts: nothing has run, and the text brings it back.
            return await self._client.eval(wanted.text, 0, prefix, *arguments)

    async def _call(self, doing: str, attempts: int, call: "_Call") -> Any:  # noqa: ANN401  # as above
        for left in reversed(range(attempts)):
            try:
                return await call()
            except BROKEN as error:
                if isinstance(error, LOST):
                    # The others that wait in the pool are most likely dead, too.
                    await self._pool.disconnect(inuse_connections=False)
                    if left and not isinstance(error, (TimeoutError, ConnectionRefusedError)):
                        continue
                raise translate(self.place, doing, error) from error
        raise AssertionError


class _Call(Protocol):
    def __call__(self) -> Awaitable[Any]: ...
