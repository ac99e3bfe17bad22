"""The contract of configuration targets, over HTTP, against a service that keeps the fence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar
from urllib.parse import unquote

import pytest

from switchover.adapters.network import guarded_session
from switchover.adapters.targets.http import HttpTargets
from switchover.config import PRIVATE_NETWORKS
from switchover.domain.addresses import AllowList
from switchover.spi import ConfigTarget
from switchover.testing.target_contracts import ConfigTargetContract
from tests.support.config_server import config_service


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ConfigTarget]:
    async with guarded_session(AllowList(PRIVATE_NETWORKS)) as session:
        yield HttpTargets(session).config_target(url)


class TestHttp(ConfigTargetContract):
    field: ClassVar[str | None] = None

    @pytest.fixture(autouse=True)
    async def _place(self) -> AsyncIterator[None]:
        async with config_service() as service:
            self.service = service
            yield

    @pytest.fixture
    async def target(self, _place: None) -> AsyncIterator[ConfigTarget]:
        async with opened(self.service.url) as target:
            yield target

    @pytest.fixture
    async def other(self, _place: None) -> AsyncIterator[ConfigTarget]:
        async with opened(self.service.url + "/") as target:
            yield target

    async def peek(self, key: str, field: str | None) -> bytes | None:
        suffix = "" if field is None else f"/{field}"
        found = [value for path, value in self.service.values.items() if unquote(path) == f"/v1/config/{key}{suffix}"]
        assert len(found) < 2
        return found[0] if found else None


class TestHttpWithFields(TestHttp):
    field = "gateway"


class TestHttpAnswering412(TestHttp):
    @pytest.fixture(autouse=True)
    def _status(self, _place: None) -> None:
        self.service.stale_status = 412
