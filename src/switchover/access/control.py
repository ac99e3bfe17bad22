"""
AccessControl: lets callers in, and keeps the tokens and sessions that they come with.

The store is asked at every request, so that what was revoked anywhere is refused everywhere with the next one.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from switchover.access.credentials import digest_of, is_same, is_token, new_cookie, new_token
from switchover.access.limiter import LoginLimiter
from switchover.access.people import People
from switchover.domain.access import (
    EVERYONE,
    AccessToken,
    LoginSession,
    Principal,
    Scope,
    TenantSelector,
    parse_scopes,
)
from switchover.domain.audit import Actor, AuditEntry, Outcome
from switchover.errors import (
    AuthenticationError,
    ErrorCode,
    ExecutorError,
    InvalidAccessRequestError,
    NotFoundError,
    StorageError,
    TooManyAttemptsError,
)
from switchover.logs import get_log
from switchover.spi import AccessStore, Clock

_log = get_log("switchover.access")

FIRST_TOKEN: Final = "admin"  # noqa: S105  # its name
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_NOTE_USE_AFTER: Final = timedelta(minutes=5)
_LONGEST_BEARER: Final = 16_384


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that was just made: the only moment at which it is known."""

    secret: str = field(repr=False)
    token: AccessToken


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session that was just opened, with the value of its cookie."""

    cookie: str = field(repr=False)
    session: LoginSession


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AccessControl:
    """
    Authenticates callers, and makes, rotates and revokes what they come with.

    Args:
        people: Those of an identity provider; None: there are tokens of our own alone.
        session_seconds: How long a login of the console lasts.
    """

    store: AccessStore
    clock: Clock
    limiter: LoginLimiter
    people: People | None = None
    session_seconds: float = 12 * 3600.0
    _noted: dict[str, datetime] = field(default_factory=dict[str, datetime])

    # The first start

    async def first_start(self, by: Actor) -> IssuedToken | None:
        """The first admin token, when there never was any token; None afterwards. Show it once: it is not kept."""
        secret = new_token()
        now = self.clock.now()
        token = AccessToken(
            name=FIRST_TOKEN,
            version=1,
            digest=digest_of(secret),
            scopes=frozenset({Scope.ADMIN}),
            created_at=now,
            created_by=by.name,
        )
        entry = _entry(now, by, "token-create", "TOKEN", FIRST_TOKEN, reason="first start")
        if not await self.store.put_token(token, entry, first=True):
            return None
        return IssuedToken(secret, token)

    # Coming in

    async def authenticate(self, bearer: str | None, remote: str) -> Principal:
        """
        Whoever sent this bearer credential.

        A good one is let in whatever else came from its address: one client with a bad token must not lock out those
        behind the same proxy.

        Raises:
            AuthenticationError: None was sent, or it is unknown, expired or revoked; which one is only in the log.
            TooManyAttemptsError: The same, and too many failed from this address before.
            AccessDeniedError: It is known who, and no role is theirs.
            IdentityProviderError: It cannot be found out now.
        """
        if bearer is None:
            raise AuthenticationError("no credential was sent; send `Authorization: Bearer TOKEN`")
        if self.people is not None and not is_token(bearer):
            try:
                return (await self.people.of_bearer(bearer)).principal
            except AuthenticationError as error:
                raise self.failure(remote, f"the credential is not valid: {error.message}") from error
        return await self.of_token(bearer, remote)

    async def of_token(self, bearer: str, remote: str) -> Principal:
        """Whoever has this token of ours; raises as ``authenticate``."""
        token = await self._known_token(bearer)
        if token is None:
            raise self.failure(remote, "the credential is not valid: unknown, expired or revoked")
        await self._note_use(token)
        return token.principal

    def failure(self, remote: str, message: str) -> AuthenticationError:
        """Count a failed login from this address; gives what to raise."""
        wait = self.limiter.retry_after(remote)
        if wait:
            return TooManyAttemptsError(retry_after_seconds=wait)
        self.limiter.failed(remote)
        _log.warning("a login failed", remote=remote)
        return AuthenticationError(message)

    async def _known_token(self, bearer: str) -> AccessToken | None:
        if len(bearer) > _LONGEST_BEARER or not is_token(bearer):
            return None
        digest = digest_of(bearer)
        token = await self.store.find_token(digest)
        now = self.clock.now()
        if token is None or not token.is_valid(now):
            return None
        current = is_same(token.digest, digest)
        previous = is_same(token.previous_digest, digest) and token.accepts_previous(now)
        return token if current or previous else None

    async def _note_use(self, token: AccessToken) -> None:
        """Rarely: what is written with every request is written for nobody."""
        now = self.clock.now()
        noted = self._noted.get(token.name, token.last_used_at)
        if noted is not None and now - noted < _NOTE_USE_AFTER:
            return
        self._noted[token.name] = now
        with suppress(StorageError):  # a request is not refused because a date cannot be written
            await self.store.note_token_use(token.name, now)

    # Tokens

    async def list_tokens(self) -> Sequence[AccessToken]:
        """All that ever were, by name."""
        return await self.store.list_tokens()

    async def create_token(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        by: Actor,
        tenants: Sequence[str] = EVERYONE.patterns,
        expires_in_seconds: float | None = None,
        reason: str = "",
    ) -> IssuedToken:
        """
        Make a token.

        Args:
            expires_in_seconds: None: it is good until it is revoked.

        Raises:
            InvalidAccessRequestError: A wrong name, scope, tenant pattern or duration, or the name was ever used.
        """
        if not _NAME.fullmatch(name):
            message = (
                f"name: {name!r} is no name for a token; take 1 to 64 of letters, digits and . _ - @, the first a "
                "letter or digit"
            )
            raise InvalidAccessRequestError(message)
        now = self.clock.now()
        secret = new_token()
        try:
            token = AccessToken(
                name=name,
                version=1,
                digest=digest_of(secret),
                scopes=parse_scopes(scopes),
                tenants=TenantSelector(tuple(tenants)),
                created_at=now,
                created_by=by.name,
                expires_at=_later(now, expires_in_seconds),
            )
        except ValueError as error:
            raise InvalidAccessRequestError(str(error)) from error
        details = {
            "scopes": sorted(token.scopes),
            "tenants": list(token.tenants.patterns),
            "expiresAt": None if token.expires_at is None else token.expires_at.isoformat(),
        }
        entry = _entry(now, by, "token-create", "TOKEN", name, reason=reason, details=details)
        if not await self.store.put_token(token, entry):
            message = f"name: {name!r} was given to a token before, and the audit log tells of that one; take another"
            raise InvalidAccessRequestError(message, code=ErrorCode.TOKEN_EXISTS)
        return IssuedToken(secret, token)

    async def rotate_token(self, name: str, *, by: Actor, grace_seconds: float, reason: str = "") -> IssuedToken:
        """
        Give a token a new secret; the old one stays good for the grace time.

        Raises:
            NotFoundError: No token has this name (UNKNOWN_TOKEN).
            InvalidAccessRequestError: It is revoked or expired.
        """
        secret = new_token()

        def rotated(token: AccessToken, now: datetime) -> AccessToken:
            if not token.is_valid(now):
                state = "revoked" if token.revoked_at is not None else "expired"
                message = f"token {name!r} is {state}, so it cannot be rotated; create another one"
                raise InvalidAccessRequestError(message, code=ErrorCode.ILLEGAL_STATE)
            return replace(
                token,
                version=token.version + 1,
                digest=digest_of(secret),
                rotated_at=now,
                previous_digest=token.digest if grace_seconds > 0 else None,
                previous_until=_later(now, grace_seconds) if grace_seconds > 0 else None,
            )

        details = {"graceSeconds": grace_seconds}
        changed = await self._change(name, rotated, verb="token-rotate", by=by, reason=reason, details=details)
        return IssuedToken(secret, changed)

    async def revoke_token(self, name: str, *, by: Actor, reason: str = "") -> AccessToken:
        """
        Refuse a token from now on, and every session that was opened with it.

        Raises:
            NotFoundError: No token has this name (UNKNOWN_TOKEN).
        """

        def revoked(token: AccessToken, now: datetime) -> AccessToken:
            if token.revoked_at is not None:
                return token
            return replace(token, version=token.version + 1, revoked_at=now, previous_digest=None, previous_until=None)

        return await self._change(name, revoked, verb="token-revoke", by=by, reason=reason)

    async def _change(
        self,
        name: str,
        change: Callable[[AccessToken, datetime], AccessToken],
        *,
        verb: str,
        by: Actor,
        reason: str,
        details: Mapping[str, object] | None = None,
    ) -> AccessToken:
        while True:
            now = self.clock.now()
            token = await self.store.load_token(name)
            if token is None:
                message = f"no token is named {name!r}; see `switchover token list`"
                raise NotFoundError(message, code=ErrorCode.UNKNOWN_TOKEN)
            changed = change(token, now)
            if changed is token:
                return token
            entry = _entry(now, by, verb, "TOKEN", name, reason=reason, details=details)
            if await self.store.replace_token(changed, entry):
                return changed

    # Sessions

    async def open_session(
        self, principal: Principal, *, origin: str, token_name: str | None = None, until: datetime | None = None
    ) -> OpenedSession:
        """
        Open a session of the console for somebody who has just logged in.

        Args:
            token_name: The token that it is opened with; the session never may more, or longer, than that one.
            until: When it ends at the latest.
        """
        now = self.clock.now()
        ends = now + timedelta(seconds=self.session_seconds)
        cookie = new_cookie()
        session = LoginSession(
            session_id=secrets.token_hex(8),
            digest=digest_of(cookie),
            name=principal.name,
            kind=principal.kind,
            scopes=principal.scopes,
            tenants=principal.tenants,
            token_name=token_name,
            origin=origin,
            created_at=now,
            expires_at=ends if until is None else min(ends, until),
        )
        by = Actor(name=principal.name, kind=str(principal.kind), origin=origin, via="console")
        await self.store.put_session(session, _entry(now, by, "login", "SESSION", session.session_id))
        return OpenedSession(cookie, session)

    async def session_of(self, cookie: str) -> tuple[LoginSession, Principal] | None:
        """The session of a cookie, and what it may do now; None when it is unknown or over."""
        digest = digest_of(cookie)
        session = await self.store.find_session(digest)
        now = self.clock.now()
        if session is None or not is_same(session.digest, digest) or now >= session.expires_at:
            return None
        if session.token_name is None:
            return session, session.principal
        token = await self.store.load_token(session.token_name)
        if token is None or not token.is_valid(now):
            return None
        await self._note_use(token)
        return session, token.principal

    async def list_sessions(self) -> Sequence[LoginSession]:
        """Those that are open, the newest first."""
        now = self.clock.now()
        return [session for session in await self.store.list_sessions() if now < session.expires_at]

    async def end_sessions(self, session_ids: Sequence[str], *, by: Actor, reason: str = "") -> int:
        """Log out; how many sessions there were."""
        target = session_ids[0] if len(session_ids) == 1 else f"{len(session_ids)} sessions"
        entry = _entry(self.clock.now(), by, "logout", "SESSION", target, reason=reason)
        return await self.store.end_sessions(session_ids, entry)

    # The log

    async def note_refusal(
        self, by: Actor, *, verb: str, target_type: str, target: str, error: ExecutorError, reason: str = ""
    ) -> None:
        """Tell the log of a write that was refused before it reached the engine."""
        entry = AuditEntry(
            at=self.clock.now(),
            actor=by,
            verb=verb,
            target_type=target_type,
            target=target,
            outcome=Outcome.REFUSED,
            code=str(error.code),
            message=error.message,
            reason=reason,
        )
        await self.store.append_audit([entry])


def actor_of(principal: Principal, *, origin: str, via: str) -> Actor:
    """The principal as the audit log knows it."""
    return Actor(name=principal.name, kind=str(principal.kind), origin=origin, via=via)


def _later(now: datetime, seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    if seconds <= 0:
        msg = f"expires: {seconds:g} seconds is no time to come; give a duration above zero, such as 720h"
        raise ValueError(msg)
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        msg = f"expires: {seconds:g} seconds is beyond the calendar; leave it out for a token without an end"
        raise ValueError(msg) from None


def _entry(
    at: datetime,
    by: Actor,
    verb: str,
    target_type: str,
    target: str,
    *,
    reason: str = "",
    details: Mapping[str, object] | None = None,
) -> AuditEntry:
    return AuditEntry(
        at=at,
        actor=by,
        verb=verb,
        target_type=target_type,
        target=target,
        outcome=Outcome.ACCEPTED,
        reason=reason,
        details=details or {},
    )
