"""The compose file is what Compose takes, and what the program keeps."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from tests.support.manifests import options_of


@pytest.fixture
def compose(repository: Path) -> dict[str, Any]:
    text = (repository / "deploy" / "compose" / "compose.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def test_the_file_follows_the_specification(compose: dict[str, Any]) -> None:
    parsed = PyCompose.from_json(json.dumps(compose))
    parsed.validate()
    assert set(parsed.service_names()) == {"postgres", "server-1", "server-2", "worker"}


def test_a_key_that_does_not_exist_is_found(compose: dict[str, Any]) -> None:
    compose["services"]["worker"]["imagee"] = "x"
    with pytest.raises(ValueError, match="imagee"):
        PyCompose.from_json(json.dumps(compose))


def test_there_are_two_servers_and_three_workers(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert [name for name in services if name.startswith("server")] == ["server-1", "server-2"]
    assert services["worker"]["deploy"]["replicas"] == 3


def test_every_command_is_understood_and_stops_in_time(compose: dict[str, Any]) -> None:
    for name in ("server-1", "server-2", "worker"):
        service = compose["services"][name]
        limit = options_of(service["command"])["stop_timeout"]
        assert int(service["stop_grace_period"].removesuffix("s")) > limit + 5, name


def test_what_waits_for_another_service_names_one_that_exists(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])


def test_the_password_must_be_given(compose: dict[str, Any]) -> None:
    assert ":?" in compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"]
    for name in ("server-1", "server-2", "worker"):
        assert "${SWITCHOVER_DB_PASSWORD:?" in compose["services"][name]["environment"]["SWITCHOVER_STORE"]


def test_the_servers_ports_are_open_to_this_machine_only(compose: dict[str, Any]) -> None:
    ports = [port for name in ("server-1", "server-2") for port in compose["services"][name]["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len(set(ports)) == len(ports)
