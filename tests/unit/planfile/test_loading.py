"""Plan files: what is read, what is refused, and where each finding stands."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchover.dto import Finding
from switchover.errors import InvalidPlanError
from switchover.factory import first_error
from switchover.planfile import PlanFile, load_plan, parse_plan
from switchover.planfile.loading import DEFAULT_MAX_BYTES
from switchover.testing import strategies
from tests.support.plans import SERVICES, config, dump_yaml, make_factory

PLAN = """\
apiVersion: switchover/v1
kind: Plan
metadata: {name: w48, labels: {change: CHG-4821}}
spec:
  planId: 100
  maxConcurency: 8
  onConflict: yes
  health: {interval: 3s, timeout: 012}
  services:
    - name: gateway
      steps:
        - configUpdate:
            target: redis://127.0.0.1:6379/0
            key: "tenant_config:{tenantId}"
            valueX: {unit: "{deployUnitName}"}
        - healthCheck: {}
  tenants:
    - tenantId: acme
      deployUnitId: 2
      deployUnitVersion: "42"
      networkEndpoints: [{targetIp: 8.8.8.8}, {targetIp: "10.0.0.1:x"}]
    - tenantId: acme
      deployUnitId: -1
      deploy_unit_version: 7
      tags: {ring: beta}
"""


def findings_of(plan: PlanFile) -> tuple[Finding, ...]:
    factory = make_factory()
    return plan.locate(factory.validate(factory.read(plan.configs, plan.options, plan.metadata)))


def placed(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.place, finding.field, str(finding.code)) for finding in findings]


def refusal(data: bytes | str, *, name: str = "plan", max_bytes: int = DEFAULT_MAX_BYTES) -> InvalidPlanError:
    with pytest.raises(InvalidPlanError) as caught:
        parse_plan(data, name=name, max_bytes=max_bytes)
    assert caught.value.findings
    assert str(caught.value).count("\n") == 0
    return caught.value


def document(**spec: object) -> dict[str, Any]:
    return {"apiVersion": "switchover/v1", "kind": "Plan", "spec": {"services": SERVICES, **spec}}


def test_a_plan_is_taken_apart() -> None:
    plan = parse_plan(PLAN)
    assert plan.metadata == {"name": "w48", "labels": {"change": "CHG-4821"}}
    assert set(plan.options) == {"planId", "maxConcurency", "onConflict", "health", "services"}
    assert [item["tenantId"] for item in plan.configs] == ["acme", "acme"]  # type: ignore[index]  # mappings


def test_every_finding_has_its_line_and_column_in_yaml() -> None:
    assert placed(findings_of(parse_plan(PLAN, name="p.yaml"))) == [
        ("p.yaml:7:3", "onConflict", "INVALID_FIELD"),
        ("p.yaml:6:3", "maxConcurency", "UNKNOWN_FIELD"),
        ("p.yaml:15:13", "services[0].steps[0].configUpdate.valueX", "UNKNOWN_FIELD"),
        ("p.yaml:12:11", "services[0].steps[0].configUpdate.value", "MISSING_FIELD"),
        ("p.yaml:20:7", "deployUnitVersion", "INVALID_FIELD"),
        ("p.yaml:21:27", "networkEndpoints[0].targetIp", "ENDPOINT_NOT_ALLOWED"),
        ("p.yaml:21:48", "networkEndpoints[1].targetIp", "INVALID_ENDPOINT"),
        ("p.yaml:25:7", "tags", "UNKNOWN_FIELD"),
        ("p.yaml:22:7", "tenantId", "DUPLICATE_TENANT"),
        ("p.yaml:23:7", "deployUnitId", "NEGATIVE_VERSION"),
        ("p.yaml:22:7", "networkEndpoints", "NO_ENDPOINTS"),
        ("p.yaml:18:7", "sourceTenantDeployConfig", "NO_PREVIOUS_CONFIG"),
        ("p.yaml:22:7", "sourceTenantDeployConfig", "NO_PREVIOUS_CONFIG"),
    ]


def test_every_finding_has_its_line_and_column_in_json() -> None:
    text = json.dumps(document(tenants=[config(), config("b c", deployUnitId="x")], planId=-1), indent=1)
    lines = text.split("\n")
    for finding in findings_of(parse_plan(text, name="p.json")):
        assert finding.line is not None
        assert finding.column is not None
        key = finding.field.rpartition(".")[2]
        assert lines[finding.line - 1][finding.column - 1 :].startswith(f'"{key}"')


def test_a_bare_list_is_a_plan() -> None:
    text = json.dumps([config(), config("b", tenantIdd="x")], indent=1)
    plan = parse_plan(text, name="p.json")
    assert (plan.metadata, plan.options) == (None, {})
    found = {finding.field: finding for finding in findings_of(plan)}
    assert found["tenantIdd"].line == text[: text.index("tenantIdd")].count("\n") + 1
    assert found["services"].place == "p.json:1:1"


def test_the_settings_catalogue_has_no_line_in_the_plan() -> None:
    plan = parse_plan(json.dumps({**document(tenants=[config()]), "spec": {"tenants": [config()]}}))
    factory = make_factory(services=({"name": "a"},))
    found = plan.locate(factory.validate(factory.read(plan.configs, plan.options, plan.metadata)))
    assert [(finding.field, finding.line) for finding in found] == [("services[0].steps", None)]


@given(strategies.plan_documents(), st.booleans())
def test_valid_plans_are_read_in_both_languages(plan: dict[str, Any], as_yaml: bool) -> None:
    text = dump_yaml(plan) if as_yaml else json.dumps(plan)
    read = parse_plan(text)
    assert read.configs == plan["spec"]["tenants"]
    assert read.metadata == plan["metadata"]
    assert first_error(findings_of(read)) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "the file is empty"),
        (" \n\t", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        ("# nothing\n", "1:1: a plan is a mapping"),
        ("just text", "1:1: a plan is a mapping"),
        ("5", "1:1: a plan is a mapping"),
        (b"abc: \xff\n", "1:6: no valid UTF-8"),
        (b"a: b\nabc: \xc3(\n", "2:6: no valid UTF-8"),
        (b"a\x00:\x00 \x001\x00", "UTF-16 without a byte order mark"),
        (b"\xff\xfea", "no valid UTF-16-LE"),
        ("\ud800", "lone surrogate"),
        ("tenantId: acme\ndeployUnitId: 2\n", "single TenantDeployConfig"),
        ("apiVersion: switchover/v2\nkind: Plan\nspec: {}\n", "1:1: apiVersion must be switchover/v1"),
        ("kind: Plan\nspec: {}\n", "1:1: apiVersion is missing; write `apiVersion: switchover/v1`"),
        ("apiVersion: switchover/v1\nkind: Deployment\nspec: {}\n", "2:1: kind must be Plan"),
        ("apiVersion: switchover/v1\nkind: Plan\n", "1:1: spec is missing"),
        ("apiVersion: switchover/v1\nkind: Plan\nspec: []\n", "3:1: spec must be a mapping"),
        (
            "apiVersion: switchover/v1\nkind: Plan\nspecs: {}\nspec: {}\n",
            "3:1: unknown field 'specs'; did you mean 'spec'",
        ),
        (
            "apiVersion: switchover/v1\nkind: Plan\nspec: {}\ntenants: []\n",
            "4:1: unknown field 'tenants'; tenants belongs",
        ),
        ("apiVersion: switchover/v1\nkind: Plan\nspec: {tenants: {}}\n", "3:8: tenants must be a list"),
        ("apiVersion: switchover/v1\nkind: Plan\nspec: {tenantsFrom: x}\n", "3:8: tenantsFrom must be a list"),
        ("apiVersion: switchover/v1\nkind: Plan\nspec: {tenantsFrom: [5]}\n", "3:8: tenantsFrom must be a list"),
        ("apiVersion: switchover/v1\nkind: Plan\nspec: {tenantsFrom: [x]}\n", "3:22: tenantsFrom names files"),
        ('{"a": 1, "a": 2}', "1:10: 'a' is given twice"),
        ("a: 1\na: 2", "2:1: 'a' is given twice"),
        ("{a: 1", "1:2: no valid JSON"),
    ],
)
def test_what_is_no_plan_says_where_and_what_to_do(data: bytes | str, message: str) -> None:
    assert f"plan:{message}" in str(refusal(data)).replace(": ", ":", 1) or message in str(refusal(data))


def test_all_that_is_wrong_with_the_root_is_found_at_once() -> None:
    error = refusal("apiVersion: v1\nkind: Plan\nspecs: {}\nmaxConcurrency: 3\n", name="p.yaml")
    assert [finding.field for finding in error.findings if isinstance(finding, Finding)] == [
        "specs",
        "maxConcurrency",
        "apiVersion",
        "spec",
    ]
    assert str(error).endswith("(and 3 more)")
    assert error.code == "INVALID_PLAN"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", [PLAN, json.dumps(document(tenants=[config(deployUnitName="grün")]))], ids=["y", "j"])
def test_encodings_with_a_mark_are_read(encoding: str, text: str) -> None:
    assert parse_plan(text.encode(encoding)).configs == parse_plan(text).configs


def test_yaml_that_begins_like_json_is_read_from_a_yaml_file() -> None:
    text = "{apiVersion: switchover/v1, kind: Plan, spec: {tenants: []}}"
    assert parse_plan(text, name="p.yml").configs == []
    assert "no valid JSON" in str(refusal(text, name="p.json"))


def test_an_empty_spec_is_an_empty_plan() -> None:
    plan = parse_plan("apiVersion: switchover/v1\nkind: Plan\nspec:\n")
    assert {"EMPTY_PLAN", "INVALID_STAGES"} == {str(finding.code) for finding in findings_of(plan)}


# Files


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    plan = load_plan(path)
    assert plan.name == str(path)
    assert findings_of(plan)[0].place == f"{path}:7:3"


def test_a_file_that_changed_gives_no_misleading_places(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    plan = load_plan(path)
    path.write_text("# new\n" + PLAN)
    assert {finding.line for finding in findings_of(plan)} == {None}
    path.unlink()
    assert {finding.line for finding in findings_of(plan)} == {None}


def test_a_large_file_is_refused_unread_with_the_next_move(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with path.open("wb") as stream:
        stream.truncate(10**12)  # sparse: reading it would not end
    with pytest.raises(InvalidPlanError) as caught:
        load_plan(path, max_bytes=2048)
    for part in ("1,000,000,000,000", "2,048", "tenantsFrom", "plan_file_max_bytes"):
        assert part in str(caught.value)
    assert "more than the limit" in str(refusal("x" * 2049, max_bytes=2048))


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.yaml", "no such file"), (".", "a folder"), ("a\0b", "cannot be read"), ("x" * 300, "cannot be read")],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InvalidPlanError, match=message):
        load_plan(os.fspath(tmp_path) + "/" + name)


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> object:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InvalidPlanError, match="permissions"):
        load_plan(tmp_path / "plan.yaml")


def test_a_file_without_a_size_is_read_up_to_the_limit(tmp_path: Path) -> None:
    with pytest.raises(InvalidPlanError, match="limit"):
        load_plan("/dev/zero", max_bytes=4096)


# Junk


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_any_input_is_a_plan_or_an_invalid_plan(data: bytes | str) -> None:
    try:
        plan = parse_plan(data)
    except InvalidPlanError:
        return
    findings_of(plan)


@given(strategies.json_values(), strategies.json_values(), st.booleans())
def test_any_value_in_the_shape_of_a_plan(spec: object, metadata: object, as_yaml: bool) -> None:
    value = {**document(), "metadata": metadata, "spec": {"tenants": [spec, {"networkEndpoints": spec}], "retry": spec}}
    text = dump_yaml(value) if as_yaml else json.dumps(value)
    try:
        plan = parse_plan(text)
    except InvalidPlanError:
        return
    assert all(finding.line is not None for finding in findings_of(plan))


@given(strategies.plan_documents(), st.data())
def test_one_wrong_character_never_raises_anything_else(plan: dict[str, Any], data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([dump_yaml(plan), json.dumps(plan)]))
    at = data.draw(st.integers(0, len(text) - 1))
    text = text[:at] + data.draw(st.sampled_from([*"{}[]\"':,&*!%#\\ \n\t\0", ""])) + text[at + 1 :]
    try:
        findings_of(parse_plan(text))
    except InvalidPlanError as error:
        assert error.findings  # noqa: PT017  # either outcome is right
