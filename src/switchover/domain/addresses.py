"""
Where this program may connect to, and how an address is shown.

Health checks, targets and webhooks take addresses from configurations that other people write. Whoever can make a
server ask any address can read what only that server may read: so every address is judged by the operator's
allow-list, and some are refused whatever the list says. Names are not judged here: what a name resolves to is, by the
adapter that connects, at each request. Source: behaviour, section 3, ENDPOINT_NOT_ALLOWED.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

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
    "fd20:ce::254/128",  # cloud metadata (Google), inside the private networks
)
"""Refused even when the operator's list covers them."""

_NEVER: tuple[_Network, ...] = tuple(ip_network(text) for text in NEVER_ALLOWED)
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}")
_NAT64 = IPv6Network("64:ff9b::/96")
_SECRET_WORDS = ("pass", "token", "secret", "key", "auth", "user")


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

        An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) is judged as the IPv4 address that it leads to.
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
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    # A zone (fe80::1%eth0) names an interface, not another address.
    return IPv6Address(int(address))


def without_credentials(url: str) -> str:
    """The URL as it may be shown: user and password gone, secrets in the query replaced by ``***``."""
    url = url.encode("utf-8", "backslashreplace").decode()  # what a server sends in a header may be no text
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
    except ValueError:
        return url.rpartition("@")[2]
    query = parts.query
    if any(word in query.lower() for word in _SECRET_WORDS):
        query = urlencode(
            [(name, _shown(name, value)) for name, value in parse_qsl(query, keep_blank_values=True)], safe="*"
        )
    shown = urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))
    # urlunsplit writes file:///path only when it knows the scheme; keep what was given.
    return shown if shown.startswith(f"{parts.scheme}://") or "://" not in url else url


def without_password(url: str) -> str:
    """
    The URL of a store as it may be shown and typed again: the password is gone, and secrets among the options.

    Nothing but the scheme is left where an unescaped character in the password hides its end.
    """
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user_info, at, host = authority.rpartition("@")
    if not authority or not separator:
        return url
    database, mark, query = path.partition("?")
    if "@" in database or "#" in rest or ("?" in authority and at):
        return f"{scheme}://..."
    host, early_mark, early_query = host.partition("?")
    if early_mark:
        mark, query = early_mark, early_query + slash + path
        slash, database = "", ""
    options = [(name, _shown(name, value)) for name, value in parse_qsl(query, keep_blank_values=True)]
    return f"{scheme}://{user_info.partition(':')[0]}{at}{host}{slash}{database}{mark}{urlencode(options, safe='*,/')}"


def _shown(name: str, value: str) -> str:
    return "***" if any(word in name.lower() for word in _SECRET_WORDS) else value


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
