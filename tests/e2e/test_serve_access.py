"""`switchover serve` as a process: the first token, tokens beside a running server, HTTPS, the console's door."""

import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.certificates import authority


def _switchover(db: Path, *words: str) -> str:
    made = subprocess.run(
        [sys.executable, "-m", "switchover.interfaces.cli.main", *words, "--db", str(db)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return made.stdout


@contextmanager
def _served(db: Path, *words: str) -> Generator[tuple[str, str | None]]:
    """The server's URL, and the first token when it printed one."""
    command = [sys.executable, "-m", "switchover.interfaces.cli.main", "serve", "--port", "0", "--db", str(db), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        token = None
        try:
            for line in process.stdout:
                if line.startswith("admin token, shown this once: "):
                    token = line.split(": ")[1].strip()
                if line.startswith("serving "):
                    yield line.split(" at ")[1].split(",")[0], token
                    return
            raise AssertionError(process.wait())
        finally:
            process.terminate()
            process.communicate(timeout=60)


def _status(url: str, token: str | None = None, context: ssl.SSLContext | None = None) -> int:
    request = urllib.request.Request(url, headers={} if token is None else {"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_first_start_shows_a_token_once_and_a_running_server_obeys_the_command_line(tmp_path: Path) -> None:
    db = tmp_path / "fleet.db"
    with _served(db) as (url, token):
        assert token is not None
        assert (_status(f"{url}/livez"), _status(f"{url}/api/v1/plans")) == (200, 401)
        assert _status(f"{url}/api/v1/audit", token) == 200
        made = _switchover(db, "token", "create", "ci", "--scope", "viewer").strip()
        assert (_status(f"{url}/api/v1/plans", made), _status(f"{url}/api/v1/audit", made)) == (200, 403)
        _switchover(db, "token", "revoke", "ci")
        assert _status(f"{url}/api/v1/plans", made) == 401
        assert _status(f"{url}/console/plans") == 200, "the page to sign in at"
    with _served(db) as (url, again):
        assert again is None
        assert _status(f"{url}/api/v1/plans", token) == 200
    entries = json.loads(_switchover(db, "audit", "-o", "json"))
    assert [entry["verb"] for entry in reversed(entries)] == ["token-create", "token-create", "token-revoke"]
    assert token is not None
    assert token.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_https_is_served_with_a_certificate_and_says_so_for_a_year(tmp_path: Path) -> None:
    pem = str(authority().server(tmp_path))
    with _served(tmp_path / "s.db", "--tls-cert", pem, "--tls-key", pem) as (url, token):
        assert url.startswith("https://")
        trusting = authority().trusting()
        assert _status(f"{url}/api/v1/plans", token, trusting) == 200
        with urllib.request.urlopen(f"{url}/livez", timeout=60, context=trusting) as answer:
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    command = [sys.executable, "-m", "switchover.interfaces.cli.main", "serve", "--port", "0"]
    for name in ("no.pem", "missing.pem"):
        pem = str(tmp_path / name)
        words = ["--db", str(tmp_path / "s.db"), "--tls-cert", pem, "--tls-key", pem]
        made = subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=120)
        assert made.returncode == 30
        assert f"{name} cannot be used" in made.stderr


def test_tokens_audit_and_verbs_work_on_a_server_with_a_real_token_and_the_reason_is_told(tmp_path: Path) -> None:
    db, plan = tmp_path / "fleet.db", tmp_path / "plan.json"
    config = {"tenantId": "acme", "deployUnitId": 2, "deployUnitVersion": 42}
    target = {"target": f"file://{tmp_path}/map.json", "key": "{tenantId}", "field": "x", "value": {"v": 1}}
    spec = {"planId": 100, "services": [{"name": "x", "steps": [{"configUpdate": target}]}], "tenants": [config]}
    plan.write_text(json.dumps({"apiVersion": "switchover/v1", "kind": "Plan", "spec": spec}))
    with _served(db) as (url, admin):
        assert admin is not None

        def call(token: str, *words: str, code: int = 0) -> str:
            made = subprocess.run(
                [sys.executable, "-m", "switchover.interfaces.cli.main", *words, "--server", url],
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
                cwd=tmp_path,
                env={**os.environ, "SWITCHOVER_TOKEN": token},
            )
            assert made.returncode == code, (words, made.stderr)
            return made.stdout + made.stderr

        made = call(admin, "token", "create", "ci", "--scope", "operator", "--reason", "CHG-1", "-o", "json")
        secret = json.loads(made)["token"]
        assert "valid" in call(secret, "lint", str(plan))
        call(secret, "apply", str(plan), "--wait")
        assert "COMPLETED" in call(secret, "get", "plans")
        call(secret, "pause", "--plan", "100", "--reason", "CHG-2 über alles", code=30)
        assert "admin" in call(secret, "token", "list", code=30), "an operator manages no tokens, and is told the scope"
        assert "was given to a token before" in call(admin, "token", "create", "ci", "--scope", "viewer", code=30)
        rotated = call(admin, "token", "rotate", "ci", "--grace", "0", "--reason", "CHG-3").splitlines()[0]
        call(secret, "get", "plans", code=30)
        call(rotated, "get", "plans")
        assert "ci" in call(admin, "token", "list")
        call(admin, "token", "revoke", "ci", "--reason", "CHG-4")
        call(rotated, "get", "plans", code=30)
        call(admin, "prune", "--plan", "100", "--reason", "CHG-5")
        assert "older events were pruned" in call(admin, "events", "--plan", "100", code=30)
        assert "0 events" in call(admin, "prune", "--older-than", "0s", "--forecast")
        there = json.loads(call(admin, "audit", "-o", "json", "--limit", "0"))
        assert "leave out --server" in call(admin, "demo", code=2)
    assert there == json.loads(_switchover(db, "audit", "-o", "json", "--limit", "0"))
    told = [(entry["verb"], entry["actor"]["name"], entry["reason"]) for entry in reversed(there)]
    for expected in (
        ("token-create", "admin", "CHG-1"),
        ("pause", "ci", "CHG-2 über alles"),
        ("token-rotate", "admin", "CHG-3"),
        ("token-revoke", "admin", "CHG-4"),
        ("prune", "admin", "CHG-5"),
    ):
        assert expected in told
