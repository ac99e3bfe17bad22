"""What a Redis says when it does not do as it was asked, and what that means: for stores and targets alike."""

import re
from enum import Enum, auto
from typing import Final

from redis import exceptions as rx

_IN_SCRIPT: Final = re.compile(r"\s*script: [0-9a-f]{40}, on @user_script:\d+\.?$")

_CANNOT_NOW: Final = (
    rx.BusyLoadingError,
    rx.ClusterDownError,
    rx.MasterDownError,
    rx.MaxConnectionsError,
    rx.OutOfMemoryError,
    rx.ReadOnlyError,
    rx.TryAgainError,
)

_NOT_NOW: Final = (
    "BUSY ",
    "MISCONF ",
    "NOREPLICAS ",
    "UNKILLABLE ",
    "max number of clients",
    "No connection available",
)
"""How the answers begin with which a Redis says that it cannot now; redis-py knows no class for them."""

_GARBLED: Final = "Protocol error"
"""What it says when a part of what was sent did not arrive."""


class Meaning(Enum):
    """What to do about an error."""

    TIMEOUT = auto()
    """No answer came in time."""

    LOGIN = auto()
    """Nobody is let in with this name and password."""

    NOT_NOW = auto()
    """The server is there, and cannot do it now."""

    NO = auto()
    """The server says no, and will say it again."""

    AWAY = auto()
    """The connection failed."""


def said(error: Exception) -> str:
    """The server's words, without the place in our own script."""
    return _IN_SCRIPT.sub("", str(error) or type(error).__name__).rstrip(". ")


def meaning_of(error: Exception) -> Meaning:
    """Of whatever redis-py or the network raised."""
    text = str(error)
    if isinstance(error, (rx.TimeoutError, TimeoutError)):
        return Meaning.TIMEOUT
    if isinstance(error, (rx.AuthenticationError, rx.AuthorizationError)):
        return Meaning.LOGIN
    if isinstance(error, _CANNOT_NOW) or text.startswith(_NOT_NOW):
        return Meaning.NOT_NOW
    if isinstance(error, rx.ResponseError) and not text.startswith(_GARBLED):
        return Meaning.NO
    return Meaning.AWAY
