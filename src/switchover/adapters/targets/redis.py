"""
Redis targets: a field of a hash, or a plain key, with the generation in a field or key of its own beside it.

Checked and written by one Lua script, so a process that was frozen and wakes up late is refused by Redis itself.
Source: behaviour, section 6; interfaces, section 2.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError

from switchover.adapters.redis_answers import Meaning, meaning_of, said
from switchover.domain.addresses import AllowList
from switchover.errors import ErrorCode, ErrorType, StageError, StaleGenerationError, TargetError
from switchover.redaction import without_credentials
from switchover.spi import HeldValue

CONNECTION_LIMIT = 64
"""Connections to one Redis at most; more operations wait for one to come free."""

QUEUE_SECONDS = 30.0
"""How long they wait: a burst of our own is no fault of the server, so this is longer than any operation may take."""

GENERATION_SUFFIX = ":generation"

# KEYS: where value and generation lie. ARGV: their names inside, the generation, the value. Each answers nil when it
# wrote, else the generation that was in the way.
_CHECK = """
if held then
  local number = #held < 20 and tonumber(held)
  if not number then return redis.error_reply('ERR the generation beside the value is no number') end
  if number > tonumber(ARGV[3]) then return held end
end
"""
_HASH_WRITE = (
    "local held = redis.call('HGET', KEYS[1], ARGV[2])"
    + _CHECK
    + "redis.call('HSET', KEYS[1], ARGV[1], ARGV[4], ARGV[2], ARGV[3]) return false"
)
_HASH_REMOVE = (
    "local held = redis.call('HGET', KEYS[1], ARGV[2])"
    + _CHECK
    + "redis.call('HDEL', KEYS[1], ARGV[1]) redis.call('HSET', KEYS[1], ARGV[2], ARGV[3]) return false"
)
# GET before anything else: it refuses a key of another type, which SET would silently replace.
_PLAIN_READ = "return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}"
_PLAIN_WRITE = (
    "redis.call('GET', KEYS[1]) local held = redis.call('GET', KEYS[2])"
    + _CHECK
    + "redis.call('SET', KEYS[1], ARGV[4]) redis.call('SET', KEYS[2], ARGV[3]) return false"
)
_PLAIN_REMOVE = (
    "redis.call('GET', KEYS[1]) local held = redis.call('GET', KEYS[2])"
    + _CHECK
    + "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[2], ARGV[3]) return false"
)

_OPTIONS = frozenset(
    {
        *("db", "username", "password", "client_name", "health_check_interval", "max_connections"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "timeout"),
        *("ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers"),
        *("ssl_keyfile", "ssl_min_version"),
    }
)
"""What may stand behind the ``?`` of a Redis URL."""

_MOST_DIGITS = 19
"""Of a generation: what is longer was not written by us."""

_Result = TypeVar("_Result")


class _Client(Protocol):
    """The part of redis-py that is used, with the types that it has here."""

    def hmget(self, name: str, keys: Sequence[str]) -> Awaitable[list[bytes | None]]: ...
    def publish(self, channel: str, message: bytes) -> Awaitable[int]: ...
    def register_script(self, script: str) -> Callable[[Sequence[str], Sequence[object]], Awaitable[object]]: ...


class _Guarded(Connection):
    """A connection that judges the address it is about to use, each time it connects."""

    allow_list: AllowList

    def __init__(self, *, allow_list: AllowList, **options: Any) -> None:  # noqa: ANN401  # redis-py's own options
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]  # redis-py leaves options untyped
        self.allow_list = allow_list
        self._chosen = self.host

    async def _connect(self) -> None:
        last: OSError | None = None
        for address in await _addresses(self.host, self.port, self.allow_list, self.socket_connect_timeout):
            self._chosen = address
            try:
                await super()._connect()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            except OSError as error:
                last = error
            else:
                return
        raise last or OSError(f"{self.host} has no address")

    def _connection_arguments(self) -> Mapping[str, Any]:
        given = cast("Mapping[str, Any]", super()._connection_arguments())  # pyright: ignore[reportUnknownMemberType]
        return {**given, "host": self._chosen}


class _GuardedTls(_Guarded, SSLConnection):
    """The same over TLS; the certificate must be for the name, not for the address."""

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "server_hostname": self.host}


async def _addresses(host: str, port: int, allow_list: AllowList, timeout_seconds: float | None) -> list[str]:
    async with asyncio.timeout(timeout_seconds):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    allowed = [address for address in addresses if allow_list.permits(address)]
    if addresses and not allowed:
        raise TargetError(
            f"the address {', '.join(addresses)} is outside the endpoint allow-list",
            code=ErrorCode.ENDPOINT_NOT_ALLOWED,
            error_type=ErrorType.NETWORK_ERROR,
            retryable=False,
        )
    return allowed


class RedisTargets:
    """
    Everything behind ``redis://`` and ``rediss://``: one connection pool per URL.

    Args:
        allow_list: Judges every address at every connect.
        timeout_seconds: Limit of connecting, and of each operation.
    """

    def __init__(self, allow_list: AllowList, *, timeout_seconds: float = 5.0) -> None:
        self._allow_list = allow_list
        self._timeout_seconds = timeout_seconds
        self._targets: dict[str, RedisTarget] = {}

    def config_target(self, url: str) -> "RedisTarget":
        """Raises ``StageError`` when the URL cannot be read."""
        target = self._targets.get(url)
        if target is None:
            target = self._targets[url] = RedisTarget(url, self._pool(url))
        return target

    def broadcast_target(self, url: str) -> "RedisTarget":
        """The same object serves both."""
        return self.config_target(url)

    async def aclose(self) -> None:
        """Close every pool."""
        targets = list(self._targets.values())
        self._targets.clear()
        for target in targets:
            await target.aclose()

    def _pool(self, url: str) -> BlockingConnectionPool:
        try:
            asked = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
            options = cast("dict[str, Any]", parse_url(url))
        except ValueError as error:
            msg = f"{without_credentials(url)!r} is no Redis URL: {error}"
            raise StageError(msg, code=ErrorCode.INVALID_FIELD) from error
        # redis-py makes an argument of whatever it finds there: a socket's path, another class of connection.
        if not asked <= _OPTIONS or not options.get("host"):
            what = f"the option {min(asked - _OPTIONS)!r}" if asked - _OPTIONS else "no host"
            msg = f"{without_credentials(url)!r} has {what}; options may be {', '.join(sorted(_OPTIONS))}"
            raise StageError(msg, code=ErrorCode.INVALID_FIELD)
        tls = options.pop("connection_class", None) is SSLConnection
        defaults: dict[str, Any] = {
            # RESP2: over RESP3 a server may tell the client to go on with another one (MOVING).
            "protocol": 2,
            "max_connections": CONNECTION_LIMIT,
            "timeout": QUEUE_SECONDS,
            "socket_connect_timeout": self._timeout_seconds,
            "socket_timeout": self._timeout_seconds,
            "socket_keepalive": True,
            # Once more, at once: a server that was restarted has closed the connections that the pool still holds.
            # Every operation may be repeated; the scripts accept an equal generation.
            "retry": Retry(NoBackoff(), 1),
        }
        guarded = _GuardedTls if tls else _Guarded
        return BlockingConnectionPool(
            **{**defaults, **options}, connection_class=guarded, allow_list=self._allow_list, decode_responses=False
        )


class RedisTarget:
    """One Redis database: a ``ConfigTarget`` and a ``BroadcastTarget``."""

    def __init__(self, url: str, pool: BlockingConnectionPool) -> None:
        self._shown = without_credentials(url)
        self._pool = pool
        client = cast("_Client", Redis(connection_pool=pool))
        self._client = client
        self._hash_write = client.register_script(_HASH_WRITE)
        self._hash_remove = client.register_script(_HASH_REMOVE)
        self._plain_read = client.register_script(_PLAIN_READ)
        self._plain_write = client.register_script(_PLAIN_WRITE)
        self._plain_remove = client.register_script(_PLAIN_REMOVE)

    async def read(self, key: str, field: str | None) -> HeldValue:
        """Value and generation, read in one instant."""
        what = self._what(key, field)
        found: object
        if field is not None:
            found = await self._run(what, self._client.hmget(key, [field, field + GENERATION_SUFFIX]))
        else:
            found = await self._run(what, self._plain_read([key, key + GENERATION_SUFFIX], []))
        value, generation = _value_and_generation(found, what)
        if generation is None:
            return HeldValue(value=value, generation=0)
        if not generation.isdigit() or len(generation) > _MOST_DIGITS:
            msg = f"{what}: the generation beside it is {generation[:50]!r}, which is no number"
            raise TargetError(msg, retryable=False)
        return HeldValue(value=value, generation=int(generation))

    async def write(self, key: str, field: str | None, value: bytes, generation: int) -> None:
        """Raises ``StaleGenerationError`` when a higher generation is there."""
        await self._change(
            self._plain_write if field is None else self._hash_write, key, field, [str(generation), value]
        )

    async def remove(self, key: str, field: str | None, generation: int) -> None:
        """Raises ``StaleGenerationError`` when a higher generation is there; the generation stays."""
        await self._change(self._plain_remove if field is None else self._hash_remove, key, field, [str(generation)])

    async def publish(self, channel: str | None, message: bytes) -> int | None:
        """How many subscribers Redis sent it to."""
        if not channel:
            raise TargetError(
                f"{self._shown}: a message needs a channel",
                code=ErrorCode.MISSING_FIELD,
                error_type=ErrorType.VALIDATION_ERROR,
                retryable=False,
            )
        return await self._run(f"{self._shown}, channel {channel!r}", self._client.publish(channel, message))

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()

    async def _change(
        self,
        script: Callable[[Sequence[str], Sequence[object]], Awaitable[object]],
        key: str,
        field: str | None,
        arguments: Sequence[object],
    ) -> None:
        what = self._what(key, field)
        if field is None:
            work = script([key, key + GENERATION_SUFFIX], ["", "", *arguments])
        else:
            work = script([key], [field, field + GENERATION_SUFFIX, *arguments])
        held = await self._run(what, work)
        if held is not None:
            number = int(float(cast("bytes", held)))
            msg = f"{what} holds generation {number}"
            raise StaleGenerationError(msg, held_generation=number)

    def _what(self, key: str, field: str | None) -> str:
        return f"{self._shown}, key {key!r}" if field is None else f"{self._shown}, key {key!r}, field {field!r}"

    async def _run(self, what: str, work: Awaitable[_Result]) -> _Result:
        try:
            return await work
        except (RedisError, OSError) as error:
            raise _mapped(what, error) from error


def _value_and_generation(found: object, what: str) -> tuple[bytes | None, bytes | None]:
    match found:
        case [bytes() | None as value, bytes() | None as generation]:
            return value, generation
        case _:
            raise TargetError(f"{what}: answered what is neither a value nor a generation")


def _mapped(what: str, error: Exception) -> TargetError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TargetError):  # raised while connecting; redis-py wraps what it does not know
            return TargetError(
                f"{what}: {cause.message}", code=cause.code, error_type=cause.error_type, retryable=cause.retryable
            )
        cause = cause.__cause__ or cause.__context__
    text = said(error)
    if isinstance(error, MovedError):
        text = f"MOVED {text}: the key belongs to another node of a cluster, and redis:// speaks to one server"
    code, kind = _JUDGED[meaning_of(error)]
    return TargetError(f"{what}: {text}", code=code, error_type=kind)


_JUDGED: Final = {
    Meaning.TIMEOUT: (ErrorCode.TARGET_UNAVAILABLE, ErrorType.TIMEOUT_ERROR),
    Meaning.LOGIN: (ErrorCode.TARGET_ERROR, ErrorType.BUSINESS_ERROR),
    Meaning.NOT_NOW: (ErrorCode.TARGET_UNAVAILABLE, ErrorType.SERVICE_UNAVAILABLE),
    Meaning.NO: (ErrorCode.TARGET_ERROR, ErrorType.BUSINESS_ERROR),
    Meaning.AWAY: (ErrorCode.TARGET_UNAVAILABLE, ErrorType.NETWORK_ERROR),
}
"""Whether the server is not there, cannot now, or says no."""
