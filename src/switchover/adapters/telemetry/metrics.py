"""
Metrics for Prometheus: counters and histograms from what is committed, gauges from how the process is when it is asked.

Counters begin at zero with the process and count what this process committed, so the sum over all processes is right
after a restart and after a take-over. No label holds a tenant, a plan or a task; the one label whose values come from
users, the name of a stage, has a limited number of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from switchover._version import __version__
from switchover.domain.events import Event, EventType
from switchover.domain.task import TaskAggregate, TaskKey
from switchover.spi import Entry, Vitals

OTHER = "other"
"""Stands for the names of stages beyond the limit."""

MOST_STAGES = 50
"""Names of stages that get a label value of their own."""

_STAGE_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_TASK_SECONDS = (1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)
_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
_BATCH_ENTRIES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_HTTP_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One metric, as the reference shows it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    buckets: Sequence[float] = ()


_OUTCOMES = "`completed`, `failed`, `cancelled`, `rolled_back` or `rollback_failed`"

DEFINITIONS: Mapping[str, Definition] = {
    definition.name: definition
    for definition in (
        Definition(name="switchover_build_info", kind="gauge", meaning="1.", labels={"version": "of the program"}),
        Definition(name="switchover_driving", kind="gauge", meaning="1 in the process that drives the store, else 0."),
        Definition(
            name="switchover_driver_lost",
            kind="gauge",
            meaning="1 in a process that drove the store and may write no more, until it is started again.",
        ),
        Definition(
            name="switchover_task_active",
            kind="gauge",
            meaning="Tasks that hold a slot: they run, or are being rolled back.",
        ),
        Definition(
            name="switchover_queue_length",
            kind="gauge",
            meaning="Tasks that wait for a slot, a lock or the line; paused and held ones do not count.",
        ),
        Definition(name="switchover_plan_active", kind="gauge", meaning="Plans with unsettled tasks."),
        Definition(
            name="switchover_heartbeat_lag",
            kind="gauge",
            meaning="Seconds by which heartbeats are late: the last one, or one that is due or waits for the store.",
        ),
        Definition(
            name="switchover_store_outage_seconds",
            kind="gauge",
            meaning="For how long the store has taken no commits; 0 while it takes them.",
        ),
        Definition(name="switchover_event_readers", kind="gauge", meaning="Readers of live events at this moment."),
        Definition(name="switchover_task_started", kind="counter", meaning="Tasks that started for the first time."),
        Definition(name="switchover_task_completed", kind="counter", meaning="Tasks that ended COMPLETED."),
        Definition(
            name="switchover_task_failed",
            kind="counter",
            meaning="Tasks that ended FAILED; one that fails again after a retry counts again.",
        ),
        Definition(name="switchover_task_cancelled", kind="counter", meaning="Tasks that ended CANCELLED."),
        Definition(name="switchover_task_retried", kind="counter", meaning="Retries that began."),
        Definition(name="switchover_rollback_count", kind="counter", meaning="Rollbacks that began."),
        Definition(name="switchover_rollback_failed", kind="counter", meaning="Rollbacks that ended ROLLBACK_FAILED."),
        Definition(
            name="switchover_recovered",
            kind="counter",
            meaning="Tasks that were picked up where another process, or an earlier one, had left them.",
        ),
        Definition(
            name="switchover_stage_failure",
            kind="counter",
            meaning="Stages that failed, or could not be restored.",
            labels={"code": "the [error code](errors.md)"},
        ),
        Definition(
            name="switchover_plan_settled",
            kind="counter",
            meaning="Plans that settled; each run counts.",
            labels={"outcome": f"{_OUTCOMES}; `partial_failed`, too"},
        ),
        Definition(
            name="switchover_stage_duration_seconds",
            kind="histogram",
            meaning="From the start of a stage to its end, as recorded. A stage that was interrupted counts anew.",
            labels={
                "stage": f"its name; `{OTHER}` for those beyond the first {MOST_STAGES} of a process",
                "outcome": "`succeeded`, `failed`, `rolled_back` or `rollback_failed`",
            },
            buckets=_STAGE_SECONDS,
        ),
        Definition(
            name="switchover_task_duration_seconds",
            kind="histogram",
            meaning="From the beginning of a task's run (start, retry, rollback) to its end, pauses included.",
            labels={"outcome": _OUTCOMES},
            buckets=_TASK_SECONDS,
        ),
        Definition(
            name="switchover_commit_duration_seconds",
            kind="histogram",
            meaning="Of a commit, outages of the store included.",
            buckets=_COMMIT_SECONDS,
        ),
        Definition(
            name="switchover_commit_batch_size",
            kind="histogram",
            meaning="Decisions that one commit made durable.",
            buckets=_BATCH_ENTRIES,
        ),
        Definition(
            name="switchover_http_requests",
            kind="counter",
            meaning="HTTP requests that were answered.",
            labels={"method": "`GET`, `POST` ...", "route": "its pattern, never the path", "code": "HTTP status"},
        ),
        Definition(
            name="switchover_http_request_duration_seconds",
            kind="histogram",
            meaning="From the request to the beginning of its answer.",
            labels={"route": "its pattern"},
            buckets=_HTTP_SECONDS,
        ),
        Definition(
            name="switchover_login_failed",
            kind="counter",
            meaning="Requests and logins that came with a credential, and were refused for it.",
        ),
    )
}

_STAGE_OUTCOMES = {
    EventType.TASK_STAGE_SUCCEEDED: "succeeded",
    EventType.TASK_STAGE_FAILED: "failed",
    EventType.TASK_STAGE_ROLLED_BACK: "rolled_back",
    EventType.TASK_STAGE_ROLLBACK_FAILED: "rollback_failed",
}
_TASK_OUTCOMES = {
    EventType.TASK_COMPLETED: "completed",
    EventType.TASK_FAILED: "failed",
    EventType.TASK_CANCELLED: "cancelled",
    EventType.TASK_ROLLED_BACK: "rolled_back",
    EventType.TASK_ROLLBACK_FAILED: "rollback_failed",
}
_PLAN_SETTLED = frozenset(
    {
        EventType.PLAN_COMPLETED,
        EventType.PLAN_FAILED,
        EventType.PLAN_CANCELLED,
        EventType.PLAN_ROLLED_BACK,
        EventType.PLAN_ROLLBACK_FAILED,
    }
)
_STAGE_BEGINS = frozenset({EventType.TASK_STAGE_STARTED, EventType.TASK_STAGE_ROLLING_BACK})
_RUN_BEGINS = frozenset({EventType.TASK_STARTED, EventType.TASK_RETRY_STARTED, EventType.TASK_ROLLING_BACK})
_COUNTED = {
    EventType.TASK_STARTED: "switchover_task_started",
    EventType.TASK_COMPLETED: "switchover_task_completed",
    EventType.TASK_FAILED: "switchover_task_failed",
    EventType.TASK_CANCELLED: "switchover_task_cancelled",
    EventType.TASK_RETRY_STARTED: "switchover_task_retried",
    EventType.TASK_ROLLING_BACK: "switchover_rollback_count",
    EventType.TASK_ROLLBACK_FAILED: "switchover_rollback_failed",
}


class _Registry(CollectorRegistry):
    """Leaves out when each series was created, which the library adds as a series of its own."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """
    A registry of its own for each process that is watched; an observer of its commits.

    Args:
        most_stages: Names of stages that get a label value of their own.
    """

    def __init__(self, *, most_stages: int = MOST_STAGES) -> None:
        self.registry: CollectorRegistry = _Registry()
        self._most_stages = most_stages
        self._stages: set[str] = set()
        self._stage_began: dict[TaskKey, datetime] = {}
        self._run_began: dict[TaskKey, datetime] = {}
        self._counted = {kind: self._counter(name) for kind, name in _COUNTED.items()}
        self._recovered = self._counter("switchover_recovered")
        self._stage_failures = self._counter("switchover_stage_failure")
        self._plans = self._counter("switchover_plan_settled")
        self._stage_seconds = self._histogram("switchover_stage_duration_seconds")
        self._task_seconds = self._histogram("switchover_task_duration_seconds")
        self._commit_seconds = self._histogram("switchover_commit_duration_seconds")
        self._batch = self._histogram("switchover_commit_batch_size")
        self._requests = self._counter("switchover_http_requests")
        self._request_seconds = self._histogram("switchover_http_request_duration_seconds")
        self._logins_failed = self._counter("switchover_login_failed")
        build = DEFINITIONS["switchover_build_info"]
        Gauge(build.name, build.meaning, list(build.labels), registry=self.registry).labels(__version__).set(1)
        ProcessCollector(registry=self.registry)

    def watch(self, vitals: Callable[[], Vitals], readers: Callable[[], int]) -> None:
        """Show these as gauges, as they are whenever the metrics are read."""
        self.registry.register(_Gauges(vitals, readers))

    # What is committed

    def committed(self, entries: Sequence[Entry], seconds: float) -> None:
        """Count one commit and what it made durable."""
        self._commit_seconds.observe(seconds)
        self._batch.observe(len(entries))
        for entry in entries:
            for event in entry.events:
                if event.key is not None:
                    self._task_event(event, event.key, entry.tasks)
                elif event.type in _PLAN_SETTLED:
                    self._plans.labels(str(event.status).lower()).inc()

    def _task_event(self, event: Event, key: TaskKey, tasks: Iterable[TaskAggregate]) -> None:
        kind = event.type
        if kind in self._counted:
            self._counted[kind].inc()
        if kind in _STAGE_BEGINS:
            if event.data.get("recovered"):
                self._recovered.inc()
                self._run_began.pop(key, None)
            self._stage_began[key] = event.timestamp
        elif kind in _STAGE_OUTCOMES:
            self._stage_ended(event, key, _STAGE_OUTCOMES[kind])
        elif kind in _RUN_BEGINS:
            self._run_began[key] = event.timestamp
        elif kind in _TASK_OUTCOMES:
            began = self._run_began.pop(key, None) or _first_start(event, key, tasks)
            if began is not None:
                self._task_seconds.labels(_TASK_OUTCOMES[kind]).observe(_seconds(event.timestamp - began))

    def _stage_ended(self, event: Event, key: TaskKey, outcome: str) -> None:
        if event.failure_info is not None:
            self._stage_failures.labels(str(event.failure_info.error_code)).inc()
        began = self._stage_began.pop(key, None)
        if began is not None:  # none: it was skipped
            stage = self._stage(str(event.data["stage"]))
            self._stage_seconds.labels(stage, outcome).observe(_seconds(event.timestamp - began))

    def _stage(self, name: str) -> str:
        if name not in self._stages:
            if len(self._stages) >= self._most_stages:
                return OTHER
            self._stages.add(name)
        return name

    # What is asked over HTTP

    def answered(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count one request, and how long it took until its answer began."""
        self._requests.labels(method, route, str(code)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def login_failed(self) -> None:
        """Count a credential that was refused."""
        self._logins_failed.inc()

    # Inside

    def _counter(self, name: str) -> Counter:
        made = DEFINITIONS[name]
        return Counter(made.name, made.meaning, list(made.labels), registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        made = DEFINITIONS[name]
        return Histogram(made.name, made.meaning, list(made.labels), registry=self.registry, buckets=made.buckets)


class _Gauges(Collector):
    """Everything that is read when it is asked for, in one instant."""

    def __init__(self, vitals: Callable[[], Vitals], readers: Callable[[], int]) -> None:
        self._vitals = vitals
        self._readers = readers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        vitals = self._vitals()
        values: Mapping[str, float] = {
            "switchover_driving": vitals.driving,
            "switchover_driver_lost": vitals.driver_lost,
            "switchover_task_active": vitals.running,
            "switchover_queue_length": vitals.waiting,
            "switchover_plan_active": vitals.live_plans,
            "switchover_heartbeat_lag": vitals.heartbeat_lag_seconds,
            "switchover_store_outage_seconds": vitals.store_outage_seconds,
            "switchover_event_readers": self._readers(),
        }
        for name, value in values.items():
            yield GaugeMetricFamily(name, DEFINITIONS[name].meaning, value=value)


def _first_start(event: Event, key: TaskKey, tasks: Iterable[TaskAggregate]) -> datetime | None:
    """When the run began in another process: known as long as it is the task's first."""
    if event.type in {EventType.TASK_ROLLED_BACK, EventType.TASK_ROLLBACK_FAILED}:
        return None
    task = next((task for task in tasks if task.key == key), None)
    return None if task is None or task.retry_count else task.started_at


def _seconds(passed: timedelta) -> float:
    """Wall clocks are set back now and then."""
    return max(0.0, passed.total_seconds())
