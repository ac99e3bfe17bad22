"""The HTTP API over a scripted engine in memory, called without a network."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from switchover.interfaces.rest.app import create_app
from switchover.interfaces.rest.permissions import OpenAccess
from tests.support.harness import Rig, open_rig


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
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://server") as client:
        yield client
