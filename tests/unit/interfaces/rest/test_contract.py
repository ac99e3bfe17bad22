"""What OpenAPI says of refusals."""

from fastapi import FastAPI

from switchover.interfaces.rest.app import PREFIX


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
