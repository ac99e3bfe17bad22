"""Bearer tokens of an identity provider: the good ones, and every known way to forge one."""
# ruff: noqa: ANN401  # claims and settings are of any type

import base64
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from switchover import ExecutorSettings
from switchover.adapters.oidc import documents
from switchover.domain.audit import EVERYTHING
from switchover.errors import ExecutorError
from switchover.identity import open_people
from switchover.interfaces.rest.app import create_app
from tests.support.harness import Rig
from tests.support.identity_provider import CLIENT, IdentityProvider, identity_provider, rsa_key, settings_for

Ask = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with identity_provider() as running:
        yield running


@asynccontextmanager
async def server(rig: Rig, provider: IdentityProvider, **more: Any) -> AsyncIterator[Ask]:
    """A server that takes the provider's tokens; the executor's clock is moved by hand."""
    settings = ExecutorSettings(**settings_for(provider, **more))
    async with AsyncExitStack() as stack:
        people = await stack.enter_async_context(open_people(settings, rig.executor.clock))
        access = rig.executor.access_control(people)
        access.limiter.attempts = 0  # which has tests of its own
        app = create_app(rig.executor, access)
        transport = httpx2.ASGITransport(app=app, client=("10.0.0.9", 1))
        client = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://server"))

        async def ask(token: str, method: str = "GET", path: str = "/api/v1/plans", **json: Any) -> httpx2.Response:
            headers = {"Authorization": f"Bearer {token}"}
            return await client.request(method, path, headers=headers, json=json or None)

        yield ask


@pytest.fixture
async def ask(rig: Rig, provider: IdentityProvider) -> AsyncIterator[Ask]:
    async with server(rig, provider) as asked:
        yield asked


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    """The provider's clock is the executor's, which the tests move."""
    monkeypatch.setattr(time, "time", lambda: rig.executor.clock.now().timestamp())


async def refused(ask: Ask, token: str) -> str:
    answer = await ask(token)
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "UNAUTHENTICATED"
    return str(answer.json()["detail"])


async def later(rig: Rig, seconds: float) -> None:
    assert rig.clock is not None
    await rig.clock.advance(seconds)


# --- good ones --------------------------------------------------------------------------------------------------------


async def test_a_good_token_does_what_its_group_may_and_the_audit_log_says_who(
    ask: Ask, provider: IdentityProvider, rig: Rig
) -> None:
    assert (await ask(provider.token())).status_code == 200
    assert (await ask(provider.token(), path="/api/v1/audit")).json()["code"] == "SCOPE_MISSING"
    held = await ask(provider.token(), "POST", "/api/v1/tenants/t1/hold", reason="CHG-1")
    assert held.status_code == 202
    records = await rig.store.access.list_audit(EVERYTHING, before=None, limit=1)
    actor = records[0].entry.actor
    assert actor.name == f"alice (248289761001 at {provider.issuer})"
    assert (actor.kind, actor.origin, actor.via) == ("person", "10.0.0.9", "api")
    assert provider.count("/jwks") == provider.count("/.well-known/openid-configuration") == 1, "kept"


async def test_a_role_may_be_limited_to_tenants_and_the_first_one_counts(ask: Ask, provider: IdentityProvider) -> None:
    acme = provider.token(groups=["acme-team"])
    assert (await ask(acme, "POST", "/api/v1/tenants/acme-1/hold", reason="x")).status_code == 202
    other = await ask(acme, "POST", "/api/v1/tenants/bolt-1/hold", reason="x")
    assert (other.status_code, other.json()["code"]) == (403, "TENANT_OUT_OF_REACH")
    both = provider.token(groups=["acme-team", "admins"])
    assert (await ask(both, path="/api/v1/audit")).status_code == 200
    first = provider.token(groups=["acme-team", "deployers"])
    assert (await ask(first, "POST", "/api/v1/tenants/bolt-1/hold", reason="x")).status_code == 202


