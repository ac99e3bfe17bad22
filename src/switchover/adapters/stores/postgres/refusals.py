"""What the server or the way to it said, and what that means: wait, stop, or call a person."""

from enum import Enum, auto
from typing import Final

from switchover.adapters.stores.postgres.sql import pg


class Refusal(Enum):
    """What to do about an error."""

    WAIT = auto()
    """Trying again is right: it is away, busy or full."""

    CONFLICT = auto()
    """Somebody else wrote."""

    PERSON = auto()
    """Waiting does not help."""


_UNKNOWN_OUTCOME: Final = "What was on its way was done whole or not at all"
_NOTHING: Final = "nothing was changed"

# The first that fits; subclasses before their classes.
_ANSWERS: Final[tuple[tuple[type[BaseException], Refusal, str], ...]] = (
    (
        pg.InvalidPasswordError,
        Refusal.PERSON,
        "the server did not accept the password. Correct it in the URL, in PGPASSWORD or in the password file",
    ),
    (
        pg.InvalidAuthorizationSpecificationError,
        Refusal.PERSON,
        "the server did not let this user in. See the user of the URL and the server's pg_hba.conf",
    ),
    (
        pg.InvalidCatalogNameError,
        Refusal.PERSON,
        "the server knows no such database. Create it (`createdb`), or name another one",
    ),
    (
        pg.InsufficientPrivilegeError,
        Refusal.PERSON,
        (
            f"the user of the URL may not do that; {_NOTHING}. Make it the owner of the database or of a schema of its "
            f"own (`CREATE SCHEMA switchover AUTHORIZATION USER`, and ?search_path=switchover in the URL)"
        ),
    ),
    (
        pg.TooManyConnectionsError,
        Refusal.WAIT,
        (
            f"the server had no connection left; {_NOTHING}. Raise max_connections, or let fewer programs in; trying "
            f"again is right"
        ),
    ),
    (
        pg.DiskFullError,
        Refusal.WAIT,
        f"the disk of the server was full; {_NOTHING}. Make room there; trying again is right",
    ),
    (
        pg.InsufficientResourcesError,
        Refusal.WAIT,
        f"the server lacked memory or another resource; {_NOTHING}. See its log; trying again is right",
    ),
    (
        pg.ReadOnlySQLTransactionError,
        Refusal.WAIT,
        (
            f"the server accepted no write: it is a standby, or was set read-only; {_NOTHING}. Promote it, or name the "
            f"primary (with several hosts: ?target_session_attrs=read-write); trying again is right"
        ),
    ),
    (
        pg.QueryCanceledError,
        Refusal.WAIT,
        (
            f"the server gave up after its time limit (statement_timeout), or an administrator cancelled the "
            f"statement; {_NOTHING}. If it comes again, raise the limit for this user; trying again is right"
        ),
    ),
    (
        pg.LockNotAvailableError,
        Refusal.WAIT,
        (
            f"a lock was not to be had within the server's limit; {_NOTHING}. See who holds it in pg_locks; trying "
            f"again is right"
        ),
    ),
    (
        pg.IdleSessionTimeoutError,
        Refusal.WAIT,
        f"the server had ended the idle session; {_NOTHING}. Trying again is right",
    ),
    (
        pg.OperatorInterventionError,
        Refusal.WAIT,
        f"the server was stopping, starting, or ended this session. {_UNKNOWN_OUTCOME}; trying again is right",
    ),
    (
        pg.TransactionRollbackError,
        Refusal.WAIT,
        f"the server rolled the transaction back because of another one; {_NOTHING}. Trying again is right",
    ),
    (
        pg.UniqueViolationError,
        Refusal.CONFLICT,
        f"a row to be written exists already: somebody else wrote; {_NOTHING}",
    ),
    (
        pg.FeatureNotSupportedError,
        Refusal.PERSON,
        f"the server does not know what was asked of it; {_NOTHING}. PostgreSQL 13 or newer is needed",
    ),
    (
        pg.DuplicatePreparedStatementError,
        Refusal.PERSON,
        (
            f"prepared statements got mixed up: there is a pooler in transaction mode between; {_NOTHING}. Add "
            f"?statement_cache_size=0 to the URL"
        ),
    ),
    (
        pg.InvalidSQLStatementNameError,
        Refusal.PERSON,
        (
            f"prepared statements got lost: there is a pooler in transaction mode between; {_NOTHING}. Add "
            f"?statement_cache_size=0 to the URL"
        ),
    ),
    (
        pg.DataCorruptedError,
        Refusal.PERSON,
        f"the server found damaged data; {_NOTHING}. Keep a copy, and restore the last backup",
    ),
    (
        pg.IndexCorruptedError,
        Refusal.PERSON,
        f"the server found a damaged index; {_NOTHING}. Rebuild it (REINDEX), and look for the cause",
    ),
    (
        pg.PostgresSystemError,
        Refusal.WAIT,
        f"the server's operating system reported an error; {_NOTHING}. See its disk and its log; trying again is right",
    ),
    (
        pg.PostgresConnectionError,
        Refusal.WAIT,
        f"the connection ended. {_UNKNOWN_OUTCOME}; trying again is right",
    ),
    (
        TimeoutError,
        Refusal.WAIT,
        (
            f"no answer came in time. {_UNKNOWN_OUTCOME}. See whether the server can be reached and is busy; trying "
            f"again is right"
        ),
    ),
    (
        OSError,
        Refusal.WAIT,
        (
            f"the server could not be reached. {_UNKNOWN_OUTCOME}. See host and port of the URL and whether the server "
            f"runs; trying again is right"
        ),
    ),
    (
        pg.ClientConfigurationError,
        Refusal.PERSON,
        "the URL could not be used. See its options and the PG... variables of the environment",
    ),
    (
        ValueError,
        Refusal.PERSON,
        f"a value cannot be stored; {_NOTHING}. See what it is in the server's words",
    ),
    (
        pg.InterfaceError,
        Refusal.WAIT,
        f"the connection had ended. {_UNKNOWN_OUTCOME}; trying again is right",
    ),
    (
        pg.PostgresError,
        Refusal.PERSON,
        (
            f"the server refused; {_NOTHING}. The schema does not look as this program left it: see what `switchover "
            f"doctor` finds, and restore a backup if it finds damage"
        ),
    ),
)


def refusal_of(error: Exception) -> tuple[Refusal, str]:
    """What it means, and the sentence that completes "while ...", with the server's own words."""
    for kind, refusal, sentence in _ANSWERS:
        if isinstance(error, kind):
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            return refusal, f"{sentence} ({said})"
    return Refusal.WAIT, f"the connection failed. {_UNKNOWN_OUTCOME}; trying again is right ({type(error).__name__})"
