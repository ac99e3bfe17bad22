"""The system's Chromium, driven by Playwright."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.support.servers import find_program

_ARGUMENTS = [
    "--no-sandbox",  # the tests may run as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser for the length of a ``with`` block."""
    program = find_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Complaints:
    """What the browser complained about: errors of scripts, refused resources, broken policies."""

    def __init__(self, context: BrowserContext, expected: Sequence[str]) -> None:
        self.texts: list[str] = []
        self._expected = expected
        context.on("weberror", lambda error: self.texts.append(str(error.error)))
        context.on("console", lambda message: self.texts.append(message.text) if message.type == "error" else None)

    def unexpected(self) -> list[str]:
        """All but those that a test provoked."""
        return [text for text in self.texts if not any(part in text for part in self._expected)]
