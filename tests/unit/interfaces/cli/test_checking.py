import json
from pathlib import Path

import pytest

from tests.unit.interfaces.cli.conftest import Call, Files

BROKEN = """\
apiVersion: switchover/v1
kind: Plan
spec:
  maxConcurency: 3
  services:
    - name: gateway
      steps:
        - configUpdate: {target: "file:///tmp/never/map.json", key: "{tenantId}", value: 1}
  tenants:
    - {tenantId: acme, deployUnitId: 2, deployUnitVersion: -42}
    - {tenantId: acme, deployUnitId: "2", deployUnitVersion: 42}
"""


def test_lint_names_every_finding_with_its_place(call: Call, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(BROKEN)
    lines = call("lint", "plan.yaml", code=3).output.splitlines()
    assert "plan.yaml:4:3: error UNKNOWN_FIELD: maxConcurency: unknown field 'maxConcurency'" in "\n".join(lines)
    for start, code in (("plan.yaml:10:", "NEGATIVE_VERSION"), ("plan.yaml:11:", "INVALID_FIELD")):
        assert any(line.startswith(start) and code in line for line in lines), lines
    assert any("DUPLICATE_TENANT" in line for line in lines)
    assert lines[-1].startswith("plan.yaml: not valid: 2 tenants")
    findings = call("lint", "plan.yaml", "-o", "json", code=3).json()
    assert {"file": "plan.yaml", "line": 4, "column": 3, "code": "UNKNOWN_FIELD"}.items() <= findings[0].items()
    assert len(call("lint", "plan.yaml", "-o", "jsonl", code=3).lines()) == len(findings)
    assert [file.name for file in tmp_path.iterdir()] == ["plan.yaml"]


def test_warnings_do_not_fail_and_do_not_flood(call: Call, files: Files) -> None:
    files.plan(*(f"t{number}" for number in range(40)), sources=False)
    lines = call("lint", "plan.json").output.splitlines()
    assert sum("NO_PREVIOUS_CONFIG" in line for line in lines) == 6
    assert lines[-2] == "warning NO_PREVIOUS_CONFIG: the same of 35 more"
    assert lines[-1] == "plan.json: valid: 40 tenants, 2 stages; 0 errors, 40 warnings"
    assert len(call("lint", "plan.json", "-o", "json").json()) == 40


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "there is no such file"), ("{", "JSON"), ("a: [", "YAML"), ("kind: Sandwich", "apiVersion"), ("", "")],
)
@pytest.mark.parametrize("verb", ["lint", "plan", "run"])
def test_a_file_that_is_no_plan_is_told_so(
    call: Call, tmp_path: Path, verb: str, content: str | None, told: str
) -> None:
    file = tmp_path / ("plan.json" if content == "{" else "plan.yaml")
    if content is not None:
        file.write_text(content)
    answer = call(verb, file.name, code=3)
    assert file.name in answer.output + answer.errors
    assert told in answer.output + answer.errors
    assert "Traceback" not in answer.errors
    assert not (tmp_path / "switchover.db").exists()


def test_plan_shows_what_would_change_and_writes_nothing(call: Call, files: Files) -> None:
    file = files.plan("acme", "globex", maxConcurrency=1)
    document = json.loads(file.read_text())
    acme, globex = document["spec"]["tenants"]
    acme |= {"deployUnitName": "green", "networkEndpoints": [{"targetIp": "10.0.0.2"}], "nacosNameSpace": "new"}
    acme["sourceTenantDeployConfig"] |= {"deployUnitName": "blue", "networkEndpoints": [{"targetIp": "10.0.0.1"}]}
    del globex["sourceTenantDeployConfig"]
    file.write_text(json.dumps(document))
    text = call("plan", "plan.json").output
    assert "blue v41" in text
    assert "green v42" in text
    assert "networkEndpoints[0].targetIp 10.0.0.1 -> 10.0.0.2" in text
    assert "nacosNameSpace nothing -> new" in text
    assert "there is none yet" in text
    assert "NO_PREVIOUS_CONFIG" in text
    preview = call("plan", "plan.json", "-o", "json").json()
    assert preview["databaseAsked"] is False
    assert preview["worstCaseSeconds"] == 240.0, "two tenants, one after another, two steps of a minute each"
    changes = {change["field"]: (change["previous"], change["target"]) for change in preview["tenants"][0]["changes"]}
    assert changes["deployUnitVersion"] == (41, 42)
    assert preview["tenants"][1]["previousFrom"] is None
    assert [path.name for path in files.folder.iterdir()] == ["plan.json"]


