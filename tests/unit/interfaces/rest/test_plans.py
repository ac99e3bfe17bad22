"""Plans over HTTP: what is created, refused and shown, with which status."""

from typing import Any

import httpx2
import pytest

from switchover.dto import PlanStatusInfo, TaskCreationResult, TaskStatusInfo
from tests.support.harness import Rig, config_of

PLANS = "/api/v1/plans"


def document(*tenants: str, **options: object) -> dict[str, Any]:
    spec = {"planId": 100, "tenants": [config_of(tenant) for tenant in tenants], **options}
    return {"apiVersion": "switchover/v1", "kind": "Plan", "spec": spec}


async def test_a_plan_is_created_and_its_address_given(http: httpx2.AsyncClient) -> None:
    made = await http.post(PLANS, json=document("t1", "t2"))
    assert made.status_code == 201
    assert made.headers["location"] == f"{PLANS}/100"
    result = TaskCreationResult.from_dict(made.json())
    assert (result.plan_id, result.task_ids) == (100, ["100-1", "100-2"])
    shown = await http.get(made.headers["location"])
    assert PlanStatusInfo.from_dict(shown.json()).total == 2


async def test_a_bare_list_of_configs_is_a_plan(http: httpx2.AsyncClient) -> None:
    made = await http.post(PLANS, json=[config_of("t1")])
    assert made.status_code == 201, made.text


async def test_findings_are_a_422_and_nothing_is_created(http: httpx2.AsyncClient) -> None:
    body = document("t1", "t1")
    body["spec"]["maxConcurrency"] = 0
    refused = await http.post(PLANS, json=body)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert {finding["code"] for finding in refused.json()["findings"]} == {"DUPLICATE_TENANT", "INVALID_FIELD"}
    assert (await http.get(PLANS)).json()["items"] == []


async def test_tenants_from_files_of_the_server_are_never_read(http: httpx2.AsyncClient) -> None:
    refused = await http.post(PLANS, json=document(tenantsFrom=["/etc/*.json"]))
    assert refused.status_code == 422
    assert "tenantsFrom" in refused.json()["detail"]


@pytest.mark.parametrize("body", [b"", b" ", b"{", b"\xff\xfe\x00"])
async def test_what_is_no_json_is_refused(http: httpx2.AsyncClient, body: bytes) -> None:
    refused = await http.post(PLANS, content=body)
    assert refused.status_code in {400, 422}
    assert refused.json()["code"] in {"MALFORMED_REQUEST", "INVALID_PLAN", "INVALID_FIELD"}


