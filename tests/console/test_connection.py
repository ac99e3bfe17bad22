"""Signing in, and a server that goes and comes back."""

import re
import sqlite3
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.console.conftest import Served, opened, serving


def test_whoever_is_not_signed_in_comes_to_the_form_and_then_where_they_wanted(
    served: Served, browser: Browser
) -> None:
    with opened(browser, expected=("401",)) as window:
        _sign_in(served, window.new_page())


def _sign_in(served: Served, page: Page) -> None:
    served.create("acme")
    served.door.closed = True
    page.goto(f"{served.url}/plans/100?q=acme")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    page.get_by_label("Token").fill("wrong")
    with page.expect_response(lambda answer: answer.url.endswith("/login")) as answered:
        page.keyboard.press("Enter")
    assert answered.value.status == 401
    expect(page.get_by_role("alert")).to_contain_text("This token is not known")
    page.get_by_label("Token").fill(served.door.secret)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{served.url}/plans/100?q=acme")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/login"))


def test_a_link_to_the_login_sends_nobody_elsewhere(served: Served, page: Page) -> None:
    served.door.closed = True
    page.goto(f"{served.url}/login?next=https://example.org/console/")
    page.get_by_label("Token").fill(served.door.secret)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{served.url}/plans")


def test_a_page_goes_on_when_the_server_is_back(browser: Browser) -> None:
    with opened(browser, expected=("net::ERR_",)) as window:
        page = window.new_page()
        with serving("gateway") as first:
            first.create("acme")
            page.goto(f"{first.url}/plans/100")
            expect(page.locator("[data-live]")).to_have_text("live")
            port = first.port
        expect(page.locator("[data-live]")).to_have_text("connection lost, trying again")
        second = Served("gateway")
        second.port = port
        second.script.block("*")
        second.start()
        try:
            second.create("acme", "birch")
            expect(page.locator("[data-live]")).to_have_text("live", timeout=15_000)
            expect(page.locator("tr[data-row]")).to_have_count(2)
        finally:
            second.act(lambda script: script.release_all())
            second.stop()


def test_a_store_that_takes_no_commits_is_told_on_every_page(browser: Browser, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/switchover.db"
    with serving("gateway", "billing", store=store) as served, opened(browser) as window:
        served.act(lambda script: script.block("*", "gateway"))
        served.create("acme")
        page = window.new_page()
        foreign = sqlite3.connect(tmp_path / "switchover.db", isolation_level=None)
        try:
            foreign.execute("BEGIN EXCLUSIVE")
            served.act(lambda script: script.release_all())
            page.goto(f"{served.url}/plans")
            banner = page.get_by_role("alert")
            for _ in range(60):  # until the first commit has given up waiting for the lock
                if banner.count():
                    break
                page.wait_for_timeout(500)
                page.reload()
            expect(banner).to_contain_text("The store takes no commits since")
        finally:
            foreign.rollback()
            foreign.close()
        page.goto(f"{served.url}/plans/100")
        expect(page.locator("#head .title .chip").first).to_contain_text("completed", timeout=30_000)
        page.reload()
        expect(page.get_by_role("alert")).to_have_count(0)
