"""Signing in at an identity provider, as somebody before the browser does it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect

from switchover import ExecutorSettings
from switchover.access import AccessControl, LoginLimiter
from switchover.adapters.clock import SystemClock
from switchover.bootstrap import open_executor
from switchover.identity import open_people
from tests.console.conftest import Served, opened
from tests.support.identity_provider import IdentityProvider, identity_provider, settings_for


class ServedPeople(Served):
    """A server whose people come from a provider, which runs beside it."""

    provider: IdentityProvider

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        async with identity_provider() as self.provider:
            self.provider.waits = True
            settings = ExecutorSettings(**settings_for(self.provider, oidc_label="Example ID"))
            async with (
                open_people(settings, SystemClock()) as people,
                open_executor(self.store, settings=settings, stage_factory=self.script.factory) as self.executor,
            ):
                limiter = LoginLimiter(clock=self.executor.clock, attempts=3, refill_seconds=60)
                self.access = AccessControl(
                    store=self.executor.store.access, clock=self.executor.clock, limiter=limiter, people=people
                )
                await self.listen_until(self._end)


@contextmanager
def serving_people() -> Iterator[ServedPeople]:
    served = ServedPeople("gateway", guarded=True)
    served.start()
    try:
        yield served
    finally:
        served.act(lambda script: script.release_all())
        served.stop()


@pytest.mark.parametrize("width", [1440, 400])
def test_one_signs_in_at_the_provider_and_is_back_on_the_page_that_was_wanted(browser: Browser, width: int) -> None:
    with serving_people() as served, opened(browser, viewport={"width": width, "height": 900}) as window:
        served.create("acme", plan_id=100)
        page = window.new_page()
        page.goto(f"{served.url}/plans/100")
        expect(page.get_by_label("Token")).to_be_visible()
        page.get_by_role("link", name="Sign in with Example ID").click()
        expect(page).to_have_title("Provider")
        page.get_by_role("link", name="Continue as alice").click()
        expect(page).to_have_url(f"{served.url}/plans/100")
        expect(page.locator("header")).to_contain_text("alice (operator)")
        expect(page.get_by_title(f"alice (248289761001 at {served.provider.issuer})")).to_be_visible()
        expect(page.locator("tr[data-row]")).to_have_count(1)
        names = {cookie.get("name"): cookie for cookie in window.cookies()}
        assert set(names) == {"switchover_session"}
        assert names["switchover_session"].get("httpOnly") is True
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        page.goto(f"{served.url}/plans/100")
        expect(page.get_by_label("Token")).to_be_visible()


def test_whoever_may_do_nothing_here_is_told_so_on_the_login_page(browser: Browser) -> None:
    with serving_people() as served, opened(browser, expected=("403",)) as window:
        served.provider.claims["groups"] = ["others"]
        page = window.new_page()
        page.goto(f"{served.url}/login")
        page.get_by_role("link", name="Sign in with Example ID").click()
        page.get_by_role("link", name="Continue as alice").click()
        expect(page.get_by_role("alert")).to_contain_text("is in no group that has a role here")
        expect(page.get_by_label("Token")).to_be_visible()
