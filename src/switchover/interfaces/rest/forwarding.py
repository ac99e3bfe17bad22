"""
Who really called, behind proxies that the operator trusts.

``X-Forwarded-For`` is written by whoever sends it, so it counts only as far as trusted proxies have written it: from
its end, over their own addresses, to the first one that is not theirs. Without trusted proxies it counts for nothing.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

_MOST_HOPS: Final = 32
_SCHEMES: Final = frozenset({"http", "https"})


class TrustedProxies:
    """
    Puts the caller's address and scheme in place of those of the proxy.

    Args:
        networks: Where the trusted proxies are, in CIDR notation.
    """

    def __init__(self, app: ASGIApp, networks: Sequence[str]) -> None:
        self._app = app
        self._networks = tuple(ip_network(text) for text in networks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        client: tuple[str, int] | None = scope.get("client")
        if scope["type"] == "http" and client is not None and self._is_trusted(_address(client[0])):
            headers = Headers(scope=scope)
            scope = {**scope, "client": (self._caller(client[0], headers.getlist("x-forwarded-for")), client[1])}
            scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
            if scheme in _SCHEMES:
                scope["scheme"] = scheme
        await self._app(scope, receive, send)

    def _is_trusted(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    def _caller(self, peer: str, given: Iterable[str]) -> str:
        """The last address that no trusted proxy has; what cannot be read ends the search, with whoever wrote it."""
        caller = peer
        hops = ",".join(given).split(",")
        for hop in reversed(hops[-_MOST_HOPS:]):
            address = _address(_without_port(hop.strip()))
            if address is None:
                return caller
            caller = str(address)
            if not self._is_trusted(address):
                return caller
        return caller


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