@pytest.mark.parametrize("groups", [None, [], ["others"], "others", {"deployers": 1}, [["deployers"]], 7])
async def test_whoever_is_in_no_group_with_a_role_is_known_and_not_let_in(
    ask: Ask, provider: IdentityProvider, groups: object
) -> None:
    answer = await ask(provider.token(groups=groups))
    assert (answer.status_code, answer.json()["code"]) == (403, "SCOPE_MISSING")
    assert f"alice (248289761001 at {provider.issuer}) is in no group" in answer.json()["detail"]


async def test_groups_and_names_may_stand_inside_of_objects(rig: Rig, provider: IdentityProvider) -> None:
    more = {"oidc_groups_claim": "realm_access.roles", "oidc_name_claim": "https://id.example/name"}
    async with server(rig, provider, **more) as ask:
        claims: dict[str, Any] = {"https://id.example/name": "Bo", "realm_access": {"roles": ["deployers"]}}
        token = provider.token(groups=None, **claims)
        assert (await ask(token, "POST", "/api/v1/line/stop", reason="x")).status_code == 202
    records = await rig.store.access.list_audit(EVERYTHING, before=None, limit=1)
    assert records[0].entry.actor.name == f"Bo (248289761001 at {provider.issuer})"


@pytest.mark.parametrize("name", ["", " ", 7, None, "248289761001", "x\x00y", "a" * 900])
async def test_a_name_that_people_choose_cannot_hide_who_it_is(
    ask: Ask, provider: IdentityProvider, rig: Rig, name: object
) -> None:
    await ask(provider.token(preferred_username=name), "POST", "/api/v1/line/stop", reason="x")
    records = await rig.store.access.list_audit(EVERYTHING, before=None, limit=1)
    told = records[0].entry.actor.name
    assert f"248289761001 at {provider.issuer}" in told
    assert len(told) < 200


async def test_tokens_of_our_own_are_good_beside_them(rig: Rig, provider: IdentityProvider) -> None:
    own = await rig.executor.access_control().create_token("ci", ["viewer"], by=rig.facade.actor)
    async with server(rig, provider) as ask:
        assert (await ask(own.secret)).status_code == 200
    assert not provider.asked


@pytest.mark.parametrize("aud", [CLIENT, [CLIENT], [CLIENT, "other"]])
async def test_a_token_may_be_meant_for_several(ask: Ask, provider: IdentityProvider, aud: object) -> None:
    assert (await ask(provider.token(aud=aud, azp=CLIENT))).status_code == 200


async def test_other_algorithms_are_taken_when_they_are_allowed(rig: Rig, provider: IdentityProvider) -> None:
    curve = ECKey.generate_key("P-256", {"kid": "curve"}, private=True)
    provider.keys.append(curve)  # type: ignore[arg-type]  # a provider may have keys of several kinds
    async with server(rig, provider, oidc_algorithms=["ES256"]) as ask:
        assert (await ask(provider.token(key=curve, header={"alg": "ES256"}))).status_code == 200
        assert "'RS256', which is not allowed" in await refused(ask, provider.token())


# --- forged ones ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "NONE", "nOnE", "", None])
async def test_a_token_without_a_signature_is_refused(ask: Ask, provider: IdentityProvider, name: str | None) -> None:
    for header in ({"alg": name}, {"alg": name, "kid": "first"}):
        assert "which is not allowed" in await refused(ask, provider.unsigned(header))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_the_public_key_is_no_shared_secret(ask: Ask, provider: IdentityProvider, algorithm: str) -> None:
    """The classic confusion: the public key, which everybody has, as the secret of an HMAC."""
    pem = rsa_key("first").as_pem(private=False)
    for secret in (pem, pem.strip(), b"secret" * 8):
        claims = provider.unsigned({"alg": algorithm, "kid": "first"}).rpartition(".")[0]
        signature = hmac.new(secret, claims.encode(), f"sha{algorithm[2:]}").digest()
        forged = f"{claims}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
        assert "which is not allowed" in await refused(ask, forged)


