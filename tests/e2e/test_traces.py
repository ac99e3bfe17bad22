"""`switchover serve` sends traces to a real receiver over OTLP/HTTP, as the variables of OpenTelemetry say."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.command_line import CommandLine
from tests.support.gated_fleet import gated_fleet
from tests.support.served import start_server

pytestmark = pytest.mark.slow

CALLER = "0af7651916cd43dd8448eb211c80319c"


class Receiver:
    """Takes what is exported."""

    def __init__(self) -> None:
        self.services: set[str] = set()
        self.spans: list[Span] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self.path, ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, path: str, request: ExportTraceServiceRequest) -> None:
        assert path == "/v1/traces"
        for resource in request.resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.services.add(names["service.name"])
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def one(self, name: str) -> Span:
        (span,) = [span for span in self.spans if span.name == name]
        return span


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_a_request_and_the_tasks_that_it_caused_are_told(tmp_path: Path, receiver: Receiver) -> None:
    env = {
        "SWITCHOVER_TRACES": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_SERVICE_NAME": "switchover-of-this-test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with gated_fleet(tmp_path, ("t1",)) as fleet, CommandLine(tmp_path) as switchover:
        served = start_server(switchover, env=env)
        spec = json.loads(fleet.write_plan(["t1"]).read_text())
        request = urllib.request.Request(
            f"{served.url}/api/v1/plans",
            data=json.dumps(spec).encode(),
            headers={"Content-Type": "application/json", "traceparent": f"00-{CALLER}-b7ad6b7169203331-01"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 201
        switchover("watch", "100", "--server", served.url)
        assert served.program.stop(timeout_seconds=60) == 0, served.program.tail()
    assert receiver.services == {"switchover-of-this-test"}
    asked, task, run = receiver.one("POST /api/v1/plans"), receiver.one("task 100-1"), receiver.one("start 100-1")
    assert (asked.trace_id.hex(), asked.parent_span_id.hex()) == (CALLER, "b7ad6b7169203331")
    assert task.trace_id != asked.trace_id
    for span in (task, run):
        assert [link.span_id for link in span.links] == [asked.span_id]
    below = {span.name for span in receiver.spans if span.trace_id == task.trace_id}
    assert {"stage gateway", "step configUpdate", "target write", "step healthCheck", "health GET"} <= below


def test_what_a_worker_does_is_told_in_the_trace_of_the_driver(
    tmp_path: Path, receiver: Receiver, postgres_url: str
) -> None:
    env = {"SWITCHOVER_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    with gated_fleet(tmp_path, ("t1",)) as fleet, CommandLine(tmp_path) as switchover:
        served = start_server(switchover, "--store", postgres_url, "--stages", "workers", env=env)
        worker = switchover.start("worker", "--store", postgres_url, env=env)
        switchover("apply", str(fleet.write_plan(["t1"])), "--server", served.url, "--wait")
        assert worker.stop(timeout_seconds=60) == 0, worker.tail()
        assert served.program.stop(timeout_seconds=60) == 0, served.program.tail()
    task, stage = receiver.one("task 100-1"), receiver.one("stage gateway")
    step = next(span for span in receiver.spans if span.parent_span_id == stage.span_id)
    call = next(span for span in receiver.spans if span.parent_span_id == step.span_id)
    assert (step.name, call.name) == ("step configUpdate", "target read")
    assert {span.trace_id for span in (task, stage, step, call)} == {task.trace_id}
