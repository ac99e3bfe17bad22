"""The fleet of this example: who there is, what Redis holds before the switch, and the plan that switches everybody."""

import json
from collections.abc import Iterator
from typing import Any

SERVICES = ("gateway", "routing")
TOPIC = "tenant_config:topic"
BLUE, GREEN = 41, 42

State = dict[str, bytes | dict[str, bytes]]
"""What a Redis database holds: plain keys and hashes."""


def tenants(count: int) -> list[str]:
    """``t0001``, ``t0002`` ..."""
    return [f"t{number:04}" for number in range(1, count + 1)]


def state_before(count: int) -> State:
    """
    What years of work have left behind: values in seven formats, some of them in none, some missing.

    A rollback that wrote "the previous configuration" again would change most of them. One that puts back what it found
    changes none.
    """
    state: State = {}
    for number, tenant in enumerate(tenants(count)):
        plain = json.dumps({"unit": "blue", "version": str(BLUE)}).encode()
        formats: tuple[bytes | None, ...] = (
            plain,
            b'{"version":41,\n\t"unit" : "blue"  }\r\n',
            b"\xff\xfe\x00 no JSON, no text \x80",
            None,
            b"",
            b'{"unit":"blue","unit":"blue","version":4.1e1}',
            b"unit=blue version=41 # " + "bei Rückfragen: Jörg".encode("latin-1"),
        )
        gateway, routing = formats[number % 7], formats[number // 7 % 7]
        fields = {} if gateway is None else {"gateway": gateway}
        if number % 3 == 0:
            fields["note"] = f"not ours: {tenant}".encode()
        if fields:
            state[f"tenant_config:{tenant}"] = fields
        if routing is not None:
            state[f"tenant_route:{tenant}"] = routing
    return state


def plan(count: int, *, redis: str, health: str, concurrency: int = 50) -> dict[str, Any]:
    """
    The plan file's content.

    Args:
        redis: URL of the database, with its number.
        health: Base URL of the health endpoints.
    """
    value = {"unit": "{deployUnitName}", "version": "{deployUnitVersion}"}
    broadcast = {"broadcast": {"target": redis, "channel": TOPIC}}
    return {
        "apiVersion": "switchover/v1",
        "kind": "Plan",
        "metadata": {"name": "blue-to-green"},
        "spec": {
            "planId": 100,
            "maxConcurrency": concurrency,
            "health": {"interval": "250ms", "attempts": 12, "timeout": "2s"},
            "services": [
                {
                    "name": "gateway",  # a field of the tenant's hash
                    "steps": [
                        {
                            "configUpdate": {
                                "target": redis,
                                "key": "tenant_config:{tenantId}",
                                "field": "gateway",
                                "value": value,
                            }
                        },
                        broadcast,
                        {"healthCheck": {}},
                    ],
                },
                {
                    "name": "routing",  # a key of its own
                    "steps": [
                        {"configUpdate": {"target": redis, "key": "tenant_route:{tenantId}", "value": value}},
                        broadcast,
                        {"healthCheck": {}},
                    ],
                },
            ],
            "tenants": [
                _unit(tenant, 2, GREEN, "green", health)
                | {"sourceTenantDeployConfig": _unit(tenant, 1, BLUE, "blue", health)}
                for tenant in tenants(count)
            ],
        },
    }


def plan_lines(content: dict[str, Any]) -> Iterator[str]:
    """The plan as YAML: JSON is YAML too, so every tenant is one line of it."""
    spec = dict(content["spec"])
    configs = spec.pop("tenants")
    for name in ("apiVersion", "kind", "metadata"):
        yield f"{name}: {json.dumps(content[name])}"
    yield "spec:"
    for name, value in spec.items():
        if name == "services":
            yield "  services:"
            for service in value:
                yield f"    - name: {service['name']}"
                yield "      steps:"
                yield from (f"        - {json.dumps(step)}" for step in service["steps"])
        else:
            yield f"  {name}: {json.dumps(value)}"
    yield "  tenants:"
    yield from (f"    - {json.dumps(config)}" for config in configs)


def _unit(tenant: str, number: int, version: int, name: str, health: str) -> dict[str, Any]:
    return {
        "tenantId": tenant,
        "deployUnitId": number,
        "deployUnitVersion": version,
        "deployUnitName": name,
        "networkEndpoints": [{"value": f"{health}/{name}/{{tenantId}}/{{stage}}/health"}],
    }
