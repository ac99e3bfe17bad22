"""The login of people, step by step, and every known way to abuse one of the steps."""
# ruff: noqa: ANN401  # settings and claims are of any type

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest

from switchover import ExecutorSettings
from switchover.access import AccessControl
from switchover.adapters.clock import SystemClock
from switchover.bootstrap import open_executor
from switchover.domain.audit import EVERYTHING, Actor
from switchover.identity import open_people
from switchover.interfaces.console.app import close_console, mount_console
from switchover.interfaces.rest.app import create_app
from tests.support.identity_provider import CLIENT, IdentityProvider, identity_provider, rsa_key, settings_for

ROOT = Actor(name="root@here", kind="local", origin="here", via="cli")
BEGIN = "/console/login/oidc"
SESSION, LOGIN = "switchover_session", "switchover_login"


@dataclass
class Site:
    """A server with a console, its provider, and a browser that follows no redirect by itself."""

    provider: IdentityProvider
    access: AccessControl
    browser: httpx2.AsyncClient

    async def begin(self, onward: str = "") -> httpx2.Response:
        """Press the button."""
        return await self.browser.get(BEGIN, params={"next": onward} if onward else {})

    async def at_the_provider(self, begun: httpx2.Response) -> str:
        """Log in there; the address that the browser is sent back to."""
        async with httpx2.AsyncClient() as outside:
            return str((await outside.get(begun.headers["location"])).headers["location"])

    async def back(self, address: str) -> httpx2.Response:
        """Come back to us."""
        parts = urlsplit(address)
        return await self.browser.get(f"{parts.path}?{parts.query}")

    async def log_in(self, onward: str = "") -> httpx2.Response:
        """The whole way."""
        return await self.back(await self.at_the_provider(await self.begin(onward)))

    async def is_in(self) -> bool:
        """Whether the browser has a session that is good."""
        return (await self.browser.get("/console/plans")).status_code == 200

    def forget(self) -> None:
        """Another browser."""
        self.browser.cookies.clear()


@asynccontextmanager
async def opened(**more: Any) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(identity_provider())
        settings = ExecutorSettings(**settings_for(provider, **more))
        people = await stack.enter_async_context(open_people(settings, SystemClock()))
        executor = await stack.enter_async_context(open_executor("memory://", settings=settings))
        access = executor.access_control(people)
        app = create_app(executor, access)
        console = mount_console(app, executor, access, asyncio.Event())
        stack.push_async_callback(close_console, console)
        transport = httpx2.ASGITransport(app=app, client=("10.0.0.9", 1))
        browser = httpx2.AsyncClient(transport=transport, base_url="http://server")
        yield Site(provider, access, await stack.enter_async_context(browser))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened() as opened_site:
        yield opened_site


async def refused(site: Site, answer: httpx2.Response, status: int, why: str) -> None:
    assert answer.status_code == status, answer.text
    assert re.search(why, answer.text), answer.text
    assert "Token" in answer.text, "the login page, where one may try again"
    assert SESSION not in answer.headers.get("set-cookie", "")
    assert LOGIN not in site.browser.cookies, "what was begun is over"
    assert not await site.is_in()


# --- the way of it ----------------------------------------------------------------------------------------------------


async def test_the_whole_way_leads_to_a_session_and_to_the_page_that_was_wanted(site: Site) -> None:
    page = await site.browser.get("/console/login?next=/console/plans/7?q=x")
    assert "Sign in with single sign-on" in page.text
    begun = await site.begin("/console/plans/7?q=x")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    assert begun.headers["location"].startswith(f"{site.provider.issuer}/authorize?")
    assert (asked["response_type"], asked["client_id"], asked["scope"]) == ("code", CLIENT, "openid profile email")
    assert asked["redirect_uri"] == "http://server/console/login/oidc/callback"
    assert asked["code_challenge_method"] == "S256"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    assert "HttpOnly; Max-Age=600; Path=/console/login/oidc; SameSite=lax" in begun.headers["set-cookie"]
    answer = await site.back(await site.at_the_provider(begun))
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/plans/7?q=x")
    plans = await site.browser.get("/console/plans")
    assert f"alice (248289761001 at {site.provider.issuer})" in plans.text
    assert "(operator)" in plans.text
    assert LOGIN not in site.browser.cookies


