"""
The inbound contract: what a caller hands in for one tenant.

The models check shape and types, and nothing else: a blank tenant id or a negative version is a finding of the
validation chain (``switchover.factory``), so that one call can report all of them at once.

Source: behaviour, section 2.
"""

from functools import lru_cache
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from switchover.domain.task import NetworkEndpointSnapshot, TenantDeployConfigSnapshot
from switchover.domain.wire import camel_case

MAX_TEXT = 1024 * 1024
"""Characters of one text at most. A text with a lone surrogate is refused too: it can be neither stored nor sent."""

_ID_SCHEMA: JsonDict = {"minimum": 0, "maximum": 2**63 - 1}
_TENANT_ID_SCHEMA: JsonDict = {"pattern": "^[A-Za-z0-9._:-]{1,128}$"}
# Only in the schema: what breaks these is a finding with a code of its own.

_set = object.__setattr__

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


def _endpoint_list(value: object) -> object:
    if value is None:
        return ()
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


class WireModel(BaseModel):
    """Camel case outside, snake case inside; strict, frozen, and closed to unknown names."""

    model_config = ConfigDict(
        alias_generator=camel_case,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        strict=True,
        revalidate_instances="always",
    )

    def to_dict(self) -> dict[str, Any]:
        """The wire form, in camelCase, absent fields as null."""
        return self.model_dump(mode="json")

    @classmethod
    def _trusted(cls, **values: object) -> Self:
        """``model_construct`` in a third of the time: every field is given under its own name, and is valid."""
        model = cls.__new__(cls)
        _set(model, "__dict__", values)
        _set(model, "__pydantic_fields_set__", set(values))
        _set(model, "__pydantic_extra__", None)
        _set(model, "__pydantic_private__", None)
        return model


class NetworkEndpoint(WireModel):
    """One address at which a service of the tenant answers."""

    key: Text | None = None
    value: Text | None = Field(default=None, description="When it is an http(s) URL, health checks ask it.")
    source_ip: Text | None = None
    source_domain: Text | None = None
    target_ip: Text | None = Field(default=None, description="IP address, `:port` allowed.")
    target_domain: Text | None = Field(default=None, description="Host name, `:port` allowed; goes before targetIp.")

    def to_snapshot(self) -> NetworkEndpointSnapshot:
        """The engine's own copy."""
        return NetworkEndpointSnapshot(**self.__dict__)

    @staticmethod
    @lru_cache(maxsize=1024)  # tenants that go to one deploy unit have the same ones
    def from_snapshot(snapshot: NetworkEndpointSnapshot) -> "NetworkEndpoint":
        """What a stage factory gets; the snapshot was validated before, so nothing is checked again."""
        return NetworkEndpoint._trusted(
            key=snapshot.key,
            value=snapshot.value,
            source_ip=snapshot.source_ip,
            source_domain=snapshot.source_domain,
            target_ip=snapshot.target_ip,
            target_domain=snapshot.target_domain,
        )


class TenantDeployConfig(WireModel):
    """
    What one tenant is to be switched to.

    No coercion: neither ``"42"`` nor ``True`` is an int. Both spellings of a field name are read, camelCase is written.
    """

    tenant_id: Text = Field(
        json_schema_extra=_TENANT_ID_SCHEMA, description="1..128 of letters, digits, `.`, `_`, `-`, `:`."
    )
    deploy_unit_id: int = Field(json_schema_extra=_ID_SCHEMA, description="The deploy unit to switch to.")
    deploy_unit_version: int = Field(
        json_schema_extra=_ID_SCHEMA, description="What health checks expect to be answered."
    )
    deploy_unit_name: Text | None = None
    network_endpoints: Annotated[tuple[NetworkEndpoint, ...], BeforeValidator(_endpoint_list)] = ()
    nacos_name_space: Text | None = None
    default_flag: bool | None = None
    called_number_rules: Text | None = Field(default=None, description="Given together with trunkGroup, or not at all.")
    trunk_group: Text | None = Field(default=None, description="Given together with calledNumberRules, or not at all.")
    plan_id: int | None = Field(default=None, description="The same in all configs of one call; else the plan file's.")
    plan_version: int | None = Field(
        default=None, description="The same in all configs of one call; else the plan file's."
    )
    source_tenant_deploy_config: "TenantDeployConfig | None" = Field(
        default=None, description="What is effective before the switch: what a rollback sends again."
    )

    def to_snapshot(self) -> TenantDeployConfigSnapshot:
        """The engine's own copy, deep and immutable."""
        values = dict(self.__dict__)
        values["network_endpoints"] = tuple([endpoint.to_snapshot() for endpoint in self.network_endpoints])
        source = self.source_tenant_deploy_config
        if source is not None:
            values["source_tenant_deploy_config"] = source.to_snapshot()
        return TenantDeployConfigSnapshot(**values)

    @classmethod
    def from_snapshot(cls, snapshot: TenantDeployConfigSnapshot) -> "TenantDeployConfig":
        """What a stage factory gets; the snapshot was validated before, so nothing is checked again."""
        source = snapshot.source_tenant_deploy_config
        return cls._trusted(
            tenant_id=snapshot.tenant_id,
            deploy_unit_id=snapshot.deploy_unit_id,
            deploy_unit_version=snapshot.deploy_unit_version,
            deploy_unit_name=snapshot.deploy_unit_name,
            network_endpoints=tuple([NetworkEndpoint.from_snapshot(item) for item in snapshot.network_endpoints]),
            nacos_name_space=snapshot.nacos_name_space,
            default_flag=snapshot.default_flag,
            called_number_rules=snapshot.called_number_rules,
            trunk_group=snapshot.trunk_group,
            plan_id=snapshot.plan_id,
            plan_version=snapshot.plan_version,
            source_tenant_deploy_config=None if source is None else cls.from_snapshot(source),
        )
