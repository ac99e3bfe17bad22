"""
A fleet whose instances follow its map file at once, unless the test has closed their gate: then they answer 503.

So a test decides where a plan stands, from outside of the process that runs it: a stage stays in its health check as
long as its gate is closed, and with ``attempts=1`` a closed gate is a failure.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.processes import wait_until

STAGES = ("gateway", "media")
PATIENT = 100_000
"""Rounds of a health check that outlasts every test."""


@dataclass
class GatedFleet:
    """
    The map file, the instances, and their gates.

    Attributes:
        closed: Tenant and stage, as in ``t1/gateway``, that answer 503.
        asked: Whom health checks have asked since the list was last emptied.
    """

    directory: Path
    url: str = ""
    closed: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    @property
    def map_file(self) -> Path:
        return self.directory / "map.json"

    def held(self) -> dict[str, Any]:
        """What the map holds: tenant -> stage -> value."""
        held: dict[str, Any] = json.loads(self.map_file.read_bytes())
        return held

    def wait_for(self, place: str, *, times: int = 1) -> None:
        """Wait until an instance has been asked."""
        wait_until(lambda: self.asked.count(place) >= times, timeout_seconds=30, what=f"health check of {place}")

    def write_plan(
        self,
        tenants: Sequence[str],
        *,
        name: str = "plan.json",
        plan_id: int | None = 100,
        attempts: int = PATIENT,
        sources: bool = True,
        version: int = 42,
        **options: object,
    ) -> Path:
        """A plan file of two stages, which switches from version 41."""
        services = [
            {
                "name": stage,
                "steps": [
                    {
                        "configUpdate": {
                            "target": f"file://{self.map_file}",
                            "key": "{tenantId}",
                            "field": stage,
                            "value": {"version": "{deployUnitVersion}"},
                        }
                    },
                    {"healthCheck": {"endpoints": [{"value": f"{self.url}/{{tenantId}}/{stage}"}]}},
                ],
            }
            for stage in STAGES
        ]
        spec: dict[str, Any] = {
            "maxConcurrency": 2,
            "health": {"interval": "20ms", "attempts": attempts},
            "services": services,
            "tenants": [self._config(tenant, version, sources=sources) for tenant in tenants],
            **options,
        }
        if plan_id is not None:
            spec["planId"] = plan_id
        file = self.directory / name
        plan = {"apiVersion": "switchover/v1", "kind": "Plan", "metadata": {"name": "gated"}, "spec": spec}
        file.write_text(json.dumps(plan, indent=1), encoding="utf-8")
        return file

    def seed(self, tenants: Sequence[str]) -> None:
        """What the map holds before the first switch."""
        held = {tenant: {stage: {"version": "41"} for stage in STAGES} for tenant in tenants}
        self.map_file.write_text(json.dumps(held), encoding="utf-8")

    def answer(self, path: str) -> tuple[int, dict[str, object]]:
        """What an instance says."""
        place = path.strip("/")
        self.asked.append(place)
        tenant, stage = place.split("/")
        if place in self.closed:
            return 503, {"error": "not yet"}
        return 200, {"version": self.held().get(tenant, {}).get(stage, {}).get("version")}

    def _config(self, tenant: str, version: int, *, sources: bool) -> dict[str, Any]:
        config: dict[str, Any] = {"tenantId": tenant, "deployUnitId": 2, "deployUnitVersion": version}
        if sources:
            config["sourceTenantDeployConfig"] = {"tenantId": tenant, "deployUnitId": 1, "deployUnitVersion": 41}
        return config


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fleet: GatedFleet

    def do_GET(self) -> None:
        status, answer = self.fleet.answer(self.path)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients are killed on purpose."""


@contextmanager
def gated_fleet(directory: Path, tenants: Sequence[str]) -> Iterator[GatedFleet]:
    """A seeded map and running instances, for the length of a ``with`` block."""
    fleet = GatedFleet(directory)
    fleet.seed(tenants)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"fleet": fleet}))
    fleet.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield fleet
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
