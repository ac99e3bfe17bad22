"""What the server or the way to it said, and what that means: wait, or call a person."""

from typing import Final

from redis import exceptions as rx

from switchover.adapters.redis_answers import Meaning, meaning_of, said
from switchover.errors import StorageError, StoreUnavailableError, StoreUnusableError

BROKEN: Final = (rx.RedisError, OSError, EOFError, TimeoutError)
"""All that a call of the driver may raise which is not the caller's mistake."""

LOST: Final = (rx.ConnectionError, rx.TimeoutError, rx.InvalidResponse, OSError, EOFError)
"""What an error is when the connection came to an end, so that nobody knows what became of what was sent."""

UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What reading a value raises that this program cannot have written."""

_REFUSED: Final = "nothing was changed"
_UNKNOWN_OUTCOME: Final = "What was on its way was done whole or not at all"

_NO_RIGHTS: Final = (
    f"the user of the URL may not do that; {_REFUSED}. Give it the commands and keys that the documentation of this "
    f"store lists (ACL SETUSER)"
)

# The first that fits; subclasses before their classes.
_BY_CLASS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (
        rx.AuthenticationError,
        "the server did not accept the password. Correct user and password in the URL (redis://USER:PASSWORD@HOST)",
    ),
    (rx.AuthorizationError, "the server did not let this user in. Correct the user in the URL"),
    (rx.NoPermissionError, _NO_RIGHTS),
    (rx.BusyLoadingError, f"the server is still loading its data; {_REFUSED}. It answers when it has ended"),
    (
        rx.ReadOnlyError,
        (
            f"the server is a read-only replica; {_REFUSED}. After a failover, promote it or let the URL name the new "
            f"primary"
        ),
    ),
    (
        rx.OutOfMemoryError,
        f"the server has reached its maxmemory; {_REFUSED}. Raise maxmemory, or make room; the work goes on then",
    ),
    (
        rx.MasterDownError,
        f"the server is a replica without its primary; {_REFUSED}. Bring the primary back, or promote a replica",
    ),
    (rx.ClusterError, "the server is part of a cluster, which this store cannot use. Name one that is not"),
    (rx.MovedError, "the server is part of a cluster, which this store cannot use. Name one that is not"),
    (rx.TimeoutError, f"the server gave no answer in time. {_UNKNOWN_OUTCOME}"),
    (rx.MaxConnectionsError, f"too many calls waited for a connection; {_REFUSED}"),
    (TimeoutError, f"the server gave no answer in time. {_UNKNOWN_OUTCOME}"),
    (
        rx.InvalidResponse,
        (
            "what answered does not speak the protocol of Redis. See that the URL names a Redis server, and what is "
            "between it and this machine"
        ),
    ),
)

_BY_TEXT: Final[tuple[tuple[str, str], ...]] = (
    ("MISCONF", f"the server cannot write its files, so it takes no changes; {_REFUSED}. See its log and disk"),
    ("NOREPLICAS", f"the server has fewer replicas than min-replicas-to-write asks for; {_REFUSED}"),
    ("BUSY ", f"the server is busy with a script of somebody; {_REFUSED}"),
    ("UNKILLABLE", f"the server is busy with a script of somebody; {_REFUSED}"),
    ("Protocol error", f"the connection failed. {_UNKNOWN_OUTCOME}"),
    ("max number of clients", f"the server takes no more connections; {_REFUSED}. Raise its maxclients"),
    (
        "WRONGTYPE",
        f"another program has written under the prefix of this store; {_REFUSED}. Take another prefix or database",
    ),
    ("ACL failure in script", _NO_RIGHTS),
    ("user executing the script", _NO_RIGHTS),
    ("unknown command", "the server lacks a command that this store needs. Take Redis 7 or later"),
    ("DB index is out of range", "the server has no database of that number. Name another one in the URL"),
    ("invalid DB index", "the server has no database of that number. Name another one in the URL"),
)


def translate(place: str, doing: str, error: Exception) -> StorageError:
    """The store's error for one of the driver, with the next move."""
    words, meaning = said(error), meaning_of(error)
    message = f"{place}: while {doing}, {_sentence(error, words, meaning)} ({words})"
    return StoreUnusableError(message) if meaning in {Meaning.LOGIN, Meaning.NO} else StoreUnavailableError(message)


def damaged(place: str, error: Exception) -> StoreUnusableError:
    """The store's error for a value that cannot be read."""
    return StoreUnusableError(
        f"{place}: something was found there that this program never writes ({type(error).__name__}: {error}), so the "
        f"data is damaged; nothing was changed. See what `switchover doctor` finds, and restore the last backup"
    )


def _sentence(error: Exception, words: str, meaning: Meaning) -> str:
    for start, sentence in _BY_TEXT:
        if start in words:
            return sentence
    for kind, sentence in _BY_CLASS:
        if isinstance(error, kind):
            return sentence
    if meaning is Meaning.NO:
        return f"the server refused; {_REFUSED}. See what `switchover doctor` finds"
    return f"the connection failed. {_UNKNOWN_OUTCOME}"
