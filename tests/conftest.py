"""Fixtures and profiles of the whole test suite."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import new_schema
from tests.support.servers import DURABLE, in_ci, private_postgres, private_redis

# Examples share the machine with other tests: a slow one is no finding, so there is no deadline. CI takes the same
# examples every time, a laptop explores. For more: HYPOTHESIS_PROFILE=thorough make stateful
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True, database=None)
settings.register_profile("thorough", settings.get_profile("dev"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if in_ci() else "dev"))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a private Redis with an append-only file, one per test process; tests keep apart by key or by database."""
    with private_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def redis_store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a private Redis that is fit to be a store: every change is on disk before it is acknowledged."""
    with private_redis(tmp_path_factory.mktemp("redis-store"), settings=DURABLE) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a private PostgreSQL, one per test process; tests keep apart by schema."""
    with private_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
async def postgres_url(postgres_server: str) -> str:
    """URL of an empty schema of one's own."""
    return await new_schema(postgres_server)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a server, so that ``-m "not redis and not postgres"`` needs no list."""
    for item in items:
        for server in ("redis", "postgres"):
            if f"{server}_server" in getattr(item, "fixturenames", ()):
                item.add_marker(server)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent
