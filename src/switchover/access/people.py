"""
People of an identity provider: who they are, and what their groups let them do.

The first role whose group somebody is in counts, and no other: adding up roles would give the scopes of one role for
the tenants of another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Final, Protocol, cast

from switchover.domain.access import Principal, PrincipalKind, Scope, TenantSelector
from switchover.errors import AccessDeniedError

_LONGEST_NAME: Final = 64
_LONGEST_SUBJECT: Final = 255


class IdentityProvider(Protocol):
    """Whoever knows the people."""

    @property
    def issuer(self) -> str:
        """How it is called in its tokens."""
        ...

    async def bearer_claims(self, token: str) -> Mapping[str, object]:
        """
        What a bearer token of the API says.

        Raises:
            AuthenticationError: It is no good; the message says why.
            IdentityProviderError: Nobody knows, because the provider is away.
        """
        ...

    async def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Where a browser goes to log in; raises ``IdentityProviderError``."""
        ...

    async def login_claims(self, *, code: str, verifier: str, redirect_uri: str, nonce: str) -> Mapping[str, object]:
        """What the provider says of whoever came back with this code; raises as ``bearer_claims``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What those who are in a group may do."""

    group: str
    scopes: frozenset[Scope]
    tenants: TenantSelector


@dataclass(frozen=True, slots=True)
class Person:
    """
    Somebody whom the provider knows.

    Attributes:
        until: When the provider's word ends.
    """

    principal: Principal
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """
    The people of one provider.

    Args:
        roles: In the order in which they are tried.
        groups_claim: Where a token has the groups; with dots, inside objects.
        name_claim: Where it has the name that people know.
        label: What the provider is called on the login page.
    """

    provider: IdentityProvider
    roles: Sequence[Role]
    groups_claim: str
    name_claim: str
    label: str

    async def of_bearer(self, token: str) -> Person:
        """
        Whoever sends this token.

        Raises:
            AuthenticationError, IdentityProviderError: As ``IdentityProvider.bearer_claims``.
            AccessDeniedError: It is known who, and no role is theirs.
        """
        return self.of_claims(await self.provider.bearer_claims(token))

    def of_claims(self, claims: Mapping[str, object]) -> Person:
        """
        Whoever these claims are about.

        Raises:
            AccessDeniedError: No role is theirs.
        """
        name = self._name(claims)
        groups = _texts(_found(claims, self.groups_claim))
        role = next((role for role in self.roles if role.group in groups), None)
        if role is None:
            message = (
                f"{name} is in no group that has a role here (the claim {self.groups_claim} names "
                f"{len(groups)}); whoever operates this server gives roles to groups with the setting oidc_roles"
            )
            raise AccessDeniedError(message)
        principal = Principal(name=name, kind=PrincipalKind.PERSON, scopes=role.scopes, tenants=role.tenants)
        return Person(principal, datetime.fromtimestamp(float(cast("float", claims["exp"])), UTC))

    def _name(self, claims: Mapping[str, object]) -> str:
        """Subject and issuer are who it is; the name before them is for people, and people may choose it."""
        subject = str(claims["sub"])[:_LONGEST_SUBJECT]
        given = _found(claims, self.name_claim)
        shown = " ".join(given.split())[:_LONGEST_NAME] if isinstance(given, str) else ""
        who = f"{subject} at {self.provider.issuer}"
        return f"{shown} ({who})" if shown and shown.isprintable() and shown != subject else who


def _found(claims: Mapping[str, object], path: str) -> object:
    if path in claims:  # a name may contain dots itself, as those that are URLs do
        return claims[path]
    return reduce(_inside, path.split("."), cast("object", claims))


def _inside(value: object, name: str) -> object:
    return cast("Mapping[str, object]", value).get(name) if isinstance(value, Mapping) else None


def _texts(value: object) -> frozenset[str]:
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return frozenset(item for item in items if isinstance(item, str))
