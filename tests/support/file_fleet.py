"""
A fleet that is routed by files: one map file for a stage, a directory of files for another, health over real HTTP.

The state before the switch is odd on purpose: spacing, number formats, missing entries. An instance looks at its
tenant's file when it is asked, and takes a few rounds to follow, as real ones do.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BLUE, GREEN = 41, 42
ROUNDS_TO_FOLLOW = 4
PATIENT = 100_000
"""Rounds of a health check that outlasts every test."""

_NAMED_VERSION = re.compile(rb'"version"\s*:\s*"?(\d+)\b(?!\.)')
_ENTRIES = (
    '{"unit":"blue","version":"41"}',
    '{ "version" : 41,\n\t"unit":"blue" }',
    '{"unit":"blue","version":4.1e1,"weight":1.50}',
    None,
    '"just a text"',
    "null",
)


def _entry(number: int) -> str | None:
    return _ENTRIES[number % len(_ENTRIES)]


@dataclass
class FileFleet:
    """
    The files, and who serves them.

    Attributes:
        gateway: Map file: tenant -> field ``gateway`` -> value.
        routing: Directory with a file per tenant.
        broken: Tenants whose green routing instance does not come up.
        at: What to do, once, at the moment when so many services have followed to green.
        hold_after: No gateway follows to green once so many services have; None: all do.
        held: Tenants whose gateway was kept from following.
    """

    directory: Path
    tenants: list[str]
    broken: set[str] = field(default_factory=set)
    url: str = ""
    at: dict[int, Callable[[], object]] = field(default_factory=dict)
    hold_after: int | None = None
    held: set[str] = field(default_factory=set)
    _served: dict[tuple[str, str], int] = field(default_factory=dict)
    _rounds: Counter[tuple[str, str]] = field(default_factory=Counter)
    _parsed: tuple[tuple[int, int], dict[str, Any]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def gateway(self) -> Path:
        return self.directory / "gateway.json"

    @property
    def routing(self) -> Path:
        return self.directory / "routing"

    def seed(self) -> None:
        self.routing.mkdir(parents=True)
        rows: list[str] = []
        for number, tenant in enumerate(self.tenants):
            entry, other = _entry(number), _entry(number // 6)
            note = '"note":  "not ours"'
            if entry is not None:
                rows.append(f'  "{tenant}": {{{note}, "gateway": {entry}}}')
            elif number % 4:
                rows.append(f'  "{tenant}":{{ {note} }}')
            if other is not None:
                (self.routing / f"{tenant}.json").write_text(other + "\n", encoding="utf-8")
        self.gateway.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")

    def contents(self) -> dict[str, object]:
        """Every value as its text, generations apart; the map's as a JSON reader sees it that keeps what is written."""
        found: dict[str, object] = {file.name: file.read_bytes() for file in self.routing.glob("*.json")}
        text = self.gateway.read_text(encoding="utf-8")
        for tenant, fields in _entries(text).items():
            for name, value in fields.items():
                found[f"{tenant}/{name}"] = value
        return found

    def switched(self) -> int:
        """How many values name green."""
        files = sum(b'"green"' in file.read_bytes() for file in self.routing.glob("*.json"))
        return files + self.gateway.read_bytes().count(b'"green"')

    def served(self, tenant: str, stage: str) -> int:
        """What an instance answers that is asked now."""
        key = tenant, stage
        named = self._named(tenant, stage)
        with self._lock:
            if stage == "gateway" and named == GREEN and not self._may_follow(key):
                return self._served.get(key, BLUE)
            if named != self._served.get(key, BLUE):
                self._rounds[key] += 1
                if self._rounds[key] > ROUNDS_TO_FOLLOW:
                    self._rounds[key] = 0
                    self._served[key] = named
                    if act := self.at.pop(self.followed, None):
                        act()
            return self._served.get(key, BLUE)

    def _may_follow(self, key: tuple[str, str]) -> bool:
        """Whether a gateway on its way to green may arrive; the caller has the lock."""
        if self.hold_after is None or self.followed < self.hold_after or self._served.get(key) == GREEN:
            return True
        self.held.add(key[0])
        return False

    @property
    def followed(self) -> int:
        """How many services of tenants are on green."""
        return sum(version == GREEN for version in self._served.values())

    def _named(self, tenant: str, stage: str) -> int:
        if stage == "routing":
            file = self.routing / f"{tenant}.json"
            try:
                text = file.read_bytes()
            except FileNotFoundError:
                text = b""
        else:
            text = json.dumps(self._map().get(tenant, {}).get("gateway")).encode()
        named = _NAMED_VERSION.search(text)
        return BLUE if named is None else int(named[1])

    def _map(self) -> dict[str, Any]:
        """The map file, parsed again when it was replaced."""
        status = self.gateway.stat()
        version = status.st_ino, status.st_mtime_ns
        if self._parsed is None or self._parsed[0] != version:
            self._parsed = version, json.loads(self.gateway.read_bytes())
        return self._parsed[1]

    def write_plan(self, file: Path, *, plan_id: int, concurrency: int) -> None:
        value = {"unit": "{deployUnitName}", "version": "{deployUnitVersion}"}
        gateway = {"target": f"file://{self.gateway}", "key": "{tenantId}", "field": "gateway", "value": value}
        routing = {"target": f"file://{self.routing}/", "key": "{tenantId}", "value": value}
        plan = {
            "apiVersion": "switchover/v1",
            "kind": "Plan",
            "metadata": {"name": "in files"},
            "spec": {
                "planId": plan_id,
                "maxConcurrency": concurrency,
                "health": {"interval": "150ms", "attempts": 15},
                "services": [
                    {"name": "gateway", "steps": [{"configUpdate": gateway}, {"healthCheck": {"attempts": PATIENT}}]},
                    {"name": "routing", "steps": [{"configUpdate": routing}, {"healthCheck": {}}]},
                ],
                "tenants": [
                    {
                        **self._unit(tenant, 2, 42, "green"),
                        "sourceTenantDeployConfig": self._unit(tenant, 1, 41, "blue"),
                    }
                    for tenant in self.tenants
                ],
            },
        }
        file.write_text(json.dumps(plan), encoding="utf-8")

    def _unit(self, tenant: str, number: int, version: int, name: str) -> dict[str, Any]:
        endpoint = {"value": f"{self.url}/{name}/{{tenantId}}/{{stage}}/health"}
        return {
            "tenantId": tenant,
            "deployUnitId": number,
            "deployUnitVersion": version,
            "deployUnitName": name,
            "networkEndpoints": [endpoint],
        }


def _entries(text: str) -> dict[str, dict[str, str]]:
    """Tenant -> field -> the value exactly as it is written."""
    decoder = json.JSONDecoder()
    found: dict[str, dict[str, str]] = {}
    for tenant, start, _ in _members(text, 0, decoder):
        fields = {name: text[begin:end] for name, begin, end in _members(text, start, decoder)}
        if fields:
            found[tenant] = fields
    return found


def _members(text: str, start: int, decoder: json.JSONDecoder) -> Iterator[tuple[str, int, int]]:
    """The members of the object at ``start``: name, and where the value begins and ends."""
    at = _skip(text, start + 1)
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        begin = _skip(text, _skip(text, at) + 1)
        _, end = decoder.raw_decode(text, begin)
        yield name, begin, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at].isspace():
        at += 1
    return at


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fleet: FileFleet

    def do_GET(self) -> None:
        unit, tenant, stage = self.path.strip("/").split("/")[:3]
        if unit == "green" and stage == "routing" and tenant in self.fleet.broken:
            status = 503
            answer: dict[str, object] = {"error": "out of disk space"}
        else:
            status, answer = 200, {"unit": unit, "version": self.fleet.served(tenant, stage)}
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
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients are killed on purpose, in the middle of a request too."""


@contextmanager
def file_fleet(directory: Path, *, tenants: int, broken: int) -> Iterator[FileFleet]:
    """Seeded files and a running server, for the length of a ``with`` block."""
    names = [f"t{number:04}" for number in range(1, tenants + 1)]
    fleet = FileFleet(directory, names, set(names[3 :: tenants // broken][:broken]))
    fleet.seed()
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
