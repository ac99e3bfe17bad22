"""
Print the pages of the reference that follow from tables in the code.

    python scripts/make_docs.py           write verbs.md, states.md, faults.md, http-api.md and metrics.md in docs/reference
    python scripts/make_docs.py --check   fail when they are not what the tables say
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from switchover.adapters.telemetry.metrics import DEFINITIONS, MOST_STAGES, OTHER, Metrics
from switchover.domain.plan import PlanStatus
from switchover.domain.policies import Policies
from switchover.domain.state_machine import StateMachine, plan_state_machine, task_state_machine
from switchover.domain.task import Operation, TaskStatus
from switchover.domain.verbs import VERB_TABLE, Rule
from switchover.domain.wire import camel_case
from switchover.interfaces.rest import metering
from switchover.interfaces.rest.app import create_app
from switchover.interfaces.rest.permissions import OPEN, REQUIRED, OpenAccess

_REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"

_VERBS = """\
# What can be asked, in which status

<!-- Printed from the tables in the code by scripts/make_docs.py: change those. -->

A request is durable when it is answered, and survives a crash. Until it takes effect, queries show it as
`pendingOperation`. A request that does not apply is refused with a code, and changes nothing.

{table}

| cell | meaning |
| --- | --- |
| `-` | refused: ILLEGAL_STATE |
| same | accepted, and already so: no change, no event |
| yes | accepted when the guards below hold; takes effect when a slot is free |
| at once | takes effect with the answer |
| boundary | takes effect at the next stage boundary; a stage that fails, or was the last, drops the request |
| end of stage | takes effect when the running stage has ended, whatever its outcome |
| held, at once | the task stays PENDING, keeps its place and its lock, and is passed over until it is resumed |
| if held | the task is held no more; refused when it is not held |
| withdraws … | a pending request of that kind is dropped; without one: refused |

**Guards.** A retry needs a plan that still has a way to run (RUNNING, PAUSED, PARTIAL_FAILED or FAILED), a retry
left, a tenant that nobody else has locked, and no later task of the tenant that has run. A rollback needs a stage
that was started, the same two facts about the tenant, and a previous good config. What is missing names the refusal;
the first in this order: ILLEGAL_STATE, RETRY_LIMIT_EXCEEDED, SUPERSEDED, TENANT_CONFLICT, NO_PREVIOUS_CONFIG.

**Two requests.** Rollback wins over cancel, cancel over pause: a stronger request replaces a pending one, a weaker
one is refused while a stronger is pending, an equal one is accepted without effect. A rollback replaces a pending
retry.

**By plan** the same request goes to every task of the plan. The answer lists what was accepted and what was refused,
per task, and is a success when something was accepted. PENDING tasks of a paused plan stay PENDING and are not held;
a rollback by plan cancels tasks that have not started. A retry, resume or rollback asked for by tenant runs in a
paused plan all the same; a retry by plan waits for the resume.
"""

_STATES = """\
# The states of tasks and plans

<!-- Printed from the tables in the code by scripts/make_docs.py: change those. -->

A status changes along an edge that is drawn here, or not at all: what is not drawn is refused, changes nothing, and
uses no sequence id and no event. Which request leads where is in [verbs](verbs.md); which event tells of it in
[events](events.md).

## Tasks

{tasks}

{task_rows}

Terminal: {task_terminal}. Settled (no slot, no lock, nothing pending): {task_settled}.
A create passes CREATED, VALIDATING and PENDING in one commit; a refused one stores nothing, so no query ever shows
VALIDATION_FAILED.

## Plans

READY, RUNNING, PAUSED and ROLLING_BACK lead to a settled status in the commit of the task that settled last, once per
run. Which one is derived from the tasks, the first that applies: out of ROLLING_BACK only, ROLLBACK_FAILED (some task
is) or ROLLED_BACK (every task that started a stage is); then COMPLETED (every task is), CANCELLED (every task is, or
some are and the plan was cancelled), PARTIAL_FAILED (some task is COMPLETED), FAILED (none is).

{plans}

{plan_rows}

Terminal: {plan_terminal}. Settled: {plan_settled}.
"""


_HTTP_API = """\
# HTTP API

<!-- Printed from the routes of the server by scripts/make_docs.py: change those, or the text there. -->

`switchover serve` answers it; `/openapi.json` describes it (OpenAPI 3.1). Bodies are JSON in camelCase, the same
objects as in the [Python API](python-api.md).

{table}

**Scopes.** A viewer reads, an operator asks for work as well, an admin manages access as well. A token that is
limited to some tenants sees and reaches nothing of the others. A list of plans, tasks or audit records comes in
pages: `nextCursor` of one page is `cursor` of the next.

## Plans

The body of `POST /api/v1/plans` and of `:preview` is a [plan file](plan-file.md) as JSON, or a bare list of configs.
With a header `Idempotency-Key` the same plan sent again gets the first answer again; the same key with another plan
is refused with 409. A preview changes nothing and answers 200, with what is wrong in `findings`. An export is one
document that is sent while it is read.

## Requests about running work

The body is empty or an object with `reason` (needed for hold, unhold and stop), and for a retry `fromCheckpoint`. 202
says that the request is durable, not that it has taken effect: see [verbs](verbs.md).

## Live events

With `Accept: text/event-stream` events come as server-sent events: what is recorded behind `since` first, then what
happens, each once and in order. The `id` of each is its `position` in the plan, its `sequenceId` in the task, or, of
all plans, its `number`, which rises in the order of the commits and may have gaps.
Whoever loses the connection connects again with the last id in `Last-Event-ID`, which goes before `since`, as
browsers do by themselves. The last message of a stream that the server ends has a name, and in its data a `code`, a
`message` and `resumeFrom`:

| event | when |
| --- | --- |
| `end` | the server stops |
| `cut-off` | nothing was read for 10 s |
| `pruned` | the next events are no longer kept: look at how things stand, then go on |

Without that header, the same call gives one page of what is recorded; `nextSince` of one page is `since` of the next.
Whoever asks for events that are no longer kept is told so with 410: everything behind `keptSince` is kept; `snapshot`
is how things stand (of all plans, where they are listed), to go on from behind `resumeFrom`.

## Errors

Every error is a problem document (RFC 9457, `application/problem+json`): `type` (`urn:switchover:problem:CODE`),
`title`, `status`, `detail`, and `code`, one of the [error codes](errors.md). A refused plan has `findings` and
`failureInfo` beside them, a refused request what the [result](python-api.md) has.
"""


def verbs() -> str:
    """The page about verbs."""
    rows = [["status", *(str(operation) for operation in Operation)]]
    for status in TaskStatus:
        cells = [VERB_TABLE[status][operation] for operation in Operation]
        if any(cell is not Rule.REFUSED for cell in cells):
            rows.append([str(status), *(str(cell) for cell in cells)])
    never = [str(s) for s in TaskStatus if all(cell is Rule.REFUSED for cell in VERB_TABLE[s].values())]
    table = _table(rows)
    return _VERBS.format(
        table=f"{table}\n\n{_listed(never)} are passed within one commit, so nobody can ask anything then."
    )


def states() -> str:
    """The page about states."""
    tasks, plans = task_state_machine(Policies()), plan_state_machine()
    return _STATES.format(
        tasks=_diagram(tasks, TaskStatus.CREATED, TaskStatus),
        task_rows=_rows(tasks),
        task_terminal=_listed([str(status) for status in TaskStatus if status.is_terminal]),
        task_settled=_listed([str(status) for status in TaskStatus if status.is_settled]),
        plans=_diagram(plans, PlanStatus.CREATED, PlanStatus),
        plan_rows=_rows(plans),
        plan_terminal=_listed([str(status) for status in PlanStatus if status.is_terminal]),
        plan_settled=_listed([str(status) for status in PlanStatus if status.is_settled]),
    )


_FAULTS = """\
# Faults, and what they lead to

<!-- Printed from tests/support/fault_table.py by scripts/make_docs.py: change that. -->

