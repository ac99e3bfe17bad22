"""
Nothing that people and programs are given contains a secret, as a user would see it.

A real server, a real Redis and a real HTTP server. The plans' URLs carry users, passwords and tokens in every way in
which a URL can, and fail in every way in which a target can, because failing is when a program talks most. Whoever
operates it types secrets into reasons, too. Then everything is read that can be read, and searched.

The targets' own addresses have to be in the database, as the plan gave them. Nothing else of all that is.
"""

import base64
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import structlog

from switchover.interfaces.cli.app import run
from tests.support.command_line import CommandLine, wait_for_output
from tests.support.processes import free_port, wait_until
from tests.support.servers import private_redis

TARGET = "t4rget-s3cret"
QUERY = "qu3ry-s3cret"
REASON = "r3ason-s3cret"
KEY = "idemp0tency-s3cret"
BASIC = base64.b64encode(f"switch:{TARGET}".encode()).decode()
TOLD_WHY = f"see redis://ops:{REASON}@10.0.0.1/0, Authorization: Bearer {REASON}0, http://h/?token={REASON}"

READING = (
    *("plans", "plans?view=full", "plans?unsettled=true", f"plans?idempotencyKey={KEY}", "line", "holds", "checks"),
    *("tokens", "sessions", "audit", "audit?limit=1000"),
)
OF_A_PLAN = ("", "?view=full", "/tasks", "/tasks?view=full", "/events", "/export", "/forecast?verb=rollback")
OF_A_TASK = ("", "?view=full", "/events", "/explanation", "/observation")
PAGES = ("", "/timeline", "/events", "/rows", "/map", "/events/since?after=0")


class Target(BaseHTTPRequestHandler):
    """A configuration service that works at ``/works``, and says too much everywhere else."""

    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_any(self) -> None:
        if self.path.startswith("/works"):
            self._answer(404 if self.command == "GET" else 204)
        elif self.path.startswith("/redirect"):
            self._answer(302, Location=f"http://other:{TARGET}@127.0.0.1/x?token={QUERY}")
        else:
            told = f"who are you? {self.headers.get('Authorization')} http://u:{TARGET}@h{self.path} token={QUERY}"
            self._answer(401, told.encode())

    do_GET = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815  # named as the library asks

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def target_server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Target) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def plan(plan_id: int, target: str, endpoint: str) -> dict[str, Any]:
    value = {"unit": "{deployUnitName}", "by": f"https://u:{TARGET}@h/x?token={QUERY}"}
    update = {"target": target, "key": "k/{tenantId}", "field": "f", "value": value}
    steps: list[dict[str, Any]] = [{"configUpdate": update}, {"broadcast": {"target": target, "channel": "c"}}]
    if "/works" in target:
        steps.append({"healthCheck": {"attempts": 1, "interval": 0}})
    tenant: dict[str, Any] = {"tenantId": f"t{plan_id}", "deployUnitId": 2, "deployUnitVersion": 42}
    tenant["deployUnitName"] = "green"
    before = {**tenant, "deployUnitName": "blue", "nacosNameSpace": f"http://u:{TARGET}@h/"}
    tenant |= {"networkEndpoints": [{"value": endpoint}], "sourceTenantDeployConfig": before}
    spec = {"planId": plan_id, "services": [{"name": "gateway", "steps": steps}], "tenants": [tenant]}
    return {"apiVersion": "switchover/v1", "kind": "Plan", "metadata": {"name": f"p{plan_id}"}, "spec": spec}


@dataclass
class Heard:
    """Everything that was said, by who said it."""

    told: dict[str, str] = field(default_factory=dict)

    def __call__(self, who: str, text: str) -> str:
        self.told[f"{len(self.told)} {who}"] = text
        return text

    def answer(self, who: str, answer: httpx2.Response) -> httpx2.Response:
        headers = {name: value for name, value in answer.headers.items() if name != "set-cookie"}
        self(who, f"{answer.status_code} {headers} {answer.text}")
        return answer

    def leaks(self, *secrets: str) -> dict[str, str]:
        spellings = {form for secret in secrets for form in (secret, quote(secret), json.dumps(secret)[1:-1])}
        return {who: text for who, text in self.told.items() if any(form in text for form in spellings)}


def has_ended(api: httpx2.Client, plan_id: int) -> bool:
    return api.get(f"plans/{plan_id}").json()["status"] not in {"READY", "RUNNING"}


