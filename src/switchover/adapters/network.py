"""
HTTP sessions that cannot be lured away: every address is judged by the operator's allow-list when it is connected to.

Judging a URL when it is read would not be enough: a name may resolve to something else a second later, and a server may
answer with a redirect. So names are resolved without a cache and their addresses judged, each socket is judged again
when it is made (which covers addresses given as such), and callers follow no redirects.
Source: behaviour, section 3, ENDPOINT_NOT_ALLOWED.
"""

import socket
from collections.abc import Callable, MutableMapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from switchover.domain.addresses import AllowList
from switchover.errors import ErrorCode, ErrorType, TargetError

CONNECTION_LIMIT = 2_000
"""Sockets of one session at most; more requests wait for one to come free."""

_AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


def refused(address: str) -> TargetError:
    """The error for an address outside the allow-list."""
    return TargetError(
        f"the address {address} is outside the endpoint allow-list",
        code=ErrorCode.ENDPOINT_NOT_ALLOWED,
        error_type=ErrorType.NETWORK_ERROR,
        retryable=False,
    )


class GuardedResolver(AbstractResolver):
    """Resolves names and drops the addresses that are not allowed; when none is left the name is refused."""

    def __init__(self, allow_list: AllowList, inner: AbstractResolver | None = None) -> None:
        self._allow_list = allow_list
        self._inner = aiohttp.ThreadedResolver() if inner is None else inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """
        Look up, now.

        Raises:
            TargetError: Every address of the name is outside the allow-list (ENDPOINT_NOT_ALLOWED).
            OSError: The name has none.
        """
        found = await self._inner.resolve(host, port, family)
        allowed = [result for result in found if self._allow_list.permits(result["host"])]
        if found and not allowed:
            addresses = ", ".join(dict.fromkeys(result["host"] for result in found))
            raise refused(f"{addresses} of {host}")
        return allowed

    async def close(self) -> None:
        """Release the resolver inside."""
        await self._inner.close()


def guarded_session(
    allow_list: AllowList,
    *,
    resolver: AbstractResolver | None = None,
    inject: Callable[[MutableMapping[str, str]], None] | None = None,
) -> aiohttp.ClientSession:
    """
    A session for health checks, targets and webhooks; the caller closes it. Needs a running event loop.

    No cookies, no proxy from the environment, no cached names; time-outs are the callers', per request.

    Args:
        resolver: In place of the system's, for tests.
        inject: Adds to the headers of each request.
    """

    def make_socket(info: _AddressInfo) -> socket.socket:
        address = str(info[4][0])
        if not allow_list.permits(address):
            raise refused(address)
        return socket.socket(family=info[0], type=info[1], proto=info[2])

    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(allow_list, resolver),
        use_dns_cache=False,
        limit=CONNECTION_LIMIT,
        happy_eyeballs_delay=None,  # one address after another: an address that is refused must end the attempt
        socket_factory=make_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=False,
        trace_configs=None if inject is None else [_injecting(inject)],
    )


def _injecting(inject: Callable[[MutableMapping[str, str]], None]) -> aiohttp.TraceConfig:
    async def on_start(
        _session: aiohttp.ClientSession, _context: object, started: aiohttp.TraceRequestStartParams
    ) -> None:
        inject(started.headers)

    config = aiohttp.TraceConfig()
    config.on_request_start.append(on_start)
    return config
