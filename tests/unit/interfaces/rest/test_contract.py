"""What OpenAPI says of requests and answers is what is read and answered."""

import asyncio
from http import HTTPStatus
from typing import Any

import httpx2
import orjson
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from switchover.domain.access import Scope
from switchover.interfaces.rest.app import PREFIX
from switchover.interfaces.rest.bodies import (
    NeededReason,
    PruneRequest,
    Reason,
    RetryRequest,
    RotationRequest,
    TokenRequest,
    body_of,
)
from switchover.interfaces.rest.contract import PLAN_BODY
from switchover.planfile import parse_plan
from tests.support.harness import Rig, config_of
from tests.support.listening import listening
from tests.support.rest_door import Door

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    missing_required_header,
    unsupported_method,
]


def test_every_call_declares_its_problems_with_examples(app: FastAPI) -> None:
    document = app.openapi()
    assert document is app.openapi()
    problem = document["components"]["schemas"]["Problem"]
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            refusals = {status: said for status, said in call["responses"].items() if status >= "400"}
            if not path.startswith(PREFIX):
                continue
            assert {"400", "401", "403", "429", "503"} <= set(refusals), path
            assert ("404" in refusals) == ("{" in path), path
            assert ({"409", "413", "422"} <= set(refusals)) == (method == "post"), path
            for status, said in refusals.items():
                example = said["content"]["application/problem+json"]["example"]
                assert set(problem["required"]) <= set(example)
                assert example["status"] == int(status)


def test_every_call_describes_its_answer_and_every_request_its_body_with_an_example(app: FastAPI) -> None:
    for path, calls in app.openapi()["paths"].items():
        for method, call in calls.items():
            good = [said for status, said in call["responses"].items() if status.startswith("2")]
            assert good, path
            assert all(content.get("schema") for said in good for content in said["content"].values()), path
            assert ("requestBody" in call) == (method == "post"), path
            if method == "post":
                (content,) = call["requestBody"]["content"].values()
                assert content["schema"], path
                assert content["example"], path


def test_every_reference_leads_somewhere(app: FastAPI) -> None:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    references = set(_references(document))
    assert references
    assert {name.removeprefix("#/components/schemas/") for name in references} <= set(schemas)


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in ([inner] if name == "$ref" else _references(inner))]
    return [found for inner in value for found in _references(inner)] if isinstance(value, list) else []


async def test_every_answer_is_what_the_description_says_and_no_call_is_left_out(door: Door) -> None:
    """The hook of the client holds each against the closed schema; here every call has to succeed once."""
    rig = door.rig
    rig.script.fail("t3", "B")
    await rig.create("t1", "t2", "t3")
    await rig.settles()
    tenants = [config_of(f"n{number}") for number in range(12)]
    document = {"apiVersion": "switchover/v1", "kind": "Plan", "spec": {"planId": 200, "tenants": tenants}}

    async def ask(method: str, path: str, json: object = None, **headers: str) -> httpx2.Response:
        answer = await door.ask(method, path if path.startswith("/") else f"{PREFIX}/{path}", "admin", json, **headers)
        assert answer.is_success, (method, path, answer.text)
        return answer

    await ask("POST", "line/stop", {"reason": "look first"})
    await ask("POST", "plans:preview", document)
    await ask("POST", "plans", document)
    for view in ("status", "full"):
        for path in ("plans", "plans/100", "plans/100/tasks", "tasks/100-3", "tenants/t3/tasks"):
            await ask("GET", f"{path}?view={view}")
    for path in (
        *("plans/100/export", "plans/100/events", "tasks/100-3/events", "tasks/100-3/explanation"),
        *("tasks/100-3/observation", "plans/100/forecast?verb=retry", "tenants/t3/forecast?verb=rollback"),
        *(
            "tenants/t3",
            "holds",
            "line",
            "workers",
            "checks",
            "sessions",
            "audit",
            "tokens",
            "events",
            "/livez",
            "/readyz",
            "/metrics",
        ),
    ):
        await ask("GET", path)
    for number, verb in enumerate(("pause", "resume", "cancel")):
        await ask("POST", f"tasks/200-{number + 1}/{verb}" if verb != "resume" else "tasks/200-1/resume", {})
    for verb in ("pause", "resume", "cancel"):
        await ask("POST", f"tenants/n7/{verb}", {"reason": "look"})
    for verb in ("pause", "resume", "cancel"):
        await ask("POST", f"plans/200/{verb}")
    await ask("POST", "tenants/n8/hold", {"reason": "its database moves"})
    await ask("GET", "holds")
    await ask("GET", "tenants/n8")
    await ask("POST", "tenants/n8/unhold", {"reason": "moved"})
    await ask("POST", "line/start", {})
    await ask("POST", "tasks/100-3/retry", {"fromCheckpoint": True})
    await rig.settles()
    await ask("POST", "tenants/t3/retry", {"fromCheckpoint": False})
    await rig.settles()
    await ask("POST", "plans/100/retry")
    await rig.settles()
    await ask("POST", "tasks/100-1/rollback")
    await ask("POST", "tenants/t2/rollback")
    await rig.settles()
    await ask("POST", "plans/100/rollback")
    await ask("POST", "tenants/t1/adopt")
    await ask("POST", "plans/100/adopt")
    await ask("POST", "tokens", {"name": "ci", "scopes": ["viewer"], "expiresIn": "720h"})
    await ask("POST", "tokens/ci/rotate", {"grace": "10m"})
    await ask("POST", "tokens/ci/revoke")
    await ask("POST", "sessions/none/end")
    await ask("POST", "plans/200/prune", {"reason": "CHG-1"})
    await ask("GET", "events/prunable?olderThan=720h")
    await ask("POST", "events/prune", {"olderThan": 0})
    answered = {name for name, status in door.described.seen if status < HTTPStatus.BAD_REQUEST}
    assert set(door.described.calls) == answered


def test_the_examples_of_bodies_are_accepted() -> None:
    for model in (Reason, NeededReason, RetryRequest, TokenRequest, RotationRequest, PruneRequest):
        model.model_validate(body_of(model)["requestBody"]["content"]["application/json"]["example"])
    (content,) = PLAN_BODY["requestBody"]["content"].values()
    assert parse_plan(orjson.dumps(content["example"]), name="example", max_bytes=10_000).configs


async def test_whatever_a_call_is_sent_it_answers_as_declared(rig: Rig, app: FastAPI) -> None:
    await rig.create("t1", "t2")
    async with listening(app) as server:
        count = await asyncio.to_thread(_try_every_call, app.openapi(), server.url, examples=5)
    assert count > 40


@pytest.mark.parametrize("scope", list(Scope))
async def test_whoever_calls_is_answered_as_declared(door: Door, scope: Scope) -> None:
    await door.rig.create("t1", "t2")
    async with listening(door.app) as server:
        count = await asyncio.to_thread(
            _try_every_call, door.app.openapi(), server.url, examples=2, token=door.tokens[scope]
        )
    assert count > 40


def _try_every_call(document: dict[str, Any], url: str, *, examples: int, token: str | None = None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    schema: Any = schemathesis.openapi.from_dict(document)
    count = 0
    for found in schema.get_all_operations():
        call = found.ok()
        count += 1

        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(case=call.as_strategy() | call.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def answers_as_declared(case: Any) -> None:  # noqa: ANN401  # Schemathesis has no name for it
            case.call_and_validate(base_url=url, headers=headers, checks=CHECKS)

        answers_as_declared()
    return count
