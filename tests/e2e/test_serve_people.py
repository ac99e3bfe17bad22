"""`switchover serve` with an identity provider: settings of file and environment, a token, a login, no secret told."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2

from tests.support.command_line import CommandLine, wait_for_output
from tests.support.identity_provider import CLIENT, SECRET, IdentityProvider, identity_provider

SETTINGS = """
oidc_issuer = "{issuer}"
oidc_client_id = "{client}"
oidc_label = "Example ID"

[[oidc_roles]]
group = "deployers"
scopes = ["operator"]
"""


@contextmanager
def provider_in_a_thread() -> Iterator[IdentityProvider]:
    started, ended, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    running: list[IdentityProvider] = []

    async def serve() -> None:
        async with identity_provider() as provider:
            running.append(provider)
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(30)
    try:
        yield running[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def test_people_and_their_tokens_come_in_and_no_secret_of_theirs_is_told(tmp_path: Path) -> None:
    with provider_in_a_thread() as provider, CommandLine(tmp_path) as command_line:
        (tmp_path / "s.toml").write_text(SETTINGS.format(issuer=provider.issuer, client=CLIENT))
        words = ("serve", "--port", "0", "--config", "s.toml", "--debug")
        server = command_line.start(*words, env={"SWITCHOVER_OIDC_CLIENT_SECRET": SECRET})
        wait_for_output(server, "serving ")
        url = re.findall(r"at (http://\S+?),", server.output())[-1]
        token, forged = provider.token(), provider.unsigned({"alg": "none"})
        with httpx2.Client(base_url=url) as program:
            good = program.post(
                "/api/v1/tenants/t1/hold", json={"reason": "CHG-1"}, headers={"Authorization": f"Bearer {token}"}
            )
            bad = program.get("/api/v1/plans", headers={"Authorization": f"Bearer {forged}"})
        assert (good.status_code, bad.status_code) == (202, 401)
        with httpx2.Client(base_url=url, follow_redirects=True) as browser:
            assert "Sign in with Example ID" in browser.get("/console/plans").text
            page = browser.get("/console/login/oidc?next=/console/brakes")
            code = parse_qs(urlsplit(str(page.history[-1].url)).query)["code"][0]
            assert f"alice (248289761001 at {provider.issuer})" in page.text
            assert "CHG-1" in page.text
            cookie = browser.cookies["switchover_session"]
        log = json.loads(command_line("audit", "-o", "json").output)
        assert {entry["actor"]["name"] for entry in log if entry["verb"] in {"hold", "login"}} == {
            f"alice (248289761001 at {provider.issuer})"
        }
        assert server.stop(timeout_seconds=60) == 0, server.tail()
        told = server.output() + json.dumps(log) + good.text + bad.text
        kept = b"".join(path.read_bytes() for path in tmp_path.glob("switchover.db*"))
    for secret in (SECRET, token, forged, token.rpartition(".")[2], code, cookie):
        assert secret not in told
        assert secret.encode() not in kept


def test_a_setting_that_is_wrong_does_not_show_the_secret(tmp_path: Path) -> None:
    with CommandLine(tmp_path) as command_line:
        (tmp_path / "s.toml").write_text(
            'oidc_client_secret = ["s3cret-in-a-list"]\noidc_issuer = "https://id.example"\n'
        )
        answer = command_line("serve", "--port", "0", "--config", "s.toml", code=2)
    assert "oidc_client_secret" in answer.errors
    assert "s3cret" not in answer.errors + answer.output
