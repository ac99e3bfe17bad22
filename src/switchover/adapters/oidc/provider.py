"""One provider: whose bearer tokens it has signed, and the authorization code flow with PKCE."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import quote_plus, urlencode

import aiohttp

from switchover.adapters.oidc.documents import Documents
from switchover.adapters.oidc.tokens import Claims, TokenReader
from switchover.errors import AuthenticationError, IdentityProviderError
from switchover.spi import Clock

_SHOWN = 200
_SERVER_ERROR = 500


class OidcProvider:
    """
    Implements ``switchover.access.people.IdentityProvider``.

    Args:
        client_id: How the provider knows this server; the audience of logins.
        client_secret: None for a public client.
        audience: What bearer tokens of the API are meant for.
        parties: The clients whose bearer tokens are taken; empty: every one's, where ``audience`` is an own one.
        scopes: What a login asks for.
    """

    def __init__(
        self,
        issuer: str,
        session: aiohttp.ClientSession,
        clock: Clock,
        *,
        client_id: str,
        client_secret: str | None,
        audience: str,
        parties: Sequence[str],
        scopes: Sequence[str],
        algorithms: Sequence[str],
        leeway_seconds: float,
    ) -> None:
        self.issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._audience = audience
        self._parties: frozenset[str | None] = frozenset(parties)
        self._scopes = " ".join(dict.fromkeys(("openid", *scopes)))
        self._documents = Documents(issuer, session, clock)
        self._tokens = TokenReader(self._documents, clock, algorithms=algorithms, leeway_seconds=leeway_seconds)

    async def bearer_claims(self, token: str) -> Claims:
        """As the Protocol says."""
        claims = await self._tokens.claims(token, self._audience)
        party = claims.get("azp", claims.get("client_id"))
        wanted: frozenset[str | None]
        if self._parties:
            wanted = self._parties
        elif self._audience == self._client_id:
            wanted = frozenset[str | None]({self._client_id, None})
        else:
            return claims
        if party not in wanted:
            message = f"the token was given to the client {str(party)[:_SHOWN]!r}, which is not known here"
            raise AuthenticationError(message)
        return claims

    async def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """As the Protocol says."""
        place = (await self._documents.metadata()).authorization_endpoint
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": self._scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}"

    async def login_claims(self, *, code: str, verifier: str, redirect_uri: str, nonce: str) -> Claims:
        """As the Protocol says."""
        claims = await self._tokens.claims(await self._exchange(code, verifier, redirect_uri), self._client_id)
        if claims.get("nonce") != nonce:
            raise AuthenticationError("the token belongs to another login (nonce)")
        audience, party = claims.get("aud"), claims.get("azp")
        several = isinstance(audience, list) and len(cast("list[object]", audience)) > 1
        if party != self._client_id and (several or party is not None):
            raise AuthenticationError("the token was given to another client (azp)")
        return claims

    async def _exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        metadata = await self._documents.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers: dict[str, str] = {}
        if self._client_secret is not None and metadata.takes_basic:
            credentials = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            headers["Authorization"] = f"Basic {b64encode(credentials.encode()).decode()}"
        else:
            form["client_id"] = self._client_id
            if self._client_secret is not None:
                form["client_secret"] = self._client_secret
        status, found = await self._documents.ask("POST", metadata.token_endpoint, form=form, headers=headers)
        if status >= _SERVER_ERROR:
            raise IdentityProviderError(f"{metadata.token_endpoint}: answered {status}")
        token = found.get("id_token")
        if status != 200 or not isinstance(token, str):  # noqa: PLR2004  # the only one that means it
            raise AuthenticationError(f"the identity provider refuses the login: {_refusal(found)}")
        return token


def _refusal(document: Mapping[str, object]) -> str:
    told = [str(document[name])[:_SHOWN] for name in ("error", "error_description") if name in document]
    return ": ".join(told) or "it gave no token of the person (id_token)"
