"""
Hypothesis strategies for what comes in: configs, catalogues, options, whole plans, and junk of the same shape.

Everything is plain values in camelCase, as JSON and YAML give them, so the strategies need no model of this package.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from switchover.domain.task import NetworkEndpointSnapshot, TenantDeployConfigSnapshot
from switchover.domain.wire import CONFIG_NAMES, ENDPOINT_NAMES, config_from_dict

_TENANT_ALPHABET = "ABCXYZabcxyz0189._:-"
_LARGEST_ID = 2**63 - 1


def tenant_ids() -> SearchStrategy[str]:
    """Every one is valid."""
    return st.text(_TENANT_ALPHABET, min_size=1, max_size=128)


def texts(max_size: int = 40) -> SearchStrategy[str]:
    """Text that can be encoded: no surrogates."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)


def numbers() -> SearchStrategy[int]:
    """Valid ids and versions."""
    return st.integers(0, _LARGEST_ID)


def private_addresses() -> SearchStrategy[str]:
    """Addresses that the default allow-list permits."""
    return st.integers(0, 2**24 - 1).map(lambda n: f"10.{n >> 16}.{(n >> 8) & 255}.{n & 255}")


def endpoints() -> SearchStrategy[dict[str, Any]]:
    """Valid NetworkEndpoints with an address that a health check can ask."""
    addresses = st.builds(_with_port, private_addresses(), st.none() | st.integers(1, 65_535))
    names = st.sampled_from(["green.internal", "localhost:8080", "a-b.example"])
    address = st.one_of(
        st.fixed_dictionaries({"targetIp": addresses}),
        st.fixed_dictionaries({"targetDomain": names}),
        st.fixed_dictionaries({"value": addresses.map("http://{}/health/{{tenantId}}".format)}),
    )
    extras = st.fixed_dictionaries({}, optional={"key": st.none() | texts(), "sourceDomain": st.none()})
    return st.builds(_merged, extras, address)


def _with_port(address: str, port: int | None) -> str:
    return address if port is None else f"{address}:{port}"


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {**first, **second}


def configs(tenants: SearchStrategy[str] | None = None, *, with_source: bool = True) -> SearchStrategy[dict[str, Any]]:
    """Valid TenantDeployConfigs for any catalogue whose templates use the required fields and deployUnitName."""
    return st.builds(_config, tenants or tenant_ids(), _bodies(), st.none() | _bodies() if with_source else st.none())


def _bodies() -> SearchStrategy[dict[str, Any]]:
    routing = st.sampled_from(
        [{}, {"calledNumberRules": None, "trunkGroup": None}, {"calledNumberRules": "1*", "trunkGroup": "trunk-1"}]
    )
    body = st.fixed_dictionaries(
        {
            "deployUnitId": numbers(),
            "deployUnitVersion": numbers(),
            "deployUnitName": st.sampled_from(["blue", "green"]),
            "networkEndpoints": st.lists(endpoints(), min_size=1, max_size=3),
        },
        optional={"nacosNameSpace": st.none() | texts(), "defaultFlag": st.none() | st.booleans()},
    )
    return st.builds(_merged, body, routing)


def _config(tenant_id: str, body: dict[str, Any], source: dict[str, Any] | None) -> dict[str, Any]:
    config = {"tenantId": tenant_id, **body}
    return config if source is None else {**config, "sourceTenantDeployConfig": {"tenantId": tenant_id, **source}}


def config_lists(*, min_size: int = 1, max_size: int = 5) -> SearchStrategy[list[dict[str, Any]]]:
    """Valid configs of different tenants: what one plan holds."""
    return st.lists(configs(), min_size=min_size, max_size=max_size, unique_by=lambda config: str(config["tenantId"]))


def snapshots() -> SearchStrategy[TenantDeployConfigSnapshot]:
    """The same as the engine's own values."""
    return configs().map(config_from_dict)


def endpoint_snapshots() -> SearchStrategy[NetworkEndpointSnapshot]:
    """The same as the engine's own values."""
    return endpoints().map(lambda data: NetworkEndpointSnapshot(**{n: data.get(w) for n, w in ENDPOINT_NAMES.items()}))


