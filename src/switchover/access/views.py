"""How tokens and sessions are shown, in camelCase: everything but what would let somebody in."""

from datetime import datetime

from switchover.domain.access import AccessToken, LoginSession
from switchover.domain.task import wire_timestamp


def token_view(token: AccessToken) -> dict[str, object]:
    """A token."""
    return {
        "name": token.name,
        "scopes": sorted(token.scopes),
        "tenants": list(token.tenants.patterns),
        "createdAt": _moment(token.created_at),
        "createdBy": token.created_by,
        "expiresAt": _moment(token.expires_at),
        "lastUsedAt": _moment(token.last_used_at),
        "rotatedAt": _moment(token.rotated_at),
        "previousUntil": _moment(token.previous_until),
        "revokedAt": _moment(token.revoked_at),
    }


def session_view(session: LoginSession) -> dict[str, object]:
    """A session."""
    return {
        "sessionId": session.session_id,
        "name": session.name,
        "kind": str(session.kind),
        "scopes": sorted(session.scopes),
        "tenants": list(session.tenants.patterns),
        "token": session.token_name,
        "origin": session.origin,
        "createdAt": _moment(session.created_at),
        "expiresAt": _moment(session.expires_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else wire_timestamp(moment)
