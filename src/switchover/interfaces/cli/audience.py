"""The demo's audience: a console of its own on the loopback address, open for as long as the story is told."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.interfaces.cli.driving import Interrupts

if TYPE_CHECKING:
    from switchover.access import AccessControl
    from switchover.bootstrap import Executor

_HOST = "127.0.0.1"
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class BrowserAudience:
    """Those who have signed in to the demo's console."""

    access: "AccessControl"
    interrupts: Interrupts

    async def arrive(self) -> None:
        """Wait until somebody has signed in."""
        while not await self.access.list_sessions():  # noqa: ASYNC110  # sessions are rows; nobody rings for them
            await asyncio.sleep(_LOOK_SECONDS)

    async def leave(self) -> None:
        """Wait for Ctrl-C."""
        print("The console stays open until you press Ctrl-C.", flush=True)
        self.interrupts.cancels = False
        await self.interrupts.first.wait()


@asynccontextmanager
async def browser_audience(executor: "Executor", port: int, interrupts: Interrupts) -> AsyncGenerator[BrowserAudience]:
    """Serve the console, and say where it is and with which token one comes in."""
    from switchover.bootstrap import local_actor
    from switchover.interfaces.console.app import ROOT, close_console, mount_console
    from switchover.interfaces.rest.app import create_app
    from switchover.interfaces.rest.serving import listen, serve

    access = executor.access_control()
    issued = await access.first_start(local_actor("cli"))
    made = listen(_HOST, port)
    stopping = asyncio.Event()
    app = create_app(executor, access)
    console = mount_console(app, executor, access, stopping)
    serving = asyncio.ensure_future(serve(app, made, stopping, started=lambda: None))
    try:
        print(f"The console is at http://{_HOST}:{made.getsockname()[1]}{ROOT}", flush=True)
        if issued is not None:
            print(f"Sign in with the token {issued.secret} and the story begins.", flush=True)
        yield BrowserAudience(access, interrupts)
    finally:
        stopping.set()
        await serving
        await close_console(console)
