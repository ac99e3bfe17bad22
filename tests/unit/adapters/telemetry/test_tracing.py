"""One trace for each task, told by a real engine."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from switchover import BroadcastStep, CompositeServiceStage, ConfigUpdateStep, ExecutorSettings, HealthCheckStep
from switchover.adapters.telemetry.tracing import Tracing
from switchover.bootstrap import Executor, make_store, open_executor
from switchover.domain.stage import StageStep, TaskRuntimeContext, TaskStage
from switchover.domain.task import PlanId, TaskKey
from switchover.errors import ErrorCode, ExecutorError
from tests.support.harness import Script, config_of
from tests.support.stages import Bench


class Told:
    """The spans of one or several processes."""

    def __init__(self) -> None:
        self._exporters: list[InMemorySpanExporter] = []

    def tracing(self) -> Tracing:
        self._exporters.append(InMemorySpanExporter())  # one that is closed takes no more
        return Tracing(SimpleSpanProcessor(self._exporters[-1]))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return [span for exporter in self._exporters for span in exporter.get_finished_spans()]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def tree(self) -> dict[str, Any]:
        """Names below names; what has no parent here stands at the top."""
        own = {_id(span) for span in self.spans}

        def below(parent: int | None) -> list[ReadableSpan]:
            found = [
                span
                for span in self.spans
                if (_parent(span) == parent if parent is not None else _parent(span) not in own)
            ]
            return sorted(found, key=lambda span: (span.start_time or 0, span.name))

        def grown(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
            return {span.name: grown(below(_id(span))) for span in spans}

        return grown(below(None))

    def traces(self) -> set[int]:
        return {span.get_span_context().trace_id for span in self.spans}  # type: ignore[union-attr]  # it has ended


def _id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def _parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def _of(span: ReadableSpan, *names: str) -> tuple[Any, ...]:
    attributes: Mapping[str, Any] = span.attributes or {}
    return tuple(attributes.get(f"switchover.{name}") for name in names)


@asynccontextmanager
async def _opened(told: Told, script: Script, url: str = "memory://") -> AsyncIterator[Executor]:
    tracing = told.tracing()
    async with open_executor(
        url, stage_factory=script.factory, tracing=tracing, store=make_store(url), grace_seconds=0
    ) as executor:
        yield executor
    tracing.close()


async def _create(executor: Executor, *tenants: str, **options: object) -> None:
    configs = [config_of(tenant) for tenant in tenants]
    assert (await executor.facade.create_switch_task(configs, options={"planId": 7, **options})).success


async def _entered(script: Script, tenant: str, stage: str) -> None:
    async with asyncio.timeout(30):
        while f"{tenant} {stage}" not in script.done():
            await script.moved()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def script() -> Script:
    return Script(("A", "B"))


async def test_a_task_is_a_trace_of_run_stages_and_steps(told: Told, script: Script) -> None:
    async with _opened(told, script) as executor:
        await _create(executor, "t1")
        await executor.wait_for_plan(7)
    assert told.tree() == {"task 7-1": {"start 7-1": {"stage A": {"step switch": {}}, "stage B": {"step switch": {}}}}}
    assert len(told.traces()) == 1
    root = told.one("task 7-1")
    assert root.parent is None
    wanted = (7, "7-1", "t1", 1, 1, "completed")
    assert _of(root, "plan_id", "task_id", "tenant_id", "generation", "attempt", "outcome") == wanted
    assert root.events[0].name == "started"
    step = told.named("step switch")[0]
    assert _of(step, "task_id", "tenant_id", "stage", "step", "generation") == ("7-1", "t1", "A", "switch", 1)


async def test_spans_of_stages_have_the_times_of_their_events(told: Told, script: Script) -> None:
    async with _opened(told, script) as executor:
        await _create(executor, "t1")
        await executor.wait_for_plan(7)
        moments = {
            (str(event.type), event.data.get("stage")): event.timestamp
            async for event in executor.events(7, follow=False)
        }
    for stage in ("A", "B"):
        span = told.one(f"stage {stage}")
        for kind, moment in (("TaskStageStarted", span.start_time), ("TaskStageSucceeded", span.end_time)):
            assert moment is not None
            wanted = moments[kind, stage]
            assert moment == int(wanted.replace(microsecond=0).timestamp()) * 10**9 + wanted.microsecond * 1000


async def test_a_failure_a_retry_and_a_rollback_are_runs_of_the_same_trace_linked_to_each_other(
    told: Told, script: Script
) -> None:
    script.fail("t1", "B", times=1)
    async with _opened(told, script) as executor:
        await _create(executor, "t1")
        await executor.wait_for_plan(7)
        await executor.facade.retry_task_by_tenant("t1", True)
        await executor.wait_for_plan(7)
        await executor.facade.rollback_task_by_tenant("t1")
        await executor.wait_for_plan(7)
    assert len(told.traces()) == 1
    root, start, retry, rollback = (told.one(f"{kind} 7-1") for kind in ("task", "start", "retry", "rollback"))
    assert _of(root, "outcome") == ("failed",), "the root ends when the task has settled for the first time"
    assert root.status.status_code is StatusCode.ERROR
    assert (root.attributes or {})["error.type"] == "STEP_FAILED"
    assert [_of(run, "outcome", "generation", "attempt") for run in (start, retry, rollback)] == [
        ("failed", 1, 1),
        ("completed", 2, 2),
        ("rolled_back", 3, 2),
    ]
    assert {_parent(run) for run in (start, retry, rollback)} == {_id(root)}
    assert [link.context.span_id for link in retry.links] == [_id(start)]
    assert [link.context.span_id for link in rollback.links] == [_id(retry)]
    restored = [span for span in told.spans if _of(span, "rolling_back") == (True,) and span.name.startswith("stage")]
    assert [(span.name, *_of(span, "outcome")) for span in restored] == [
        ("stage B", "rolled_back"),
        ("stage A", "rolled_back"),
    ]


async def test_a_rollback_of_what_runs_ends_the_root_where_it_begins(told: Told, script: Script) -> None:
    script.block("t1", "A")
    async with _opened(told, script) as executor:
        await _create(executor, "t1")
        await _entered(script, "t1", "A")
        await executor.facade.rollback_task_by_tenant("t1")
        script.release_all()
        await executor.wait_for_plan(7)
    assert [_of(span, "outcome") for span in told.named("task 7-1")] == [("rolling_back",)]
    assert _of(told.one("rollback 7-1"), "outcome") == ("rolled_back",)


async def test_a_pause_ends_a_run_and_a_resume_begins_one(told: Told, script: Script) -> None:
    script.block("t1", "A")
    async with _opened(told, script) as executor:
        await _create(executor, "t1")
        await _entered(script, "t1", "A")
        await executor.facade.pause_task_by_tenant("t1")
        script.release_all()
        await executor.wait_for_plan(7)
        await executor.facade.resume_task_by_tenant("t1")
        await executor.wait_for_plan(7)
    assert _of(told.one("start 7-1"), "outcome") == ("paused",)
    assert _of(told.one("resume 7-1"), "outcome") == ("completed",)
    assert _of(told.one("task 7-1"), "outcome") == ("completed",)


async def test_a_task_that_never_ran_has_a_span_too(told: Told, script: Script) -> None:
    async with _opened(told, script) as executor:
        await executor.facade.stop_line("nothing starts")
        await _create(executor, "t1")
        await executor.facade.cancel_task_by_tenant("t1")
        await executor.wait_for_plan(7)
    assert told.tree() == {"task 7-1": {}}
    assert _of(told.one("task 7-1"), "outcome") == ("cancelled",)


async def test_whoever_takes_over_goes_on_in_the_same_trace(told: Told, script: Script, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    script.block("t1", "B")
    async with _opened(told, script, url) as executor:
        await _create(executor, "t1")
        await _entered(script, "t1", "B")
    assert told.named("task 7-1") == [], "it has not settled"
    script.release_all()
    async with _opened(told, script, url) as executor:
        await executor.wait_for_plan(7)
    assert len(told.traces()) == 1
    assert list(told.tree()) == ["task 7-1"], "the root that the second process told is above all"
    assert _of(told.one("start 7-1"), "outcome") == ("interrupted",)
    assert _of(told.one("take-over 7-1"), "outcome", "generation") == ("completed", 2)
    assert [_of(span, "outcome") for span in told.named("stage B")] == [("interrupted",), ("succeeded",)]


@dataclass(frozen=True)
class _Step:
    name: str = "elsewhere"

    async def execute(self, context: TaskRuntimeContext) -> None:
        """Nothing."""


async def test_a_process_that_only_carries_out_a_stage_tells_its_steps_in_the_stage_of_the_driver(
    told: Told, script: Script
) -> None:
    script.block("t1", "B")
    worker = told.tracing()
    async with _opened(told, script) as executor:
        await _create(executor, "t1")
        await _entered(script, "t1", "B")
        (stored,) = await executor.store.load_tasks([TaskKey(PlanId(7), 1)])
        context = Bench().context()
        context.stage = "B"
        with worker.step_of(stored.task)(context, _Step()):
            pass
        script.release_all()
        await executor.wait_for_plan(7)
    worker.close()
    assert _parent(told.one("step elsewhere")) == _id(told.one("stage B"))
    assert len(told.traces()) == 1


async def test_two_tasks_have_two_traces(told: Told, script: Script) -> None:
    async with _opened(told, script) as executor:
        await _create(executor, "t1", "t2")
        await executor.wait_for_plan(7)
    assert len(told.traces()) == 2
    for span in told.spans:
        number = span.name.rpartition("-")[2]
        if number in {"1", "2"}:
            assert _of(span, "tenant_id") == (f"t{number}",)


@pytest.fixture
async def service() -> AsyncIterator[tuple[str, list[tuple[str, str | None]]]]:
    """A service that keeps configuration and says which version it has; and who asked with which traceparent."""
    asked: list[tuple[str, str | None]] = []
    held: dict[str, bytes] = {}

    async def answer(request: web.Request) -> web.Response:
        asked.append((f"{request.method} {request.path}", request.headers.get("traceparent")))
        if request.path == "/health":
            return web.json_response({"version": "2"})
        if request.method == "PUT":
            held[request.path] = await request.read()
        if request.method == "GET":
            found = held.get(request.path)
            return web.Response(status=404) if found is None else web.Response(body=found)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}", asked
    await runner.cleanup()


async def test_calls_of_targets_and_endpoints_are_spans_and_carry_the_trace(
    told: Told, service: tuple[str, list[tuple[str, str | None]]]
) -> None:
    url, asked = service

    def stages(config: object) -> Sequence[TaskStage]:
        steps: list[StageStep] = [
            ConfigUpdateStep(target=f"{url}/config", key="{tenantId}", value={"version": "{deployUnitVersion}"}),
            BroadcastStep(target=f"{url}/broadcast"),
            HealthCheckStep(endpoints=[{"value": f"{url}/health"}]),
        ]
        return [CompositeServiceStage("A", steps)]

    tracing = told.tracing()
    async with open_executor("memory://", stage_factory=stages, tracing=tracing) as executor:
        await _create(executor, "t1")
        await executor.wait_for_plan(7)
    tracing.close()
    steps = told.tree()["task 7-1"]["start 7-1"]["stage A"]
    assert steps == {
        "step configUpdate": {"target read": {}, "target write": {}},
        "step broadcast": {"target publish": {}},
        "step healthCheck": {"health GET": {}},
    }
    assert _of(told.one("target write"), "target", "key", "generation") == (f"{url}/config", "t1", 1)
    (trace,) = told.traces()
    spans = {"GET /config/t1": "target read", "PUT /config/t1": "target write", "POST /broadcast": "target publish"}
    for what, traceparent in asked:
        span = told.one(spans.get(what, "health GET"))
        assert traceparent == f"00-{trace:032x}-{_id(span):016x}-01", what


async def test_a_call_that_fails_says_why_without_secrets(told: Told) -> None:
    def stages(config: object) -> Sequence[TaskStage]:
        target = "http://user:hunter2@127.0.0.1:9/config"
        return [CompositeServiceStage("A", [ConfigUpdateStep(target=target, key="k", value="v")])]

    tracing = told.tracing()
    async with open_executor("memory://", stage_factory=stages, tracing=tracing) as executor:
        await _create(executor, "t1")
        await executor.wait_for_plan(7)
    tracing.close()
    call = told.one("target read")
    assert call.status.status_code is StatusCode.ERROR
    assert (call.attributes or {})["error.type"] == "TARGET_UNAVAILABLE"
    assert "hunter2" not in "".join(span.to_json() for span in told.spans)


async def test_without_tracing_no_header_is_added_and_no_step_is_watched(
    service: tuple[str, list[tuple[str, str | None]]], script: Script
) -> None:
    async with open_executor("memory://", stage_factory=script.factory) as executor:
        assert executor._watch_step is None
        async with aiohttp.ClientSession() as session, session.get(f"{service[0]}/health"):
            pass
    assert service[1] == [("GET /health", None)]


def test_an_exporter_that_nobody_has_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(ExecutorError, match="zipkin") as refused:
        Tracing.from_environment()
    assert refused.value.code is ErrorCode.INVALID_FIELD


def test_sampling_as_the_environment_says_is_one_decision_for_a_whole_task(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")

    async def work() -> None:
        async with _opened(told, Script(("A",))) as executor:
            await _create(executor, "t1")
            await executor.wait_for_plan(7)

    asyncio.run(work())
    assert list(told.spans) == []


def test_the_settings_want_no_traces_unless_told() -> None:
    assert ExecutorSettings().traces is False
