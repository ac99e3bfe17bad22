"""tenantsFrom: JSON and CSV files beside the plan file."""

import json
from pathlib import Path

import pytest

from switchover.errors import InvalidPlanError
from switchover.factory import first_error
from switchover.planfile import PlanFile, load_plan, parse_plan
from switchover.planfile.positions import PlanSyntaxError
from switchover.planfile.tenants import parse_csv
from tests.support.plans import SERVICES, config, make_factory

HEADER = "tenantId,deployUnitId,deployUnitVersion,deployUnitName,defaultFlag,networkEndpoints\n"
ROW = 'acme,2,42,green,true,"[{""targetIp"": ""10.0.0.1""}]"\n'


def plan_in(folder: Path, *patterns: str, tenants: list[object] | None = None) -> Path:
    spec = {"services": SERVICES, "tenants": tenants, "tenantsFrom": list(patterns)}
    path = folder / "plan.json"
    path.write_text(json.dumps({"apiVersion": "switchover/v1", "kind": "Plan", "spec": spec}))
    return path


def ids(plan: PlanFile) -> list[str]:
    return [item["tenantId"] for item in plan.configs]  # type: ignore[index]  # mappings


def refusal(path: Path, **arguments: int) -> str:
    with pytest.raises(InvalidPlanError) as caught:
        load_plan(path, **arguments)
    return str(caught.value)


def test_files_follow_the_tenants_in_the_order_of_patterns_and_names(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "b.json").write_text(json.dumps([config("b1"), config("b2")]))
    (tmp_path / "configs" / "a.json").write_text(json.dumps(config("a")))
    (tmp_path / "more.csv").write_text(HEADER + ROW)
    path = plan_in(tmp_path, "more.csv", "configs/*.json", "configs/a.json", tenants=[config("first")])
    plan = load_plan(path)
    assert ids(plan) == ["first", "acme", "a", "b1", "b2"]
    assert "tenantsFrom" not in plan.options
    factory = make_factory()
    assert first_error(factory.validate(factory.read(plan.configs, plan.options))) is None


def test_findings_point_into_the_file_that_the_config_came_from(tmp_path: Path) -> None:
    listed = json.dumps([config("a"), config("b", deployUnitId="x")], indent=1)
    (tmp_path / "list.json").write_text(listed)
    (tmp_path / "one.json").write_text(json.dumps(config("c", deployUnitId="x"), indent=1))
    (tmp_path / "rows.csv").write_text(f"{HEADER}\n{ROW}other,x,42,green,,\n")
    plan = load_plan(plan_in(tmp_path, "[lo]*.json", "*.csv"))
    factory = make_factory()
    findings = plan.locate(factory.validate(factory.read(plan.configs, plan.options)))
    line = listed[: listed.index('"x"')].count("\n") + 1
    places = {finding.tenant_id: finding.place for finding in findings if finding.field == "deployUnitId"}
    assert places == {
        "b": f"{tmp_path / 'list.json'}:{line}:3",
        "c": f"{tmp_path / 'one.json'}:3:2",
        "other": f"{tmp_path / 'rows.csv'}:4",
    }


@pytest.mark.parametrize("pattern", ["nothing/*.json", "missing.csv", "configs", "\0", "**/nope.json"])
def test_a_pattern_that_matches_nothing_is_an_error_at_its_place(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "configs").mkdir()
    message = refusal(plan_in(tmp_path, pattern))
    assert message.startswith(f"{tmp_path / 'plan.json'}:1:")
    assert "tenantsFrom" in message


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert "neither .json nor .csv" in refusal(plan_in(tmp_path, "*.txt"))


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"tenantId": "a",\n}]')
    assert refusal(plan_in(tmp_path, "a.json")).startswith(f"{tmp_path / 'a.json'}:2:1: no valid JSON")
    (tmp_path / "a.json").write_text("5")
    assert "a list of TenantDeployConfig" in refusal(plan_in(tmp_path, "a.json"))
    (tmp_path / "a.json").write_text(json.dumps({"spec": {}}))
    assert "a list of TenantDeployConfig" in refusal(plan_in(tmp_path, "a.json"))


def test_the_limit_is_per_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([config(f"t{n}") for n in range(20)]))
    path = plan_in(tmp_path, "a.json")
    assert len(load_plan(path).configs) == 20
    assert refusal(path, max_bytes=path.stat().st_size).startswith(f"{tmp_path / 'a.json'}: ")


def test_a_plan_without_a_file_takes_a_base(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([config("a")]))
    text = plan_in(tmp_path, "a.json").read_text()
    assert ids(parse_plan(text, base=tmp_path)) == ["a"]
    with pytest.raises(InvalidPlanError, match="came without one"):
        parse_plan(text)


def test_csv_cells_have_the_types_of_their_fields() -> None:
    configs, lines = parse_csv(HEADER + ROW + "b,x, 7 ,,TRUE,\n\n" + 'c,1,2,"gr\neen",no,[]\n')
    assert configs == [
        {
            "tenantId": "acme",
            "deployUnitId": 2,
            "deployUnitVersion": 42,
            "deployUnitName": "green",
            "defaultFlag": True,
            "networkEndpoints": [{"targetIp": "10.0.0.1"}],
        },
        {"tenantId": "b", "deployUnitId": "x", "deployUnitVersion": 7, "defaultFlag": True},
        {
            "tenantId": "c",
            "deployUnitId": 1,
            "deployUnitVersion": 2,
            "deployUnitName": "gr\neen",
            "defaultFlag": "no",
            "networkEndpoints": [],
        },
    ]
    assert lines == [2, 3, 5]


def test_csv_takes_both_spellings_and_unknown_columns_are_left_to_validation() -> None:
    configs, _ = parse_csv("tenant_id,deploy_unit_id,colour\na,-5,red\n")
    assert configs == [{"tenant_id": "a", "deploy_unit_id": -5, "colour": "red"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,,b\n", "column 2 has no name"),
        ("a,b,a\n", "'a' comes twice"),
        ("a,b\n1,2,3\n", "3 cells"),
        ('a,b\n"x"y,2\n', "no valid CSV"),
        ('a,b\n"x', "no valid CSV"),
        ("tenantId,networkEndpoints\na,{\n", "networkEndpoints: no valid JSON"),
    ],
)
def test_broken_csv(text: str, message: str) -> None:
    with pytest.raises(PlanSyntaxError, match=message):
        parse_csv(text)
