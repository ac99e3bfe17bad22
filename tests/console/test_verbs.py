"""Every verb, as a person asks for it in the browser: the question first, then what came of it."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from switchover.domain.access import TenantSelector
from switchover.domain.task import Operation
from tests.console.conftest import Served, opened, serving

Form = dict[str, str | float | bool]


def _running(served: Served) -> None:
    """Acme done, birch failed, cedar runs its first stage, dune waits."""
    served.act(lambda script: script.fail("birch", "billing", times=1))
    served.act(lambda script: script.block("cedar", "gateway"))
    served.create("acme", "birch", "cedar", "dune", maxConcurrency=1)


def _settled(served: Served) -> None:
    served.act(lambda script: script.fail("birch", "billing", times=1))
    served.create("acme", "birch")


def _ask(page: Page, label: str) -> None:
    page.get_by_role("link", name=label, exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()


def _yes(page: Page) -> None:
    page.get_by_role("dialog").locator("button.main").click()
    expect(page.locator("main > .banner[role=status]")).to_be_visible()


@pytest.mark.parametrize(
    ("verb", "prepare", "expected"),
    [
        ("Pause", _running, ("1 tenant running: paused at the next stage boundary", "pause pending")),
        ("Retry", _settled, ("1 tenant failed: run again", "completed")),
        ("Cancel", _running, ("1 tenant not running: cancelled at once", "running")),
        ("Roll back", _settled, ("2 tenants switched or begun", "rolled back")),
    ],
)
def test_a_verb_by_plan_says_first_what_will_happen_and_then_does_it(
    served: Served, page: Page, verb: str, prepare: Callable[[Served], None], expected: tuple[str, str]
) -> None:
    question, state = expected
    prepare(served)
    page.goto(f"{served.url}/plans/100")
    _ask(page, verb)
    expect(page.get_by_role("dialog")).to_contain_text(question)
    _yes(page)
    expect(page.locator("#head .title")).to_contain_text(state)


def test_a_paused_plan_is_resumed(served: Served, page: Page) -> None:
    _running(served)
    page.goto(f"{served.url}/plans/100")
    _ask(page, "Pause")
    _yes(page)
    served.act(lambda script: script.release("cedar", "gateway"))
    expect(page.locator("#head .title .chip").first).to_contain_text("paused")
    _ask(page, "Resume")
    expect(page.get_by_role("dialog")).to_contain_text("1 tenant paused: go on after the last complete stage")
    _yes(page)
    expect(page.locator("#head .title .chip").first).to_contain_text("partly failed")


@pytest.mark.parametrize(
    ("tenant", "verb", "state"),
    [
        ("cedar", "Pause", "pause pending"),
        ("cedar", "Cancel", "cancel pending"),
        ("cedar", "Roll back", "rollback pending"),
        ("dune", "Cancel", "cancelled"),
        ("birch", "Retry", "retry pending"),
        ("dune", "Pause", "waiting"),
    ],
)
def test_a_verb_by_tenant(served: Served, page: Page, tenant: str, verb: str, state: str) -> None:
    _running(served)
    page.goto(f"{served.url}/tenants/{tenant}")
    _ask(page, verb)
    _yes(page)
    expect(page.locator("#head .title")).to_contain_text(state)


def test_a_hold_needs_a_reason_and_is_lifted_again(served: Served, page: Page) -> None:
    _settled(served)
    page.goto(f"{served.url}/tenants/acme")
    _ask(page, "Hold")
    page.get_by_role("dialog").locator("button.main").click()
    expect(page.get_by_role("dialog"), "the reason is missing").to_be_visible()
    page.get_by_label("Reason").fill("the customer asked")
    _yes(page)
    expect(page.locator("#holds")).to_contain_text("the customer asked")
    _ask(page, "Lift the hold")
    page.get_by_label("Reason").fill("the customer agreed")
    _yes(page)
    expect(page.locator("#holds")).to_contain_text("None.")


def test_the_line_is_stopped_and_started(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/brakes")
    _ask(page, "Stop the line")
    page.get_by_label("Reason").fill("network trouble")
    _yes(page)
    page.goto(f"{served.url}/plans")
    expect(page.get_by_role("alert")).to_contain_text("network trouble")
    page.goto(f"{served.url}/brakes")
    page.locator("#line").get_by_role("link", name="Start the line").click()
    _yes(page)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_adopt_says_what_it_found(served: Served, page: Page) -> None:
    _settled(served)
    served.act(lambda script: script.held.update(acme=9))
    page.goto(f"{served.url}/tenants/acme")
    _ask(page, "Adopt")
    _yes(page)
    expect(page.locator("main > .banner[role=status]")).to_contain_text("hold generation 9")


def test_a_retry_can_begin_from_scratch(served: Served, page: Page) -> None:
    _settled(served)
    page.goto(f"{served.url}/tenants/birch")
    _ask(page, "Retry")
    page.get_by_label("from scratch").check()
    _yes(page)
    expect(page.locator("#head .title")).to_contain_text("done")
    assert served.script.done("birch") == ["birch gateway", "birch billing", "birch gateway", "birch billing"]


def test_what_would_be_refused_cannot_be_sent_and_says_why(served: Served, page: Page) -> None:
    _settled(served)
    page.goto(f"{served.url}/ask/pause?plan=100")
    expect(page.locator("main")).to_contain_text("This would be refused: plan 100 is PARTIAL_FAILED")
    expect(page.locator("button.main")).to_be_disabled()


@pytest.mark.parametrize("operation", list(Operation))
def test_a_request_that_comes_too_late_is_answered_honestly(served: Served, page: Page, operation: Operation) -> None:
    """The state has changed between the question and the answer."""
    served.create("acme")
    answer = page.request.post(
        f"{served.url}/do/{operation}", form={"kind": "plan", "target": "7", "csrf": served.door.csrf}
    )
    assert "no plan 7 is known" in answer.text()


def test_leaving_the_question_changes_nothing(served: Served, page: Page) -> None:
    _running(served)
    page.goto(f"{served.url}/plans/100")
    _ask(page, "Roll back")
    page.get_by_role("link", name="Leave it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    _ask(page, "Roll back")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#head .title .chip").first).to_contain_text("running")


def test_everything_can_be_done_with_the_keyboard_alone(served: Served, page: Page) -> None:
    _running(served)
    page.goto(f"{served.url}/plans")
    _tab_to(page, "100")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/plans/100$"))
    _tab_to(page, "Pause")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    _tab_to(page, "Pause plan 100")
    page.keyboard.press("Enter")
    expect(page.locator("main > .banner[role=status]")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")


def _tab_to(page: Page, text: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText.trim()") == text:
            return
    raise AssertionError(f"{text} is not reached")


def test_without_a_script_the_question_is_a_page(browser: Browser) -> None:
    with serving("gateway", "billing") as served, opened(browser, java_script_enabled=False) as window:
        _settled(served)
        page = window.new_page()
        page.goto(f"{served.url}/plans/100")
        page.get_by_role("link", name="Roll back", exact=True).click()
        page.get_by_role("button", name="Roll back plan 100").click()
        expect(page.locator("main > .banner[role=status]")).to_be_visible()


def test_a_form_from_elsewhere_is_refused(served: Served, page: Page) -> None:
    _running(served)
    for csrf in ("", "guessed"):
        answer = page.request.post(f"{served.url}/do/cancel", form={"kind": "plan", "target": "100", "csrf": csrf})
        assert answer.status == 403
    page.goto(f"{served.url}/plans/100")
    expect(page.locator("#head .title .chip").first).to_contain_text("running")


def test_who_may_only_look_is_offered_nothing_and_refused_everything(served: Served, page: Page) -> None:
    served.door.operates = False
    _running(served)
    for path in ("plans/100", "tasks/100-1", "brakes"):
        page.goto(f"{served.url}/{path}")
        expect(page.locator("[data-ask]")).to_have_count(0)
    for verb in (*Operation, "hold", "unhold", "adopt", "stop-line", "start-line"):
        form: Form = {"kind": "plan", "target": "100", "csrf": served.door.csrf, "reason": "x"}
        assert page.request.post(f"{served.url}/do/{verb}", form=form).status == 403
        assert page.request.get(f"{served.url}/ask/{verb}?plan=100").status == 403


def test_who_may_see_some_tenants_sees_no_others(served: Served, page: Page) -> None:
    served.door.tenants = TenantSelector(("acme",))
    _running(served)
    served.create("elm", plan_id=101, name="none of theirs")
    assert "none of theirs" not in page.request.get(f"{served.url}/plans").text()
    assert page.request.get(f"{served.url}/plans/101").status == 404
    page.goto(f"{served.url}/plans/100")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    for path in ("plans/100", "plans/100/events", "plans/100/timeline", "plans/100/rows", "brakes"):
        assert "birch" not in page.request.get(f"{served.url}/{path}").text(), path
    assert page.request.get(f"{served.url}/tasks/100-2").status == 404
    form: Form = {"kind": "tenant", "target": "birch", "csrf": served.door.csrf}
    assert page.request.post(f"{served.url}/do/rollback", form=form).status == 403
    form = {"kind": "plan", "target": "100", "csrf": served.door.csrf}
    assert page.request.post(f"{served.url}/do/rollback", form=form).status == 403
