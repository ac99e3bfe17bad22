"""The one dependency that every route is behind: who calls, whether they may, and whether the query makes sense."""

from http import HTTPStatus

from fastapi import Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from switchover.domain.access import Principal
from switchover.errors import ErrorCode
from switchover.interfaces.rest.permissions import REQUIRED, AccessControl
from switchover.interfaces.rest.problems import ProblemError, malformed

BEARER = HTTPBearer(auto_error=False, description="A token, as `Authorization: Bearer TOKEN`.")


async def guard(request: Request) -> Principal:
    """
    Let the caller in, or not.

    Raises:
        ProblemError: 401 without a good credential, 403 without the scope, 400 for a query parameter nobody knows.
    """
    route = request.scope["route"]
    access: AccessControl = request.app.state.access
    principal = await access.authenticate(_bearer(request), _remote(request))
    request.state.principal = principal
    scope = REQUIRED[route.name]
    if not principal.may(scope):
        message = f"{principal.name} lacks the scope {scope}, which this call needs"
        raise ProblemError(HTTPStatus.FORBIDDEN, ErrorCode.SCOPE_MISSING, message, members={"scope": str(scope)})
    _check_query(request, route)
    return principal


def _bearer(request: Request) -> str | None:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


def _remote(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _check_query(request: Request, route: APIRoute) -> None:
    known = {parameter.alias for parameter in route.dependant.query_params}  # codespell:ignore dependant
    for name in request.query_params:
        if name not in known:
            names = f"; known are {', '.join(sorted(known))}" if known else "; there is none here"
            raise malformed(ErrorCode.UNKNOWN_PARAMETER, f"unknown query parameter {name[:64]!r}{names}")
