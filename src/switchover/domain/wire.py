"""
The JSON shape of configurations: camelCase outside, snake_case inside, and nothing else.

Source: behaviour, section 2 (the inbound contract).
"""

import sys
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from switchover.domain.task import NetworkEndpointSnapshot, TenantDeployConfigSnapshot


def camel_case(name: str) -> str:
    """``deploy_unit_id`` -> ``deployUnitId``."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


CONFIG_NAMES: Mapping[str, str] = {field.name: camel_case(field.name) for field in fields(TenantDeployConfigSnapshot)}
"""snake_case -> camelCase, in contract order."""

ENDPOINT_NAMES: Mapping[str, str] = {field.name: camel_case(field.name) for field in fields(NetworkEndpointSnapshot)}
"""snake_case -> camelCase, in contract order."""


def config_to_dict(config: TenantDeployConfigSnapshot) -> dict[str, Any]:
    """The wire form with every field of the contract, absent ones as null."""
    data: dict[str, Any] = {}
    for name, wire_name in CONFIG_NAMES.items():
        value = getattr(config, name)
        if name == "network_endpoints":
            value = [endpoint_to_dict(endpoint) for endpoint in config.network_endpoints]
        elif name == "source_tenant_deploy_config" and value is not None:
            value = config_to_dict(value)
        data[wire_name] = value
    return data


def endpoint_to_dict(endpoint: NetworkEndpointSnapshot) -> dict[str, str | None]:
    """The wire form with every field of the contract, absent ones as null."""
    return {wire_name: getattr(endpoint, name) for name, wire_name in ENDPOINT_NAMES.items()}


def config_from_dict(data: Mapping[str, Any]) -> TenantDeployConfigSnapshot:
    """
    Rebuild what ``config_to_dict`` wrote (nulls may be missing).

    This is for values that were validated before; it checks nothing.
    """
    # Spelt out, because one is read for every task that starts: a loop over the fields takes twice as long.
    get = data.get
    endpoints, source = get("networkEndpoints"), get("sourceTenantDeployConfig")
    return TenantDeployConfigSnapshot(
        tenant_id=sys.intern(data["tenantId"]),
        deploy_unit_id=data["deployUnitId"],
        deploy_unit_version=data["deployUnitVersion"],
        deploy_unit_name=_shared(get("deployUnitName")),
        network_endpoints=_one_of_all(tuple([endpoint_from_dict(item) for item in endpoints])) if endpoints else (),
        nacos_name_space=_shared(get("nacosNameSpace")),
        default_flag=get("defaultFlag"),
        called_number_rules=get("calledNumberRules"),
        trunk_group=get("trunkGroup"),
        plan_id=get("planId"),
        plan_version=get("planVersion"),
        source_tenant_deploy_config=None if source is None else config_from_dict(source),
    )


@lru_cache(maxsize=1024)
def _one_of_all(endpoints: tuple[NetworkEndpointSnapshot, ...]) -> tuple[NetworkEndpointSnapshot, ...]:
    # Tenants that go to one deploy unit are asked for at the same addresses.
    return endpoints


def _shared(text: str | None) -> str | None:
    # The same few names come with every config of a plan: one copy of each is enough.
    return None if text is None else sys.intern(text)


def endpoint_from_dict(data: Mapping[str, str | None]) -> NetworkEndpointSnapshot:
    """Rebuild what ``endpoint_to_dict`` wrote (nulls may be missing)."""
    get = data.get
    return _endpoint(
        get("key"), get("value"), get("sourceIp"), get("sourceDomain"), get("targetIp"), get("targetDomain")
    )


@lru_cache(maxsize=1024)
def _endpoint(*texts: str | None) -> NetworkEndpointSnapshot:
    """Tenants of one deploy unit mostly have the same endpoints: one copy of each is enough."""
    return NetworkEndpointSnapshot(**dict(zip(ENDPOINT_NAMES, texts, strict=True)))
