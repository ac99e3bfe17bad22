"""What OpenAPI says of answers and refusals is what is answered."""

import asyncio
from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from switchover.interfaces.rest.app import PREFIX
from tests.support.harness import Rig
from tests.support.listening import listening

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
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


async def test_whatever_a_call_is_sent_it_answers_as_declared(rig: Rig, app: FastAPI) -> None:
    await rig.create("t1", "t2")
    schema = schemathesis.openapi.from_dict(app.openapi())
    async with listening(app) as server:
        count = await asyncio.to_thread(_try_every_call, schema, server.url)
    assert count > 40


def _try_every_call(schema: Any, url: str) -> int:  # noqa: ANN401  # Schemathesis has no name for it
    count = 0
    for found in schema.get_all_operations():
        call = found.ok()
        count += 1

        @settings(max_examples=12, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
        @given(case=call.as_strategy() | call.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def answers_as_declared(case: Any) -> None:  # noqa: ANN401  # as above
            case.call_and_validate(base_url=url, checks=CHECKS)

        answers_as_declared()
    return count
