"""Random secrets, and the only trace of them that is kept: their digest."""

import hashlib
import hmac
import re
import secrets
from typing import Final

TOKEN_PREFIX: Final = "swo_"  # noqa: S105  # what every token begins with, so that scanners of repositories find leaked ones
_BYTES: Final = 32
_TOKEN: Final = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}")


def new_token() -> str:
    """A token: 256 random bits behind the prefix."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_BYTES)


def new_cookie() -> str:
    """The value of a session's cookie: 256 random bits."""
    return secrets.token_urlsafe(_BYTES)


def is_token(text: str) -> bool:
    """Whether it has the shape of a token; nothing else is worth looking for."""
    return _TOKEN.fullmatch(text) is not None


def digest_of(secret: str) -> str:
    """SHA-256, in hex. Quick on purpose: random bits cannot be guessed, however quickly one may try."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def is_same(one: str | None, other: str) -> bool:
    """Compared in constant time."""
    return one is not None and hmac.compare_digest(one.encode(), other.encode())


def csrf_token(cookie: str) -> str:
    """
    What a form of a session has to bring along beside the cookie.

    It follows from the cookie, so nothing has to be kept; another site can make a browser send the cookie, but can
    neither read it nor compute this.
    """
    return hmac.new(cookie.encode(), b"switchover csrf", hashlib.sha256).hexdigest()