async def test_the_same_key_with_the_same_plan_gives_the_first_answer(http: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = document("t1")
    del body["spec"]["planId"]
    first = await http.post(PLANS, json=body, headers=headers)
    again = await http.post(PLANS, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()


async def test_the_same_key_with_another_plan_is_a_409_with_the_difference(http: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    await http.post(PLANS, json=document("t1", "t2", maxConcurrency=3), headers=headers)
    other = document("t1", "t2", maxConcurrency=4)
    other["spec"]["tenants"][1]["deployUnitVersion"] = 77
    refused = await http.post(PLANS, json=other, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "IDEMPOTENCY_MISMATCH")
    assert refused.json()["difference"] == [
        {"pointer": "/spec/maxConcurrency", "stored": "3", "given": "4"},
        {"pointer": "/spec/tenants/1/deployUnitVersion", "stored": "2", "given": "77"},
    ]


async def test_a_plan_that_collides_with_another_is_a_409(http: httpx2.AsyncClient, rig: Rig) -> None:
    rig.script.block("t1")
    await http.post(PLANS, json=document("t1"))
    exists = await http.post(PLANS, json=document("t2"))
    assert (exists.status_code, exists.json()["code"]) == (409, "PLAN_EXISTS")
    conflict = await http.post(PLANS, json=document("t1", planId=101))
    assert (conflict.status_code, conflict.json()["code"]) == (409, "TENANT_CONFLICT")


async def test_ids_that_nobody_knows_are_404(http: httpx2.AsyncClient) -> None:
    for path, code in (
        ("/plans/7", "UNKNOWN_PLAN"),
        ("/plans/7/tasks", "UNKNOWN_PLAN"),
        ("/plans/7/events", "UNKNOWN_PLAN"),
        ("/tasks/7-1", "UNKNOWN_TASK"),
        ("/tasks/nonsense", "UNKNOWN_TASK"),
        ("/tenants/nobody", "UNKNOWN_TENANT"),
        ("/tenants/nobody/tasks", "UNKNOWN_TENANT"),
    ):
        refused = await http.get(f"/api/v1{path}")
        assert (refused.status_code, refused.json()["code"]) == (404, code), path


async def test_tasks_come_in_pages_and_every_one_once(http: httpx2.AsyncClient, rig: Rig) -> None:
    rig.script.block("t1")
    await http.post(PLANS, json=document(*(f"t{number}" for number in range(1, 8))))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": "3", **({} if cursor is None else {"cursor": cursor})}
        page = (await http.get(f"{PLANS}/100/tasks", params=parameters)).json()
        seen += [TaskStatusInfo.from_dict(item).task_id or "" for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == [f"100-{number}" for number in range(1, 8)]


async def test_whoever_has_seen_it_is_told_that_nothing_changed(http: httpx2.AsyncClient, rig: Rig) -> None:
    await http.post(PLANS, json=document("t1"))
    await rig.settles()
    for path in ("/plans/100", "/plans/100/tasks", "/tasks/100-1", "/tenants/t1"):
        first = await http.get(f"/api/v1{path}")
        again = await http.get(f"/api/v1{path}", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
        other = await http.get(f"/api/v1{path}", headers={"If-None-Match": '"other"'})
        assert other.json() == first.json()


async def test_a_query_that_nobody_knows_is_refused_by_name(http: httpx2.AsyncClient) -> None:
    refused = await http.get(PLANS, params={"limitt": "3"})
    assert (refused.status_code, refused.json()["code"]) == (400, "UNKNOWN_PARAMETER")
    assert "limitt" in refused.json()["detail"]


async def test_a_cursor_of_somebody_else_is_refused(http: httpx2.AsyncClient) -> None:
    for cursor in ("x", "MTox!", "Mjox", "ÿ"):
        refused = await http.get(PLANS, params={"cursor": cursor})
        assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_PARAMETER"), cursor


async def test_a_verb_is_accepted_and_one_that_does_not_apply_is_a_409(http: httpx2.AsyncClient, rig: Rig) -> None:
    rig.script.block("t1")
    await http.post(PLANS, json=document("t1"))
    await rig.entered("t1", "A")
    accepted = await http.post("/api/v1/tenants/t1/pause", json={"reason": "look first"})
    assert (accepted.status_code, accepted.json()["success"]) == (202, True)
    assert (await http.get("/api/v1/tasks/100-1")).json()["pendingOperation"] == "pause"
    refused = await http.post("/api/v1/tasks/100-1/retry", json={"fromCheckpoint": False})
    assert (refused.status_code, refused.json()["code"]) == (409, "ILLEGAL_STATE")
    unknown = await http.post("/api/v1/tenants/nobody/pause")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "UNKNOWN_TENANT")


async def test_a_body_of_a_verb_has_no_surprises(http: httpx2.AsyncClient) -> None:
    for body, code in (
        ({"fromCheckpiont": True}, "UNKNOWN_FIELD"),
        ({"fromCheckpoint": "yes"}, "INVALID_FIELD"),
        ({"reason": 7}, "INVALID_FIELD"),
        ([], "MALFORMED_REQUEST"),
    ):
        refused = await http.post("/api/v1/tenants/t1/retry", json=body)
        assert (refused.status_code, refused.json()["code"]) == (400, code), body
    assert (await http.post("/api/v1/tenants/t1/hold", json={})).json()["code"] == "MISSING_FIELD"


async def test_a_body_that_is_too_large_is_refused_with_the_limit(http: httpx2.AsyncClient) -> None:
    refused = await http.post("/api/v1/tenants/t1/hold", content=b"x" * 70_000)
    assert (refused.status_code, refused.json()["code"], refused.json()["limit"]) == (413, "PAYLOAD_TOO_LARGE", 65_536)


async def test_holds_and_the_line_are_shown(http: httpx2.AsyncClient, rig: Rig) -> None:
    await http.post("/api/v1/tenants/t1/hold", json={"reason": "look"})
    assert [item["tenantId"] for item in (await http.get("/api/v1/holds")).json()["items"]] == ["t1"]
    assert (await http.post("/api/v1/line/stop", json={"reason": "fire"})).status_code == 202
    line = (await http.get("/api/v1/line")).json()
    assert (line["stopped"], line["reason"], line["driver"]["alive"]) == (True, "fire", True)
    await http.post("/api/v1/line/start")
    assert (await http.get("/api/v1/line")).json()["stopped"] is False
