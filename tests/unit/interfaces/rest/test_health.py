"""Whether the server lives and can do its work, as a load balancer asks."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from switchover.bootstrap import Executor, make_store, open_executor
from switchover.errors import StoreConflictError, StoreUnavailableError
from switchover.interfaces.rest.app import create_app
from switchover.interfaces.rest.permissions import OpenAccess
from tests.support.harness import Rig


async def _ready(http: httpx2.AsyncClient) -> tuple[int, dict[str, Any]]:
    answer = await http.get("/readyz")
    return answer.status_code, answer.json()


def _client(executor: Executor) -> httpx2.AsyncClient:
    app = create_app(executor, OpenAccess())
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://server")


async def test_a_server_that_drives_is_ready(http: httpx2.AsyncClient) -> None:
    assert await _ready(http) == (200, {"status": "ok", "driving": True})


async def test_it_lives_and_is_not_ready_while_the_store_takes_no_commits(rig: Rig, http: httpx2.AsyncClient) -> None:
    assert rig.clock is not None
    rig.script.block("t1", "A")
    await rig.create("t1")
    await rig.entered("t1", "A")
    rig.store.fail("commit", times=None)
    rig.script.release("t1", "A")
    await rig.clock.advance(1)
    status, document = await _ready(http)
    outage = rig.executor.store_outage
    alive = (await http.get("/livez")).status_code
    rig.store.heal()
    assert (status, document["code"], document["status"]) == (503, "STORE_UNAVAILABLE", 503)
    assert "has taken no commits since" in document["detail"]
    assert outage is not None
    assert outage.reason in document["detail"]
    assert alive == 200
    await rig.clock.advance(5)
    assert (await _ready(http))[0] == 200


async def test_it_is_not_ready_while_the_store_cannot_be_read(
    rig: Rig, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> int:
        message = "the disk is gone"
        raise StoreUnavailableError(message)

    monkeypatch.setattr(rig.store.inner, "change_token", away)
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "the disk is gone"


async def test_it_is_not_ready_when_it_may_drive_no_more(rig: Rig, http: httpx2.AsyncClient) -> None:
    rig.store.cut_off()
    with pytest.raises(StoreConflictError):
        await rig.facade.stop_line("look")
    assert rig.executor.driver_failure is not None
    status, document = await _ready(http)
    assert (status, document["code"]) == (503, "STORE_CONFLICT")


async def test_it_is_not_ready_from_the_moment_on_that_it_is_told_to_stop_and_lives_on(rig: Rig) -> None:
    app = create_app(rig.executor, OpenAccess())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://here") as http:
        assert (await _ready(http))[0] == 200
        app.state.streams.close()
        status, document = await _ready(http)
        assert (status, document["code"]) == (503, "STOPPING")
        assert (await http.get("/livez")).status_code == 200


@pytest.fixture
async def follower(tmp_path: Path) -> AsyncIterator[tuple[str, Executor]]:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    async with open_executor(url, mode="read", store=make_store(url)) as executor:
        yield url, executor


async def test_a_server_that_only_follows_is_ready_while_somebody_drives(follower: tuple[str, Executor]) -> None:
    url, executor = follower
    async with _client(executor) as http:
        status, document = await _ready(http)
        assert (status, document["code"]) == (503, "NOT_DRIVEN")
        assert "nobody ever drove it" in document["detail"]
        async with open_executor(url):
            assert await _ready(http) == (200, {"status": "ok", "driving": False})
        status, document = await _ready(http)
        assert (status, document["code"]) == (503, "NOT_DRIVEN")
        assert "is gone" in document["detail"]