async def test_the_audit_log_says_who_it_was_by_subject_and_issuer(site: Site) -> None:
    await site.log_in()
    records = await site.access.store.list_audit(EVERYTHING, before=None, limit=1)
    entry = records[0].entry
    assert (entry.verb, entry.actor.kind, entry.actor.origin) == ("login", "person", "10.0.0.9")
    assert entry.actor.name == f"alice (248289761001 at {site.provider.issuer})"


async def test_each_login_has_a_state_a_nonce_and_a_verifier_of_its_own(site: Site) -> None:
    asked = [parse_qs(urlsplit((await site.begin()).headers["location"]).query) for _ in range(3)]
    for name in ("state", "nonce", "code_challenge"):
        assert len({query[name][0] for query in asked}) == 3


async def test_a_session_ends_with_the_token_it_began_with_and_not_later_than_the_setting_says(site: Site) -> None:
    await site.log_in()
    (session,) = await site.access.list_sessions()
    assert 590 <= (session.expires_at - session.created_at).total_seconds() <= 600
    async with opened(session_seconds=60) as other:
        answer = await other.log_in()
        (session,) = await other.access.list_sessions()
        assert (session.expires_at - session.created_at).total_seconds() == 60
        assert "Max-Age=60;" in answer.headers["set-cookie"]


async def test_signing_out_ends_the_session_here(site: Site) -> None:
    await site.log_in()
    page = (await site.browser.get("/console/plans")).text
    csrf = re.findall(r'name="csrf" value="([0-9a-f]+)"', page)[0]
    cookie = site.browser.cookies[SESSION]
    assert (await site.browser.post("/console/logout", data={"csrf": csrf})).status_code == 303
    site.browser.cookies.set(SESSION, cookie)
    assert not await site.is_in()
    assert not await site.access.list_sessions()


async def test_behind_a_proxy_the_public_address_counts(site: Site) -> None:
    async with opened(public_url="https://switch.example/") as other:
        begun = await other.begin()
        asked = parse_qs(urlsplit(begun.headers["location"]).query)
        assert asked["redirect_uri"] == ["https://switch.example/console/login/oidc/callback"]
        assert "; Secure" in begun.headers["set-cookie"]
    assert "Secure" not in (await site.begin()).headers["set-cookie"]


async def test_a_public_client_proves_itself_with_pkce_alone_and_this_provider_wants_more(site: Site) -> None:
    async with opened(oidc_client_secret=None) as other:
        await refused(other, await other.log_in(), 401, "invalid_client")


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_basic"], None])
async def test_the_client_proves_itself_as_the_provider_likes_it(site: Site, methods: list[str] | None) -> None:
    site.provider.discovery = {"token_endpoint_auth_methods_supported": methods}
    assert (await site.log_in()).status_code == 303


async def test_without_a_provider_there_is_no_button_and_no_way(site: Site) -> None:
    async with open_executor("memory://") as executor:
        access = executor.access_control()
        app = create_app(executor, access)
        console = mount_console(app, executor, access, asyncio.Event())
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as browser:
            assert "Sign in with" not in (await browser.get("/console/login")).text
            assert (await browser.get(BEGIN)).status_code == 404
        await close_console(console)


# --- abuse ------------------------------------------------------------------------------------------------------------


async def test_an_answer_that_this_browser_did_not_ask_for_is_refused(site: Site) -> None:
    """Login CSRF: somebody is made to come in as the attacker."""
    address = await site.at_the_provider(await site.begin())
    site.forget()
    await refused(site, await site.back(address), 400, "not begun in this browser")
    await site.begin()
    await refused(site, await site.back(address), 400, "not begun in this browser")
    assert site.provider.count("/token") == 0, "the code was not even asked about"


