"""Configs and catalogues that tests of the factory and of plan files begin with."""

from collections.abc import Callable
from typing import Any

import yaml

from switchover.config import ExecutorSettings
from switchover.dto import Finding
from switchover.factory import PlanFactory, StageFactory
from switchover.stages.catalogue import StageCatalogue

SERVICES: list[dict[str, Any]] = [
    {
        "name": name,
        "steps": [
            {
                "configUpdate": {
                    "target": "redis://127.0.0.1:6379/0",
                    "key": "tenant_config:{tenantId}",
                    "field": name,
                    "value": {"unit": "{deployUnitName}"},
                }
            },
            {"healthCheck": {}},
        ],
    }
    for name in ("gateway", "media")
]


Check = Callable[..., tuple[Finding, ...]]
"""Reads and validates; a fixture of the factory's tests."""


def config(tenant_id: object = "acme", **changes: object) -> dict[str, Any]:
    """A valid config with a source, so that nothing is found unless a test changes something."""
    own: dict[str, Any] = {
        "tenantId": tenant_id,
        "deployUnitId": 2,
        "deployUnitVersion": 42,
        "deployUnitName": "green",
        "networkEndpoints": [{"targetIp": "10.0.0.1:8080"}],
    }
    source = {**own, "deployUnitId": 1, "deployUnitVersion": 41, "deployUnitName": "blue"}
    return {**own, "sourceTenantDeployConfig": source, **changes}


def source(**changes: object) -> dict[str, Any]:
    """The source of ``config()``, changed."""
    given: dict[str, Any] = config()["sourceTenantDeployConfig"]
    return {**given, **changes}


def make_factory(stage_factory: StageFactory | None = None, **settings: object) -> PlanFactory:
    return PlanFactory(ExecutorSettings.model_validate(settings), StageCatalogue(), stage_factory)


def brief(findings: tuple[Finding, ...]) -> list[tuple[int | None, str, str]]:
    """Which config, which field, which code."""
    return [(finding.index, finding.field, str(finding.code)) for finding in findings]


class _Dumper(yaml.SafeDumper):
    """Writes all text in quotes: PyYAML's idea of which text needs them is that of YAML 1.1."""


def _quoted(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Dumper.add_representer(str, _quoted)


def dump_yaml(value: object) -> str:
    """The value in block style."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)
