"""Tokens, sessions and the audit log, as somebody before the browser meets them."""

from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from switchover.bootstrap import Executor
from switchover.domain.audit import Actor
from tests.console.conftest import Served, opened, serving

ROOT = Actor(name="root@here", kind="local", origin="here", via="cli")


def _token(served: Served, name: str, *scopes: str, tenants: Sequence[str] = ("*",)) -> str:
    async def body(executor: Executor) -> str:
        return (await served.access.create_token(name, scopes, by=ROOT, tenants=tenants)).secret

    return served.do(body)


def _sign_in(page: Page, served: Served, token: str) -> None:
    page.goto(f"{served.url}/login")
    page.get_by_label("Token").fill(token)
    with page.expect_event("domcontentloaded"):
        page.keyboard.press("Enter")


def test_a_token_opens_a_session_whose_cookie_no_script_can_read(browser: Browser) -> None:
    with serving("gateway", guarded=True) as served, opened(browser) as window:
        page = window.new_page()
        _sign_in(page, served, _token(served, "maria", "operator"))
        expect(page.locator("header")).to_contain_text("maria (operator)")
        (cookie,) = [cookie for cookie in window.cookies() if cookie.get("name") == "switchover_session"]
        assert cookie.get("httpOnly") is True
        assert cookie.get("sameSite") == "Lax"
        assert page.evaluate("document.cookie") == ""


def test_a_session_outlives_the_server_and_ends_with_its_token(browser: Browser, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/switchover.db"
    with opened(browser) as window:
        page = window.new_page()
        with serving("gateway", store=store, guarded=True) as first:
            _sign_in(page, first, _token(first, "maria", "viewer"))
            expect(page.locator("header")).to_contain_text("maria")
        with serving("gateway", store=store, guarded=True) as second:
            # In pages of their own: one that is open goes to another page by itself when it hears of the end.
            page = window.new_page()
            page.goto(f"{second.url}/plans")
            expect(page.locator("header")).to_contain_text("maria")

            async def revoke(executor: Executor) -> None:
                await second.access.revoke_token("maria", by=ROOT)

            second.do(revoke)
            page = window.new_page()
            page.goto(f"{second.url}/plans")
            expect(page.get_by_label("Token")).to_be_visible()


def test_after_signing_out_the_old_cookie_is_good_for_nothing(browser: Browser) -> None:
    with serving("gateway", guarded=True) as served, opened(browser) as window:
        page = window.new_page()
        _sign_in(page, served, _token(served, "maria", "viewer"))
        expect(page.locator("header")).to_contain_text("maria")
        cookies = window.cookies()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        window.add_cookies([{**cookie} for cookie in cookies])  # type: ignore[typeddict-item]  # as they were read
        page.goto(f"{served.url}/plans")
        expect(page.get_by_label("Token")).to_be_visible()


def test_whoever_guesses_has_to_wait(browser: Browser) -> None:
    with serving("gateway", guarded=True) as served, opened(browser, expected=("401",)) as window:
        page = window.new_page()
        for _ in range(3):
            _sign_in(page, served, "swt_guessed")
            expect(page.get_by_role("alert")).to_contain_text("not known")
        _sign_in(page, served, "swt_guessed")
        expect(page.get_by_role("alert")).to_contain_text("Try again in")


def test_a_form_from_another_site_is_refused_even_with_the_right_value(browser: Browser) -> None:
    with serving("gateway", guarded=True) as served, opened(browser) as window:
        served.create("acme")
        page = window.new_page()
        _sign_in(page, served, _token(served, "maria", "operator"))
        page.goto(f"{served.url}/ask/stop-line")
        csrf = page.locator("form.form input[name=csrf]").get_attribute("value") or ""
        form: dict[str, str | float | bool] = {"kind": "line", "csrf": csrf, "reason": "from elsewhere"}
        address = f"{served.url}/do/stop-line"
        assert page.request.post(address, form=form, headers={"Origin": "https://elsewhere.example"}).status == 403
        assert page.request.post(address, form={**form, "csrf": "0" * 64}).status == 403
        assert page.request.post(address, form=form).ok


def test_what_was_asked_for_is_in_the_audit_log_with_who_and_why(browser: Browser) -> None:
    with serving("gateway", guarded=True) as served, opened(browser, expected=("403",)) as window:
        page = window.new_page()
        _sign_in(page, served, _token(served, "maria", "operator"))
        page.goto(f"{served.url}/brakes")
        page.get_by_role("link", name="Stop the line").click()
        page.get_by_label("Reason").fill("network trouble")
        page.get_by_role("dialog").locator("button.main").click()
        expect(page.locator("#line")).to_contain_text("network trouble")
        page.goto(f"{served.url}/audit")
        expect(page.get_by_role("alert").last).to_contain_text("takes the scope admin")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        _sign_in(page, served, _token(served, "boss", "admin"))
        page.get_by_role("link", name="Audit").click()
        row = page.locator("tbody tr", has_text="stop-line")
        expect(row).to_contain_text("maria")
        expect(row).to_contain_text("console 127.0.0.1")
        expect(row).to_contain_text("network trouble")
        expect(row).to_contain_text("accepted")


def test_whoever_is_limited_to_some_tenants_sees_these_and_may_not_ask_for_a_whole_plan(browser: Browser) -> None:
    with serving("gateway", guarded=True) as served, opened(browser) as window:
        served.create("eu-acme", "us-birch")
        page = window.new_page()
        _sign_in(page, served, _token(served, "europe", "operator", tenants=["eu-*"]))
        page.goto(f"{served.url}/plans/100")
        expect(page.locator("tr[data-row]")).to_have_count(1)
        expect(page.locator("#head [data-ask]")).to_have_count(0)
        page.get_by_role("link", name="eu-acme").click()
        expect(page.locator("#head [data-ask]").first).to_be_visible()
