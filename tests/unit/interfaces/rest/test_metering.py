"""``/metrics``: who may read it, and what it says about requests."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from switchover.adapters.telemetry.metrics import Metrics
from switchover.domain.access import Principal, PrincipalKind, Scope, TenantSelector
from switchover.errors import AuthenticationError
from switchover.interfaces.rest import metering
from switchover.interfaces.rest.app import create_app
from switchover.interfaces.rest.permissions import AccessControl
from tests.support.harness import Rig, open_rig

_SCOPES = {"viewer": frozenset({Scope.VIEWER}), "operator": frozenset({Scope.OPERATOR}), "nothing": frozenset[Scope]()}


class _Door:
    async def authenticate(self, bearer: str | None, remote: str) -> Principal:
        if bearer == "limited":
            return Principal(
                name=bearer,
                kind=PrincipalKind.TOKEN,
                scopes=_SCOPES["viewer"],
                tenants=TenantSelector(patterns=("acme-*",)),
            )
        if bearer is None or bearer not in _SCOPES:
            message = "nobody knows you"
            raise AuthenticationError(message)
        return Principal(name=bearer, kind=PrincipalKind.TOKEN, scopes=_SCOPES[bearer])


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def rig(metrics: Metrics) -> AsyncIterator[Rig]:
    async with open_rig(observers=[metrics]) as opened:
        yield opened
        opened.script.release_all()


def _client(rig: Rig, metrics: Metrics, *, open_to_all: bool = False) -> httpx2.AsyncClient:
    door: AccessControl = _Door()
    app = create_app(rig.executor, door)
    metering.install(app, metrics, open_to_all=open_to_all)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://server")


def _as(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


async def test_metrics_need_a_token_that_may_look_at_everything(rig: Rig, metrics: Metrics) -> None:
    async with _client(rig, metrics) as http:
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/metrics", headers=_as("nothing"))).status_code == 403
        refused = await http.get("/metrics", headers=_as("limited"))
        assert (refused.status_code, refused.json()["code"]) == (403, "TENANT_OUT_OF_REACH")
        page = await http.get("/metrics", headers=_as("viewer"))
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/plain; version=")
        assert "switchover_driving 1.0" in page.text


async def test_metrics_can_be_opened_for_a_network_of_ones_own(rig: Rig, metrics: Metrics) -> None:
    async with _client(rig, metrics, open_to_all=True) as http:
        assert (await http.get("/metrics")).status_code == 200


async def test_open_metrics_are_given_to_those_who_ask_for_them(rig: Rig, metrics: Metrics) -> None:
    async with _client(rig, metrics, open_to_all=True) as http:
        page = await http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert page.headers["content-type"].startswith("application/openmetrics-text")
        assert page.text.endswith("# EOF\n")


async def test_requests_are_counted_by_pattern_and_never_by_path(rig: Rig, metrics: Metrics) -> None:
    await rig.create("acme")
    await rig.settles()
    async with _client(rig, metrics) as http:
        for path in ("/api/v1/tenants/acme", "/api/v1/tenants/globex", "/nowhere/acme", "/livez"):
            await http.get(path, headers=_as("viewer"))
        await http.request("BREW", "/livez")

        def counted(method: str, route: str, code: str) -> float | None:
            labels = {"method": method, "route": route, "code": code}
            return metrics.registry.get_sample_value("switchover_http_requests_total", labels)

        assert counted("GET", "/api/v1/tenants/{tenantId}", "200") == 1
        assert counted("GET", "/api/v1/tenants/{tenantId}", "404") == 1
        assert counted("GET", "none", "404") == 1
        assert counted("GET", "/livez", "200") == 1
        assert "acme" not in (await http.get("/metrics", headers=_as("viewer"))).text
        methods = {sample.labels.get("method") for family in metrics.registry.collect() for sample in family.samples}
        assert "BREW" not in methods


async def test_credentials_that_are_refused_are_counted_and_missing_ones_are_not(rig: Rig, metrics: Metrics) -> None:
    async with _client(rig, metrics) as http:
        await http.get("/api/v1/plans")
        assert metrics.registry.get_sample_value("switchover_login_failed_total") == 0
        await http.get("/api/v1/plans", headers=_as("guessed"))
        assert metrics.registry.get_sample_value("switchover_login_failed_total") == 1
