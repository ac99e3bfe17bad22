"""token and audit, as they are typed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from switchover.interfaces.cli.app import run


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = run([*words, "--db", str(tmp_path / "s.db")])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_a_token_is_shown_once_and_never_again(cli: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, err = cli("token", "create", "ci", "--scope", "operator", "--tenants", "acme-*", "--expires", "90d")
    secret = out.strip()
    assert (code, secret[:4], len(secret)) == (0, "swo_", 47)
    assert "shown this once" in err
    listed = json.loads(cli("token", "list", "-o", "json")[1])
    assert [(token["name"], token["scopes"], token["tenants"]) for token in listed] == [
        ("ci", ["operator"], ["acme-*"])
    ]
    assert listed[0]["expiresAt"] > listed[0]["createdAt"]
    rest = "".join(cli(*words)[1] for words in (("token", "list"), ("audit",), ("audit", "-o", "json")))
    assert secret not in rest
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_rotating_and_revoking_are_told_with_their_reasons(cli: Callable[..., tuple[int, str, str]]) -> None:
    first = cli("token", "create", "ci", "--scope", "viewer", "-o", "json")[1]
    second = cli("token", "rotate", "ci", "--grace", "0", "--reason", "quarterly", "-o", "json")[1]
    assert json.loads(first)["token"] != json.loads(second)["token"]
    assert cli("token", "revoke", "ci", "--reason", "leaked")[:2] == (0, "token ci is revoked\n")
    entries = [json.loads(line) for line in cli("audit", "-o", "jsonl")[1].splitlines()]
    assert [(entry["verb"], entry["reason"]) for entry in entries] == [
        ("token-revoke", "leaked"),
        ("token-rotate", "quarterly"),
        ("token-create", ""),
    ]
    assert {entry["actor"]["via"] for entry in entries} == {"cli"}
    assert "@" in entries[0]["actor"]["name"]
    assert "revoked" in cli("token", "list")[1]


def test_a_verb_is_told_with_its_reason_and_found_by_tenant(cli: Callable[..., tuple[int, str, str]]) -> None:
    cli("token", "create", "ci", "--scope", "viewer")
    assert cli("hold", "--tenant", "acme", "--reason", "CHG-1")[0] == 0
    assert cli("cancel", "--tenant", "acme", "--reason", "CHG-2")[0] == 30
    entries = json.loads(cli("audit", "--tenant", "acme", "-o", "json")[1])
    assert [(entry["verb"], entry["outcome"], entry["code"], entry["reason"]) for entry in entries] == [
        ("cancel", "refused", "UNKNOWN_TENANT", "CHG-2"),
        ("hold", "accepted", None, "CHG-1"),
    ]
    assert len(json.loads(cli("audit", "--limit", "1", "-o", "json")[1])) == 1
    assert len(json.loads(cli("audit", "--limit", "0", "-o", "json")[1])) == 3
    assert not json.loads(cli("audit", "--since", "2999-01-01", "-o", "json")[1])


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("token", "create", "a b", "--scope", "viewer"), 30, "name: 'a b'"),
        (("token", "create", "x", "--scope", "root"), 30, "the scopes are viewer"),
        (("token", "create", "x", "--scope", "viewer", "--expires", "soon"), 2, "--expires: 'soon' is no duration"),
        (("token", "create", "x", "--scope", "viewer", "--tenants", "a/b"), 30, "'a/b' can match no tenant"),
        (("token", "create", "x"), 2, "--scope"),
        (("token", "revoke", "nobody"), 30, "no token is named 'nobody'"),
        (("audit", "--tenant", "x", "--plan", "1"), 2, "not both"),
        (("serve", "--tls-cert", "x"), 2, "go together"),
        (("serve", "--open-to-all", "--host", "0.0.0.0"), 2, "loopback"),
    ],
)
def test_what_cannot_be_is_refused_with_the_next_move(
    cli: Callable[..., tuple[int, str, str]], words: tuple[str, ...], code: int, told: str
) -> None:
    cli("token", "create", "ci", "--scope", "viewer")
    found = cli(*words)
    assert found[0] == code
    assert told in found[2]
