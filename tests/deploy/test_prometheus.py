"""The alerts and the dashboard name metrics and labels that there are, and each alert is tried."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from switchover.adapters.telemetry.metrics import DEFINITIONS
from tests.support.servers import find_program

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
HOWTO = DEPLOY.parent / "docs" / "howto" / "operate-a-server.md"
SAMPLES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
FOREIGN = {"up", "process_start_time_seconds", "process_resident_memory_bytes"}
"""Of Prometheus itself, and of the process."""

SCRAPED = {"job", "instance"}
LABELS: Mapping[str, set[str]] = {
    **dict.fromkeys(FOREIGN, SCRAPED),
    **{
        f"{made.name}{suffix}": SCRAPED | set(made.labels) | ({"le"} if suffix == "_bucket" else set())
        for made in DEFINITIONS.values()
        for suffix in SAMPLES[made.kind]
    },
}
"""What can be asked for, with the labels that it has."""

_METRIC = re.compile(r"\b((?:switchover|process)_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


def _rules() -> list[dict[str, Any]]:
    found = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


def _dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana" / "switchover.json").read_text())
    return found


def _panels() -> Iterator[dict[str, Any]]:
    return (panel for panel in _dashboard()["panels"] if panel["type"] != "row")


def _expressions() -> Iterator[tuple[str, str, str]]:
    """Where, the expression, and the legend."""
    for rule in _rules():
        yield f"alert {rule['alert']}", rule["expr"], ""
    for panel in _panels():
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"], target["legendFormat"]
    for note in _dashboard()["annotations"]["list"]:
        yield f"annotation {note['name']}", note["expr"], note["titleFormat"]
    for variable in _dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            label = variable["definition"].rpartition(",")[2].strip(" )")
            yield f"variable {variable['name']}", variable["definition"].partition("(")[2], f"{{{{{label}}}}}"


@pytest.mark.parametrize(("where", "expression", "legend"), list(_expressions()))
def test_every_metric_and_label_exists(where: str, expression: str, legend: str) -> None:
    grouping = _GROUPING.findall(expression)
    named = _METRIC.findall(_GROUPING.sub("", expression))
    assert named, where
    known: set[str] = set()
    for metric, matchers in named:
        assert metric in LABELS, f"{where} asks for {metric}, which nobody has"
        unknown = set(_MATCHER.findall(matchers)) - LABELS[metric]
        assert not unknown, f"{where}: {metric} has no label {unknown}"
        known |= LABELS[metric]
    grouped = {label.strip() for labels in grouping for label in labels.split(",")}
    shown = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend))
    assert grouped <= known, where
    assert shown <= known, where


def test_a_metric_that_is_not_there_would_be_found() -> None:
    with pytest.raises(AssertionError, match="switchover_task_finished_total"):
        test_every_metric_and_label_exists("here", "rate(switchover_task_finished_total[5m])", "")
    with pytest.raises(AssertionError, match="tenant"):
        test_every_metric_and_label_exists("here", 'switchover_task_active{tenant="acme"}', "")


def test_every_metric_but_details_is_on_the_dashboard() -> None:
    expressions = " ".join(expression for _, expression, _ in _expressions())
    missing = [name for name in DEFINITIONS if name not in expressions]
    assert missing == []


def _promtool(*words: str, at: Path) -> str:
    done = subprocess.run(
        [find_program("promtool"), *words], cwd=at, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules_and_each_alert_fires_when_it_should() -> None:
    folder = DEPLOY / "prometheus"
    assert f"{len(_rules())} rules found" in _promtool("check", "rules", "alerts.yml", at=folder)
    assert "SUCCESS" in _promtool("test", "rules", "alerts.test.yml", at=folder)


def test_each_alert_is_tried_both_ways() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts.test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in _rules()}


def test_prometheus_takes_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """Written down as rules, with Grafana's variables filled in."""
    rules = [
        {"record": f"tried:{number}", "expr": expression.replace("$__rate_interval", "5m").replace("$", "")}
        for number, (where, expression, _) in enumerate(_expressions())
        if where.startswith(("panel", "annotation"))
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "tried", "rules": rules}]}))
    assert f"{len(rules)} rules found" in _promtool("check", "rules", "rules.yml", at=tmp_path)


def test_each_alert_says_what_to_do() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).strip().lower().replace(" ", "-")
        for line in HOWTO.read_text().splitlines()
        if line.startswith("#")
    }
    for rule in _rules():
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert path == "docs/howto/operate-a-server.md"
        assert anchor == rule["alert"].lower()
        assert anchor in anchors, f"{HOWTO.name} has no section {rule['alert']}"
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in _dashboard()["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24
                assert (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[x, y] = panel["title"]
    assert len({panel["id"] for panel in _dashboard()["panels"]}) == len(_dashboard()["panels"])
    assert all(panel["targets"] and panel["title"] for panel in _panels())
