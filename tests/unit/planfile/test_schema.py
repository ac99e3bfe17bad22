"""The shipped JSON Schema is the model's, and the model agrees with what reads plans."""

import json
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from switchover.dto.options import PlanOptions
from switchover.planfile import parse_plan, plan_schema, root
from switchover.planfile.model import PlanDocument, PlanSpec, generate_schema
from switchover.stages.catalogue import StageCatalogue
from switchover.testing import strategies
from tests.support.plans import SERVICES, config, make_factory


def test_the_shipped_schema_is_current() -> None:
    """When it is not: ``python -m switchover.planfile.model``."""
    assert plan_schema() == json.loads(json.dumps(generate_schema()))


def test_the_schema_is_of_this_draft_and_closed() -> None:
    schema = plan_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for name, definition in schema["$defs"].items():
        assert definition.get("additionalProperties") is False, name


def test_the_schema_has_the_options_that_are_read() -> None:
    assert set(PlanSpec.model_fields) == {*PlanOptions.model_fields, "tenants", "tenants_from"}
    assert {info.alias for info in PlanDocument.model_fields.values()} == set(root.ROOT_FIELDS)
    assert {info.alias for info in PlanSpec.model_fields.values()} == set(root.SPEC_FIELDS)


@given(strategies.plan_documents())
def test_what_is_valid_fits_the_model(plan: dict[str, Any]) -> None:
    PlanDocument.model_validate(plan)
    assert parse_plan(json.dumps(plan)).configs


STEPS: list[dict[str, Any]] = [
    {"configUpdate": {"target": "file:///tmp/x.json", "key": "k", "field": "f", "value": 5}},
    {"configUpdate": {"target": "http://10.0.0.1/x", "key": "k", "value": {"a": ["{tenantId}"]}}},
    {"broadcast": {"target": "http://10.0.0.1/x", "message": {"a": 1}}},
    {"broadcast": {"target": "redis://127.0.0.1/0", "channel": "c", "message": "{tenantId}"}},
    {"healthCheck": {}},
    {"healthCheck": None},
    {
        "healthCheck": {
            "endpoints": ["http://10.0.0.1/x", {"targetIp": "10.0.0.1"}],
            "interval": "3s",
            "attempts": 3,
            "timeout": 1.5,
            "path": "/health",
            "versionKey": "$.version",
            "expect": "{planVersion}",
            "consecutive": 2,
        }
    },
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{next(iter(step))}-{len(str(step))}")
def test_the_model_and_the_catalogue_take_the_same_steps(step: dict[str, Any]) -> None:
    services = [{"name": "a", "steps": [step]}]
    assert StageCatalogue().compile(services).findings == ()
    PlanSpec.model_validate({"services": services})


@pytest.mark.parametrize(
    "services",
    [
        [],
        [{"name": "", "steps": [{"healthCheck": {}}]}],
        [{"name": "a", "steps": []}],
        [{"name": "a"}],
        [{"name": "a", "steps": [{"restart": {}}]}],
        [{"name": "a", "steps": [{"healthCheck": {"tries": 3}}]}],
        [{"name": "a", "steps": [{"healthCheck": {"attempts": 0}}]}],
        [{"name": "a", "steps": [{"healthCheck": {}, "broadcast": {}}]}],
        [{"name": "a", "steps": [{"configUpdate": {"target": "redis://h/0", "key": "k"}}]}],
        [{"name": "a", "steps": [{"broadcast": {"channel": "c"}}]}],
        [{"name": "a", "steps": [{"healthCheck": {}}], "when": "x"}],
    ],
    ids=lambda services: str(services)[:90],
)
def test_the_model_and_the_catalogue_refuse_the_same_steps(services: list[dict[str, Any]]) -> None:
    assert StageCatalogue().compile(services).findings
    with pytest.raises(ValidationError):
        PlanSpec.model_validate({"services": services})


@pytest.mark.parametrize(
    "spec",
    [
        {"maxConcurrency": 0},
        {"health": {"timeout": 0}},
        {"rollback": {"onFailure": "no"}},
        {"waves": []},
        {"tenants": [config(deployUnitId="x")]},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_the_model_refuses_what_the_factory_refuses(spec: dict[str, Any]) -> None:
    given_spec = {"services": SERVICES, "tenants": [config()], **spec}
    with pytest.raises(ValidationError):
        PlanSpec.model_validate(given_spec)
    plan = parse_plan(json.dumps({"apiVersion": "switchover/v1", "kind": "Plan", "spec": given_spec}))
    factory = make_factory()
    assert factory.validate(factory.read(plan.configs, plan.options))