def durations() -> SearchStrategy[str | float | int]:
    """Every spelling, all above zero."""
    return st.one_of(
        st.integers(1, 1000),
        st.floats(0.001, 1000),
        st.integers(1, 500).flatmap(_with_unit),
    )


def _with_unit(number: int) -> SearchStrategy[str]:
    return st.sampled_from(["ms", "s", "m", "h"]).map(lambda unit: f"{number}{unit}")


_STEPS: list[dict[str, Any]] = [
    {
        "configUpdate": {
            "target": "redis://127.0.0.1:6379/0",
            "key": "tenant_config:{tenantId}",
            "field": "unit",
            "value": {"unit": "{deployUnitName}", "version": "{deployUnitVersion}"},
        }
    },
    {"broadcast": {"target": "redis://127.0.0.1:6379/0", "channel": "tenant_config:topic"}},
    {"healthCheck": {}},
    {"healthCheck": {"attempts": 2, "interval": "1s", "endpoints": ["http://10.0.0.1/health"]}},
]


def catalogues() -> SearchStrategy[list[dict[str, Any]]]:
    """Valid ``services``."""
    services = st.fixed_dictionaries(
        {
            "name": st.sampled_from("abcdefgh"),
            "steps": st.lists(st.sampled_from(_STEPS), min_size=1, max_size=3),
        }
    )
    return st.lists(services, min_size=1, max_size=4, unique_by=lambda service: str(service["name"]))


def options() -> SearchStrategy[dict[str, Any]]:
    """Valid options of a plan, always with a catalogue."""
    counts = st.integers(1, 1000)
    health = st.fixed_dictionaries(
        {},
        optional={
            "interval": durations(),
            "attempts": st.integers(2, 1000),
            "timeout": durations(),
            "path": st.just("/live/{tenantId}"),
            "versionKey": st.sampled_from(["version", "$.app.version"]),
            "expect": st.just("{deployUnitVersion}"),
            "consecutive": st.integers(1, 2),  # as many as every check above has attempts
        },
    )
    return st.fixed_dictionaries(
        {"services": catalogues()},
        optional={
            "planId": numbers(),
            "planVersion": numbers(),
            "maxConcurrency": counts,
            "onConflict": st.sampled_from(["reject", "wait"]),
            "rollback": st.fixed_dictionaries(
                {}, optional={"onFailure": st.sampled_from(["manual", "auto"]), "hold": st.booleans()}
            ),
            "retry": st.fixed_dictionaries({}, optional={"max": st.integers(0, 100)}),
            "health": health,
        },
    )


def plan_documents() -> SearchStrategy[dict[str, Any]]:
    """Whole valid plan files, as values."""
    metadata = st.fixed_dictionaries({}, optional={"name": texts(), "labels": st.dictionaries(texts(), texts())})
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just("switchover/v1"),
            "kind": st.just("Plan"),
            "metadata": metadata,
            "spec": st.builds(_with_tenants, options(), config_lists()),
        }
    )


def _with_tenants(spec: dict[str, Any], tenants: list[dict[str, Any]]) -> dict[str, Any]:
    return {**spec, "tenants": tenants}


def json_values() -> SearchStrategy[Any]:
    """Anything that JSON can hold."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts()
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=4), max_leaves=12
    )


def junk() -> SearchStrategy[Any]:
    """Anything that Python can hold, and that a caller may hand in by mistake."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()  # surrogates included
        | st.binary()
        | st.just(object())
        | st.dates()
    )
    keys = _field_names() | st.text() | st.integers() | st.none() | st.tuples(st.integers())
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.tuples(inner, inner)
            | st.dictionaries(keys, inner, max_size=6)
            | st.dictionaries(_field_names(), inner, max_size=6)
        ),
        max_leaves=15,
    )


def _field_names() -> SearchStrategy[str]:
    return st.sampled_from(
        [*CONFIG_NAMES, *CONFIG_NAMES.values(), *ENDPOINT_NAMES, *ENDPOINT_NAMES.values(), "retry", "max", "health"]
    )
