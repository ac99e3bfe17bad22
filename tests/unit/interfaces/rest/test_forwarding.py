"""Behind proxies the caller is who calls, and nobody can pretend to be somebody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from switchover import ExecutorSettings
from switchover.domain.audit import EVERYTHING
from switchover.interfaces.rest.app import create_app
from tests.support.harness import Rig

PROXY = "10.0.0.1"
BAD = "swo_" + "x" * 43


@asynccontextmanager
async def served(rig: Rig, *trusted: str, peer: str = PROXY) -> AsyncIterator[httpx2.AsyncClient]:
    rig.executor.settings = ExecutorSettings(trusted_proxies=trusted)
    app = create_app(rig.executor, rig.executor.access_control())
    transport = httpx2.ASGITransport(app=app, client=(peer, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
        yield client


async def origin(rig: Rig, client: httpx2.AsyncClient, *forwarded: str, token: str) -> str:
    """Where the audit log says that a write came from."""
    headers = [("Authorization", f"Bearer {token}"), *(("X-Forwarded-For", value) for value in forwarded)]
    answer = await client.post("/api/v1/tenants/t1/hold", json={"reason": "x"}, headers=headers)
    assert answer.status_code in {202, 409}
    return (await rig.store.access.list_audit(EVERYTHING, before=None, limit=1))[0].entry.actor.origin


@pytest.fixture
async def token(rig: Rig) -> str:
    return (await rig.executor.access_control().create_token("ops", ["operator"], by=rig.facade.actor)).secret


async def test_by_default_nobody_is_believed(rig: Rig, token: str) -> None:
    async with served(rig) as client:
        for forwarded in ("203.0.113.7", "127.0.0.1", f"{PROXY}"):
            assert await origin(rig, client, forwarded, token=token) == PROXY


@pytest.mark.parametrize(
    ("forwarded", "caller"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        (["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        (["1.1.1.1, 203.0.113.7, 10.0.0.9, 10.0.0.8"], "203.0.113.7"),
        (["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        (["203.0.113.7, unknown"], PROXY),
        (["203.0.113.7, "], PROXY),
        (["203.0.113.7, 10.0.0.9, <script>"], PROXY),
        (["not an address"], PROXY),
        ([""], PROXY),
        ([], PROXY),
        ([", ".join(["1.1.1.1"] * 1_000 + ["203.0.113.7"])], "203.0.113.7"),
    ],
    ids=str,
)
async def test_a_trusted_proxy_is_believed_as_far_as_it_has_written(
    rig: Rig, token: str, forwarded: list[str], caller: str
) -> None:
    async with served(rig, "10.0.0.0/24") as client:
        assert await origin(rig, client, *forwarded, token=token) == caller


async def test_whoever_comes_past_the_proxy_is_not_believed(rig: Rig, token: str) -> None:
    async with served(rig, "10.0.0.0/24", peer="203.0.113.66") as client:
        assert await origin(rig, client, "127.0.0.1", token=token) == "203.0.113.66"


async def test_behind_a_trusted_proxy_one_who_guesses_locks_out_nobody_else(rig: Rig) -> None:
    async def guess(client: httpx2.AsyncClient, address: str) -> int:
        headers = {"Authorization": f"Bearer {BAD}", "X-Forwarded-For": address}
        return (await client.get("/api/v1/plans", headers=headers)).status_code

    async with served(rig, PROXY + "/32") as client:
        assert [await guess(client, "203.0.113.7") for _ in range(11)] == [401] * 10 + [429]
        assert await guess(client, "203.0.113.8") == 401
        # Nor does it help to pretend: what the caller writes stands before what the proxy adds.
        assert await guess(client, "198.51.100.1, 203.0.113.7") == 429
    async with served(rig) as client:
        codes = [await guess(client, f"203.0.113.{number}") for number in range(12)]
        assert codes == [401] * 10 + [429] * 2, "without trusted proxies they are one address"


@pytest.mark.parametrize(
    ("proto", "secure"), [("https", True), ("http", False), ("HTTPS", True), ("http, https", True)]
)
async def test_the_scheme_of_a_trusted_proxy_counts(rig: Rig, proto: str, secure: bool) -> None:
    headers = {"X-Forwarded-Proto": proto}
    async with served(rig, "10.0.0.0/24") as client:
        assert ("strict-transport-security" in (await client.get("/livez", headers=headers)).headers) is secure
        assert "strict-transport-security" not in (await client.get("/livez")).headers
    async with served(rig) as client:
        assert "strict-transport-security" not in (await client.get("/livez", headers=headers)).headers


def test_a_network_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        ExecutorSettings(trusted_proxies=("10.0.0.1/8",))
