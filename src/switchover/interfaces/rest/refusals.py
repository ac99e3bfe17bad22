"""Writes that are refused before they reach the engine are told to the audit log too."""

from contextlib import suppress
from http import HTTPStatus

from fastapi import Request

from switchover.access import AccessControl
from switchover.access.control import actor_of
from switchover.domain.access import Principal
from switchover.domain.audit import Actor
from switchover.errors import AccessDeniedError, StorageError
from switchover.interfaces.rest.problems import ProblemError

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_ABOUT = {"token": "token-", "session": "session-"}


async def note(request: Request, problem: ProblemError) -> None:
    """
    Tell of a write that was not let in; what the engine refuses it tells of itself.

    Whoever has not said who they are cannot fill the log: they are counted like failed logins, and what is beyond the
    limit is not told.
    """
    access = request.app.state.access
    if request.method in _SAFE or problem.status not in _REFUSALS or not isinstance(access, AccessControl):
        return
    remote = "" if request.client is None else request.client.host
    principal = getattr(request.state, "principal", None)
    if isinstance(principal, Principal):
        by = actor_of(principal, origin=remote, via="api")
    else:
        if access.limiter.retry_after(remote):
            return
        access.limiter.failed(remote)
        by = Actor(name="unknown", kind="unknown", origin=remote, via="api")
    name = getattr(request.scope.get("route"), "name", "")
    verb, _, target_type = name.rpartition("_")
    error = AccessDeniedError(problem.detail, code=problem.code)
    with suppress(StorageError):  # the caller is refused all the same
        await access.note_refusal(
            by,
            verb=f"{verb}-line" if target_type == "line" else f"{_ABOUT.get(target_type, '')}{verb}",
            target_type=target_type.upper(),
            target=next(iter(map(str, request.path_params.values())), "line" if target_type == "line" else ""),
            error=error,
        )
