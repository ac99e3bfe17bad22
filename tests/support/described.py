"""Holds answers of the HTTP API against its own OpenAPI document: nothing missing, nothing more."""

import re
from collections.abc import Mapping
from typing import Any, cast

import httpx2
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # ships no types

_JSON = ("application/json", "application/problem+json")


class Described:
    """
    What a document says, closed: a member that it does not have is one too many.

    Attributes:
        seen: Calls, by operation id, and the status with which they were answered.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._paths = [
            (re.compile(re.sub(r"\\{[^{}]+\\}", "[^/]+", re.escape(path))), calls)
            for path, calls in document["paths"].items()
        ]
        self._components = _closed(document["components"])
        self.calls = {call["operationId"]: call for _, calls in self._paths for call in calls.values()}
        self.seen: set[tuple[str, int]] = set()

    async def check(self, response: httpx2.Response) -> None:
        """An event hook for a client: raises when an answer is not as described."""
        kind = response.headers.get("content-type", "").partition(";")[0]
        call = self._call(response.request)
        if call is None:
            return
        name, status = call["operationId"], response.status_code
        if str(status) not in call["responses"]:
            assert status == httpx2.codes.METHOD_NOT_ALLOWED, f"{name} does not declare {status}"
            return
        self.seen.add((name, status))
        contents = call["responses"][str(status)].get("content", {})
        assert kind in contents or not contents, f"{name} answers {status} with {kind!r}"
        if kind in _JSON:
            await response.aread()
            assert "schema" in contents[kind], f"{name} has no schema for {status}"
            root = {"components": self._components, **cast("dict[str, Any]", _closed(contents[kind]["schema"]))}
            problems = [
                f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
                for error in Draft202012Validator(root).iter_errors(response.json())
            ]
            assert not problems, f"{name} answers {status} otherwise than described: {problems}"

    def _call(self, request: httpx2.Request) -> dict[str, Any] | None:
        for pattern, calls in self._paths:
            if pattern.fullmatch(request.url.path):
                return cast("dict[str, Any] | None", calls.get(request.method.lower()))
        return None


def _closed(value: object) -> object:
    if isinstance(value, dict):
        schema = {name: _closed(inner) for name, inner in cast("dict[str, object]", value).items()}
        if "properties" in schema and schema.get("type") == "object":
            schema.setdefault("additionalProperties", False)
        return schema
    return [_closed(inner) for inner in cast("list[object]", value)] if isinstance(value, list) else value
