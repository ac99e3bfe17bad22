"""The page about the HTTP API has every call that is served, with the scope that it needs, and no other."""

import re
from pathlib import Path

from switchover.adapters.telemetry.metrics import Metrics
from switchover.domain.wire import camel_case
from switchover.interfaces.rest import metering
from switchover.interfaces.rest.app import create_app
from switchover.interfaces.rest.permissions import OPEN, REQUIRED, OpenAccess
from tests.support.harness import open_rig

_CALL = re.compile(r"^\| `(?P<method>[A-Z]+) (?P<path>/\S+)` \| (?P<does>.+) \| (?P<scope>\w+) \|$", re.MULTILINE)


async def test_every_call_is_documented_with_its_scope_and_no_other(repository: Path) -> None:
    """When this fails: python scripts/make_docs.py."""
    page = (repository / "docs/reference/http-api.md").read_text(encoding="utf-8")
    documented = {(row["method"], row["path"]): row["scope"] for row in _CALL.finditer(page)}
    async with open_rig() as rig:
        app = create_app(rig.executor, OpenAccess())
        metering.install(app, Metrics(), open_to_all=False)
        served = app.openapi()["paths"]
    names = {
        (method.upper(), path): call["operationId"] for path, calls in served.items() for method, call in calls.items()
    }
    scopes = {camel_case(name): str(scope) for name, scope in REQUIRED.items()}
    assert documented == {call: scopes.get(name, "none") for call, name in names.items()}
    assert set(names.values()) | {"openapi"} == {*scopes, *OPEN}, "whatever needs a scope is served"
