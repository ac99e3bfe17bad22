"""Settings: where they come from, and what is refused when they are read rather than when they are used."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from switchover import ExecutorSettings

BOTH = ("10.0.0.0/8", "2001:db8::/32")


@pytest.mark.parametrize(
    "text", ['["10.0.0.0/8", "2001:db8::/32"]', "10.0.0.0/8,2001:db8::/32", " 10.0.0.0/8 , 2001:db8::/32,"]
)
def test_networks_in_the_environment_are_json_or_have_commas(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SWITCHOVER_ENDPOINT_ALLOW_LIST", text)
    assert ExecutorSettings().endpoint_allow_list == BOTH


@pytest.mark.parametrize("networks", [("10.0.0.0/33",), ("10.0.0.1/8",), ("example.org",), ("",)])
def test_what_is_no_network_is_refused_at_once(networks: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="is no network in CIDR notation"):
        ExecutorSettings(endpoint_allow_list=networks)


def test_arguments_go_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('max_retry = 1\nmax_concurrency = 1\nhealth_check_max_attempts = 1\nrecovery = "pause"\n')
    monkeypatch.setenv("SWITCHOVER_CONFIG", str(file))
    monkeypatch.setenv("SWITCHOVER_MAX_RETRY", "2")
    monkeypatch.setenv("SWITCHOVER_MAX_CONCURRENCY", "2")
    settings = ExecutorSettings(max_retry=3)
    chosen = (settings.max_retry, settings.max_concurrency, settings.health_check_max_attempts, settings.recovery)
    assert chosen == (3, 2, 1, "pause")
    assert settings.step_timeout_seconds == 60


def test_the_catalogue_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHOVER_SERVICES", '[{"name": "a", "steps": [{"healthCheck": {}}]}]')
    assert ExecutorSettings().services == ({"name": "a", "steps": [{"healthCheck": {}}]},)
