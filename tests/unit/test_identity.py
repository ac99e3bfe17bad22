"""An identity provider without what it needs."""

import sys

import pytest

from switchover import ExecutorSettings
from switchover.adapters.clock import SystemClock
from switchover.errors import ExecutorError
from switchover.identity import open_people
from switchover.interfaces.cli import extras
from switchover.interfaces.cli.app import run
from tests.support.identity_provider import IdentityProvider, settings_for

SETTINGS = settings_for(IdentityProvider(issuer="https://id.example"))


async def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("joserfc", "switchover.adapters.oidc"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "joserfc", None)
    with pytest.raises(ExecutorError, match=r"pip install 'switchover\[oidc\]'"):
        async with open_people(ExecutorSettings(**SETTINGS), SystemClock()):
            pass


def test_serve_says_so_before_it_listens(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(extras, "_OIDC", ("no_such_package",))
    monkeypatch.setenv("SWITCHOVER_OIDC_ISSUER", "https://id.example")
    monkeypatch.setenv("SWITCHOVER_OIDC_CLIENT_ID", "switchover")
    monkeypatch.setenv("SWITCHOVER_OIDC_ROLES", '[{"group": "a", "scopes": ["viewer"]}]')
    assert run(["serve", "--port", "0", "--store", "memory://"]) == 2
    told = capsys.readouterr().err
    assert "the setting oidc_issuer needs the extra [oidc]" in told
    assert "pip install 'switchover[oidc]'" in told


async def test_without_a_provider_in_the_settings_there_are_no_people() -> None:
    async with open_people(ExecutorSettings(), SystemClock()) as people:
        assert people is None