@pytest.mark.parametrize("state", ["", "x", "é", None])
async def test_another_state_is_refused(site: Site, state: str | None) -> None:
    address = await site.at_the_provider(await site.begin())
    code = parse_qs(urlsplit(address).query)["code"][0]
    given = "" if state is None else f"&state={quote(state)}"
    await refused(site, await site.back(f"{BEGIN}/callback?code={code}{given}"), 400, "not begun in this browser")
    assert site.provider.count("/token") == 0


async def test_an_answer_is_good_once_even_for_whoever_kept_the_cookie(site: Site) -> None:
    begun = await site.begin()
    kept = site.browser.cookies[LOGIN]
    address = await site.at_the_provider(begun)
    assert (await site.back(address)).status_code == 303
    site.forget()
    parts = urlsplit(address)
    again = await site.browser.get(f"{parts.path}?{parts.query}", headers={"Cookie": f"{LOGIN}={kept}"})
    await refused(site, again, 400, "not begun in this browser")


async def test_a_code_is_good_once(site: Site) -> None:
    """A stolen code under a login of one's own: the provider has given it away, and the verifier does not fit."""
    stolen = parse_qs(urlsplit(await site.at_the_provider(await site.begin())).query)["code"][0]
    for _ in range(2):
        state = parse_qs(urlsplit((await site.begin()).headers["location"]).query)["state"][0]
        await refused(site, await site.back(f"{BEGIN}/callback?code={stolen}&state={state}"), 401, "invalid_grant")


@pytest.mark.parametrize("cookie", ["", "x", "bm8=", "W10=", "WyJhIiwiYiIsImMiXQ==", "WzEsMiwzLDRd", "é"])
async def test_a_cookie_that_is_none_of_ours_is_refused(site: Site, cookie: str) -> None:
    address = await site.at_the_provider(await site.begin())
    site.forget()
    parts = urlsplit(address)
    headers = {b"Cookie": f"{LOGIN}={cookie}".encode()}
    answer = await site.browser.get(f"{parts.path}?{parts.query}", headers=headers)
    assert answer.status_code == 400
    assert SESSION not in answer.headers.get("set-cookie", "")


