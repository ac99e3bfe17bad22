"""Every page of the console, without a session and with one that may only look."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from switchover.access import AccessControl
from switchover.domain.access import Scope
from switchover.interfaces.console.app import close_console, mount_console
from switchover.interfaces.rest.app import create_app
from tests.support.harness import Rig, open_rig
from tests.unit.interfaces.rest.test_access import routes_of

OPEN = frozenset({"/login", "/static/{version}/{name}", "/"})
"""What everybody is answered: the page to sign in at, our own files, and the way to the first page."""

VERBS = ("pause", "resume", "cancel", "retry", "rollback", "hold", "unhold", "adopt", "stop-line", "start-line")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as opened:
        yield opened


@pytest.fixture
async def console(rig: Rig) -> AsyncIterator[tuple[FastAPI, AccessControl, httpx2.AsyncClient]]:
    await rig.create("t1", "t2", plan_id=100)
    await rig.settles()
    access = rig.executor.access_control()
    app = create_app(rig.executor, access)
    mounted = mount_console(app, rig.executor, access, asyncio.Event())
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://server/console") as browser:
        yield mounted, access, browser
    await close_console(mounted)


def calls_of(console: FastAPI) -> Sequence[tuple[str, str, str]]:
    """(route, method, path) of all of them, plan 100 and its tenant filled in."""
    values = {"plan_id": "100", "task_id": "100-1", "tenant_id": "t1", "verb": "stop-line", "version": "1", "name": "x"}
    found: list[tuple[str, str, str]] = []
    for path, route in routes_of(console.routes):
        assert isinstance(route, APIRoute)
        filled = path
        for name, value in values.items():
            filled = filled.replace(f"{{{name}}}", value)
        found += [(path, method, filled) for method in sorted(route.methods or ())]
    return found


async def sign_in(access: AccessControl, browser: httpx2.AsyncClient, rig: Rig, *scopes: str) -> None:
    token = await access.create_token("-".join(scopes), scopes, by=rig.facade.actor)
    assert (await browser.post("/login", data={"token": token.secret})).status_code == 303


async def test_without_a_session_every_page_leads_to_the_login(
    console: tuple[FastAPI, AccessControl, httpx2.AsyncClient],
) -> None:
    mounted, _, browser = console
    calls = calls_of(mounted)
    assert len(calls) > 20
    for route, method, path in calls:
        if route not in OPEN:
            answer = await browser.request(method, path, data={"kind": "line"} if method == "POST" else None)
            assert (answer.status_code, answer.headers["location"][:20]) == (303, "/console/login?next="), (
                method,
                path,
            )


@pytest.mark.parametrize("scope", [Scope.VIEWER, Scope.APPROVER])
async def test_who_may_only_look_asks_for_nothing(
    console: tuple[FastAPI, AccessControl, httpx2.AsyncClient], rig: Rig, scope: Scope
) -> None:
    mounted, access, browser = console
    await sign_in(access, browser, rig, scope)
    before = rig.store.changing
    for _, method, path in calls_of(mounted):
        if method == "GET" and "/feed" not in path:
            answer = await browser.get(path)
            allowed = {403} if path.startswith(("/ask/", "/audit")) else {200, 303, 404}
            assert answer.status_code in allowed, (path, answer.status_code)
            assert "data-ask" not in answer.text, path
    for verb in VERBS:
        for kind, target in (("plan", "100"), ("tenant", "t1"), ("line", "")):
            form = {"kind": kind, "target": target, "reason": "x", "csrf": "x"}
            assert (await browser.post(f"/do/{verb}", data=form)).status_code == 403, verb
    assert rig.store.changing == before


async def test_an_operator_needs_the_value_that_belongs_to_the_session(
    console: tuple[FastAPI, AccessControl, httpx2.AsyncClient], rig: Rig
) -> None:
    _, access, browser = console
    await sign_in(access, browser, rig, "operator")
    before = rig.store.changing
    for csrf in ("", "x", "0" * 64):
        form = {"kind": "line", "reason": "x", "csrf": csrf}
        assert (await browser.post("/do/stop-line", data=form)).status_code == 403
        assert (await browser.post("/logout", data={"csrf": csrf})).status_code == 403
    assert rig.store.changing == before
    assert (await browser.get("/audit")).status_code == 403