def test_plan_asks_the_database_when_there_is_one(call: Call, files: Files) -> None:
    files.plan("acme", "globex")
    call("run", "plan.json")
    call("hold", "--tenant", "globex", "--reason", "under repair")
    files.plan("acme", "globex", name="next.json", planId=101, sources=False)
    preview = call("plan", "next.json", "-o", "json", code=30).json()
    acme, globex = preview["tenants"]
    assert acme["previousFrom"] == "lastKnownGood"
    assert acme["changes"] == []
    assert acme["state"] == "starts"
    assert globex["state"] == "refused"
    assert "under repair" in globex["reason"]
    assert len(call("get", "plans", "-o", "json").json()) == 1
    exists = call("plan", "plan.json", code=30)
    assert "PLAN_EXISTS" in exists.output


def test_the_worst_case_counts_every_request_that_may_time_out(call: Call, files: Files) -> None:
    file = files.plan("acme", "globex", "initech", health={"interval": "1s", "attempts": 4, "timeout": "5s"})
    document = json.loads(file.read_text())
    endpoints = [{"value": "http://127.0.0.1:1/a"}, {"value": "http://127.0.0.1:1/b"}]
    document["spec"] |= {"maxConcurrency": 2}
    document["spec"]["services"] = [{"name": "a", "steps": [{"healthCheck": {"endpoints": endpoints}}]}]
    file.write_text(json.dumps(document))
    preview = call("plan", "plan.json", "-o", "json").json()
    assert preview["tenants"][0]["worstCaseSeconds"] == 4 * 2 * 5 + 3 * 1
    assert preview["worstCaseSeconds"] == 2 * 43, "the third tenant waits for a slot"


def test_a_long_plan_shows_its_beginning(call: Call, files: Files) -> None:
    files.plan(*(f"t{number:03}" for number in range(60)))
    text = call("plan", "plan.json").output
    assert "t049" in text
    assert "t050" not in text
    assert "... and 10 more: --limit 0 shows all" in text
    assert "t059" in call("plan", "plan.json", "--limit", "0").output
    assert len(call("plan", "plan.json", "-o", "jsonl").lines()) == 60


def test_a_refused_plan_is_the_result_for_programs(call: Call, files: Files) -> None:
    (files.folder / "broken.yaml").write_text(BROKEN)
    result = call("run", "broken.yaml", "-o", "json", code=3).json()
    assert result["success"] is False
    assert result["findings"][0]["line"] == 4
    assert result["failureInfo"]["errorCode"] == "UNKNOWN_FIELD"
    assert call("run", "missing.yaml", "-o", "json", code=3).json()["planId"] is None
    files.plan("acme")
    call("run", "plan.json")
    files.plan("acme", "globex")
    answer = call("run", "plan.json", "-o", "jsonl", code=30)
    assert answer.lines()[0]["failureInfo"]["errorCode"] == "PLAN_EXISTS"
    assert "goes on with: switchover run --plan ID" in answer.errors


def test_a_plan_that_is_wrong_leaves_no_database_behind(call: Call, files: Files) -> None:
    files.plan("acme", "acme", maxConcurrency=0)
    answer = call("run", "plan.json", code=3)
    assert "DUPLICATE_TENANT" in answer.errors
    assert "maxConcurrency" in answer.errors
    assert [path.name for path in files.folder.iterdir()] == ["plan.json"]
    result = call("run", "plan.json", "-o", "json", code=3).json()
    assert result["planId"] is None
    assert {finding["code"] for finding in result["findings"]} == {"DUPLICATE_TENANT", "INVALID_FIELD"}
    assert [path.name for path in files.folder.iterdir()] == ["plan.json"]
