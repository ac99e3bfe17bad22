"""
Who may do what: scopes, tenant selectors, and the principals that carry both.

A scope says which kind of call is open, a selector which tenants it may be about. Everything here is a plain value, so
that a decision about access is the same wherever it is made: in the API, the console, the command line and the tests.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import translate
from types import MappingProxyType
from typing import Final


class Scope(StrEnum):
    """What a principal may do; ``admin`` contains the others, ``operator`` and ``approver`` contain ``viewer``."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


_CONTAINS: Final[Mapping[Scope, frozenset[Scope]]] = MappingProxyType(
    {
        Scope.VIEWER: frozenset({Scope.VIEWER}),
        Scope.OPERATOR: frozenset({Scope.VIEWER, Scope.OPERATOR}),
        Scope.APPROVER: frozenset({Scope.VIEWER, Scope.APPROVER}),
        Scope.ADMIN: frozenset(Scope),
    }
)

_APPROVING: Final = frozenset({"approve", "reject"})

LINE_VERBS: Final = frozenset({"stop-line", "start-line"})
"""Verbs about every tenant there is: only for principals that are limited to none."""


def scope_of_verb(verb: str) -> Scope:
    """What a verb asks for: judging a gate is the approver's, every other one the operator's."""
    return Scope.APPROVER if verb in _APPROVING else Scope.OPERATOR


_PATTERN: Final = re.compile(r"[A-Za-z0-9._:*?-]{1,128}")
_MOST_PATTERNS: Final = 1_000


@dataclass(frozen=True, slots=True)
class TenantSelector:
    """
    The tenants that a principal may see and touch.

    Args:
        patterns: Tenant ids, or patterns with ``*`` (any characters) and ``?`` (one); case counts. None at all would
            be a principal that sees nothing, which nobody can have meant.

    Raises:
        ValueError: A pattern that can match no tenant id, too many of them, or none.
    """

    patterns: tuple[str, ...] = ("*",)
    _match: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.patterns:
            msg = "tenants: an empty selector selects nothing; give tenant ids or patterns, or leave it out for all"
            raise ValueError(msg)
        if len(self.patterns) > _MOST_PATTERNS:
            msg = f"tenants: {len(self.patterns)} patterns are too many; give {_MOST_PATTERNS} at most, or use `*`"
            raise ValueError(msg)
        for pattern in self.patterns:
            if not _PATTERN.fullmatch(pattern):
                msg = (
                    f"tenants: {pattern!r} can match no tenant; a pattern is 1 to 128 of letters, digits and . _ - : "
                    "with `*` for any characters and `?` for one"
                )
                raise ValueError(msg)
        object.__setattr__(self, "_match", re.compile("|".join(map(translate, dict.fromkeys(self.patterns)))))

    @property
    def is_everyone(self) -> bool:
        """It leaves nobody out."""
        return "*" in self.patterns

    def selects(self, tenant_id: str) -> bool:
        """Whether this tenant is among them."""
        return self.is_everyone or self._match.match(tenant_id) is not None


EVERYONE: Final = TenantSelector()
"""All tenants, those that come later included."""


class PrincipalKind(StrEnum):
    """How somebody became known."""

    TOKEN = "token"  # noqa: S105  # a kind, no secret
    PERSON = "person"
    """Logged in with OpenID Connect."""
    LOCAL = "local"
    """Whoever may open the store on this machine: the operating system has judged already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """
    Somebody who has proved who they are, and what they may do.

    Attributes:
        name: For people and for the audit log: the token's name, the person's name at the provider, the user's here.
    """

    name: str
    kind: PrincipalKind
    scopes: frozenset[Scope]
    tenants: TenantSelector = EVERYONE

    def may(self, scope: Scope) -> bool:
        """Whether calls that ask for this scope are open."""
        return any(scope in _CONTAINS[own] for own in self.scopes)

    def may_touch(self, tenant_id: str) -> bool:
        """Whether this tenant may be seen and, with the scope for it, touched."""
        return self.tenants.selects(tenant_id)

    @property
    def is_limited(self) -> bool:
        """Some tenants are out of reach."""
        return not self.tenants.is_everyone


def parse_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """
    Scopes by their names.

    Raises:
        ValueError: One that does not exist, or none at all.
    """
    found: set[Scope] = set()
    for name in names:
        try:
            found.add(Scope(name))
        except ValueError:
            msg = f"scopes: {name!r} is none; the scopes are {', '.join(Scope)}"
            raise ValueError(msg) from None
    if not found:
        msg = f"scopes: give at least one of {', '.join(Scope)}"
        raise ValueError(msg)
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """
    What is kept of a token: everything but the token.

    Attributes:
        version: Rises with every change; two changes at once cannot both win.
        digest: SHA-256 of the token, in hex. The token is 256 random bits, so there is nothing to be guessed and
            nothing that a slow hash would protect.
        previous_digest: Of the token that was rotated away; good until ``previous_until``.
        last_used_at: To a few minutes.
    """

    name: str
    version: int
    digest: str = field(repr=False)
    scopes: frozenset[Scope]
    tenants: TenantSelector = EVERYONE
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    rotated_at: datetime | None = None
    previous_digest: str | None = field(default=None, repr=False)
    previous_until: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def accepts_previous(self, now: datetime) -> bool:
        """The token from before the rotation is still good."""
        return self.previous_until is not None and now < self.previous_until

    @property
    def principal(self) -> Principal:
        """Whoever holds it."""
        return Principal(name=self.name, kind=PrincipalKind.TOKEN, scopes=self.scopes, tenants=self.tenants)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSession:
    """
    A browser that has logged in.

    Attributes:
        session_id: Public: what it is revoked by.
        digest: SHA-256 of the cookie's value, in hex.
        token_name: The token that it was opened with: it may do what that one may, for as long as that one is valid.
            None when a person logged in, whose ``scopes`` and ``tenants`` then count.
    """

    session_id: str
    digest: str = field(repr=False)
    name: str
    kind: PrincipalKind
    scopes: frozenset[Scope]
    tenants: TenantSelector = EVERYONE
    token_name: str | None = None
    origin: str = ""
    created_at: datetime
    expires_at: datetime

    @property
    def principal(self) -> Principal:
        """Whoever sits before the browser."""
        return Principal(name=self.name, kind=self.kind, scopes=self.scopes, tenants=self.tenants)