Every row is a test: the fault is made, with real sockets, servers, disks and certificates, and the plan must come to
what the row says. The expectation of the test and the row of this page are the same line of the same file. Where the
cause can be taken away, the test takes it away, does what the message names as the next move, and the task completes.

Every message of a failed step names tenant, stage, step, place (URL, key, field) and the next move. `retryable` says
whether the same step may succeed when nothing but time passes. A retry is always a person's decision: nothing is
repeated behind your back but the rounds of a health check, and a request whose connection had died unnoticed.

## Health checks

Whatever an instance does wrong is one failed round. The other endpoints are asked all the same, and a later good round
passes. When the rounds are used up, the step fails with `HEALTH_CHECK_FAILED`, retryable; the message has what each
endpoint answered last. Bodies are read up to 64 KB, so no answer costs more memory than that.

{health}

## Targets over HTTP

The read before a write meets the same faults as the write. A write that was cut off may have been applied: the retry
sends the same value under a higher generation, which is right in both cases. Values are read up to 16 MB.
Broadcasts meet these faults with the same end.

{http}

## Targets in Redis

An operation is sent once more, at once, when its connection breaks: every script accepts an equal generation, so
nothing is applied twice. When that fails too, the step fails.

{redis}

## Targets in files

A file is replaced and never written into, so a fault leaves the old content.

{file}

## Steps without an end

A step that waits for something else than these for longer than its deadline (`step_timeout_seconds`; for a health
check its own worst case) fails with `STEP_TIMEOUT`, `TIMEOUT_ERROR`, retryable. Time in which it waits for the store
does not count.

## The store

A store that is away delays, and loses nothing. While it takes no commits, nothing goes on that would outrun the record:
a stage that runs comes to its end and waits, nothing is started, and no target is written before what has to be known
for going back is durable. Commits are tried again, in their order, every two seconds at most, for as long as it takes.

An operator sees it: `run` and every other verb that stays with the work say when the store stops taking commits, why,
and when it takes them again, the live display has it in view meanwhile, and the log has both (`switchover.commits`). In
a program it is `executor.store_outage`.

{store}

Try your own store the same way: `switchover.testing.fakes.FaultyStore` goes around any `ExecutionStore`.

```python
from switchover.testing.fakes import FaultyStore
from switchover.testing.faults import Fault, RandomFaults

store = FaultyStore(inner=MyStore(), clock=clock)
store.fail("commit", Fault.DURING, skip=2)                      # the third commit from now is taken back
store.fail(fault=Fault.LOCKED, times=None, seconds=120)         # two minutes without anything
store.slow(3.0, "load_tasks", times=None)                       # every reading of tasks takes three seconds longer
store.chance = RandomFaults(seed=7, rate=0.2)                   # and a fifth of all calls fails, repeatably
```
"""


def faults() -> str:
    """The page about faults, from the table that the tests take their expectations from."""
    sys.path.insert(0, str(_REFERENCE.parent.parent))
    # Found only once the root of the repository is on the path, and needed for no other page.
    from tests.support.fault_table import FILE, HEALTH, HTTP, REDIS, STORE, Row  # noqa: PLC0415

    def ends(row: Row) -> str:
        if row.kind is None:
            return f"no failure: {row.says}"
        return f"`{row.code}`, `{row.kind}`, {'retryable' if row.retryable else 'not retryable'}"

    def said(row: Row) -> str:
        return "" if row.kind is None else f"`{row.says}`"

    def kind(row: Row) -> str:
        return f"passes: {row.says}" if row.kind is None else f"`{row.kind}`"

    health = [["fault", "errorType", "the message says"], *([row.fault, kind(row), said(row)] for row in HEALTH)]
    tables = {
        name: _table([["fault", "leads to", "the message says"], *([row.fault, ends(row), said(row)] for row in rows)])
        for name, rows in (("http", HTTP), ("redis", REDIS), ("file", FILE))
    }
    store = _table([["fault", "what happens"], *([row.fault, row.happens] for row in STORE)])
    return _FAULTS.format(store=store, health=_table(health), **tables)


def http_api() -> str:
    """The page about the HTTP API, from the routes that are served."""
    scopes = {camel_case(name): str(scope) for name, scope in REQUIRED.items()}
    scopes |= dict.fromkeys(OPEN, "none")
    served = asyncio.run(_served())
    rows = [
        [
            f"`{method.upper()} {path}`",
            call["description"].removesuffix(".").replace("``", "`"),
            scopes[call["operationId"]],
        ]
        for path, calls in served.items()
        for method, call in calls.items()
    ]
    return _HTTP_API.format(table=_table([["call", "does", "scope"], *rows]))


async def _served() -> dict[str, Any]:
    sys.path.insert(0, str(_REFERENCE.parent.parent))
    from tests.support.harness import open_rig  # noqa: PLC0415  # as in ``faults``

    async with open_rig() as rig:
        app = create_app(rig.executor, OpenAccess())
        metering.install(app, Metrics(), open_to_all=False)
        paths: dict[str, Any] = app.openapi()["paths"]
        return paths


_METRICS = """\
# Metrics

