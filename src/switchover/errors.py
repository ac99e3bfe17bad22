"""
Everything that can go wrong, on one screen.

::

    ExecutorError
    ├── InvalidPlanError            the findings of a plan that was refused as a whole
    ├── NotFoundError               an id that nobody knows
    ├── TenantConflictError         another task of the tenant is live
    ├── TransitionError             the state machine refused (illegal, or a guard said no)
    ├── AccessError                 who asks, or what they ask for, is not let in
    │   ├── AuthenticationError         nobody knows who it is
    │   │   └── TooManyAttemptsError        and too many tries came from the same address
    │   ├── AccessDeniedError           the scope, or a tenant, is out of reach
    │   ├── InvalidAccessRequestError   a token cannot be made or changed like that
    │   └── IdentityProviderError       the provider of OpenID Connect is away, or answers nonsense
    ├── EventsPrunedError           events that were asked for are no longer kept
    ├── StageError                  a stage factory or catalogue gave something unusable
    │   └── StepError               a step failed: carries what becomes the FailureInfo
    │       ├── StaleGenerationError    the target holds a newer generation
    │       ├── HealthCheckError        not every endpoint reported the expected version
    │       └── TargetError             a target refused, timed out or answered nonsense
    ├── StageAdriftError            whoever carried a stage out is gone: it begins again
    ├── ServerError                 a server answered something that is no result
    │   └── UnreachableError            or none answered at all
    └── StorageError
        ├── StoreUnavailableError   away for now: trying again is right
        ├── DrivingError            a defect ended the driving: start again, and report it
        ├── StoreConflictError      somebody else wrote: this process must stop writing
        ├── StoreClosedError        used after close (a bug of the caller)
        └── StoreUnusableError      wrong file, newer schema, read-only: a person must act

An expected outcome (a refused pause, an unknown tenant) is a result, not an exception; what is raised is broken
infrastructure or misuse. Callers read ``code``; messages are for people and may change.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from switchover.redaction import without_secrets

_LONGEST_TEXT = 4_000
"""Characters of an error: enough for every message of this package, and no page of somebody's server."""


class ErrorCode(StrEnum):
    """Stable names of refusals and failures: what REST, the command line and ``FailureInfo`` carry."""

    # Validation (behaviour, section 3)
    EMPTY_PLAN = "EMPTY_PLAN"
    MISSING_FIELD = "MISSING_FIELD"
    INVALID_TENANT_ID = "INVALID_TENANT_ID"
    DUPLICATE_TENANT = "DUPLICATE_TENANT"
    INVALID_FIELD = "INVALID_FIELD"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    MIXED_PLAN = "MIXED_PLAN"
    PLAN_EXISTS = "PLAN_EXISTS"
    IDEMPOTENCY_MISMATCH = "IDEMPOTENCY_MISMATCH"
    INVALID_ENDPOINT = "INVALID_ENDPOINT"
    ENDPOINT_NOT_ALLOWED = "ENDPOINT_NOT_ALLOWED"
    NEGATIVE_VERSION = "NEGATIVE_VERSION"
    INCOMPLETE_MEDIA_ROUTING = "INCOMPLETE_MEDIA_ROUTING"
    NO_ENDPOINTS = "NO_ENDPOINTS"
    INVALID_STAGES = "INVALID_STAGES"
    INVALID_SOURCE = "INVALID_SOURCE"
    TENANT_ON_HOLD = "TENANT_ON_HOLD"
    TENANT_CONFLICT = "TENANT_CONFLICT"
    NO_CHANGE = "NO_CHANGE"
    NO_PREVIOUS_CONFIG = "NO_PREVIOUS_CONFIG"
    # Refusals of requests (interfaces, section 1)
    UNKNOWN_TASK = "UNKNOWN_TASK"
    UNKNOWN_TENANT = "UNKNOWN_TENANT"
    UNKNOWN_PLAN = "UNKNOWN_PLAN"
    ILLEGAL_STATE = "ILLEGAL_STATE"
    RETRY_LIMIT_EXCEEDED = "RETRY_LIMIT_EXCEEDED"
    SUPERSEDED = "SUPERSEDED"
    # Access
    UNAUTHENTICATED = "UNAUTHENTICATED"
    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    SCOPE_MISSING = "SCOPE_MISSING"
    TENANT_OUT_OF_REACH = "TENANT_OUT_OF_REACH"
    CSRF_REFUSED = "CSRF_REFUSED"
    INVALID_ACCESS_REQUEST = "INVALID_ACCESS_REQUEST"
    IDENTITY_PROVIDER_UNAVAILABLE = "IDENTITY_PROVIDER_UNAVAILABLE"
    TOKEN_EXISTS = "TOKEN_EXISTS"  # noqa: S105  # a code, no secret
    UNKNOWN_TOKEN = "UNKNOWN_TOKEN"  # noqa: S105  # as above
    # Refusals of the HTTP API, and of its client
    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    INVALID_PARAMETER = "INVALID_PARAMETER"
    UNKNOWN_PARAMETER = "UNKNOWN_PARAMETER"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    EVENTS_PRUNED = "EVENTS_PRUNED"
    UNREACHABLE = "UNREACHABLE"
    NOT_DRIVEN = "NOT_DRIVEN"
    STOPPING = "STOPPING"
    # Failures of steps and stages
    STALE_GENERATION = "STALE_GENERATION"
    HEALTH_CHECK_FAILED = "HEALTH_CHECK_FAILED"
    TARGET_ERROR = "TARGET_ERROR"
    TARGET_UNAVAILABLE = "TARGET_UNAVAILABLE"
    STEP_TIMEOUT = "STEP_TIMEOUT"
    STEP_FAILED = "STEP_FAILED"
    ROLLBACK_INCOMPLETE = "ROLLBACK_INCOMPLETE"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    # Infrastructure
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    STORE_CONFLICT = "STORE_CONFLICT"
    STORE_CLOSED = "STORE_CLOSED"
    STORE_UNUSABLE = "STORE_UNUSABLE"
    INVALID_PLAN = "INVALID_PLAN"