def use_the_api(api: httpx2.Client, heard: Heard, plans: list[dict[str, Any]]) -> None:
    for number, document in enumerate(plans):
        headers = {"Idempotency-Key": f"{KEY}{number or ''}", "X-Switchover-Reason": TOLD_WHY}
        plan_id = document["spec"]["planId"]
        heard.answer("preview", api.post("/plans:preview", json=document))
        if heard.answer("create", api.post("plans", json=document, headers=headers)).status_code == 201:
            heard.answer("again", api.post("plans", json=document, headers=headers))
            wait_until(
                partial(has_ended, api, plan_id),
                timeout_seconds=60,
                what=f"the end of plan {plan_id}",
            )
    other = {"Idempotency-Key": KEY}
    assert heard.answer("mismatch", api.post("plans", json=plans[1], headers=other)).status_code == 409
    wrong = plan(900, f"redis://u:{TARGET}@h:port/0", f"http://u:{TARGET}@h:99999/?token={QUERY}")
    wrong["spec"]["tenants"][0][f"redis://u:{TARGET}@h"] = f"redis://u:{TARGET}@h"
    assert heard.answer("invalid", api.post("plans", json=wrong)).status_code == 422
    body = json.dumps(wrong).replace("{", f"{{redis://u:{TARGET}@h", 1)
    assert heard.answer("no JSON", api.post("plans", content=body)).status_code == 422
    reason = {"reason": TOLD_WHY}
    plan_id, tenant = plans[-1]["spec"]["planId"], plans[-1]["spec"]["tenants"][0]["tenantId"]
    for verb in ("pause", "resume", "cancel", "retry", "adopt", "rollback"):
        for place in (f"plans/{plan_id}", f"tenants/{tenant}", f"tasks/{plan_id}-1"):
            heard.answer(f"{verb} {place}", api.post(f"{place}/{verb}", json=reason))
    for path in ("tenants/t-held/hold", "tenants/t-held/hold", "line/stop", "line/stop", "tokens/nobody/revoke"):
        heard.answer(path, api.post(path, json=reason))
    heard.answer("unknown", api.get(f"tenants/{quote(f'redis://u:{TARGET}@h', safe='')}"))
    for path in READING:
        heard.answer(path, api.get(path))
    for document in plans:
        plan_id = document["spec"]["planId"]
        for rest in OF_A_PLAN:
            heard.answer(f"plan{rest}", api.get(f"plans/{plan_id}{rest}"))
        for rest in OF_A_TASK:
            heard.answer(f"task{rest}", api.get(f"tasks/{plan_id}-1{rest}"))
        heard.answer("tenant", api.get(f"tenants/t{plan_id}"))
        heard.answer("history", api.get(f"tenants/t{plan_id}/history"))


def read_the_stream(api: httpx2.Client, heard: Heard, plan_id: int) -> None:
    stream = {"Accept": "text/event-stream"}
    with api.stream("GET", f"plans/{plan_id}/events?since=0", headers=stream) as answer:
        lines: list[str] = []
        for line in answer.iter_lines():
            lines.append(line)
            if "PlanFailed" in line or "PlanCompleted" in line:
                break
    assert "TaskStarted" in heard("stream", "\n".join(lines))


def use_the_console(url: str, token: str, heard: Heard, plan_ids: list[int]) -> str:
    """Everything that a browser is shown; gives the session's cookie."""
    with httpx2.Client(base_url=f"{url}/console/", follow_redirects=True) as browser:
        wrong = browser.post("login", data={"token": f"swo_{REASON:x<43}", "next": ""})
        assert heard.answer("wrong token", wrong).status_code == 401
        heard.answer("login", browser.post("login", data={"token": token, "next": "/console/plans"}))
        cookie = browser.cookies["switchover_session"]
        csrf = re.findall(r'name="csrf" value="([0-9a-f]+)"', browser.get("ask/stop-line").text)[0]
        for verb, kind, target in (("hold", "tenant", "t-other"), ("retry", "tenant", f"t{plan_ids[0]}")):
            form = {"kind": kind, "target": target, "reason": TOLD_WHY, "csrf": csrf}
            heard.answer(verb, browser.post(f"do/{verb}", data=form))
        for path in ("plans", "tenants", "brakes", "audit", "audit?before=9", "login"):
            heard.answer(path, browser.get(path))
        for plan_id in plan_ids:
            for rest in PAGES:
                heard.answer(f"page{rest}", browser.get(f"plans/{plan_id}{rest}"))
            assert "gateway" in heard.answer("task page", browser.get(f"tasks/{plan_id}-1")).text
            heard.answer("tenant page", browser.get(f"tenants/t{plan_id}"))
            heard.answer("question", browser.get(f"ask/rollback?tenant=t{plan_id}"))
    return cookie


