"""
Where this program may connect to.

Health checks, targets and webhooks take addresses from configurations that other people write. Whoever can make a
server ask any address can read what only that server may read: so every address is judged by the operator's
allow-list, and some are refused whatever the list says. Names are not judged here: what a name resolves to is, by the
adapter that connects, at each request. Source: behaviour, section 3, ENDPOINT_NOT_ALLOWED.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

NEVER_ALLOWED: tuple[str, ...] = (
    "0.0.0.0/8",  # "this host": connecting to it reaches loopback
    "169.254.0.0/16",  # link-local, with the metadata services of most clouds (169.254.169.254, 169.254.170.2)
    "224.0.0.0/4",  # multicast
    "255.255.255.255/32",  # broadcast
    "100.100.100.200/32",  # cloud metadata (Alibaba), inside the carrier network
    "168.63.129.16/32",  # cloud metadata and agents (Azure)
    "192.0.0.192/32",  # cloud metadata (Oracle)
    "::/128",  # unspecified
    "fe80::/10",  # link-local
    "fec0::/10",  # site-local, retired
    "ff00::/8",  # multicast
    "fd00:ec2::/32",  # cloud metadata and time (AWS), inside the private networks
    "64:ff9b:1::/48",  # translation for local use: which IPv4 address it leads to, only the network knows
    "2001::/32",  # Teredo: a tunnel, and only its other end knows where to
    "fd20:ce::254/128",  # cloud metadata (Google), inside the private networks
)
"""Refused even when the operator's list covers them."""

_NEVER: tuple[_Network, ...] = tuple(ip_network(text) for text in NEVER_ALLOWED)
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}")
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


class AllowList:
    """
    The networks that may be reached.

    Args:
        networks: In CIDR notation; a single address is a network of one.

    Raises:
        ValueError: One of them is no network (host bits set, or not an address at all); the message names it.
    """

    __slots__ = ("_networks", "_ranges", "_texts")

    def __init__(self, networks: Iterable[str]) -> None:
        self._texts = tuple(networks)
        self._networks: tuple[_Network, ...] = tuple(_parse(text) for text in self._texts)
        self._ranges = _ranges(self._networks)

    def permits(self, ip_text: str) -> bool:
        """
        Whether this address may be reached; text that is no IP address never may.

        An IPv4 address inside an IPv6 one (mapped, compatible, 6to4, NAT64) is judged as the IPv4 one that it leads to.
        """
        spelt = _IPV4.fullmatch(ip_text)
        if spelt is not None:
            # A plan may bring 100,000 of these: comparing numbers is ten times as fast as asking ipaddress.
            number = int(spelt[1]) << 24 | int(spelt[2]) << 16 | int(spelt[3]) << 8 | int(spelt[4])
            return not _covers(_NEVER_RANGES, number) and _covers(self._ranges, number)
        try:
            address = ip_address(ip_text.strip("[]"))
        except ValueError:
            return False
        address = _effective(address)
        if any(address in network for network in _NEVER):
            return False
        return any(address in network for network in self._networks)

    @property
    def networks(self) -> tuple[str, ...]:
        """As they were given."""
        return self._texts

    def __repr__(self) -> str:
        return f"AllowList({list(self._texts)!r})"


def _ranges(networks: Iterable[_Network]) -> tuple[tuple[int, int], ...]:
    """The IPv4 networks as numbers: (first address, mask)."""
    return tuple(
        (int(network.network_address), int(network.netmask)) for network in networks if isinstance(network, IPv4Network)
    )


_NEVER_RANGES = _ranges(_NEVER)


def _covers(ranges: tuple[tuple[int, int], ...], number: int) -> bool:
    for first, mask in ranges:  # noqa: SIM110  # a generator for any() doubles the time
        if number & mask == first:
            return True
    return False


def _parse(text: str) -> _Network:
    try:
        return ip_network(text)
    except ValueError as error:
        msg = f"allow-list entry {text!r} is no network: {error}"
        raise ValueError(msg) from error


def _effective(address: _Address) -> _Address:
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    # A zone (fe80::1%eth0) names an interface, not another address.
    return IPv6Address(int(address))


def host_and_port(text: str) -> str:
    """
    What stands between ``http://`` and the path for a domain or an IP address with an optional port.

    IPv6 addresses get their brackets: ``::1`` -> ``[::1]``, ``[::1]:8080`` stays as it is.

    Raises:
        ValueError: It is neither.
    """
    address = text.strip()
    if not address or any(char in address for char in "/?#@\\ \t\r\n"):
        msg = f"{text!r} is neither a domain nor an IP address with an optional port"
        raise ValueError(msg)
    if address.count(":") > 1 and not address.startswith("["):
        return f"[{IPv6Address(address)}]"
    return address if address.isascii() else _ascii_host(address)


def _ascii_host(address: str) -> str:
    host, colon, port = address.partition(":")
    return f"{host.encode('idna').decode('ascii')}{colon}{quote(port)}"
