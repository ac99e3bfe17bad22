"""The inbound contract (behaviour, section 2)."""

import json
from typing import cast

import pytest
from hypothesis import given
from pydantic import ValidationError

from switchover.domain.wire import CONFIG_NAMES, ENDPOINT_NAMES, config_to_dict
from switchover.dto import NetworkEndpoint, TenantDeployConfig
from switchover.testing import strategies

MINIMAL = {"tenantId": "acme", "deployUnitId": 2, "deployUnitVersion": 42}


def test_models_have_the_fields_of_the_snapshots_in_their_order() -> None:
    assert list(TenantDeployConfig.model_fields) == list(CONFIG_NAMES)
    assert list(NetworkEndpoint.model_fields) == list(ENDPOINT_NAMES)
    assert [info.alias for info in TenantDeployConfig.model_fields.values()] == list(CONFIG_NAMES.values())


def test_only_three_fields_must_be_given() -> None:
    config = TenantDeployConfig.model_validate(MINIMAL)
    assert config.network_endpoints == ()
    assert config.deploy_unit_name is None
    assert config.source_tenant_deploy_config is None


@pytest.mark.parametrize("missing", ["tenantId", "deployUnitId", "deployUnitVersion"])
def test_each_of_the_three_is_needed(missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        TenantDeployConfig.model_validate({name: value for name, value in MINIMAL.items() if name != missing})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("deployUnitId", "42"),
        ("deployUnitId", True),
        ("deployUnitId", 4.0),
        ("deployUnitVersion", None),
        ("tenantId", 5),
        ("defaultFlag", 1),
        ("defaultFlag", "true"),
        ("networkEndpoints", "x"),
        ("networkEndpoints", {}),
        ("networkEndpoints", [5]),
        ("networkEndpoints", [{"targetIp": 5}]),
        ("deployUnitName", b"green"),
        ("tenantId", "\ud800"),
    ],
)
def test_nothing_is_coerced(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        TenantDeployConfig.model_validate({**MINIMAL, field: value})


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ValidationError, match="deployUnitNam"):
        TenantDeployConfig.model_validate({**MINIMAL, "deployUnitNam": "green"})


def test_both_spellings_are_read_and_both_at_once_are_an_error() -> None:
    snake = TenantDeployConfig(tenant_id="acme", deploy_unit_id=2, deploy_unit_version=42)
    assert snake == TenantDeployConfig.model_validate(MINIMAL)
    with pytest.raises(ValidationError):
        TenantDeployConfig.model_validate({**MINIMAL, "tenant_id": "acme"})


def test_null_endpoints_are_no_endpoints() -> None:
    config = TenantDeployConfig.model_validate_json(json.dumps({**MINIMAL, "networkEndpoints": None}))
    assert config.network_endpoints == ()


def test_camel_case_is_written() -> None:
    config = TenantDeployConfig.model_validate({**MINIMAL, "networkEndpoints": [{"target_ip": "10.0.0.1"}]})
    assert config.to_dict()["networkEndpoints"][0]["targetIp"] == "10.0.0.1"
    assert config.to_dict() == config.model_dump(mode="json")
    assert json.loads(config.model_dump_json()) == config.to_dict()


def test_models_are_frozen() -> None:
    config = TenantDeployConfig.model_validate(MINIMAL)
    with pytest.raises(ValidationError):
        config.tenant_id = "other"  # type: ignore[misc]


def test_a_model_made_without_validation_is_validated_where_it_is_used() -> None:
    broken = TenantDeployConfig.model_construct(tenant_id=cast("str", 5), deploy_unit_id=1, deploy_unit_version=1)
    with pytest.raises(ValidationError):
        TenantDeployConfig.model_validate(broken)


@given(strategies.configs())
def test_model_snapshot_and_wire_form_are_three_views_of_one_value(data: dict[str, object]) -> None:
    config = TenantDeployConfig.model_validate(data)
    snapshot = config.to_snapshot()
    assert TenantDeployConfig.from_snapshot(snapshot) == config
    assert config_to_dict(snapshot) == config.to_dict()
    assert TenantDeployConfig.model_validate_json(json.dumps(config.to_dict())) == config
    assert TenantDeployConfig.model_validate_json(json.dumps(data)) == config
