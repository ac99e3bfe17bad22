"""
What a provider publishes: its discovery document and its keys, fetched when they are needed and kept for a while.

Whoever sends a token with an unknown key id makes us look for new keys, so that is done once in a while and no oftener.
When the provider is away, what was fetched before stays good: a restart of theirs locks nobody out here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Generic, TypeVar, cast
from urllib.parse import urlsplit

import aiohttp
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from switchover.errors import ExecutorError, IdentityProviderError
from switchover.logs import get_log
from switchover.spi import Clock

_log = get_log("switchover.access")

KEEP_SECONDS: Final = 3600.0
"""A document that is older is fetched again."""

RETRY_SECONDS: Final = 30.0
"""Between two attempts at least, whatever the reason."""

_PATH: Final = "/.well-known/openid-configuration"
_LARGEST_BYTES: Final = 512 * 1024
_MOST_KEYS: Final = 100
_LEAST_RSA_BITS: Final = 2048

PublicKey = RSAKey | ECKey | OKPKey
Value = TypeVar("Value")
JsonObject = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What we need of a discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    takes_basic: bool


class Kept(Generic[Value]):
    """A value that is fetched when it is needed, kept, and fetched again when it is old or a newer one is asked for."""

    def __init__(self, fetch: Callable[[], Awaitable[Value]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value: Value | None = None
        self._error: IdentityProviderError | None = None
        self._fetched_at = self._tried_at = float("-inf")

    async def get(self, *, newer: bool = False) -> Value:
        """
        The value.

        Args:
            newer: One that was fetched a moment ago, if that may be asked for again already.

        Raises:
            IdentityProviderError: It cannot be had, and never could.
        """
        value = self._value
        if value is not None and not newer and self._clock.monotonic() - self._fetched_at < KEEP_SECONDS:
            return value
        async with self._lock:
            return await self._refreshed(newer=newer)

    async def _refreshed(self, *, newer: bool) -> Value:
        now = self._clock.monotonic()
        if now - self._tried_at < RETRY_SECONDS:
            if self._value is not None:
                return self._value
            if self._error is not None:
                raise self._error
        if self._value is not None and not newer and now - self._fetched_at < KEEP_SECONDS:
            return self._value
        self._tried_at = now
        try:
            self._value = await self._fetch()
        except IdentityProviderError as error:
            self._error = error
            if self._value is None:
                raise
            _log.warning("the identity provider is away; what it said before is used", reason=error.message)
        else:
            self._fetched_at = now
        return self._value


class Documents:
    """
    Of one provider.

    Args:
        issuer: As every token has to name it.
        session: Judges addresses (``adapters.network.guarded_session``); closed by whoever made it.
    """

    def __init__(
        self, issuer: str, session: aiohttp.ClientSession, clock: Clock, *, timeout_seconds: float = 5.0
    ) -> None:
        self.issuer = issuer
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._metadata = Kept(self._fetch_metadata, clock)
        self._keys = Kept(self._fetch_keys, clock)

    async def metadata(self) -> Metadata:
        """Raises ``IdentityProviderError`` when it cannot be had."""
        return await self._metadata.get()

    async def keys(self, *, newer: bool = False) -> Sequence[PublicKey]:
        """Raises ``IdentityProviderError`` when they cannot be had."""
        return await self._keys.get(newer=newer)

    async def ask(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, JsonObject]:
        """
        One request; its status, and the JSON object of the answer.

        Raises:
            IdentityProviderError: No answer, not allowed, or no JSON object.
        """
        try:
            async with self._session.request(
                method,
                url,
                data=form,
                headers={"Accept": "application/json", **(headers or {})},
                allow_redirects=False,
                timeout=self._timeout,
            ) as response:
                body = await response.content.read(_LARGEST_BYTES + 1)
                while len(body) <= _LARGEST_BYTES and (more := await response.content.readany()):
                    body += more
                status = response.status
        except ExecutorError as error:
            hint = "; the networks that may be asked are the setting oidc_allow_list, else endpoint_allow_list"
            raise IdentityProviderError(f"{url}: {error.message}{hint}") from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise IdentityProviderError(f"{url}: no answer: {str(error) or type(error).__name__}") from error
        try:
            found: object = orjson.loads(body) if len(body) <= _LARGEST_BYTES else None
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise IdentityProviderError(f"{url}: answered {status} with something that is no JSON object")
        return status, cast("JsonObject", found)

    async def _fetch(self, url: str) -> JsonObject:
        status, found = await self.ask("GET", url)
        if status != 200:  # noqa: PLR2004  # the only one that means it
            raise IdentityProviderError(f"{url}: answered {status}")
        return found

    async def _fetch_metadata(self) -> Metadata:
        url = self.issuer.rstrip("/") + _PATH
        found = await self._fetch(url)
        if found.get("issuer") != self.issuer:
            message = f"{url}: names the issuer {found.get('issuer')!r}; the setting oidc_issuer must be exactly that"
            raise IdentityProviderError(message)
        methods = found.get("token_endpoint_auth_methods_supported")
        return Metadata(
            issuer=self.issuer,
            authorization_endpoint=self._address(found, "authorization_endpoint"),
            token_endpoint=self._address(found, "token_endpoint"),
            jwks_uri=self._address(found, "jwks_uri"),
            takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,
        )

    def _address(self, document: JsonObject, name: str) -> str:
        url = document.get(name)
        if not isinstance(url, str) or not is_safe(url):
            raise IdentityProviderError(f"{self.issuer}: its {name} is {url!r}, which is no https URL")
        return url

    async def _fetch_keys(self) -> Sequence[PublicKey]:
        url = (await self._metadata.get()).jwks_uri
        found = (await self._fetch(url)).get("keys")
        if not isinstance(found, list):
            raise IdentityProviderError(f"{url}: has no list of keys")
        keys = [_imported(item) for item in cast("list[object]", found)[:_MOST_KEYS]]
        return [key for key in keys if key is not None]


def is_safe(url: str) -> bool:
    """Whether it is https; http is for this machine alone."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname)))


def _is_here(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def _imported(item: object) -> PublicKey | None:
    """A key that signatures can be checked with; None for every other one, the secret ones of HS256 above all."""
    if not isinstance(item, dict):
        return None
    data = cast("dict[str, str | list[str]]", item)
    is_for_signatures = data.get("use", "sig") == "sig" and "verify" in data.get("key_ops", ["verify"])
    if not is_for_signatures or data.get("kty") not in {"RSA", "EC", "OKP"}:
        return None
    try:
        key = JWKRegistry.import_key(data)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAKey):
        return key if key.public_key.key_size >= _LEAST_RSA_BITS else None
    return key if isinstance(key, ECKey | OKPKey) else None
