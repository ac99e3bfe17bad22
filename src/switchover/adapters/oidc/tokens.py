"""
Whether a token is what it says: signed by the provider, for us, now.

The algorithm comes from the operator's list and the key from the provider's document; the token says no more than which
of them it means.
"""

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Final, cast

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from switchover.adapters.oidc.documents import Documents, PublicKey
from switchover.errors import AuthenticationError
from switchover.spi import Clock

KEY_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
"""Every algorithm that may be allowed, with the kind of its key; all have a public one."""

_LONGEST: Final = 16_384
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""A token that is for something else, such as a logout, is no login."""

Claims = Mapping[str, object]


class _Registry(JWSRegistry):
    max_header_length = _LONGEST


class TokenReader:
    """
    Checks tokens of one provider.

    Args:
        algorithms: Of ``KEY_TYPES``.
        leeway_seconds: How far the provider's clock may be from ours.
    """

    def __init__(self, documents: Documents, clock: Clock, *, algorithms: Sequence[str], leeway_seconds: float) -> None:
        self._documents = documents
        self._clock = clock
        self._algorithms = frozenset(algorithms)
        self._leeway = leeway_seconds

    async def claims(self, token: str, audience: str) -> Claims:
        """
        What a good token says.

        Raises:
            AuthenticationError: It is none; the message says why.
            IdentityProviderError: The provider's keys cannot be had.
        """
        header = _header_of(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise _bad(f"is signed with the algorithm {str(algorithm)[:20]!r}, which is not allowed here")
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise _bad(f"is of the type {str(kind)[:40]!r}, which is no login")
        if "crit" in header:
            raise _bad("has header parameters that must be understood and are not")
        key = await self._key(header, algorithm)
        registry = _Registry(algorithms=[algorithm], strict_check_header=False)
        try:
            found = jwt.decode(token, key, algorithms=[algorithm], registry=registry).claims
        except (JoseError, ValueError) as error:
            raise _bad("does not have the signature of its issuer") from error
        self._check(found, audience)
        return found

    async def _key(self, header: Mapping[str, object], algorithm: str) -> PublicKey:
        for newer in (False, True):
            fitting = [
                key
                for key in await self._documents.keys(newer=newer)
                if key.key_type == KEY_TYPES[algorithm]
                and key.get("alg") in {None, algorithm}
                and ("kid" not in header or key.get("kid") == header["kid"])
            ]
            # Without an id there has to be one key alone that it can be: none is tried out.
            if len(fitting) == 1:
                return fitting[0]
        raise _bad("is signed with a key that its issuer does not publish")

    def _check(self, claims: Claims, audience: str) -> None:
        now = self._clock.now().timestamp()
        if claims.get("iss") != self._documents.issuer:
            raise _bad("is of another issuer")
        meant = claims.get("aud")
        if audience not in (cast("list[object]", meant) if isinstance(meant, list) else [meant]):
            raise _bad("is meant for somebody else: its aud does not name this server")
        until = _moment(claims, "exp")
        if until is None:
            raise _bad("has no end (exp)")
        if now >= until + self._leeway:
            raise _bad("has expired")
        for name in ("nbf", "iat"):
            since = _moment(claims, name)
            if since is not None and now < since - self._leeway:
                raise _bad(f"is not good yet ({name})")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject.strip():
            raise _bad("names nobody (sub)")


def _moment(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**40:
        raise _bad(f"has a {name} that is no moment")
    return float(value)


def _header_of(token: str) -> Mapping[str, object]:
    parts = token.split(".")
    if len(token) > _LONGEST or len(parts) != 3 or not token.isascii():  # noqa: PLR2004  # header, claims, signature
        raise _bad("has not the shape of one")
    try:
        found: object = orjson.loads(urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (orjson.JSONDecodeError, binascii.Error, ValueError) as error:
        raise _bad("has a header that cannot be read") from error
    if not isinstance(found, dict):
        raise _bad("has a header that cannot be read")
    return cast("Mapping[str, object]", found)


def _bad(why: str) -> AuthenticationError:
    return AuthenticationError(f"the token {why}")