def use_the_command_line(call: Callable[..., str], place: tuple[str, ...], plan_id: int, *, here: bool) -> None:
    why = ("--reason", TOLD_WHY)
    one, task, tenant = str(plan_id), f"{plan_id}-1", f"t{plan_id}"
    json_too = (
        *(
            ("get", "plans"),
            ("get", "plan", one),
            ("get", "tasks", one),
            ("get", "task", task),
            ("get", "tenant", tenant),
        ),
        *(("explain", task), ("history", tenant), ("events", "--plan", one), ("observe", task)),
        *(("forecast", "rollback", "--plan", one), ("doctor",)),
    )
    for words in json_too:
        call(*words, *place)
        call(*words, "-o", "json", *place)
    for verb in ("pause", "resume", "cancel", "rollback", "adopt"):
        call(verb, "--tenant", tenant, *why, *place)
    call("retry", "--plan", one, "-o", "json", *why, *place)
    call("hold", "--tenant", "t-held", *why, *place)
    call("unhold", "--tenant", "t-held", *why, *place)
    call("plan", "plan.json", *place)
    call("export", one, *place)
    call("start-line", *why, *place)
    if here:
        call("run", "plan.json", "--debug", *place)
        call("audit", "--limit", "0", *place)
        call("audit", "--limit", "0", "-o", "jsonl", *place)
        call("token", "list", *place)
        call("export", one, "--to", "export.json", *place)
    else:
        call("apply", "plan.json", "--wait", *place)


@pytest.mark.redis
def test_whatever_is_given_out_has_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    heard, closed = Heard(), free_port()
    database = ("--db", str(tmp_path / "switchover.db"))

    def call(*words: str) -> str:
        capfd.readouterr()
        run(words)
        said = capfd.readouterr()
        return heard(" ".join(words[:3]), f"{said.out}\n{said.err}")

    with private_redis(tmp_path) as redis, target_server() as port, CommandLine(tmp_path) as command_line:
        subprocess.run(
            ["redis-cli", "-u", redis, "ACL", "SETUSER", "switch", "on", ">another", "~*", "+@all"], check=True
        )
        host = f"switch:{TARGET}@127.0.0.1"
        targets = (
            f"http://{host}:{port}/works?token={QUERY}",
            f"redis://{host}:{redis.rpartition(':')[2]}/0",
            f"redis://{host}:{closed}/0?password={QUERY}",
            f"rediss://{host}:{port}/0",
            f"https://{host}:{port}/tls?token={QUERY}",
            f"http://{host}:{port}/redirect?token={QUERY}",
            f"http://{host}:{port}/echo?token={QUERY}",
            f"http://{host}:{closed}/unreachable?token={QUERY}",
            f"http://switch:{TARGET}@203.0.113.9/elsewhere?token={QUERY}",
            f"redis://switch:{TARGET}@203.0.113.9/0",
        )
        endpoint = f"http://{host}:{port}/health?token={QUERY}"
        plans = [plan(101 + number, target, endpoint) for number, target in enumerate(targets)]
        (tmp_path / "plan.json").write_text(json.dumps(plan(500, targets[6], endpoint)))
        (tmp_path / "bad.yaml").write_text(f"spec:\n  redis://u:{TARGET}@h: [\n  token: {QUERY}")
        token = command_line("token", "create", "ops", "--scope", "admin").output.strip()
        server = command_line.start("serve", "--port", "0", "--debug")
        wait_for_output(server, "serving ")
        url = re.findall(r"at (http://\S+?),", server.output())[-1]
        with httpx2.Client(base_url=f"{url}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=60) as api:
            use_the_api(api, heard, plans)
            plan_ids = [int(item["planId"]) for item in api.get("plans").json()["items"]]
            assert len(plan_ids) >= 8, "most plans were accepted, and failed while they ran"
            read_the_stream(api, heard, plan_ids[-1])
            bad = api.get("plans", headers={"Authorization": f"Bearer swo_{REASON:x<43}"})
            assert heard.answer("bad token", bad).status_code == 401
            heard.answer("metrics", api.get(f"{url}/metrics"))
            for path in ("livez", "readyz", "openapi.json"):
                heard.answer(path, api.get(f"{url}/{path}"))
            cookie = use_the_console(url, token, heard, plan_ids)
        monkeypatch.setenv("SWITCHOVER_TOKEN", token)
        use_the_command_line(call, ("--server", url), plan_ids[1], here=False)
        assert server.stop(timeout_seconds=60) == 0, server.tail()
        heard("log of the server", server.output())
        use_the_command_line(call, database, plan_ids[1], here=True)
        for words in (("lint", "plan.json"), ("lint", "bad.yaml"), ("run", "bad.yaml", *database)):
            call(*words)
        structlog.reset_defaults()

    export = (tmp_path / "export.json").read_text()
    assert "127.0.0.1" in heard("export", export), "the targets are named"
    leaks = heard.leaks(TARGET, QUERY, BASIC, REASON, KEY, cookie, token)
    assert not leaks, {who: text[:3_000] for who, text in list(leaks.items())[:3]}
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("switchover.db*"))
    assert TARGET.encode() in kept, "the database has the addresses that it writes to"
    for secret in (REASON, cookie, token, BASIC):
        assert secret.encode() not in kept
    codes = " ".join(heard.told.values())
    for sign in ("ENDPOINT_NOT_ALLOWED", "TARGET_UNAVAILABLE", "TARGET_ERROR", "HEALTH_CHECK_FAILED", "not followed"):
        assert sign in codes, f"nothing failed with {sign}, so nothing was proved about it"
