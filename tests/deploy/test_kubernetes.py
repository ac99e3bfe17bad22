"""The manifests are what Kubernetes takes, and what the program keeps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from switchover.config import ExecutorSettings
from tests.support.manifests import documents, options_of

VERSIONS = ("1.33.0", "1.37.0")
"""The oldest and the newest that the manifests are checked against."""


@pytest.fixture
def folder(repository: Path) -> Path:
    return repository / "deploy" / "kubernetes"


def of_kind(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for _, document in documents(folder) if document["kind"] == kind}


def pods(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, deployment in of_kind(folder, "Deployment").items():
        yield name, deployment["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_follows_the_schema(folder: Path, version: str) -> None:
    checked = 0
    for path, document in documents(folder):
        if document["kind"] != "Kustomization":  # a file of kubectl's, not an object of the cluster's
            kubernetes_validate.validate(document, version, strict=True)
            checked += 1
            assert path.read_text(encoding="utf-8").isascii(), path
    assert checked > 8


def test_a_field_that_does_not_exist_is_found(folder: Path) -> None:
    server = of_kind(folder, "Deployment")["switchover-server"]
    server["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(server, VERSIONS[-1], strict=True)


def test_the_kustomization_names_every_file_and_the_secret_that_is_yours(folder: Path) -> None:
    resources = set(yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"])
    shipped = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    assert resources - {"secret.yaml"} == shipped - {"secret.yaml"}
    assert "secret.yaml" in resources


def test_every_pod_runs_a_command_that_the_program_understands(folder: Path) -> None:
    verbs = {spec["containers"][0]["args"][0]: options_of(spec["containers"][0]["args"]) for _, spec in pods(folder)}
    assert set(verbs) == {"serve", "worker"}
    assert verbs["serve"]["host"] == "0.0.0.0"  # inside of a pod


def test_kubernetes_waits_longer_than_the_program_takes_to_stop(folder: Path) -> None:
    for name, spec in pods(folder):
        limit = options_of(spec["containers"][0]["args"])["stop_timeout"]
        assert spec["terminationGracePeriodSeconds"] > limit + 5, name


def test_every_pod_is_restricted(folder: Path) -> None:
    for name, spec in pods(folder):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            inner = container["securityContext"]
            assert inner["readOnlyRootFilesystem"] is True, name
            assert inner["allowPrivilegeEscalation"] is False, name
            assert inner["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name


def test_an_outage_of_the_database_restarts_no_server(folder: Path) -> None:
    server = dict(pods(folder))["switchover-server"]["containers"][0]
    assert server["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert server["startupProbe"]["httpGet"]["path"] == "/livez"
    assert server["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_selectors_find_the_pods_that_they_are_for(folder: Path) -> None:
    labels = {
        name: deployment["spec"]["template"]["metadata"]["labels"]
        for name, deployment in of_kind(folder, "Deployment").items()
    }
    for name, budget in of_kind(folder, "PodDisruptionBudget").items():
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    for name, policy in of_kind(folder, "NetworkPolicy").items():
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels[name].items()
    assert of_kind(folder, "Service")["switchover"]["spec"]["selector"].items() <= labels["switchover-server"].items()


def test_the_settings_are_settings(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(of_kind(folder, "ConfigMap")["switchover-settings"]["data"]["settings.toml"], encoding="utf-8")
    monkeypatch.setenv("SWITCHOVER_CONFIG", str(path))
    settings = ExecutorSettings()
    assert settings.endpoint_allow_list == ("10.0.0.0/8",)
    assert settings.metrics_open