<!-- Printed from src/switchover/adapters/telemetry/metrics.py by scripts/make_docs.py: change that. -->

`switchover serve` shows them at `/metrics`, in the text format of Prometheus and, to whoever asks for it, in that of
OpenMetrics. How to let Prometheus read them is in
[operate a server](../howto/operate-a-server.md).

Each process shows its own. Counters begin at zero with the process and count what that process committed, so `sum` over
all processes of one store is right after a restart and after a take-over; `increase` and `rate` know about restarts.
Gauges are read when they are asked for; in a process that does not drive, those about tasks are zero.

No label holds a tenant, a plan or a task, so the number of series does not grow with the work. The names of stages
come from plans: the first {most} that a process meets get a value of their own, all others share `{other}`.

{table}

`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds` and their like are there, too.
"""


def metrics() -> str:
    """The page about metrics."""
    rows = [["metric", "type", "meaning", "labels"]]
    for made in DEFINITIONS.values():
        name = f"{made.name}_total" if made.kind == "counter" else made.name
        labels = "; ".join(f"`{label}`: {meaning}" for label, meaning in made.labels.items())
        rows.append([f"`{name}`", made.kind, made.meaning, labels])
    return _METRICS.format(table=_table(rows), most=MOST_STAGES, other=OTHER)


PAGES: dict[str, Callable[[], str]] = {
    "verbs.md": verbs,
    "states.md": states,
    "faults.md": faults,
    "http-api.md": http_api,
    "metrics.md": metrics,
}


def _diagram(machine: StateMachine[Any, Any], first: StrEnum, statuses: type[StrEnum]) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    lines.extend(f"    {edge.source} --> {edge.target}: {edge.by}" for edge in machine.transitions)
    left = {edge.source for edge in machine.transitions}
    lines.extend(f"    {status} --> [*]" for status in statuses if status not in left)
    return "\n".join([*lines, "```"])


def _rows(machine: StateMachine[Any, Any]) -> str:
    rows = [["from", "to", "by", "guard", "what changes with it"]]
    rows.extend(
        [str(edge.source), str(edge.target), edge.by, _named(edge.guard), _named(edge.action)]
        for edge in machine.transitions
    )
    return _table(rows)


_SILENT = {"always": "", "nothing": "", "guard": "every task is settled, and this follows"}


def _named(rule: Callable[..., object]) -> str:
    name = rule.__name__
    return _SILENT.get(name, name.replace("_", " "))


def _table(rows: list[list[str]]) -> str:
    return "\n".join(_lines(rows))


def _lines(rows: list[list[str]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield "| " + " | ".join(row) + " |"
        if number == 0:
            yield "|" + " --- |" * len(row)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them."""
    outdated = []
    for name, page in PAGES.items():
        path, text = _REFERENCE / name, page()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        outdated.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if outdated and "--check" in arguments:
        print(f"not current: {', '.join(outdated)}; run python scripts/make_docs.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
