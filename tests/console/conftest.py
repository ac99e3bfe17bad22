"""A browser before the console of a running server whose stages do what a test says."""
# ruff: noqa: ANN401  # options of plans and windows, and what passes through a middleware, are of any type

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page

from switchover.access import AccessControl, LoginLimiter
from switchover.bootstrap import Executor, open_executor
from switchover.interfaces.console.app import ROOT, console_app
from switchover.interfaces.console.sessions import SessionDoor
from tests.support.browser import Complaints, chromium
from tests.support.harness import Script, config_of
from tests.support.open_door import OpenDoor
from tests.support.processes import free_port

Result = TypeVar("Result")

POLICY = "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"


class Served:
    """
    A server in a thread of its own.

    Attributes:
        script: What its stages do.
        door: Who is let in.
        access: Tokens and sessions, when the door is the real one.
        store: Of the executor.
    """

    def __init__(self, *stages: str, store: str = "memory://", guarded: bool = False) -> None:
        self.script = Script(stages)
        self.door = OpenDoor()
        self.store = store
        self.guarded = guarded
        self.access: AccessControl
        self.port = free_port()
        self.executor: Executor
        self._loop = asyncio.new_event_loop()
        self._up: Future[None] = Future()
        self._end: asyncio.Event
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._up.result(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "live pages end when the server stops"

    def do(self, work: Callable[[Executor], Awaitable[Result]]) -> Result:
        """Carry out something in the server's loop."""

        async def body() -> Result:
            return await work(self.executor)

        return asyncio.run_coroutine_threadsafe(body(), self._loop).result(60)

    def act(self, work: Callable[[Script], object]) -> None:
        """Tell the stages something, in the server's loop."""

        async def body() -> None:
            work(self.script)

        asyncio.run_coroutine_threadsafe(body(), self._loop).result(60)

    def create(self, *tenants: str, plan_id: int = 100, name: str = "blue-to-green", **options: Any) -> None:
        """A plan."""

        async def body(executor: Executor) -> None:
            result = await executor.facade.create_switch_task(
                [config_of(tenant) for tenant in tenants],
                options={"planId": plan_id, **options},
                metadata={"name": name, "labels": {}},
            )
            assert result.success, result.message

        self.do(body)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/console"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if not self._up.done():
                self._up.set_exception(error)
            raise
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        async with open_executor(self.store, stage_factory=self.script.factory) as self.executor:
            await self.listen_until(self._end)

    async def listen_until(self, end: asyncio.Event) -> None:
        executor = self.executor
        limiter = LoginLimiter(clock=executor.clock, attempts=3, refill_seconds=60)
        if not hasattr(self, "access"):
            self.access = AccessControl(store=executor.store.access, clock=executor.clock, limiter=limiter)
        door = SessionDoor(self.access, ROOT) if self.guarded else self.door
        console = console_app(executor, door, end, people=self.access.people)
        app = FastAPI()
        app.mount("/console", _with_policy(console))
        server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", timeout_graceful_shutdown=5)
        )
        serving = asyncio.ensure_future(server.serve())
        await listening(server)
        if not self._up.done():
            self._up.set_result(None)
        await end.wait()
        server.should_exit = True
        await serving
        await console.state.aclose()


async def listening(server: uvicorn.Server) -> None:
    """Wait until the server takes connections; it offers nothing to wait for but a flag."""
    while not server.started:  # noqa: ASYNC110  # see above
        await asyncio.sleep(0.01)


def _with_policy(app: FastAPI) -> FastAPI:
    """What the server sets on every answer: nothing inline, nothing from elsewhere."""

    @app.middleware("http")
    async def policy(request: Any, onward: Any) -> Any:
        answer = await onward(request)
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    return app


@contextmanager
def serving(*stages: str, store: str = "memory://", guarded: bool = False) -> Iterator[Served]:
    """A server for the length of a ``with`` block; ``guarded`` is one that people have to sign in to."""
    served = Served(*stages, store=store, guarded=guarded)
    served.start()
    try:
        yield served
    finally:
        served.act(lambda script: script.release_all())
        served.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One a module: while it is open, the thread has a running loop, which asynchronous tests forbid."""
    with chromium() as started:
        yield started


@pytest.fixture
def window(browser: Browser) -> Iterator[BrowserContext]:
    """A window of its own for each test; whatever the browser complains about fails the test."""
    with opened(browser) as context:
        yield context


@contextmanager
def opened(browser: Browser, *, expected: Sequence[str] = (), **settings: Any) -> Iterator[BrowserContext]:
    """A window; ``expected`` are parts of complaints that a test provokes."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **settings})
    complaints = Complaints(context, expected)
    try:
        yield context
        assert complaints.unexpected() == []
    finally:
        context.close()


@pytest.fixture
def page(window: BrowserContext) -> Page:
    """A page of that window."""
    return window.new_page()


@pytest.fixture
def served() -> Iterator[Served]:
    """A server whose tenants have two stages."""
    with serving("gateway", "billing") as server:
        yield server


def texts(page: Page, selector: str) -> Sequence[str]:
    """The texts of all elements, in order."""
    return [text.strip() for text in page.locator(selector).all_inner_texts()]
