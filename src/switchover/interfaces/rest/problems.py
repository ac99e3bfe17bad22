"""
Errors as RFC 9457 problem documents, with the codes that everything else has too.

``type`` is ``urn:switchover:problem:CODE``; ``code`` says the same for programs that look for it there. What a result
has beside its failure (findings, refused tasks ...) is in the document under the result's own names.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from switchover.domain.task import FailureInfo
from switchover.dto import TaskCreationResult, TaskOperationResult
from switchover.errors import (
    AccessError,
    AuthenticationError,
    ErrorCode,
    ExecutorError,
    IdentityProviderError,
    InvalidAccessRequestError,
    InvalidPlanError,
    NotFoundError,
    StorageError,
    TooManyAttemptsError,
    TransitionError,
)
from switchover.interfaces.rest.answers import PROBLEM, rendered
from switchover.logs import get_log

_log = get_log("switchover.rest")

UNKNOWN = frozenset({ErrorCode.UNKNOWN_PLAN, ErrorCode.UNKNOWN_TASK, ErrorCode.UNKNOWN_TENANT})
COLLISIONS = frozenset(
    {ErrorCode.PLAN_EXISTS, ErrorCode.IDEMPOTENCY_MISMATCH, ErrorCode.TENANT_CONFLICT, ErrorCode.TENANT_ON_HOLD}
)
"""What refuses a plan that is valid in itself."""


class ProblemError(Exception):
    """
    A request ends here.

    Args:
        members: More of the document, under their own names.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: ErrorCode,
        detail: str,
        *,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.members = members or {}
        self.headers = headers or {}

    def response(self) -> Response:
        """The document."""
        return problem(self.status, self.code, self.detail, members=self.members, headers=self.headers)


def problem(
    status: HTTPStatus,
    code: ErrorCode,
    detail: str,
    *,
    members: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as a response."""
    document = {
        "type": f"urn:switchover:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "code": str(code),
        "detail": detail,
        **(members or {}),
    }
    return Response(rendered(document), int(status), media_type=PROBLEM, headers=dict(headers or {}))


def malformed(code: ErrorCode, detail: str, **members: object) -> ProblemError:
    """400: the request itself makes no sense."""
    return ProblemError(HTTPStatus.BAD_REQUEST, code, detail, members=members)


def unknown(failure: FailureInfo | None, what: str) -> ProblemError:
    """404: an id that nobody knows."""
    code = ErrorCode.NOT_FOUND if failure is None else failure.error_code
    detail = f"{what} is not known" if failure is None else failure.message
    members = {} if failure is None else {"failureInfo": failure.to_dict()}
    return ProblemError(HTTPStatus.NOT_FOUND, code, detail, members=members)


def refused_creation(result: TaskCreationResult) -> ProblemError:
    """422, or 409 where the plan is valid and collides with what is there."""
    errors = {finding.code for finding in result.findings if finding.is_error}
    failure = result.failure_info
    code = ErrorCode.INVALID_PLAN if failure is None else failure.error_code
    status = HTTPStatus.CONFLICT if errors and errors <= COLLISIONS else HTTPStatus.UNPROCESSABLE_ENTITY
    return ProblemError(status, code, result.message, members=_members(result.to_dict()))


def refused_operation(result: TaskOperationResult) -> ProblemError:
    """404 for an id that nobody knows, else 409."""
    failure = result.failure_info
    code = ErrorCode.ILLEGAL_STATE if failure is None else failure.error_code
    status = HTTPStatus.NOT_FOUND if code in UNKNOWN else HTTPStatus.CONFLICT
    return ProblemError(status, code, result.message, members=_members(result.to_dict()))


def _members(result: Mapping[str, object]) -> dict[str, object]:
    # "status" of a problem document is the HTTP status.
    return {name: value for name, value in result.items() if name != "status"}


def invalid_plan(error: InvalidPlanError) -> ProblemError:
    """The body is JSON, and no plan at all."""
    findings = [cast("object", getattr(finding, "to_dict", dict[str, object])()) for finding in error.findings]
    first = getattr(error.findings[0], "code", error.code) if error.findings else error.code
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY, first, f"nothing was created: {error.message}", members={"findings": findings}
    )


def of_error(error: ExecutorError) -> ProblemError:
    """What an exception of this package comes to."""
    match error:
        case InvalidPlanError():
            return invalid_plan(error)
        case NotFoundError():
            status = HTTPStatus.NOT_FOUND
        case TransitionError():
            status = HTTPStatus.CONFLICT
        case TooManyAttemptsError():
            headers = {"Retry-After": str(error.retry_after_seconds)}
            return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, error.code, error.message, headers=headers)
        case AuthenticationError():
            headers = {"WWW-Authenticate": "Bearer"}
            return ProblemError(HTTPStatus.UNAUTHORIZED, error.code, error.message, headers=headers)
        case InvalidAccessRequestError():
            taken = error.code in {ErrorCode.TOKEN_EXISTS, ErrorCode.ILLEGAL_STATE}
            status = HTTPStatus.CONFLICT if taken else HTTPStatus.UNPROCESSABLE_ENTITY
        case IdentityProviderError():
            headers = {"Retry-After": "30"}
            return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, error.code, error.message, headers=headers)
        case AccessError():
            status = HTTPStatus.FORBIDDEN
        case StorageError():
            return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, error.code, error.message, headers={"Retry-After": "1"})
        case _:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
    return ProblemError(status, error.code, error.message)


def install(app: FastAPI, note: Callable[[Request, ProblemError], Awaitable[None]]) -> None:
    """
    Every error of every route ends as a problem document.

    Args:
        note: Told of each one first.
    """

    @app.exception_handler(ProblemError)
    async def _problem(request: Request, error: Exception) -> Response:
        found = cast("ProblemError", error)
        await note(request, found)
        return found.response()

    @app.exception_handler(ExecutorError)
    async def _executor_error(request: Request, error: Exception) -> Response:
        found = of_error(cast("ExecutorError", error))
        await note(request, found)
        return found.response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: Exception) -> Response:
        found = cast("RequestValidationError", error).errors()
        told = "; ".join(f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg']}" for item in found)
        return problem(HTTPStatus.BAD_REQUEST, ErrorCode.INVALID_PARAMETER, told)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: Exception) -> Response:
        given = cast("HTTPException", error)
        status = HTTPStatus(given.status_code)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"{request.method} is not possible here; see /openapi.json"
            return problem(status, ErrorCode.METHOD_NOT_ALLOWED, detail, headers=given.headers)
        if status is HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {request.url.path}; see /openapi.json"
            return problem(status, ErrorCode.NOT_FOUND, detail)
        return problem(status, ErrorCode.MALFORMED_REQUEST, str(given.detail), headers=given.headers)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        _log.error("a request failed unexpectedly", path=request.url.path, exc_info=error)
        detail = "something unexpected happened, which is a defect of this program; its log says more"
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.INTERNAL_ERROR, detail)
