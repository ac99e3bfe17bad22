"""
Make the pictures of the console in docs/images anew: a simulated fleet in the middle of a switch, in the real browser.

Usage: .venv/bin/python scripts/make_screenshots.py
"""

import asyncio
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, Page, async_playwright

from switchover import CompositeServiceStage, TaskStage, TenantDeployConfig, open_executor
from switchover.bootstrap import Executor, local_actor
from switchover.domain.stage import TaskRuntimeContext
from switchover.interfaces.console.app import ROOT, close_console, mount_console

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
STAGES = ("gateway", "billing", "reports", "search")
TENANTS = 600
BROKEN = {"tenant-0007": "billing", "tenant-0042": "billing", "tenant-0101": "gateway"}
SLOW_SECONDS = 0.6
CHROMIUM = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
SIZES = {"wide": (1440, 900), "phone": (400, 860)}
PLAN_PAGES = {"plan": "/plans/100", "timeline": "/plans/100/timeline", "tenant": "/tenants/tenant-0007"}


class HealthCheck:
    """What a health check of a simulated service does."""

    name = "healthCheck"

    async def execute(self, context: TaskRuntimeContext) -> None:
        """Take a while; a broken one says why."""
        number = int(context.tenant_id.rpartition("-")[2])
        await asyncio.sleep(SLOW_SECONDS * (0.5 + number % 7 / 6))
        if BROKEN.get(context.tenant_id) == context.stage and not context.rolling_back:
            answer = '503: {"error": "schema migration 42-07 is missing"}'
            message = f'1 of 1 endpoints did not report version "42" within 10 rounds, 3s apart; last answers: {answer}'
            raise RuntimeError(message)


def stages(config: TenantDeployConfig) -> Sequence[TaskStage]:
    """The same for everybody."""
    del config
    return [CompositeServiceStage(name, [HealthCheck()]) for name in STAGES]


async def fill(executor: Executor) -> None:
    """One plan in full swing, and one that is through."""
    for plan_id, first, last, name in (
        (99, 9_001, 9_012, "billing-green-canary"),
        (100, 1, TENANTS, "billing-green-w48"),
    ):
        configs = [
            {
                "tenantId": f"tenant-{number:04}",
                "deployUnitId": 2,
                "deployUnitVersion": 42,
                "deployUnitName": "green",
                "sourceTenantDeployConfig": {
                    "tenantId": f"tenant-{number:04}",
                    "deployUnitId": 1,
                    "deployUnitVersion": 41,
                    "deployUnitName": "blue",
                },
            }
            for number in range(first, last + 1)
        ]
        options = {"planId": plan_id, "maxConcurrency": 30}
        result = await executor.facade.create_switch_task(configs, options=options, metadata={"name": name})
        if not result.success:
            raise SystemExit(result.message)
        if plan_id != 100:  # noqa: PLR2004  # the one that is to be seen under way
            await executor.wait_for_plan(plan_id)


async def shoot(browser: Browser, base: str, token: str) -> None:
    """Every page in light and dark, wide and on a phone."""
    for scheme in ("light", "dark"):
        for size, (width, height) in SIZES.items():
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
            )
            page = await context.new_page()
            await page.goto(f"{base}/login")
            await page.get_by_label("Token").fill(token)
            async with page.expect_event("domcontentloaded"):
                await page.keyboard.press("Enter")
            for name, path in PLAN_PAGES.items():
                await picture(page, f"{base}{path}", f"console-{name}-{scheme}-{size}.png")
            await picture(page, f"{base}/plans", f"console-plans-{scheme}-{size}.png")
            await page.goto(f"{base}/plans/100")
            await page.get_by_role("link", name="Roll back", exact=True).click()
            await page.get_by_role("dialog").wait_for()
            await page.screenshot(path=IMAGES / f"console-question-{scheme}-{size}.png")
            await context.close()


async def picture(page: Page, address: str, name: str) -> None:
    """One page, when it is live."""
    await page.goto(address)
    await page.locator("[data-live][data-state=live]").wait_for()
    await page.wait_for_timeout(900)  # so that squares and rows are drawn
    await page.screenshot(path=IMAGES / name)


async def main() -> None:
    """Serve, shoot, stop."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("chromium is not installed; `make servers` installs it where it may")
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with open_executor("memory://", stage_factory=stages, grace_seconds=0) as executor:
        access = executor.access_control()
        issued = await access.first_start(local_actor("cli"))
        if issued is None:
            raise SystemExit("a store in memory has a token already")
        app, stopping = FastAPI(), asyncio.Event()
        console = mount_console(app, executor, access, stopping)
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
        serving = asyncio.ensure_future(server.serve())
        await fill(executor)
        port = server.servers[0].sockets[0].getsockname()[1]
        await asyncio.sleep(12)  # until the plan is well under way
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, headless=True, args=CHROMIUM)
            await shoot(browser, f"http://127.0.0.1:{port}{ROOT}", issued.secret)
            await browser.close()
        stopping.set()
        server.should_exit = True
        await serving
        await close_console(console)


if __name__ == "__main__":
    asyncio.run(main())
