"""What the pages show, in a real browser."""

import re

from playwright.sync_api import Browser, Page, expect

from tests.console.conftest import Served, opened, serving, texts


def _in_the_middle(served: Served) -> None:
    """Acme done, birch failed, cedar runs, dune waits."""
    served.act(lambda script: script.fail("birch", "billing", times=1))
    served.act(lambda script: script.block("cedar", "billing"))
    served.create("acme", "birch", "cedar", "dune", maxConcurrency=1)


def test_the_board_says_of_every_tenant_and_stage_how_it_stands(served: Served, page: Page) -> None:
    _in_the_middle(served)
    page.goto(f"{served.url}/plans/100")
    row = page.locator("tr", has_text="cedar")
    expect(row.locator(".state")).to_contain_text("running")
    expect(row.locator(".stages")).to_contain_text("gateway: done")
    expect(row.locator(".stages")).to_contain_text("billing: running")
    expect(page.locator("tr", has_text="dune").locator(".stages")).to_contain_text("gateway: waiting")
    expect(page.locator("tr", has_text="birch").locator(".why")).to_contain_text("STEP_FAILED in billing")
    expect(page.locator("#counts")).to_contain_text("1 waiting")
    assert texts(page, "#counts .chip") == ["✓\n1 done", "▶\n1 running", "✕\n1 failed", "○\n1 waiting"]


def test_failures_are_grouped_by_cause(served: Served, page: Page) -> None:
    served.act(lambda script: script.fail("acme", "billing"))
    served.act(lambda script: script.fail("birch", "billing"))
    served.act(lambda script: script.fail("cedar", "gateway"))
    served.create("acme", "birch", "cedar")
    page.goto(f"{served.url}/plans/100")
    expect(page.locator("#causes summary")).to_have_text("3 tenants need attention, 2 causes")
    expect(page.locator("#causes li").first).to_contain_text(
        "2 tenants failed: STEP_FAILED in stage billing, step switch"
    )
    expect(page.locator("#causes li").first.locator("a").first).to_have_text("acme")


def test_the_page_follows_without_being_loaded_again(served: Served, page: Page) -> None:
    _in_the_middle(served)
    page.goto(f"{served.url}/plans/100")
    page.evaluate("window.sameDocument = true")
    expect(page.locator("[data-live]")).to_have_text("live")
    served.act(lambda script: script.release("cedar", "billing"))
    expect(page.locator("tr", has_text="dune").locator(".state")).to_contain_text("done")
    expect(page.locator("#head .chip").first).to_contain_text("partly failed")
    expect(page.locator("#counts")).to_contain_text("3 done")
    assert page.evaluate("window.sameDocument") is True


def test_tenants_can_be_found_and_filtered_and_the_address_keeps_it(served: Served, page: Page) -> None:
    _in_the_middle(served)
    page.goto(f"{served.url}/plans/100")
    page.get_by_label("Find a tenant").fill("CED")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?q=CED$"))
    page.get_by_label("Find a tenant").fill("")
    page.locator("#counts label", has_text="failed").click()
    expect(page.locator("tr[data-row]")).to_have_count(1)
    expect(page.locator("tr[data-row]")).to_contain_text("birch")
    page.reload()
    expect(page.locator("tr[data-row]")).to_have_count(1)


def test_five_thousand_tenants_are_one_small_page_that_can_be_scrolled_to_its_end(browser: Browser) -> None:
    tenants = [f"t{number:05}" for number in range(1, 5_001)]
    stages = ("gateway", "billing", "reports", "search", "mail", "voice")
    with serving(*stages) as served, opened(browser) as window:
        served.act(lambda script: script.block("*"))
        served.create(*tenants, maxConcurrency=50)
        page = window.new_page()
        answer = page.goto(f"{served.url}/plans/100", wait_until="load")
        assert answer is not None
        assert len(answer.body()) < 200_000, "the page is as large as what is seen of it, not as the plan"
        expect(page.locator("tr[data-row]").first).to_contain_text("t00001")
        assert page.locator("tr[data-row]").count() < 400
        page.keyboard.press("End")
        expect(page.locator("tr[data-row]").last).to_contain_text("t05000")
        expect(page.locator("tr[data-row='5000']")).to_be_in_viewport()
        assert page.locator("tr[data-row]").count() < 400
        page.get_by_label("Find a tenant").fill("t04999")
        expect(page.locator("tr[data-row]")).to_have_count(1)