async def test_a_secret_that_a_provider_publishes_by_mistake_is_not_used(rig: Rig, provider: IdentityProvider) -> None:
    secret = OctKey.import_key(b"k" * 32, {"kid": "shared"})
    provider.keys.append(secret)  # type: ignore[arg-type]  # which is the mistake
    async with server(rig, provider) as ask:
        assert "not allowed" in await refused(ask, provider.token(key=secret, header={"alg": "HS256"}))
        assert "does not publish" in await refused(ask, provider.unsigned({"alg": "RS256", "kid": "shared"}, b"x"))


def test_no_setting_allows_algorithms_without_a_public_key() -> None:
    for name in ("none", "HS256", "HS384", "HS512"):
        with pytest.raises(ValueError, match="oidc_algorithms"):
            ExecutorSettings(oidc_algorithms=(name,))


async def test_a_key_of_somebody_else_is_refused_under_every_name(ask: Ask, provider: IdentityProvider) -> None:
    stranger = rsa_key("stranger", kid="first")
    assert "does not have the signature" in await refused(ask, provider.token(key=stranger))
    for kid in ("second", "", "../../dev/null", "' OR 1=1 --", "http://evil/k", "x" * 200, 7, ["first"], {"a": 1}):
        assert "does not publish" in await refused(ask, provider.unsigned({"alg": "RS256", "kid": kid}, b"x" * 256))


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
async def test_a_key_that_a_token_brings_along_is_not_used(ask: Ask, provider: IdentityProvider, name: str) -> None:
    stranger = rsa_key("stranger", kid="own")
    async with identity_provider() as evil:
        evil.keys = [stranger]
        values = {
            "jwk": stranger.as_dict(private=False),
            "jku": f"{evil.issuer}/jwks",
            "x5u": f"{evil.issuer}/x",
            "x5c": ["MA=="],
        }
        for kid in ("own", "first", None):
            assert await refused(ask, provider.token(key=stranger, header={"kid": kid, name: values[name]}))
        assert not evil.asked


async def test_without_a_key_id_there_must_be_one_key_alone(rig: Rig, provider: IdentityProvider) -> None:
    async with server(rig, provider) as ask:
        assert (await ask(provider.token(header={"kid": None}))).status_code == 200
    provider.keys.append(rsa_key("second"))
    async with server(rig, provider) as ask:
        assert "does not publish" in await refused(ask, provider.token(header={"kid": None}))


async def test_a_signature_is_of_exactly_what_it_signs(ask: Ask, provider: IdentityProvider) -> None:
    header, claims, signature = provider.token().split(".")
    _, wider, _ = provider.token(groups=["admins"]).split(".")
    for forged in (
        f"{header}.{wider}.{signature}",
        f"{header}.{claims}.",
        f"{header}.{claims}.{signature[:-8]}AAAAAAAA",
        f"{header}.{claims}.{base64.urlsafe_b64encode(b'x' * 256).decode()}",
    ):
        assert await refused(ask, forged)
    for broken in ("a.b", "a.b.c", "..", f"{header}.{claims}", f"{header}.{claims}.{signature}.{signature}"):
        assert await refused(ask, broken)
    assert await refused(ask, f"{header}.{claims}.{'x' * 20_000}")


async def test_a_weak_key_is_not_used(rig: Rig, provider: IdentityProvider) -> None:
    with pytest.warns(match=r".+"):
        weak = RSAKey.generate_key(1024, {"kid": "weak"}, private=True)
    provider.keys = [weak]
    async with server(rig, provider) as ask:
        with pytest.warns(match=r".+"):
            assert "does not publish" in await refused(ask, provider.token(key=weak))


@pytest.mark.parametrize("changes", [{"use": "enc"}, {"alg": "RS512"}, {"key_ops": ["encrypt"]}])
async def test_a_key_for_something_else_is_not_used(
    rig: Rig, provider: IdentityProvider, changes: dict[str, Any]
) -> None:
    good = rsa_key("first")
    data = {name: value for name, value in good.as_dict(private=False).items() if name not in {"use", "alg"}}

    class Published(RSAKey):
        """As the provider shows it."""

    shown = Published.import_key({**data, **changes})
    token = provider.token()
    provider.keys = [shown]
    async with server(rig, provider) as ask:
        assert "does not publish" in await refused(ask, token)


