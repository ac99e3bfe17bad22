"""Who is limited to some tenants sees and does nothing about the others: every route, live events, holds."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import aiohttp
import httpx2
import pytest
from fastapi import FastAPI

from switchover.access import AccessControl
from switchover.interfaces.rest.app import create_app
from tests.support.harness import Rig
from tests.support.listening import Listening, Message, listening, messages_in
from tests.unit.interfaces.rest.test_access import VALUES, calls_of

OTHER = "bolt-9d1f"
"""A tenant whose name is found nowhere by chance."""

PLACES = {**VALUES, "tenantId": "acme-1"}


@dataclass
class Limited:
    """A caller who is limited to acme's tenants, before a running server."""

    app: FastAPI
    server: Listening
    token: str
    client: httpx2.AsyncClient

    async def read(self, path: str, last: str) -> Sequence[Message]:
        """A stream, until something of this type has come."""
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {self.token}"}
        text = b""
        async with aiohttp.ClientSession() as session, session.get(self.server.url + path, headers=headers) as response:
            assert response.content_type == "text/event-stream", await response.text()
            async for chunk in response.content.iter_any():
                text += chunk
                if last.encode() in text:
                    break
        assert OTHER.encode() not in text
        return messages_in(text)


@pytest.fixture
async def limited(rig: Rig) -> AsyncIterator[Limited]:
    access: AccessControl = rig.executor.access_control()
    token = (await access.create_token("acme", ["admin"], by=rig.facade.actor, tenants=["acme-*"])).secret
    app = create_app(rig.executor, access)
    async with listening(app) as server:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(base_url=server.url, headers=headers) as client:
            yield Limited(app, server, token, client)


async def mixed_plan(rig: Rig) -> None:
    """One plan with both; the other tenant's task fails, which is when messages name it."""
    rig.script.fail(OTHER)
    await rig.create("acme-1", OTHER, plan_id=100)
    await rig.executor.wait_for_plan(100)


async def test_no_answer_names_a_tenant_that_is_not_theirs(rig: Rig, limited: Limited) -> None:
    await mixed_plan(rig)
    await rig.create(f"{OTHER}-b", plan_id=101)
    await rig.executor.wait_for_plan(101)
    await rig.facade.hold_tenant(OTHER, f"trouble with {OTHER}")
    for name, method, path in calls_of(limited.app):
        if method != "GET":
            continue
        for plan_id in ("100", "101"):
            for query in ("", "?view=full"):
                for asked in (path.replace("100", plan_id), path.replace("100-1", "100-2")):
                    answer = await limited.client.get(asked + query)
                    assert OTHER not in answer.text, (name, asked, query)


async def test_nothing_is_done_about_a_tenant_that_is_not_theirs(rig: Rig, limited: Limited) -> None:
    await mixed_plan(rig)
    before = rig.store.changing
    about_others = [
        (method, path.replace("acme-1", OTHER).replace("t1", OTHER).replace("100-1", "100-2"))
        for _, method, path in calls_of(limited.app)
        if method not in {"GET", "HEAD"} and ("/tenants/" in path or "/tasks/" in path or "/plans/100" in path)
    ]
    assert len(about_others) > 15
    for method, path in about_others:
        answer = await limited.client.request(method, path, json={"reason": "x"})
        assert (answer.status_code, answer.json()["code"]) == (403, "TENANT_OUT_OF_REACH"), path
    assert rig.store.changing == before


async def test_holds_are_seen_set_and_lifted_for_their_own_tenants_alone(rig: Rig, limited: Limited) -> None:
    await rig.facade.hold_tenant(OTHER, "another team")
    client = limited.client
    assert (await client.post("/api/v1/tenants/acme-7/hold", json={"reason": "ours"})).status_code == 202
    held = (await client.get("/api/v1/holds")).json()["items"]
    assert [item["tenantId"] for item in held] == ["acme-7"]
    for verb in ("hold", "unhold"):
        answer = await client.post(f"/api/v1/tenants/{OTHER}/{verb}", json={"reason": "x"})
        assert (answer.status_code, answer.json()["code"]) == (403, "TENANT_OUT_OF_REACH")
    assert set(await rig.facade.list_holds()) == {"acme-7", OTHER}
    assert (await client.post("/api/v1/tenants/acme-7/unhold", json={"reason": "done"})).status_code == 202


async def test_live_events_of_a_plan_are_those_of_their_own_tenants(rig: Rig, limited: Limited) -> None:
    await mixed_plan(rig)
    found = await limited.read("/api/v1/plans/100/events", "PlanFailed")
    tenants = {message.data.get("tenantId") for message in found}
    assert tenants == {"acme-1", None}
    assert "TaskCompleted" in {message.data.get("type") for message in found}


async def test_live_events_of_all_plans_are_those_of_plans_with_a_tenant_of_theirs(rig: Rig, limited: Limited) -> None:
    await rig.create(OTHER, plan_id=99)
    await rig.executor.wait_for_plan(99)
    await rig.create("acme-1", plan_id=100)
    await rig.executor.wait_for_plan(100)
    found = await limited.read("/api/v1/events", "PlanCompleted")
    assert {message.data.get("planId") for message in found} == {100}


@pytest.mark.parametrize("path", ["/api/v1/tasks/100-2/events", "/api/v1/plans/101/events"])
async def test_a_stream_about_others_is_not_opened(rig: Rig, limited: Limited, path: str) -> None:
    await mixed_plan(rig)
    await rig.create(f"{OTHER}-b", plan_id=101)
    await rig.executor.wait_for_plan(101)
    answer = await limited.client.get(path, headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.json()["code"]) == (403, "TENANT_OUT_OF_REACH")