class ErrorType(StrEnum):
    """The coarse kind of a failure (behaviour, section 10)."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    NETWORK_ERROR = "NETWORK_ERROR"
    TIMEOUT_ERROR = "TIMEOUT_ERROR"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    BUSINESS_ERROR = "BUSINESS_ERROR"
    SYSTEM_ERROR = "SYSTEM_ERROR"
    UNKNOWN_ERROR = "UNKNOWN_ERROR"


class ExecutorError(Exception):
    """
    Root of every error that this package raises on purpose.

    Its message is told to many, so no secret stands in it, whatever it was made from.
    """

    code: ErrorCode = ErrorCode.INTERNAL_ERROR

    def __init__(self, message: str, *, code: ErrorCode | None = None) -> None:
        self.message = without_secrets(message)
        super().__init__(self.message)
        if code is not None:
            self.code = code


class InvalidPlanError(ExecutorError):
    """
    A plan that cannot be read or is refused as a whole.

    ``findings`` holds every finding (objects with ``to_dict``), in the order in which they were found.
    """

    code = ErrorCode.INVALID_PLAN

    def __init__(self, message: str, *, findings: Sequence[object] = (), code: ErrorCode | None = None) -> None:
        super().__init__(message, code=code)
        self.findings = tuple(findings)


class NotFoundError(ExecutorError):
    """An id that is not in the store; ``code`` is UNKNOWN_TASK, UNKNOWN_TENANT or UNKNOWN_PLAN."""

    code = ErrorCode.UNKNOWN_TASK


class TenantConflictError(ExecutorError):
    """Another task of the tenant is live."""

    code = ErrorCode.TENANT_CONFLICT


class TransitionError(ExecutorError):
    """The state machine has no such edge, or its guard said no; nothing was changed."""

    code = ErrorCode.ILLEGAL_STATE


class EventsPrunedError(ExecutorError):
    """
    Events that were asked for are no longer kept.

    Attributes:
        kept_since: Whatever is behind this position (or number, over all plans) is kept.
        newest: Where the newest event is: who looks at how things stand now goes on behind it.
    """

    code = ErrorCode.EVENTS_PRUNED

    def __init__(self, since: int, *, kept_since: int, newest: int) -> None:
        super().__init__(
            f"events behind {since} are no longer kept: those behind {kept_since} are. Read on from there, or look at "
            f"how things stand and go on behind {newest}"
        )
        self.kept_since = kept_since
        self.newest = newest


class AccessError(ExecutorError):
    """Who asks, or what they ask for, is not let in."""

    code = ErrorCode.SCOPE_MISSING


class AuthenticationError(AccessError):
    """Nobody knows who asks: no credential, or none that is good. HTTP: 401."""

    code = ErrorCode.UNAUTHENTICATED


class TooManyAttemptsError(AuthenticationError):
    """Too many logins failed from one address; ``retry_after_seconds`` says when the next one is open. HTTP: 429."""

    code = ErrorCode.TOO_MANY_ATTEMPTS

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(f"too many logins failed from this address; try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class AccessDeniedError(AccessError):
    """It is known who asks, and that they may not; ``code`` says whether scope, tenant or form is amiss. HTTP: 403."""


class InvalidAccessRequestError(AccessError):
    """A token cannot be made or changed like that. HTTP: 422, or 409 for TOKEN_EXISTS and ILLEGAL_STATE."""

    code = ErrorCode.INVALID_ACCESS_REQUEST


class IdentityProviderError(AccessError):
    """Who asks cannot be found out now: the provider of OpenID Connect is away, or answers nonsense. HTTP: 503."""

    code = ErrorCode.IDENTITY_PROVIDER_UNAVAILABLE


class StageError(ExecutorError):
    """A stage factory or catalogue raised, gave no stage, or gave two of one name."""

    code = ErrorCode.INVALID_STAGES


class StepError(StageError):
    """
    A step failed.

    What it carries becomes the ``FailureInfo`` of the stage and the task.

    Args:
        message: Names what was expected, what was found, and the next move.
        error_type: The coarse kind.
        retryable: Whether the same step may succeed when nothing but time passes.
    """

    code = ErrorCode.STEP_FAILED

    def __init__(
        self,
        message: str,
        *,
        code: ErrorCode | None = None,
        error_type: ErrorType = ErrorType.BUSINESS_ERROR,
        retryable: bool = True,
    ) -> None:
        super().__init__(message, code=code)
        self.error_type = error_type
        self.retryable = retryable


class StaleGenerationError(StepError):
    """The target already holds a higher generation: a newer switch has written, or the store is older than it."""

    code = ErrorCode.STALE_GENERATION

    def __init__(self, message: str, *, held_generation: int | None = None) -> None:
        super().__init__(message, error_type=ErrorType.BUSINESS_ERROR, retryable=False)
        self.held_generation = held_generation


class HealthCheckError(StepError):
    """Not every endpoint reported the expected version within the configured rounds."""

    code = ErrorCode.HEALTH_CHECK_FAILED


class TargetError(StepError):
    """A target refused, could not be reached, or answered something unreadable."""

    code = ErrorCode.TARGET_ERROR


class StageAdriftError(ExecutorError):
    """Whoever carried a stage out is gone, and nobody knows how far it came: it begins again, under a new fence."""


class ServerError(ExecutorError):
    """
    What a server answered that is no result of a request: its problem document says why.

    Args:
        status: Of HTTP; 0 when there was no answer.
        document: The problem document, as far as there was one.
    """

    code = ErrorCode.INTERNAL_ERROR

    def __init__(
        self,
        message: str,
        *,
        code: ErrorCode | None = None,
        status: int = 0,
        document: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.document = document or {}


class UnreachableError(ServerError):
    """
    No server answers.

    Args:
        was_connected: It answered before, so what was asked of it goes on.
    """

    code = ErrorCode.UNREACHABLE

    def __init__(self, message: str, *, was_connected: bool) -> None:
        super().__init__(message)
        self.was_connected = was_connected


class StorageError(ExecutorError):
    """Whatever the store could not do."""

    code = ErrorCode.STORE_UNAVAILABLE


class StoreUnavailableError(StorageError):
    """The store is away, busy or full; nothing is known to be lost, and trying again is right."""

    code = ErrorCode.STORE_UNAVAILABLE


class DrivingError(StorageError):
    """The engine met what it does not foresee, so this process drives no more; the store has everything as it was."""

    code = ErrorCode.INTERNAL_ERROR


class StoreConflictError(StorageError):
    """A fence or an expected version did not match: another process writes, so this one must stop."""

    code = ErrorCode.STORE_CONFLICT


class StoreClosedError(StorageError):
    """The store was used before ``open`` or after ``aclose``."""

    code = ErrorCode.STORE_CLOSED


class StoreUnusableError(StorageError):
    """The place is no store that this program can use; waiting does not help, a person must act."""

    code = ErrorCode.STORE_UNUSABLE


def text_of(error: BaseException, *, named: bool = True) -> str:
    """
    What an error says, as text that any store can keep: a stranger's class may make anything of it, or raise.

    Args:
        named: With the name of its class.
    """
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # the error is told by its name then
        text = ""
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]} ... ({len(text)} characters)"
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return (f"{name}: {text}" if named else text) if text else name