async def test_header_parameters_that_must_be_understood_are(ask: Ask, provider: IdentityProvider) -> None:
    assert "must be understood" in await refused(ask, provider.unsigned({"alg": "RS256", "crit": ["exp"]}, b"x"))
    for kind in ("logout+jwt", "dpop+jwt", "secevent+jwt", 7):
        assert "no login" in await refused(ask, provider.unsigned({"alg": "RS256", "typ": kind}, b"x"))
    assert (await ask(provider.token(header={"typ": "at+jwt"}))).status_code == 200


# --- good signatures under wrong claims -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "other"}, "meant for somebody else"),
        ({"aud": ["other", "third"]}, "meant for somebody else"),
        ({"aud": f"{CLIENT}2"}, "meant for somebody else"),
        ({"aud": {CLIENT: 1}}, "meant for somebody else"),
        ({"aud": None}, "meant for somebody else"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"exp": None}, "has no end"),
        ({"exp": "9999999999"}, "no moment"),
        ({"exp": True}, "no moment"),
        ({"exp": -1}, "no moment"),
        ({"exp": 1e300}, "no moment"),
        ({"nbf": "now"}, "no moment"),
        ({"iat": [1]}, "no moment"),
        ({"sub": None}, "names nobody"),
        ({"sub": " "}, "names nobody"),
        ({"sub": 7}, "names nobody"),
        ({"azp": "other"}, "the client 'other'"),
        ({"client_id": "other"}, "the client 'other'"),
    ],
)
async def test_claims_that_are_not_for_us_are_refused(
    ask: Ask, provider: IdentityProvider, claims: dict[str, Any], why: str
) -> None:
    assert why in await refused(ask, provider.token(**claims))


async def test_an_issuer_is_compared_letter_by_letter(ask: Ask, provider: IdentityProvider) -> None:
    for issuer in (f"{provider.issuer}/", provider.issuer.upper(), f" {provider.issuer}", provider.issuer[:-1]):
        assert "another issuer" in await refused(ask, provider.token(iss=issuer))


@pytest.mark.parametrize(("name", "offset"), [("exp", -1), ("nbf", 1), ("iat", 1)])
async def test_moments_count_within_the_leeway_and_not_a_second_beyond(
    rig: Rig, provider: IdentityProvider, name: str, offset: int
) -> None:
    now = int(time.time())

    def token(seconds: int) -> str:
        claims: dict[str, Any] = {name: now + offset * seconds}
        return provider.token(**claims)

    async with server(rig, provider, oidc_leeway_seconds=60) as ask:
        assert (await ask(token(59))).status_code == 200
        assert await refused(ask, token(62))
    async with server(rig, provider, oidc_leeway_seconds=0) as ask:
        assert await refused(ask, token(2))


def test_the_leeway_is_bounded() -> None:
    with pytest.raises(ValueError, match="oidc_leeway_seconds"):
        ExecutorSettings(oidc_leeway_seconds=301)


async def test_the_api_may_have_an_audience_of_its_own(rig: Rig, provider: IdentityProvider) -> None:
    async with server(rig, provider, oidc_audience="https://switchover.example") as ask:
        assert (await ask(provider.token(aud="https://switchover.example", azp="any"))).status_code == 200
        assert "meant for somebody else" in await refused(ask, provider.token(azp=CLIENT))
    more = {"oidc_audience": "https://switchover.example", "oidc_authorized_parties": ["ci"]}
    async with server(rig, provider, **more) as ask:
        assert (await ask(provider.token(aud="https://switchover.example", azp="ci"))).status_code == 200
        assert "the client 'any'" in await refused(ask, provider.token(aud="https://switchover.example", azp="any"))


# --- keys come and go -------------------------------------------------------------------------------------------------


async def test_a_new_key_is_found_and_a_withdrawn_one_refused(rig: Rig, provider: IdentityProvider) -> None:
    async with server(rig, provider) as ask:
        old = provider.token()
        assert (await ask(old)).status_code == 200
        provider.keys = [rsa_key("second")]
        assert (await ask(old)).status_code == 200, "what was published a moment ago is taken for a while"
        await later(rig, documents.RETRY_SECONDS)
        assert (await ask(provider.token())).status_code == 200, "an unknown key id makes us look"
        assert "does not publish" in await refused(ask, old)


