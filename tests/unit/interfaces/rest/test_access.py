"""Who is let in where: every route with every scope and with none, tenants, and what the audit log is told."""

from collections.abc import Iterator, Mapping

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from switchover.domain.access import Scope
from switchover.interfaces.rest import app as app_module
from switchover.interfaces.rest.app import create_app
from switchover.interfaces.rest.permissions import OPEN, REQUIRED
from tests.support.harness import Rig, config_of
from tests.support.rest_door import Door

READING_POSTS = frozenset({"preview_plan"})
"""Routes that are no GET because they take a body, and change nothing."""

VALUES: Mapping[str, str] = {"planId": "100", "taskId": "100-1", "tenantId": "t1", "name": "ci", "sessionId": "5e55"}


def routes_of(routes: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, APIRoute]]:
    """Every route that is served, in whatever it is nested, with its path."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield prefix + route.path, route
        else:
            inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", [])
            yield from routes_of(list(inner), prefix + getattr(getattr(route, "include_context", route), "prefix", ""))


def calls_of(app: FastAPI) -> list[tuple[str, str, str]]:
    """(name, method, path) of every route of the application."""
    found: list[tuple[str, str, str]] = []
    for path, route in routes_of(app.routes):
        filled = path
        for name, value in VALUES.items():
            filled = filled.replace(f"{{{name}}}", value)
        found += [(route.name, method, filled) for method in sorted(route.methods or ())]
    return found


def test_the_walk_meets_every_route(door: Door) -> None:
    served = {name for name, _, _ in calls_of(door.app)}
    assert served >= set(REQUIRED), "a route of the table is not served, or the walk does not find it"
    assert served <= set(REQUIRED) | OPEN, "a route is served that declares no scope"
    documented = {(method.upper(), path) for path, item in door.app.openapi()["paths"].items() for method in item}
    assert len({(method, path) for _, method, path in calls_of(door.app)}) >= len(documented)


async def test_a_route_without_a_declared_scope_is_not_served(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    router = APIRouter()

    @router.post("/wipe")
    async def wipe_everything() -> None:
        """Must never be reached."""

    monkeypatch.setattr(app_module, "_ROUTERS", (*app_module._ROUTERS, router))
    with pytest.raises(LookupError, match="wipe_everything"):
        create_app(rig.executor, rig.executor.access_control())


def test_only_reading_is_open_to_viewers(door: Door) -> None:
    """Lesson 45: what changes something never asks for less than operator, approver or admin."""
    for name, method, _ in calls_of(door.app):
        if name not in OPEN and method not in {"GET", "HEAD"} and name not in READING_POSTS:
            assert REQUIRED[name] is not Scope.VIEWER, name


async def test_without_a_token_nothing_but_health_is_answered(door: Door) -> None:
    for name, method, path in calls_of(door.app):
        for credential in (None, "swo_" + "x" * 43):
            answer = await door.ask(method, path, credential)
            if name in OPEN:
                assert answer.status_code in {200, 503}, path
            else:
                assert answer.status_code in {401, 429}, (method, path)
                assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("scope", list(Scope))
async def test_every_route_is_open_to_exactly_the_scopes_that_cover_it(door: Door, scope: Scope) -> None:
    await door.rig.create("t1", "t2")
    await door.rig.settles()
    principal = await door.access.authenticate(door.tokens[scope], "")
    changing = door.rig.store.changing
    for name, method, path in calls_of(door.app):
        if name in OPEN or name in {"plan_events", "task_events", "all_events"}:
            continue  # the streams and pages of events are asked below
        answer = await door.ask(method, path, str(scope))
        if principal.may(REQUIRED[name]):
            assert answer.status_code not in {401, 403, 405, 429, 500}, (name, answer.text)
        else:
            assert answer.status_code == 403, (name, answer.text)
            assert answer.json()["code"] == "SCOPE_MISSING"
    gone = {410} if principal.may(REQUIRED["prune_plan"]) else {200}
    for path in ("/api/v1/plans/100/events", "/api/v1/tasks/100-1/events", "/api/v1/events"):
        assert (await door.ask("GET", path, str(scope))).status_code in gone
    if scope is Scope.VIEWER:
        assert door.rig.store.changing == changing, "a reader has written"
        assert {entry.outcome for entry in await door.log() if entry.actor.via == "api"} == {"refused"}


async def test_a_refused_write_is_told_with_who_where_and_what(door: Door) -> None:
    await door.rig.create("t1")
    await door.rig.settles()
    await door.ask("POST", "/api/v1/plans/100/rollback", "viewer")
    await door.ask("POST", "/api/v1/line/stop", "viewer")
    await door.ask("GET", "/api/v1/audit", "viewer")
    await door.ask("POST", "/api/v1/plans", None, json=[])
    refused = [entry for entry in await door.log() if entry.outcome == "refused"]
    assert [(e.actor.name, e.actor.origin, e.verb, e.target_type, e.target, e.code) for e in refused] == [
        ("viewer", "10.0.0.9", "rollback", "PLAN", "100", "SCOPE_MISSING"),
        ("viewer", "10.0.0.9", "stop-line", "LINE", "line", "SCOPE_MISSING"),
        ("unknown", "10.0.0.9", "create", "PLAN", "", "UNAUTHENTICATED"),
    ]


async def test_whoever_has_not_logged_in_cannot_fill_the_log(door: Door) -> None:
    for _ in range(60):
        assert (await door.ask("POST", "/api/v1/line/stop")).status_code == 401
    assert len([entry for entry in await door.log() if entry.actor.name == "unknown"]) <= 10


async def test_the_difference_from_a_plan_out_of_reach_is_not_told(door: Door) -> None:
    await door.token("limited", "operator", tenants=("acme-*",))
    plan = {"apiVersion": "switchover/v1", "kind": "Plan"}
    for name, tenant, shown in (("operator", "bolt-1", 0), ("limited", "acme-1", 0), ("operator", "acme-1", 1)):
        body = {**plan, "spec": {"planId": 100, "tenants": [config_of(tenant)]}}
        answer = await door.ask("POST", "/api/v1/plans", name, json=body, **{"Idempotency-Key": "k"})
        assert len(answer.json()["difference"]) >= shown, answer.text
        assert "bolt-1" not in answer.text or name == "operator"


async def test_an_accepted_write_is_told_with_the_reason_from_header_or_body(door: Door) -> None:
    await door.ask("POST", "/api/v1/tenants/t9/hold", "operator", json={"reason": "from the body"})
    await door.ask("POST", "/api/v1/line/start", "operator", **{"X-Switchover-Reason": "CHG-7"})
    hold, start = await door.log()
    assert (hold.actor.name, hold.actor.kind, hold.actor.via) == ("operator", "token", "api")
    assert (hold.verb, hold.target, hold.reason, hold.outcome) == ("hold", "t9", "from the body", "accepted")
    assert (start.verb, start.reason, start.outcome) == ("start-line", "CHG-7", "refused")
    shown = await door.ask("GET", "/api/v1/audit?verb=hold", "admin")
    assert [(item["actor"]["name"], item["target"]) for item in shown.json()["items"]] == [("operator", "t9")]


async def test_failed_logins_are_limited_with_the_time_to_wait(door: Door) -> None:
    codes = [(await door.ask("GET", "/api/v1/plans", "swo_" + "x" * 43)) for _ in range(12)]
    assert [answer.status_code for answer in codes] == [401] * 10 + [429] * 2
    assert int(codes[-1].headers["retry-after"]) > 0
    assert codes[0].headers["www-authenticate"].startswith("Bearer")
    assert (await door.ask("GET", "/api/v1/plans", "viewer")).status_code == 200


async def test_a_token_with_tenants_sees_and_touches_only_them(door: Door) -> None:
    await door.token("acme", "operator", tenants=("acme-*",))
    await door.rig.create("acme-1", "bolt-1", plan_id=100)
    await door.rig.create("acme-2", plan_id=101)
    await door.rig.create("bolt-2", plan_id=102)
    for plan_id in (100, 101, 102):
        await door.rig.executor.wait_for_plan(plan_id)
    tasks = (await door.ask("GET", "/api/v1/plans/100/tasks", "acme")).json()["items"]
    assert [task["tenantId"] for task in tasks] == ["acme-1"]
    statuses = {
        path: (await door.ask(method, path, "acme", json=body)).status_code
        for method, path, body in (
            ("GET", "/api/v1/tasks/100-1", None),
            ("GET", "/api/v1/tasks/100-2", None),
            ("GET", "/api/v1/tenants/acme-1", None),
            ("GET", "/api/v1/tenants/bolt-1", None),
            ("POST", "/api/v1/tenants/acme-1/pause", {}),
            ("POST", "/api/v1/tenants/bolt-1/hold", {"reason": "no"}),
            ("POST", "/api/v1/plans/100/rollback", {}),
            ("POST", "/api/v1/plans/101/rollback", {}),
            ("POST", "/api/v1/line/stop", {"reason": "no"}),
            ("POST", "/api/v1/plans", [{"tenantId": "bolt-3", "deployUnitId": 1, "deployUnitVersion": 1}]),
        )
    }
    assert statuses == {
        "/api/v1/tasks/100-1": 200,
        "/api/v1/tasks/100-2": 403,
        "/api/v1/tenants/acme-1": 200,
        "/api/v1/tenants/bolt-1": 403,
        "/api/v1/tenants/acme-1/pause": 409,
        "/api/v1/tenants/bolt-1/hold": 403,
        "/api/v1/plans/100/rollback": 403,
        "/api/v1/plans/101/rollback": 202,
        "/api/v1/line/stop": 403,
        "/api/v1/plans": 403,
    }
    events = (await door.ask("GET", "/api/v1/plans/100/events", "acme")).json()["items"]
    assert {event["tenantId"] for event in events} <= {"acme-1", None}
    plans = (await door.ask("GET", "/api/v1/plans", "acme")).json()["items"]
    assert [plan["planId"] for plan in plans] == [101, 100], "a plan with none of its tenants is not seen"
    for path in ("", "/tasks", "/events", "/export", "/forecast?verb=pause"):
        assert (await door.ask("GET", f"/api/v1/plans/102{path}", "acme")).status_code == 403, path


async def test_no_reader_is_given_the_passwords_of_targets(door: Door) -> None:
    step = {
        "configUpdate": {
            "target": "redis://switch:hunter2-s3cret@127.0.0.1:1/0",
            "key": "{tenantId}",
            "value": {"by": "https://u:hunter2-s3cret@127.0.0.1/x?token=hunter2-s3cret"},
        }
    }
    await door.rig.create("t1", plan_id=100, services=[{"name": "gateway", "steps": [step]}])
    await door.rig.executor.wait_for_plan(100)
    for name, method, path in calls_of(door.app):
        if method == "GET" and "/events" not in path:
            for query in ("", "?view=full"):
                answer = await door.ask("GET", path + query, "admin")
                assert "hunter2-s3cret" not in answer.text, (name, query)
    events = await door.ask("GET", "/api/v1/plans/100/events", "admin")
    assert events.status_code == 200
    assert "hunter2-s3cret" not in events.text


async def test_an_admin_with_tenants_makes_no_wider_token(door: Door) -> None:
    await door.token("limited", "admin", tenants=("acme-*",))
    for method, path in (("POST", "/api/v1/tokens"), ("GET", "/api/v1/audit"), ("GET", "/api/v1/sessions")):
        answer = await door.ask(
            method, path, "limited", json={"name": "x", "scopes": ["admin"]} if method == "POST" else None
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "TENANT_OUT_OF_REACH")


async def test_tokens_are_made_rotated_and_revoked_over_the_api(door: Door) -> None:
    made = await door.ask(
        "POST",
        "/api/v1/tokens",
        "admin",
        json={"name": "ci", "scopes": ["viewer"], "tenants": ["a*"], "expiresIn": "12h"},
    )
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    first = made.json()["token"]
    assert (await door.ask("GET", "/api/v1/plans", first)).status_code == 200
    second = (await door.ask("POST", "/api/v1/tokens/ci/rotate", "admin", json={"grace": 0})).json()["token"]
    assert (await door.ask("GET", "/api/v1/plans", first)).status_code == 401
    assert (await door.ask("GET", "/api/v1/plans", second)).status_code == 200
    listed = (await door.ask("GET", "/api/v1/tokens", "admin")).text
    assert '"ci"' in listed
    assert not any(secret in listed for secret in (first, second, "digest"))
    assert (await door.ask("POST", "/api/v1/tokens/ci/revoke", "admin", json={"reason": "leaked"})).status_code == 200
    assert (await door.ask("GET", "/api/v1/plans", second)).status_code == 401
    assert [(entry.verb, entry.target, entry.reason) for entry in await door.log()] == [
        ("token-rotate", "ci", ""),
        ("token-revoke", "ci", "leaked"),
    ]
    for body, code in (
        ({"scopes": ["viewer"]}, 400),
        ({"name": "x", "scopes": "viewer"}, 400),
        ({"name": "x", "scopes": ["root"]}, 422),
        ({"name": "ci", "scopes": ["viewer"]}, 409),
        ({"name": "x", "scopes": ["viewer"], "expiresIn": "soon"}, 400),
    ):
        assert (await door.ask("POST", "/api/v1/tokens", "admin", json=body)).status_code == code, body
    assert (await door.ask("POST", "/api/v1/tokens/nobody/revoke", "admin")).status_code == 404


async def test_every_answer_says_what_browsers_must_not_do(door: Door) -> None:
    for path in ("/livez", "/api/v1/plans", "/nowhere", "/openapi.json"):
        headers = (await door.ask("GET", path, "viewer")).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert "strict-transport-security" not in headers
    assert "strict-transport-security" in (await door.client.get("https://server/livez")).headers
