"""Where the server is and how it is to be used: what a store's URL says."""

import re
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import parse_url

from switchover.errors import StoreUnusableError
from switchover.redaction import without_password

DEFAULT_PREFIX: Final = "switchover"

FSYNC: Final = ("always", "everysec", "unchecked")
"""What may be asked of the server's ``appendfsync``."""

_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPTIONS: Final = ("prefix", "appendfsync")
_OF_DRIVER: Final = (
    "db",
    "health_check_interval",
    "socket_keepalive",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """
    One Redis database and a part of its keys.

    Attributes:
        shown: The URL without what is secret, for messages.
        url: For the driver: without our own options.
        prefix: What every key begins with, before a colon.
        appendfsync: The weakest that is accepted; ``unchecked``: the operator vouches for it.
    """

    shown: str
    url: str
    prefix: str
    appendfsync: str


def read_address(url: str) -> Address:
    """
    Read ``redis://``, ``rediss://`` (TLS) or ``unix://`` (a socket's path, and ``?db=N``).

    Raises:
        StoreUnusableError: It cannot be understood.
    """
    shown = without_password(url)
    try:
        parts = urlsplit(url)
        port = parts.port
        cast("dict[str, Any]", parse_url(url))
    except ValueError as error:
        raise StoreUnusableError(f"store {shown!r} is no Redis URL: {error}; write redis://HOST:PORT/DB") from error
    database = parts.path.removeprefix("/")
    if parts.scheme != "unix" and database and not (database.isascii() and database.isdigit()):
        message = f"store {shown!r}: the database is {database!r} and must be a number; write redis://HOST:PORT/DB"
        raise StoreUnusableError(message)
    if parts.scheme == "unix" and not database:
        raise StoreUnusableError(f"store {shown!r} names no socket; write unix:///path/of/redis.sock?db=0")
    if port == 0:
        raise StoreUnusableError(f"store {shown!r}: the port is 0 and must be 1 to 65535")
    given = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(given)
    for name in options:
        if name not in {*_OPTIONS, *_OF_DRIVER}:
            known = ", ".join(sorted((*_OPTIONS, *_OF_DRIVER)))
            raise StoreUnusableError(f"store {shown!r} has the unknown option {name!r}; there are {known}")
    prefix = options.get("prefix", DEFAULT_PREFIX)
    if not _PREFIX.fullmatch(prefix):
        message = f"store {shown!r}: prefix is {prefix!r} and must be 1 to 64 letters, digits, '.', '_' or '-'"
        raise StoreUnusableError(message)
    appendfsync = options.get("appendfsync", FSYNC[0])
    if appendfsync not in FSYNC:
        message = f"store {shown!r}: appendfsync is {appendfsync!r} and must be one of {', '.join(FSYNC)}"
        raise StoreUnusableError(message)
    rest = urlencode([(name, value) for name, value in given if name not in _OPTIONS])
    bare = url.partition("?")[0]
    return Address(shown=shown, url=f"{bare}?{rest}" if rest else bare, prefix=prefix, appendfsync=appendfsync)
