"""An OpenID Connect provider: a real HTTP server that signs with real keys, and lies where a test tells it to."""
# ruff: noqa: ANN401  # claims and settings are of any type

import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

CLIENT = "switchover"
SECRET = "cl1ent-s3cret"

Key = RSAKey | ECKey | OctKey


@cache
def rsa_key(name: str, kid: str = "") -> RSAKey:
    """One for all tests of a process, because making one takes long; ``kid`` is what it is published as."""
    return RSAKey.generate_key(2048, {"kid": kid or name, "use": "sig", "alg": "RS256"}, private=True)


@dataclass
class IdentityProvider:
    """
    What it publishes, who logs in, and what it was asked.

    Attributes:
        claims: Of whoever logs in.
        change: Makes the token of a login from its claims; None: signs them as they are.
        discovery: What it publishes differently.
        asked: Path by path.
    """

    issuer: str = ""
    keys: list[RSAKey] = field(default_factory=lambda: [rsa_key("first")])
    claims: dict[str, Any] = field(
        default_factory=lambda: {"sub": "248289761001", "preferred_username": "alice", "groups": ["deployers"]}
    )
    change: Callable[[dict[str, Any]], str] | None = None
    discovery: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    waits: bool = False

    def token(self, *, key: Key | None = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A good token; whatever is given makes it another one. A claim that is None is left out."""
        signer = key or self.keys[0]
        now = int(time.time())
        told = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 600, **self.claims, **claims}
        top = {"alg": "RS256", "kid": signer.kid, **(header or {})}
        shown = {name: value for name, value in top.items() if value is not None}
        found = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(shown, found, signer, algorithms=[str(shown["alg"])])

    def unsigned(self, header: Mapping[str, Any], signature: bytes = b"", **claims: Any) -> str:
        """A token that nobody has signed."""
        now = int(time.time())
        told = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 600, **self.claims, **claims}
        parts = (json.dumps(header).encode(), json.dumps(told).encode(), signature)
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)

    def count(self, path: str) -> int:
        """How often it was asked for this."""
        return self.asked.count(path)

    # What it answers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.down:
            return web.Response(status=503)
        match request.path:
            case "/.well-known/openid-configuration":
                return web.json_response(self._discovery())
            case "/jwks":
                return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]})
            case "/authorize":
                return self._authorize(request.query)
            case "/token":
                return self._exchange({str(k): str(v) for k, v in (await request.post()).items()}, request.headers)
        return web.Response(status=204 if request.path == "/favicon.ico" else 404)

    def _discovery(self) -> dict[str, Any]:
        published = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }
        return {**published, **self.discovery}

    def _authorize(self, query: Mapping[str, str]) -> web.StreamResponse:
        """Whoever comes is let in as the person of ``claims``; with ``waits`` after a click."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = dict(query)
        back = f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}"
        if self.waits:
            page = f'<!doctype html><title>Provider</title><a href="{back}">Continue as alice</a>'
            return web.Response(text=page, content_type="text/html")
        return web.Response(status=302, headers={"Location": back})

    def _exchange(self, form: Mapping[str, str], headers: Mapping[str, str]) -> web.StreamResponse:
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None:
            return web.json_response({"error": "invalid_grant", "error_description": "unknown code"}, status=400)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode()
        if challenge.rstrip("=") != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant", "error_description": "wrong verifier"}, status=400)
        given = base64.b64decode(headers.get("Authorization", "").removeprefix("Basic ")).decode().partition(":")[2]
        secret = form.get("client_secret") or unquote_plus(given)
        if secret != SECRET:
            return web.json_response({"error": "invalid_client"}, status=401)
        claims: dict[str, Any] = {"nonce": asked["nonce"]}
        token = self.token(**claims) if self.change is None else self.change(claims)
        return web.json_response({"id_token": token, "access_token": "opaque", "token_type": "Bearer"})


@asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProvider]:
    """A running one, on a free loopback port."""
    provider = IdentityProvider()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", provider.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield provider
    finally:
        await runner.cleanup()


def settings_for(provider: IdentityProvider, **more: Any) -> dict[str, Any]:
    """What a server is told of it."""
    roles = [
        {"group": "admins", "scopes": ["admin"]},
        {"group": "deployers", "scopes": ["operator"]},
        {"group": "acme-team", "scopes": ["operator"], "tenants": ["acme-*"]},
    ]
    return {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_roles": roles,
        **more,
    }