def test_the_map_has_a_square_for_each_tenant_and_leads_to_its_row(browser: Browser) -> None:
    with serving("gateway") as served, opened(browser) as window:
        served.act(lambda script: script.block("*"))
        served.create(*[f"t{number:05}" for number in range(1, 2_001)], maxConcurrency=5)
        page = window.new_page()
        with page.expect_response(lambda answer: answer.url.split("?")[0].endswith("/map")) as answered:
            page.goto(f"{served.url}/plans/100")
        assert answered.value.text() == "r" * 5 + "w" * 1_995
        squares = page.locator("canvas")
        expect(squares).not_to_have_attribute("height", "0")
        box = squares.bounding_box()
        assert box is not None
        across = int(box["width"] // 9)
        squares.click(position={"x": 4, "y": box["height"] - 4})
        first_of_the_last_line = (2_000 - 1) // across * across + 1
        expect(page.locator(f"tr[data-row='{first_of_the_last_line}']")).to_be_in_viewport()


def test_the_timeline_shows_when_which_tenant_ran_which_stage(served: Served, page: Page) -> None:
    _in_the_middle(served)
    page.goto(f"{served.url}/plans/100/timeline")
    lanes = page.locator(".lanes").last
    expect(lanes.locator("rect.done")).to_have_count(4)
    expect(lanes.locator("rect.failed")).to_have_count(1)
    expect(lanes.locator("rect.running")).to_have_count(1)
    expect(lanes.locator("rect.failed title")).to_have_text(
        re.compile(r"birch: billing, failed, .* from \d\d:\d\d:\d\d")
    )


def test_pruned_events_are_told_of_on_every_page_that_shows_events(served: Served, page: Page) -> None:
    served.create("acme")
    served.do(lambda executor: executor.wait_for_plan(100))
    assert served.do(lambda executor: executor.facade.prune_plan(100)).success
    for path in ("plans/100/events", "plans/100/timeline", "tasks/100-1"):
        page.goto(f"{served.url}/{path}")
        expect(page.get_by_text("Older events were pruned")).to_be_visible()
    page.goto(f"{served.url}/plans/100/events")
    expect(page.locator("#events li")).to_have_count(1)
    expect(page.get_by_text("Earlier events")).to_have_count(0)


def test_new_events_come_by_themselves_each_once_and_in_order(served: Served, page: Page) -> None:
    _in_the_middle(served)
    page.goto(f"{served.url}/plans/100/events")
    expect(page.locator("#events li").first).to_be_visible()
    served.act(lambda script: script.release("cedar", "billing"))
    expect(page.locator("#events li").first).to_contain_text("PlanFailed")
    numbers = [int(text) for text in texts(page, "#events li .mono")]
    assert numbers == sorted(set(numbers), reverse=True)
    assert numbers[-1] == 1
    assert numbers[0] == len(numbers)


def test_a_tenants_page_tells_why_it_stands_and_what_changes(served: Served, page: Page) -> None:
    _in_the_middle(served)
    page.goto(f"{served.url}/tenants/birch")
    expect(page).to_have_url(re.compile(r"/tasks/100-2$"))
    expect(page.locator("#head .ask")).to_contain_text("switchover retry --tenant birch")
    row = page.locator("#configuration tr", has_text="deployUnitId")
    assert texts(page, "#configuration tr.differs th") == ["deployUnitId", "deployUnitVersion"]
    expect(row.locator("td").first).to_have_text("1")
    expect(row.locator("td").last).to_have_text("2")
    page.goto(f"{served.url}/tenants/dune")
    expect(page.locator("#head .ask")).to_contain_text("Every slot of plan 100 is taken")


def test_what_nobody_knows_is_a_page_that_says_so(served: Served, page: Page) -> None:
    for path in ("plans/7", "tasks/7-1", "tasks/seven", "tenants/nobody"):
        answer = page.request.get(f"{served.url}/{path}")
        assert answer.status == 404
        assert "Nothing there" in answer.text()
    assert page.request.get(f"{served.url}/plans/seven").status == 400


def test_without_a_script_every_page_works(browser: Browser) -> None:
    with serving("gateway") as served, opened(browser, java_script_enabled=False) as window:
        served.create(*[f"t{number:03}" for number in range(1, 151)])
        page = window.new_page()
        page.goto(f"{served.url}/plans")
        page.get_by_role("link", name="100").click()
        expect(page.locator("tr[data-row]")).to_have_count(100)
        page.get_by_role("link", name="Later").click()
        expect(page.locator("tr[data-row]")).to_have_count(50)
        expect(page.locator("tr[data-row]").last).to_contain_text("t150")


def test_on_a_phone_nothing_has_to_be_scrolled_sideways(browser: Browser) -> None:
    with serving("gateway", "billing") as served, opened(browser, viewport={"width": 400, "height": 800}) as window:
        _in_the_middle(served)
        page = window.new_page()
        for path in ("plans", "plans/100", "plans/100/events", "tasks/100-2", "brakes", "ask/rollback?plan=100"):
            page.goto(f"{served.url}/{path}")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 400, path


def test_states_are_told_by_words_and_shapes_and_not_by_colour_alone(served: Served, page: Page) -> None:
    _in_the_middle(served)
    page.goto(f"{served.url}/plans/100")
    expect(page.locator("#counts")).to_contain_text("1 waiting")
    expect(page.locator("tr", has_text="cedar").locator(".state")).to_contain_text("running")
    told = [
        (
            page.locator("tr", has_text=tenant).locator(".state i").inner_text(),
            page.locator("tr", has_text=tenant).locator(".state").inner_text().split("\n")[-1],
        )
        for tenant in ("acme", "birch", "cedar", "dune")
    ]
    assert [word for _, word in told] == ["done", "failed", "running", "waiting"]
    assert len({shape for shape, _ in told}) == len(told)
