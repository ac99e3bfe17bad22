"""The HTTP API over a scripted engine in memory, called without a network."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from switchover.adapters.telemetry.metrics import Metrics
from switchover.domain.access import Scope
from switchover.interfaces.rest import metering
from switchover.interfaces.rest.app import create_app
from switchover.interfaces.rest.permissions import OpenAccess
from tests.support.described import Described
from tests.support.harness import Rig, open_rig
from tests.support.rest_door import Door


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as opened:
        yield opened
        opened.script.release_all()


@pytest.fixture
def app(rig: Rig) -> FastAPI:
    return create_app(rig.executor, OpenAccess())


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Whatever it is answered is held against the description, whatever the test is about."""
    transport = httpx2.ASGITransport(app=app)
    hooks = {"response": [Described(app.openapi()).check]}
    async with httpx2.AsyncClient(transport=transport, base_url="http://server", event_hooks=hooks) as client:
        yield client


@pytest.fixture
async def door(rig: Rig) -> AsyncIterator[Door]:
    access = rig.executor.access_control()
    app = create_app(rig.executor, access)
    metering.install(app, Metrics(), open_to_all=False)
    transport = httpx2.ASGITransport(app=app, client=("10.0.0.9", 1))
    described = Described(app.openapi())
    hooks = {"response": [described.check]}
    async with httpx2.AsyncClient(transport=transport, base_url="http://server", event_hooks=hooks) as client:
        door = Door(rig, app, access, client, described)
        for scope in Scope:
            await door.token(str(scope), str(scope))
        yield door
