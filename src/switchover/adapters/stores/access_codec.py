"""How stores write down tokens, sessions and the audit log: JSON beside the columns that they are found by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from switchover.adapters.stores.codec import (
    decode_json,
    decode_moment,
    decode_optional_moment,
    encode_json,
    encode_moment,
    encode_optional_moment,
)
from switchover.domain.access import AccessToken, LoginSession, PrincipalKind, Scope, TenantSelector
from switchover.domain.audit import Actor, AuditEntry, Outcome


def encode_token(token: AccessToken) -> str:
    """Everything but its name, its digests and when it was used last, which are columns."""
    return encode_json(
        {
            "scopes": sorted(token.scopes),
            "tenants": token.tenants.patterns,
            "createdAt": encode_moment(token.created_at),
            "createdBy": token.created_by,
            "expiresAt": encode_optional_moment(token.expires_at),
            "rotatedAt": encode_optional_moment(token.rotated_at),
            "previousUntil": encode_optional_moment(token.previous_until),
            "revokedAt": encode_optional_moment(token.revoked_at),
        }
    )


def decode_token(
    *,
    name: str,
    version: int,
    digest: str,
    previous_digest: str | None,
    last_used_at: int | None,
    document: str | bytes,
) -> AccessToken:
    """The inverse of ``encode_token``."""
    data = decode_json(document)
    return AccessToken(
        name=name,
        version=version,
        digest=digest,
        scopes=_scopes(data["scopes"]),
        tenants=TenantSelector(tuple(data["tenants"])),
        created_at=decode_moment(data["createdAt"]),
        created_by=data["createdBy"],
        expires_at=decode_optional_moment(data["expiresAt"]),
        last_used_at=decode_optional_moment(last_used_at),
        rotated_at=decode_optional_moment(data["rotatedAt"]),
        previous_digest=previous_digest,
        previous_until=decode_optional_moment(data["previousUntil"]),
        revoked_at=decode_optional_moment(data["revokedAt"]),
    )


def encode_session(session: LoginSession) -> str:
    """Everything but its id, its digest and its end, which are columns."""
    return encode_json(
        {
            "name": session.name,
            "kind": str(session.kind),
            "scopes": sorted(session.scopes),
            "tenants": session.tenants.patterns,
            "tokenName": session.token_name,
            "origin": session.origin,
            "createdAt": encode_moment(session.created_at),
        }
    )


def decode_session(*, session_id: str, digest: str, expires_at: int, document: str | bytes) -> LoginSession:
    """The inverse of ``encode_session``."""
    data = decode_json(document)
    return LoginSession(
        session_id=session_id,
        digest=digest,
        name=data["name"],
        kind=PrincipalKind(data["kind"]),
        scopes=_scopes(data["scopes"]),
        tenants=TenantSelector(tuple(data["tenants"])),
        token_name=data["tokenName"],
        origin=data["origin"],
        created_at=decode_moment(data["createdAt"]),
        expires_at=decode_moment(expires_at),
    )


AUDIT_COLUMNS = ("at", "actor", "verb", "target_type", "target", "outcome", "document")
"""What an entry consists of; all but the last are what it is searched by."""


def audit_values(entry: AuditEntry) -> tuple[Any, ...]:
    """One entry, in the order of ``AUDIT_COLUMNS``."""
    actor = entry.actor
    document = {
        "kind": actor.kind,
        "origin": actor.origin,
        "via": actor.via,
        "code": entry.code,
        "message": entry.message,
        "reason": entry.reason,
        "details": dict(entry.details),
    }
    found_by = (actor.name, entry.verb, entry.target_type, entry.target, str(entry.outcome))
    return (encode_moment(entry.at), *found_by, encode_json(document))


def audit_from(values: Sequence[Any]) -> AuditEntry:
    """The inverse of ``audit_values``."""
    at, actor, verb, target_type, target, outcome, document = values
    data = decode_json(document)
    moment: datetime = decode_moment(at)
    return AuditEntry(
        at=moment,
        actor=Actor(name=actor, kind=data["kind"], origin=data["origin"], via=data["via"]),
        verb=verb,
        target_type=target_type,
        target=target,
        outcome=Outcome(outcome),
        code=data["code"],
        message=data["message"],
        reason=data["reason"],
        details=data["details"],
    )


def _scopes(names: Sequence[str]) -> frozenset[Scope]:
    return frozenset(Scope(name) for name in names)
