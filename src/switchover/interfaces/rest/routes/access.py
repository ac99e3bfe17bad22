"""Tokens, sessions and the audit log: for admins who are limited to no tenants."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from switchover.access import AccessControl, IssuedToken
from switchover.access.views import session_view, token_view
from switchover.domain.audit import AuditFilter, Outcome
from switchover.errors import ErrorCode
from switchover.interfaces.rest.answers import answer
from switchover.interfaces.rest.bodies import Reason, RotationRequest, TokenRequest, body_of, read_as
from switchover.interfaces.rest.parameters import (
    Cursor,
    Limit,
    actor_of_request,
    behind,
    executor_of,
    page,
    principal_of,
    reason_of,
)
from switchover.interfaces.rest.problems import ProblemError, malformed
from switchover.interfaces.rest.reach import check_everyone
from switchover.interfaces.rest.schemas import AuditRecord, Ended, NewToken, Page, Session, Token

router = APIRouter(tags=["access"])

TokenName = Annotated[str, Path(alias="name", min_length=1, max_length=64, description="Name of the token.")]
SessionText = Annotated[str, Path(alias="sessionId", min_length=1, max_length=64, description="Id of the session.")]


@router.get("/tokens", response_model=Page[Token])
async def list_tokens(request: Request) -> Response:
    """List all tokens that ever were, without what they are."""
    tokens = await _access(request).list_tokens()
    return answer(page([token_view(token) for token in tokens], None))


@router.post("/tokens", status_code=HTTPStatus.CREATED, response_model=NewToken, openapi_extra=body_of(TokenRequest))
async def create_token(request: Request) -> Response:
    """Make a token; the answer is the only one that ever has it."""
    access = _access(request)
    given = await read_as(request, TokenRequest)
    issued = await access.create_token(
        given.name,
        given.scopes,
        by=actor_of_request(request),
        tenants=given.tenants,
        expires_in_seconds=given.expires_in,
        reason=reason_of(request, given),
    )
    return _issued(issued, HTTPStatus.CREATED)


@router.post("/tokens/{name}/rotate", response_model=NewToken, openapi_extra=body_of(RotationRequest))
async def rotate_token(request: Request, name: TokenName) -> Response:
    """Give a token a new secret; the old one stays good for ``grace``, an hour by default."""
    access = _access(request)
    given = await read_as(request, RotationRequest)
    by, reason = actor_of_request(request), reason_of(request, given)
    return _issued(await access.rotate_token(name, by=by, grace_seconds=given.grace, reason=reason), HTTPStatus.OK)


@router.post("/tokens/{name}/revoke", response_model=Token, openapi_extra=body_of(Reason))
async def revoke_token(request: Request, name: TokenName) -> Response:
    """Refuse a token from now on, and the sessions that were opened with it."""
    access = _access(request)
    reason = reason_of(request, await read_as(request, Reason))
    token = await access.revoke_token(name, by=actor_of_request(request), reason=reason)
    return answer(token_view(token))


@router.get("/sessions", response_model=Page[Session])
async def list_sessions(request: Request) -> Response:
    """List the open sessions of the console."""
    sessions = await _access(request).list_sessions()
    return answer(page([session_view(session) for session in sessions], None))


@router.post("/sessions/{sessionId}/end", response_model=Ended, openapi_extra=body_of(Reason))
async def end_session(request: Request, session_id: SessionText) -> Response:
    """End a session: its browser has to log in again."""
    access = _access(request)
    by, reason = actor_of_request(request), reason_of(request, await read_as(request, Reason))
    return answer({"ended": await access.end_sessions([session_id], by=by, reason=reason)})


@router.get("/audit", response_model=Page[AuditRecord])
async def list_audit(
    request: Request,
    *,
    limit: Limit = 100,
    cursor: Cursor = None,
    actor: Annotated[str | None, Query(max_length=256, description="Only what this actor did.")] = None,
    verb: Annotated[str | None, Query(max_length=64, description="Only this verb.")] = None,
    target_type: Annotated[str | None, Query(alias="targetType", max_length=16, description="PLAN, TASK ...")] = None,
    target: Annotated[str | None, Query(max_length=256, description="Only what was about this id.")] = None,
    outcome: Annotated[Outcome | None, Query(description="Only what ended like this.")] = None,
    since: Annotated[datetime | None, Query(description="Not older than this moment.")] = None,
    until: Annotated[datetime | None, Query(description="Older than this moment.")] = None,
) -> Response:
    """Read the audit log, the newest first."""
    _access(request)
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and moment.tzinfo is None:
            message = f"{name}: a moment needs its offset, such as 2026-01-31T00:00:00Z"
            raise malformed(ErrorCode.INVALID_PARAMETER, message, parameter=name)
    wanted = AuditFilter(
        actor=actor, verb=verb, target_type=target_type, target=target, outcome=outcome, since=since, until=until
    )
    store = executor_of(request).store
    records = await store.access.list_audit(wanted, before=behind(cursor), limit=limit + 1)
    rest = records[limit - 1].number if len(records) > limit else None
    return answer(page([record.to_dict() for record in records[:limit]], rest))


def _access(request: Request) -> AccessControl:
    check_everyone(principal_of(request), "what decides about access to all of them")
    access: object = request.app.state.access
    if not isinstance(access, AccessControl):
        message = "this server lets everybody in, so it keeps no tokens; start it with access control"
        raise ProblemError(HTTPStatus.CONFLICT, ErrorCode.ILLEGAL_STATE, message)
    return access


def _issued(issued: IssuedToken, status: HTTPStatus) -> Response:
    body = {**token_view(issued.token), "token": issued.secret}
    return answer(body, status, headers={"Cache-Control": "no-store"})