async def test_unknown_keys_do_not_make_us_ask_without_end(rig: Rig, provider: IdentityProvider) -> None:
    async with server(rig, provider) as ask:
        for _ in range(20):
            await refused(ask, provider.unsigned({"alg": "RS256", "kid": "x"}, b"x"))
        assert provider.count("/jwks") == 1
        await later(rig, documents.RETRY_SECONDS)
        for _ in range(20):
            await refused(ask, provider.unsigned({"alg": "RS256", "kid": "x"}, b"x"))
        assert provider.count("/jwks") == 2


async def test_a_provider_that_is_away_is_told_and_known_keys_stay_good(
    rig: Rig, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "KEEP_SECONDS", 2 * documents.RETRY_SECONDS)
    provider.down = True
    async with server(rig, provider) as ask:
        answer = await ask(provider.token())
        assert (answer.status_code, answer.json()["code"]) == (503, "IDENTITY_PROVIDER_UNAVAILABLE")
        assert answer.headers["retry-after"] == "30"
        await ask(provider.token())
        assert len(provider.asked) == 1, "nobody hammers at it"
        provider.down = False
        await later(rig, documents.RETRY_SECONDS)
        assert (await ask(provider.token())).status_code == 200
        provider.down = True
        await later(rig, documents.KEEP_SECONDS)
        assert (await ask(provider.token())).status_code == 200


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://203.0.113.1/jwks"},
        {"jwks_uri": None},
        {"jwks_uri": "https://169.254.169.254/latest"},
    ],
)
async def test_a_discovery_document_leads_nowhere_else(
    rig: Rig, provider: IdentityProvider, discovery: dict[str, Any]
) -> None:
    provider.discovery = discovery
    async with server(rig, provider) as ask:
        answer = await ask(provider.token())
    assert answer.json()["code"] == "IDENTITY_PROVIDER_UNAVAILABLE"


async def test_the_provider_is_reached_through_the_allow_list(rig: Rig, provider: IdentityProvider) -> None:
    async with server(rig, provider, oidc_allow_list=["10.0.0.0/8"]) as ask:
        answer = await ask(provider.token())
    assert answer.json()["code"] == "IDENTITY_PROVIDER_UNAVAILABLE"
    assert "oidc_allow_list" in answer.json()["detail"]
    assert not provider.asked


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"oidc_client_id": None}, "oidc_client_id"),
        ({"oidc_roles": []}, "oidc_roles"),
        ({"oidc_roles": [{"group": "a", "scopes": ["root"]}]}, "oidc_roles"),
        ({"oidc_roles": [{"group": "a", "scopes": []}]}, "oidc_roles"),
        ({"oidc_roles": [{"group": "a", "scopes": ["viewer"], "tenant": "x"}]}, "oidc_roles"),
        ({"oidc_roles": [{"group": "a", "scopes": ["viewer"], "tenants": ["no such!"]}]}, "oidc_roles"),
        ({"oidc_issuer": "http://id.example"}, "no https URL"),
        ({"oidc_issuer": "http://127.0.0.1.evil.example"}, "no https URL"),
        ({"oidc_allow_list": ["10.0.0.1/8"]}, "10.0.0.1/8"),
    ],
)
async def test_settings_that_are_not_whole_are_told(rig: Rig, changes: dict[str, Any], why: str) -> None:
    given = {**settings_for(IdentityProvider(issuer="https://id.example")), **changes}
    with pytest.raises((ValueError, ExecutorError), match=why):
        async with open_people(ExecutorSettings(**given), rig.executor.clock):
            pass


def test_the_client_secret_is_in_no_text_of_the_settings() -> None:
    given = ExecutorSettings(**settings_for(IdentityProvider(issuer="https://id.example")))
    assert "cl1ent-s3cret" not in f"{given!r} {given} {given.model_dump()} {given.model_dump_json()}"
