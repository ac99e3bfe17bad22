"""The cast of the demo: who is switched, what stands in the routing table before, and the plan as a file."""

import orjson

from switchover.demo.fleet import BLUE_VERSION, GREEN_VERSION, Fleet, Route, RoutingTable

TENANTS = (
    "acme",
    "borealis",
    "cobalt",
    "dune",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "iris",
    "juniper",
    "kestrel",
    "lagoon",
)
SERVICES = ("gateway", "billing", "reports")
MAX_CONCURRENCY = 4
ATTEMPTS = 8

BROKEN = Route("ember", "billing")
"""Whose new instance does not come up at first."""

RETURNING = "juniper"
"""Who goes back; its entries are old ones, which nobody could write again from what the switch knows."""

_ODD_ENTRIES = {
    Route(RETURNING, "gateway"): b'{"version": 41,   "unit":"blue"}',
    Route(RETURNING, "billing"): b"unit=blue; version=41\t# by hand\r\n",
}
_ABSENT = Route(RETURNING, "reports")


def table_before() -> RoutingTable:
    """Everybody is on blue."""
    table = RoutingTable()
    for tenant in TENANTS:
        for service in SERVICES:
            route = Route(tenant, service)
            if route != _ABSENT:
                plain = orjson.dumps({"unit": "blue", "version": str(BLUE_VERSION)})
                table.entries[route] = _ODD_ENTRIES.get(route, plain)
    return table


def plan_text(fleet: Fleet, *, attempts: int = ATTEMPTS) -> str:
    """The plan, as an operator would write it."""
    services = "".join(
        f"    - name: {service}\n"
        "      steps:\n"
        f"        - configUpdate: {{target: '{fleet.url}/routes', key: '{{tenantId}}', field: {service},\n"
        "                         value: {unit: '{deployUnitName}', version: '{deployUnitVersion}'}}\n"
        f"        - broadcast: {{target: '{fleet.url}/changed'}}\n"
        "        - healthCheck: {}\n"
        for service in SERVICES
    )
    tenants = "".join(f"    - {_tenant(name, fleet)}\n" for name in TENANTS)
    return (
        "apiVersion: switchover/v1\n"
        "kind: Plan\n"
        "metadata: {name: blue-to-green}\n"
        "spec:\n"
        "  planId: 42\n"
        f"  maxConcurrency: {MAX_CONCURRENCY}\n"
        f"  health: {{interval: 150ms, attempts: {attempts}, timeout: 1s}}  # shortened; not 3s, 10, 2s\n"
        f"  services:\n{services}"
        f"  tenants:\n{tenants}"
    )


def _tenant(name: str, fleet: Fleet) -> str:
    return (
        f"{{tenantId: {name}, {_unit(2, GREEN_VERSION, 'green', fleet.green)},\n"
        f"       sourceTenantDeployConfig: {{tenantId: {name}, {_unit(1, BLUE_VERSION, 'blue', fleet.blue)}}}}}"
    )


def _unit(number: int, version: int, name: str, base: str) -> str:
    return (
        f"deployUnitId: {number}, deployUnitVersion: {version}, deployUnitName: {name},\n"
        f"       networkEndpoints: [{{value: '{base}/{{tenantId}}/{{stage}}/health'}}]"
    )
