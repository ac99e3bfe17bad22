"""
The fleet of the tour in the README: five tenants, two services, two units, in one process; stops with Ctrl-C.

    python examples/tour/fleet.py tour

makes the directory `tour` with `routes.json` (which unit each tenant's services are routed to), `plan.yaml` (the switch
of all tenants from blue to green) and `broken/billing-dune` (while it is there, the green billing does not come up for
dune).
It then serves http://127.0.0.1:8701/<unit>/<tenant>/<service>/health. Nothing but the standard library is needed.
"""

import argparse
import json
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TENANTS = ("acme", "birch", "cedar", "dune", "elm")
SERVICES = ("gateway", "billing")
VERSIONS = {"blue": 41, "green": 42}
BROKEN = "billing-dune"

PLAN = """\
apiVersion: switchover/v1
kind: Plan
metadata: {{name: blue-to-green}}
spec:
  planId: 100
  maxConcurrency: 2
  health: {{interval: 500ms, attempts: 6, timeout: 1s}}
  services:
{services}  tenants:
{tenants}"""

SERVICE = """\
    - name: {service}
      steps:
        - configUpdate:
            target: file://{routes}
            key: "{{tenantId}}"
            field: {service}
            value: {{unit: "{{deployUnitName}}", version: "{{deployUnitVersion}}"}}
        - healthCheck: {{}}
"""

TENANT = """\
    - tenantId: {tenant}
      deployUnitId: 2
      deployUnitVersion: 42
      deployUnitName: green
      networkEndpoints: [{{value: "{base}/green/{{tenantId}}/{{stage}}/health"}}]
      sourceTenantDeployConfig:
        tenantId: {tenant}
        deployUnitId: 1
        deployUnitVersion: 41
        deployUnitName: blue
        networkEndpoints: [{{value: "{base}/blue/{{tenantId}}/{{stage}}/health"}}]
"""


def plan(base: str, routes: Path) -> str:
    """The plan file."""
    return PLAN.format(
        services="".join(SERVICE.format(service=service, routes=routes) for service in SERVICES),
        tenants="".join(TENANT.format(tenant=tenant, base=base) for tenant in TENANTS),
    )


def routes_before() -> str:
    """Everybody is on blue; written by hand, so not as a program would write it."""
    entries = ",\n".join(
        f'  "{tenant}": {{"gateway": {{ "unit": "blue",  "version": "41" }}, "billing": {{"version":"41","unit":"blue"}}}}'  # noqa: E501
        for tenant in TENANTS
    )
    return f"{{\n{entries}\n}}\n"


class Instances(BaseHTTPRequestHandler):
    """Every instance of both units: each serves what the routes say, a moment after they say it."""

    directory: Path
    seconds_to_follow: float

    def do_GET(self) -> None:
        """Answer one health check."""
        unit, tenant, service, _ = [*self.path.strip("/").split("/"), "", "", "", ""][:4]
        status, body = self.health(unit, tenant, service)
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def health(self, unit: str, tenant: str, service: str) -> tuple[HTTPStatus, dict[str, object]]:
        """What the instance of this unit says about this tenant."""
        if unit == "green" and (self.directory / "broken" / f"{service}-{tenant}").exists():
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "schema migration 42-07 is missing"}
        routes = self.directory / "routes.json"
        age = time.time() - routes.stat().st_mtime
        routed = json.loads(routes.read_text(encoding="utf-8")).get(tenant, {}).get(service, {}).get("unit")
        if routed != unit or age < self.seconds_to_follow:
            return HTTPStatus.OK, {"version": None, "state": "starting"}
        return HTTPStatus.OK, {"version": VERSIONS[unit]}

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as in the standard library
        """Stay quiet."""


def main() -> None:
    """Write what is not there yet, and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=8701)
    parser.add_argument("--seconds", type=float, default=0.4, help="how long an instance takes to follow a change")
    arguments = parser.parse_args()
    directory: Path = arguments.directory.resolve()
    (directory / "broken").mkdir(parents=True, exist_ok=True)
    Instances.directory = directory
    Instances.seconds_to_follow = arguments.seconds
    with ThreadingHTTPServer(("127.0.0.1", arguments.port), Instances) as server:
        base = f"http://127.0.0.1:{server.server_port}"
        if not (directory / "plan.yaml").exists():
            (directory / "broken" / BROKEN).touch()
            (directory / "routes.json").write_text(routes_before(), encoding="utf-8")
            (directory / "plan.yaml").write_text(plan(base, directory / "routes.json"), encoding="utf-8")
        print(f"{arguments.directory}/plan.yaml: {len(TENANTS)} tenants; health at {base}", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
