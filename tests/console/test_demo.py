"""`switchover demo --console`: the same story, in the browser."""

import re
import signal
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.console.conftest import opened
from tests.support.command_line import CommandLine, wait_for_output


def test_the_story_waits_for_its_audience_and_can_be_watched(browser: Browser, tmp_path: Path) -> None:
    with CommandLine(tmp_path) as switchover, opened(browser) as window:
        program = switchover.start("demo", "--console", "--port", "0")

        def said(pattern: str) -> re.Match[str] | None:
            return re.search(pattern, program.output())

        wait_for_output(program, "the story begins")
        address, token = said(r"console is at (\S+)"), said(r"Sign in with the token (\S+)")
        assert address is not None
        assert token is not None
        assert said("Switch: 12 tenants") is None, "nobody watches yet"
        page = window.new_page()
        page.goto(address[1])
        page.get_by_label("Token").fill(token[1])
        page.keyboard.press("Enter")
        page.get_by_role("link", name="42").click()
        expect(page.locator("tr[data-row]")).to_have_count(12)
        expect(page.locator("#causes")).to_contain_text("schema migration 42-07 is missing", timeout=60_000)
        expect(page.locator("tr", has_text="juniper").locator(".state")).to_contain_text("rolled back", timeout=60_000)
        wait_for_output(program, "Everything shown was proven")
        program.send(signal.SIGINT)
        switchover.wait_for_end(program, code=0)
