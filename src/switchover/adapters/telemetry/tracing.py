"""
Traces for OpenTelemetry: one trace for each task, from its creation until it has settled, over restarts and take-overs.

The number of a task's trace, and of its root span, follows from when the task was created and which one it is, both of
which the store knows for ever. So every process that drives the task writes into the same trace, and nothing about it
has to be kept. Below the root is a span for each run (start, resume, retry, rollback, take-over), linked to the run
before; below a run its stages, their steps, and what those ask of targets and endpoints.

Spans of tasks, runs and stages have the times of the events that they are made from. A process that is killed takes
with it the spans that were open; whoever takes over begins a run of its own, and tells the root when the task settles.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from switchover._version import __version__
from switchover.adapters.telemetry.traced_calls import Attributes, TracedHealthCheckClient, TracedTargets
from switchover.domain.events import Event, EventType
from switchover.domain.stage import StageStep, TaskRuntimeContext
from switchover.domain.task import TaskAggregate
from switchover.errors import ErrorCode, ExecutorError
from switchover.redaction import without_secrets
from switchover.spi import Entry, StepServices

EXPORTER_VARIABLE = "OTEL_TRACES_EXPORTER"

_MOST_REMEMBERED = 10_000
"""Requests and runs that later spans may be linked to."""

_RUNS = {
    EventType.TASK_STARTED: "start",
    EventType.TASK_RESUMED: "resume",
    EventType.TASK_RETRY_STARTED: "retry",
    EventType.TASK_ROLLING_BACK: "rollback",
}
_SETTLED = {
    EventType.TASK_COMPLETED: "completed",
    EventType.TASK_FAILED: "failed",
    EventType.TASK_CANCELLED: "cancelled",
    EventType.TASK_ROLLED_BACK: "rolled_back",
    EventType.TASK_ROLLBACK_FAILED: "rollback_failed",
}
_STAGE_BEGINS = frozenset({EventType.TASK_STAGE_STARTED, EventType.TASK_STAGE_ROLLING_BACK})
_STAGE_ENDS = {
    EventType.TASK_STAGE_SUCCEEDED: "succeeded",
    EventType.TASK_STAGE_FAILED: "failed",
    EventType.TASK_STAGE_ROLLED_BACK: "rolled_back",
    EventType.TASK_STAGE_ROLLBACK_FAILED: "rollback_failed",
}


class _Ids(RandomIdGenerator):
    """Random numbers, but for the span that is made next when somebody has said which."""

    def __init__(self) -> None:
        self.next: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.next is None else self.next[0]

    def generate_span_id(self) -> int:
        if self.next is None:
            return super().generate_span_id()
        chosen, self.next = self.next[1], None
        return chosen


@dataclass(slots=True)
class _Life:
    """
    A task that runs in this process.

    Attributes:
        first: The task has not settled before, so its root is still to be made.
    """

    first: bool
    run: Span
    stage: Span | None = None


class Tracing:
    """
    Makes the spans of one process: an observer of its commits, a wrapper of its calls, and a watcher of its steps.

    Args:
        processor: Takes the spans.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        self._ids = _Ids()
        self.provider = TracerProvider(id_generator=self._ids, resource=_resource(), shutdown_on_exit=False)
        self.provider.add_span_processor(processor)
        self.tracer = self.provider.get_tracer("switchover", __version__)
        self._lives: dict[str, _Life] = {}
        self._paused: set[str] = set()
        self._last_runs = _Memory()
        self._requests = _Memory()

    @staticmethod
    def from_environment() -> "Tracing":
        """
        As the variables ``OTEL_*`` say.

        Raises:
            ExecutorError: They name an exporter that this program does not have.
        """
        name = os.environ.get(EXPORTER_VARIABLE) or "otlp"
        match name:
            case "otlp":
                return Tracing(BatchSpanProcessor(OTLPSpanExporter()))
            case "console":
                return Tracing(BatchSpanProcessor(ConsoleSpanExporter()))
            case _:
                message = f"{EXPORTER_VARIABLE} is {name!r}; this version knows otlp (over HTTP) and console"
                raise ExecutorError(message, code=ErrorCode.INVALID_FIELD)

    def close(self) -> None:
        """End what is open, and hand over what has not been sent; waits for the exporter."""
        for life in self._lives.values():
            _end(life.stage, None, "interrupted")
            _end(life.run, None, "interrupted")
        self._lives.clear()
        self.provider.shutdown()

    # What is committed

    def committed(self, entries: Sequence[Entry], seconds: float) -> None:
        """Begin and end spans of tasks, runs and stages."""
        del seconds
        for entry in entries:
            tasks = {task.key: task for task in entry.tasks}
            for event in entry.events:
                task = None if event.key is None else tasks.get(event.key)
                if task is not None:
                    self._task_event(event, task)

    def _task_event(self, event: Event, task: TaskAggregate) -> None:
        kind, key = event.type, task.task_id
        if kind in _RUNS:
            self._run_begins(event, task, _RUNS[kind])
        elif kind in _STAGE_BEGINS:
            if event.data.get("recovered") or key not in self._lives:
                self._run_begins(event, task, "take-over")
            life = self._lives[key]
            stage, rolling_back = str(event.data["stage"]), kind is EventType.TASK_STAGE_ROLLING_BACK
            known = self._stage_context(task, stage, rolling_back=rolling_back)
            self._ids.next = (known.trace_id, known.span_id)
            try:
                life.stage = self.tracer.start_span(
                    f"stage {stage}",
                    _below(life.run.get_span_context()),
                    start_time=_nanoseconds(event.timestamp),
                    attributes={
                        **_attributes(task),
                        "switchover.stage": stage,
                        "switchover.rolling_back": rolling_back,
                    },
                )
            finally:
                self._ids.next = None
        elif kind in _STAGE_ENDS:
            life_or_none = self._lives.get(key)
            if life_or_none is not None and life_or_none.stage is not None:
                _end(life_or_none.stage, event, _STAGE_ENDS[kind])
                life_or_none.stage = None
        elif kind is EventType.TASK_PAUSED:
            life_or_none = self._lives.pop(key, None)
            if life_or_none is not None:
                _end(life_or_none.run, event, "paused")
                if life_or_none.first:
                    self._paused.add(key)
        elif kind in _SETTLED:
            self._settled(event, task, _SETTLED[kind])

    def _run_begins(self, event: Event, task: TaskAggregate, kind: str) -> None:
        key = task.task_id
        before = self._lives.pop(key, None)
        first = kind in {"start", "resume"} or (kind == "take-over" and event.type is EventType.TASK_STAGE_STARTED)
        if before is not None:
            _end(before.stage, event, "interrupted")
            _end(before.run, event, "rolling_back" if kind == "rollback" else "interrupted")
        if kind == "rollback" and ((before is not None and before.first) or key in self._paused):
            self._root(event, task, "rolling_back")
        self._paused.discard(key)
        links = [Link(one) for one in (self._last_runs.get(key), *self._asked(task)) if one is not None]
        run = self.tracer.start_span(
            f"{kind} {key}",
            _below(self._root_context(task)),
            start_time=_nanoseconds(event.timestamp),
            links=links,
            attributes={**_attributes(task), "switchover.run": kind},
        )
        self._last_runs.put(key, run.get_span_context())
        self._lives[key] = _Life(first=first and task.retry_count == 0, run=run)

    def _settled(self, event: Event, task: TaskAggregate, outcome: str) -> None:
        key = task.task_id
        life = self._lives.pop(key, None)
        if life is not None:
            _end(life.stage, event, outcome)
            _end(life.run, event, outcome)
        # Nothing ran: cancelled while it waited, or while it was paused.
        never_ran = event.type is EventType.TASK_CANCELLED and task.started_at is None
        if never_ran or key in self._paused or (life is not None and life.first):
            self._root(event, task, outcome)
        self._paused.discard(key)

    def _root(self, event: Event, task: TaskAggregate, outcome: str) -> None:
        """The task's own span, from its creation until now."""
        context = self._root_context(task)
        self._ids.next = (context.trace_id, context.span_id)
        try:
            span = self.tracer.start_span(
                f"task {task.task_id}",
                Context(),
                start_time=_nanoseconds(task.created_at),
                links=[Link(one) for one in self._asked(task)],
                attributes=_attributes(task),
            )
        finally:
            self._ids.next = None
        if task.started_at is not None:
            span.add_event("started", timestamp=_nanoseconds(task.started_at))
        _end(span, event, outcome)

    def _root_context(self, task: TaskAggregate) -> SpanContext:
        digest = _digest(task)
        trace_id = int.from_bytes(digest[:16], "big")
        decision = self.provider.sampler.should_sample(None, trace_id, f"task {task.task_id}").decision
        sampled = decision is Decision.RECORD_AND_SAMPLE
        return SpanContext(
            trace_id,
            int.from_bytes(digest[16:24], "big"),
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT),
        )

    def _stage_context(self, task: TaskAggregate, stage: str, *, rolling_back: bool) -> SpanContext:
        """Of a stage in a run: whoever carries it out knows the number of its span without having been told."""
        root = self._root_context(task)
        number = _digest(task, task.generation, stage, "back" if rolling_back else "forward")[:8]
        return SpanContext(root.trace_id, int.from_bytes(number, "big"), is_remote=True, trace_flags=root.trace_flags)

    # What a request has asked for

    def requested(self, subject: str, span: SpanContext) -> None:
        """What happens to this subject (``plan 7``, ``task 7-1``, ``tenant acme``) from now on has this cause."""
        self._requests.put(subject, span)

    def _asked(self, task: TaskAggregate) -> list[SpanContext]:
        subjects = (f"task {task.task_id}", f"tenant {task.tenant_id}", f"plan {task.plan_id}")
        found = [self._requests.get(subject) for subject in subjects]
        return [context for context in found if context is not None]

    # What runs

    def traced(self, services: StepServices) -> StepServices:
        """The same services; what steps ask of them is told."""
        return StepServices(
            targets=TracedTargets(services.targets, self._call),
            health_client=TracedHealthCheckClient(services.health_client, self._call),
            clock=services.clock,
            health_policy=services.health_policy,
        )

    @contextmanager
    def step(self, context: TaskRuntimeContext, step: StageStep) -> Generator[None]:
        """A step of a stage that is known; what is called inside belongs to it, whoever calls."""
        life = self._lives.get(context.task_id)
        if life is None or life.stage is None:
            yield
            return
        with self._step(context, step, life.stage.get_span_context()):
            yield

    def step_of(self, task: TaskAggregate) -> Callable[[TaskRuntimeContext, StageStep], AbstractContextManager[None]]:
        """The same for a run of this task that another process drives."""

        def watch(context: TaskRuntimeContext, step: StageStep) -> AbstractContextManager[None]:
            stage = self._stage_context(task, context.stage, rolling_back=context.rolling_back)
            return self._step(context, step, stage)

        return watch

    def _step(self, context: TaskRuntimeContext, step: StageStep, stage: SpanContext) -> AbstractContextManager[None]:
        return self._span(
            f"step {step.name}",
            {
                "switchover.plan_id": int(context.plan_id),
                "switchover.task_id": context.task_id,
                "switchover.tenant_id": context.tenant_id,
                "switchover.generation": context.generation,
                "switchover.stage": context.stage,
                "switchover.step": step.name,
                "switchover.rolling_back": context.rolling_back,
            },
            parent=_below(stage),
        )

    def inject(self, headers: MutableMapping[str, str]) -> None:
        """Add who calls to the headers of a request: W3C traceparent."""
        propagate.inject(headers)

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Generator[Span]:
        """A request to this process, as a part of what its caller does."""
        with self.tracer.start_as_current_span(method, propagate.extract(headers), kind=SpanKind.SERVER) as span:
            yield span

    @contextmanager
    def _call(self, name: str, attributes: Attributes) -> Generator[None]:
        with self._span(name, attributes, kind=SpanKind.CLIENT):
            yield

    @contextmanager
    def _span(
        self, name: str, attributes: Attributes, *, parent: Context | None = None, kind: SpanKind = SpanKind.INTERNAL
    ) -> Generator[None]:
        with self.tracer.start_as_current_span(
            name, parent, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                code = error.code if isinstance(error, ExecutorError) else type(error).__name__
                span.set_attribute("error.type", str(code))
                span.set_status(Status(StatusCode.ERROR, without_secrets(str(error))))
                raise


class _Memory:
    """The newest of many; what is older is forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, SpanContext] = OrderedDict()

    def put(self, key: str, context: SpanContext) -> None:
        self._kept[key] = context
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_REMEMBERED:
            self._kept.popitem(last=False)

    def get(self, key: str) -> SpanContext | None:
        return self._kept.get(key)


def _below(parent: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _digest(task: TaskAggregate, *more: object) -> bytes:
    return hashlib.sha256(" ".join(map(str, (_nanoseconds(task.created_at), task.task_id, *more))).encode()).digest()


def _attributes(task: TaskAggregate) -> dict[str, str | int | bool]:
    return {
        "switchover.plan_id": int(task.plan_id),
        "switchover.task_id": task.task_id,
        "switchover.tenant_id": task.tenant_id,
        "switchover.generation": task.generation,
        "switchover.attempt": task.retry_count + 1,
    }


def _end(span: Span | None, event: Event | None, outcome: str) -> None:
    if span is None:
        return
    span.set_attribute("switchover.outcome", outcome)
    failure = None if event is None else event.failure_info
    if failure is not None:
        span.set_attribute("error.type", str(failure.error_code))
        span.set_status(Status(StatusCode.ERROR, failure.message))
    span.end(None if event is None else _nanoseconds(event.timestamp))


def _nanoseconds(moment: datetime) -> int:
    # Not through a float, which has no place for microseconds.
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + moment.microsecond * 1_000


def _resource() -> Resource:
    found = Resource.create({SERVICE_VERSION: __version__})
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "switchover"}))
    return found
