"""The console as a part of the server's application."""

import asyncio
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from switchover.access import AccessControl, People
from switchover.bootstrap import Executor
from switchover.errors import StorageError
from switchover.interfaces.console.actions import Actions
from switchover.interfaces.console.door import Door
from switchover.interfaces.console.entrance import Entrance, SignInFirst
from switchover.interfaces.console.pages import Pages
from switchover.interfaces.console.people import PeopleLogin
from switchover.interfaces.console.rendering import static_file
from switchover.interfaces.console.sessions import SessionDoor

ROOT = "/console"


def mount_console(app: FastAPI, executor: Executor, access: AccessControl, stopping: asyncio.Event) -> FastAPI:
    """
    Serve the console beside the API; what is given back has to be closed with ``close_console``.

    Args:
        stopping: Set when the server stops: live pages end then.
    """
    door = SessionDoor(access, ROOT, executor.settings.public_url)
    console = console_app(executor, door, stopping, people=access.people)

    @app.get("/", include_in_schema=False)
    @app.get(ROOT, include_in_schema=False)
    async def start() -> Response:
        return RedirectResponse(f"{ROOT}/plans", 303)

    app.mount(ROOT, console)
    return console


async def close_console(console: FastAPI) -> None:
    """Follow no plan any more."""
    await console.state.aclose()


def console_app(
    executor: Executor, door: Door, stopping: asyncio.Event, root: str = ROOT, *, people: People | None = None
) -> FastAPI:
    """
    An application of its own, to be mounted at ``root``: its errors are pages, not problem documents.

    Args:
        stopping: Set when the server stops: live pages end then.
        people: Those of an identity provider, who may sign in there; None: there is none.
    """
    entrance = Entrance(executor, door, root, provider="" if people is None else people.label)
    pages = Pages(executor, entrance, stopping)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(pages.router())
    app.include_router(Actions(executor, entrance).router())
    if people is not None and isinstance(door, SessionDoor):
        app.include_router(PeopleLogin(door, entrance, people, executor.settings.public_url).router())

    @app.get("/")
    async def start() -> Response:
        return RedirectResponse(f"{root}/plans", 303)

    @app.get("/static/{version}/{name}")
    async def static(version: str, name: str) -> Response:
        del version  # it only makes the address another one when the content is
        answer = static_file(name)
        if answer is None:
            raise HTTPException(404)
        return answer

    @app.exception_handler(SignInFirst)
    async def sign_in_first(_: Request, error: SignInFirst) -> Response:
        return RedirectResponse(f"{root}/login?{urlencode({'next': error.onward})}", 303)

    @app.exception_handler(HTTPException)
    async def problem(request: Request, error: HTTPException) -> Response:
        return await entrance.problem(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        what = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
        return await entrance.problem(request, 400, f"This address or form cannot be read: {what}.")

    @app.exception_handler(StorageError)
    async def away(_: Request, error: StorageError) -> Response:
        answer = entrance.fragment("away.html", message=error.message)
        answer.status_code = 503
        return answer

    app.state.aclose = pages.aclose
    return app
