"""What the server or the way to it said, and what that means: wait, or call a person."""

import re
from typing import Final

from redis import exceptions as rx

from switchover.errors import StorageError, StoreUnavailableError, StoreUnusableError

BROKEN: Final = (rx.RedisError, OSError, EOFError, TimeoutError)
"""All that a call of the driver may raise which is not the caller's mistake."""

LOST: Final = (rx.ConnectionError, rx.TimeoutError, rx.InvalidResponse, OSError, EOFError)
"""What an error is when the connection came to an end, so that nobody knows what became of what was sent."""

UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What reading a value raises that this program cannot have written."""

_IN_SCRIPT: Final = re.compile(r"\s*script: [0-9a-f]{40}, on @user_script:\d+\.?$")

_REFUSED: Final = "nothing was changed"
_UNKNOWN_OUTCOME: Final = "What was on its way was done whole or not at all"

_NO_RIGHTS: Final = (
    f"the user of the URL may not do that; {_REFUSED}. Give it the commands and keys that the documentation of this "
    f"store lists (ACL SETUSER)"
)

# The first that fits; subclasses before their classes. The second: waiting helps.
_BY_CLASS: Final[tuple[tuple[type[Exception], bool, str], ...]] = (
    (
        rx.AuthenticationError,
        False,
        "the server did not accept the password. Correct user and password in the URL (redis://USER:PASSWORD@HOST)",
    ),
    (rx.AuthorizationError, False, "the server did not let this user in. Correct the user in the URL"),
    (rx.NoPermissionError, False, _NO_RIGHTS),
    (rx.BusyLoadingError, True, f"the server is still loading its data; {_REFUSED}. It answers when it has ended"),
    (
        rx.ReadOnlyError,
        True,
        (
            f"the server is a read-only replica; {_REFUSED}. After a failover, promote it or let the URL name the new "
            f"primary"
        ),
    ),
    (
        rx.OutOfMemoryError,
        True,
        f"the server has reached its maxmemory; {_REFUSED}. Raise maxmemory, or make room; the work goes on then",
    ),
    (
        rx.MasterDownError,
        True,
        f"the server is a replica without its primary; {_REFUSED}. Bring the primary back, or promote a replica",
    ),
    (rx.ClusterError, False, "the server is part of a cluster, which this store cannot use. Name one that is not"),
    (rx.MovedError, False, "the server is part of a cluster, which this store cannot use. Name one that is not"),
    (rx.TimeoutError, True, f"the server gave no answer in time. {_UNKNOWN_OUTCOME}"),
    (rx.MaxConnectionsError, True, f"too many calls waited for a connection; {_REFUSED}"),
    (TimeoutError, True, f"the server gave no answer in time. {_UNKNOWN_OUTCOME}"),
    (
        rx.InvalidResponse,
        True,
        (
            "what answered does not speak the protocol of Redis. See that the URL names a Redis server, and what is "
            "between it and this machine"
        ),
    ),
)

_BY_TEXT: Final[tuple[tuple[str, bool, str], ...]] = (
    ("MISCONF", True, f"the server cannot write its files, so it takes no changes; {_REFUSED}. See its log and disk"),
    ("NOREPLICAS", True, f"the server has fewer replicas than min-replicas-to-write asks for; {_REFUSED}"),
    ("BUSY ", True, f"the server is busy with a script of somebody; {_REFUSED}"),
    ("UNKILLABLE", True, f"the server is busy with a script of somebody; {_REFUSED}"),
    ("Protocol error", True, f"the connection failed. {_UNKNOWN_OUTCOME}"),
    ("max number of clients", True, f"the server takes no more connections; {_REFUSED}. Raise its maxclients"),
    (
        "WRONGTYPE",
        False,
        f"another program has written under the prefix of this store; {_REFUSED}. Take another prefix or database",
    ),
    ("ACL failure in script", False, _NO_RIGHTS),
    ("user executing the script", False, _NO_RIGHTS),
    ("unknown command", False, "the server lacks a command that this store needs. Take Redis 7 or later"),
    ("DB index is out of range", False, "the server has no database of that number. Name another one in the URL"),
    ("invalid DB index", False, "the server has no database of that number. Name another one in the URL"),
)


def translate(place: str, doing: str, error: Exception) -> StorageError:
    """The store's error for one of the driver, with the next move."""
    said = _IN_SCRIPT.sub("", str(error) or type(error).__name__).rstrip(". ")
    waiting, meaning = _judge(error, said)
    message = f"{place}: while {doing}, {meaning} ({said})"
    return StoreUnavailableError(message) if waiting else StoreUnusableError(message)


def damaged(place: str, error: Exception) -> StoreUnusableError:
    """The store's error for a value that cannot be read."""
    return StoreUnusableError(
        f"{place}: something was found there that this program never writes ({type(error).__name__}: {error}), so the "
        f"data is damaged; nothing was changed. See what `switchover doctor` finds, and restore the last backup"
    )


def _judge(error: Exception, said: str) -> tuple[bool, str]:
    for start, waiting, meaning in _BY_TEXT:
        if start in said:
            return waiting, meaning
    for kind, waiting, meaning in _BY_CLASS:
        if isinstance(error, kind):
            return waiting, meaning
    if isinstance(error, LOST):
        return True, f"the connection failed. {_UNKNOWN_OUTCOME}"
    return False, f"the server refused; {_REFUSED}. See what `switchover doctor` finds"