FORGED: dict[str, tuple[Any, str]] = {
    "no signature": (lambda p, c: p.unsigned({"alg": "none"}, **c), "not allowed"),
    "a stranger's key": (
        lambda p, c: p.token(key=rsa_key("stranger", kid="first"), **c),
        "signature",
    ),
    "another nonce": (lambda p, c: p.token(**{**c, "nonce": "x"}), r"another login \(nonce\)"),
    "no nonce": (lambda p, c: p.token(), r"another login \(nonce\)"),
    "for somebody else": (lambda p, c: p.token(**c, aud="other"), "meant for somebody else"),
    "for another client": (lambda p, c: p.token(**c, azp="other"), r"another client \(azp\)"),
    "for several, said by none": (lambda p, c: p.token(**c, aud=[CLIENT, "other"]), r"another client \(azp\)"),
    "of another issuer": (lambda p, c: p.token(**c, iss="https://evil.example"), "another issuer"),
    "expired": (lambda p, c: p.token(**c, exp=1_000), "expired"),
    "no token": (lambda p, c: "opaque", "shape"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_token_that_is_not_for_this_login_is_refused(site: Site, name: str) -> None:
    make, why = FORGED[name]
    site.provider.change = lambda claims: make(site.provider, claims)
    await refused(site, await site.log_in(), 401, why)


async def test_the_answer_of_another_provider_is_refused(site: Site) -> None:
    """Mix-up: the answer says whose it is."""
    address = (await site.at_the_provider(await site.begin())).replace(quote(site.provider.issuer, safe=""), "evil")
    await refused(site, await site.back(address), 401, "of another issuer")
    assert site.provider.count("/token") == 0


async def test_what_the_provider_says_is_shown_as_text(site: Site) -> None:
    state = parse_qs(urlsplit((await site.begin()).headers["location"]).query)["state"][0]
    told = f"error=access_denied&error_description={quote('<script>alert(1)</script>' * 100)}&state={state}"
    answer = await site.back(f"{BEGIN}/callback?{told}")
    await refused(site, answer, 401, "access_denied")
    assert "<script>alert" not in answer.text
    assert answer.text.count("&lt;script&gt;") < 10, "shortened"


@pytest.mark.parametrize(
    "onward",
    [
        *("https://evil.example/", "//evil.example/", "/\\evil.example", "/console//evil.example", "/console/\\evil"),
        *("/consolex/evil", "javascript:alert(1)", "/console/%0d%0aLocation: x", "/console/\r\nX: y", "\t//evil", "/"),
        *("/console/../../evil//", "http:evil", "/console/\x00", "console/plans"),
    ],
)
async def test_nobody_is_sent_elsewhere_by_a_link_to_our_login(site: Site, onward: str) -> None:
    answer = await site.log_in(onward)
    assert answer.status_code == 303
    where = answer.headers["location"]
    assert where == "/console/plans" or where.startswith("/console/%0d%0a"), "which is a name of a page, encoded"
    assert "\n" not in where
    token = (await site.access.create_token("t", ["viewer"], by=ROOT)).secret
    site.forget()
    answer = await site.browser.post("/console/login", data={"token": token, "next": onward})
    assert urlsplit(answer.headers["location"]).netloc == ""
    assert answer.headers["location"].startswith("/console/")


async def test_a_session_that_somebody_else_planted_is_not_the_one_that_is_opened(site: Site) -> None:
    """Session fixation."""
    begun = await site.begin()
    parts = urlsplit(await site.at_the_provider(begun))
    cookies = f"{SESSION}=planted-by-an-attacker; {LOGIN}={site.browser.cookies[LOGIN]}"
    site.forget()
    answer = await site.browser.get(f"{parts.path}?{parts.query}", headers={"Cookie": cookies})
    assert answer.status_code == 303
    assert "planted" not in str(answer.headers)
    assert await site.access.session_of("planted-by-an-attacker") is None
    assert await site.access.session_of(site.browser.cookies[SESSION]) is not None


async def test_the_session_from_before_ends_when_somebody_logs_in(site: Site) -> None:
    await site.log_in()
    before = site.browser.cookies[SESSION]
    site.provider.claims = {**site.provider.claims, "sub": "2", "preferred_username": "bob"}
    await site.log_in()
    assert await site.access.session_of(before) is None
    assert "bob (2 at" in (await site.browser.get("/console/plans")).text


async def test_whoever_has_no_role_is_told_and_not_let_in(site: Site) -> None:
    site.provider.claims["groups"] = ["others"]
    await refused(site, await site.log_in(), 403, r"alice \(248289761001 at .*\) is in no group")


async def test_whoever_is_limited_to_tenants_sees_only_them(site: Site) -> None:
    site.provider.claims["groups"] = ["acme-team"]
    await site.log_in()
    (session,) = await site.access.list_sessions()
    assert session.tenants.patterns == ("acme-*",)
    assert (await site.browser.get("/console/ask/hold?tenant=bolt-1")).status_code == 403


async def test_a_provider_that_is_away_is_told_on_the_login_page(site: Site) -> None:
    site.provider.down = True
    await refused(site, await site.begin(), 503, "answered 503")
    async with opened() as other:
        address = await other.at_the_provider(await other.begin())
        other.provider.down = True
        await refused(other, await other.back(address), 503, "answered")


async def test_failed_logins_are_limited_and_the_provider_is_left_alone_then(site: Site) -> None:
    site.provider.change = lambda claims: "opaque"
    codes = [(await site.log_in()).status_code for _ in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert site.provider.count("/token") == 10


async def test_a_token_of_the_provider_is_no_token_of_ours_on_the_login_page(site: Site) -> None:
    answer = await site.browser.post("/console/login", data={"token": site.provider.token(), "next": ""})
    assert answer.status_code == 401
    assert not await site.is_in()
