"""
Judges from outside what a death has left, and what the lives after it made of it.

Every rule raises ``AssertionError`` with what contradicts what. None of them asks the engine.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tests.campaigns.crash.service import DeadlyService, Write
from tests.campaigns.crash.snapshot import (
    COMPLETED_MARK,
    EFFECTS,
    HEARTBEAT,
    OPERATIONS,
    RUNNING,
    SETTLED,
    Row,
    Snapshot,
    StageRun,
    Task,
    is_recovered,
    take,
    take_beside,
)

_DIRECTION_WORDS = 4
_PAUSED, _RESUMING = 6, 7


@dataclass(slots=True)
class Judge:
    """
    Follows one case from its first life to its last.

    Attributes:
        snapshots: After each death, in order.
        lines: How many executions were written down at each of them.
    """

    folder: Path
    snapshots: list[Snapshot] = field(default_factory=list[Snapshot])
    lines: list[int] = field(default_factory=list[int])

    def look(self, *, beside: bool = False) -> None:
        """A process has ended, however it did; nobody writes while this looks. ``beside``: others have it open."""
        now = take_beside(self.folder) if beside else take(self.folder)
        _numbers(now)
        _locks_and_slots(now)
        _checkpoints(now)
        acknowledged(now, self.acknowledged())
        if self.snapshots:
            _follows(self.snapshots[-1], now)
        self.snapshots.append(now)
        self.lines.append(len(self.executions()))

    def look_again(self) -> None:
        """And see whether everything has come to its end."""
        self.look()
        self.settled()

    def acknowledged(self) -> list[str]:
        """What people were told, in order."""
        return _lines(self.folder / "acknowledged")

    def executions(self) -> list[tuple[StageRun, int]]:
        """Which stage began to run under which generation, in order."""
        found: list[tuple[StageRun, int]] = []
        for line in _lines(self.folder / "executions"):
            words = line.split()
            assert len(words) == _DIRECTION_WORDS, f"half a line: {line!r}"
            found.append(((words[0], words[1], words[2]), int(words[3])))
        return found

    def settled(self) -> None:
        """The last look: everything has come to its end, and nothing was done that had been done."""
        last = self.snapshots[-1]
        assert [row for row in last.rows("request") if row["answer"] is None] == []
        for plan in last.rows("plan"):
            assert plan["unsettled"] == 0, f"plan {plan['plan_id']} is not settled: {plan}"
        self._executions(last)

    def _executions(self, last: Snapshot) -> None:
        executions = self.executions()
        twice = [run for run, count in Counter(executions).items() if count > 1]
        assert not twice, f"run twice under one generation: {twice[:5]}"
        interrupted: Counter[StageRun] = Counter()
        for snapshot, line in zip(self.snapshots, self.lines, strict=True):
            runs = snapshot.stage_runs()
            again = [execution for execution in executions[line:] if execution[0] in runs.done]
            assert not again, f"recorded as succeeded, and run again: {again[:5]}"
            interrupted.update(runs.open)
        announced = last.stage_runs().announced
        for run, count in Counter(run for run, _ in executions).items():
            most = announced[run] + interrupted[run]
            assert count <= most, f"{run} ran {count} times: announced {announced[run]}, interrupted {interrupted[run]}"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# --- rules for one moment -------------------------------------------------------------------------------------------


def _numbers(now: Snapshot) -> None:
    """No gap and no duplicate, and as many as the owners say."""
    last: Counter[tuple[int, int]] = Counter()
    for plan_id, events in now.events.items():
        for number, event in enumerate(events, start=1):
            assert event["position"] == number, f"plan {plan_id}: position {event['position']}, not {number}"
            owner = (plan_id, event["ordinal"])
            last[owner] += 1
            assert event["sequence_id"] == last[owner], f"{owner}: sequenceId {event['sequence_id']}, not {last[owner]}"
    for plan in now.rows("plan"):
        plan_id = plan["plan_id"]
        assert plan["position"] == len(now.events[plan_id]), f"plan {plan_id} says position {plan['position']}"
        assert plan["sequence_id"] == last[plan_id, 0], f"plan {plan_id} says sequenceId {plan['sequence_id']}"
    for task in now.rows("task"):
        key = (task["plan_id"], task["ordinal"])
        assert task["sequence_id"] == last[key], f"task {key} says sequenceId {task['sequence_id']}, not {last[key]}"


def _locks_and_slots(now: Snapshot) -> None:
    """A live task owns its tenant's lock or waits for it, a settled one does neither, and no plan exceeds its limit."""
    tasks = {(row["plan_id"], row["ordinal"]): row for row in now.rows("task")}
    owners = {row["tenant_id"]: (row["owner_plan"], row["owner_ordinal"]) for row in now.rows("tenant")}
    waiting = {(row["plan_id"], row["ordinal"]) for row in now.rows("lock_queue")}
    for key, task in tasks.items():
        live = task["status"] not in SETTLED or task["pending_operation"] is not None
        holds = owners.get(task["tenant_id"]) == key
        assert live == (holds or key in waiting), f"task {key}: live {live}, owns {holds}, waits {key in waiting}"
        assert not (holds and key in waiting), f"task {key} waits for what it owns"
    for tenant, owner in owners.items():
        assert owner == (None, None) or owner in tasks, f"{tenant} is owned by {owner}, which is no task"
    limits = {row["plan_id"]: json.loads(row["rules"])["maxConcurrency"] for row in now.rows("plan_definition")}
    running = Counter(task["plan_id"] for task in tasks.values() if task["status"] in RUNNING)
    for plan_id, count in running.items():
        assert count <= limits[plan_id], f"plan {plan_id}: {count} run, the limit is {limits[plan_id]}"


def _checkpoints(now: Snapshot) -> None:
    """What a task's marks call complete is what its events call succeeded."""
    told: dict[str, set[str]] = defaultdict(set)
    for task_id, stage, way in now.stage_runs().done:
        if way == "forth":
            told[task_id].add(stage)
    names = now.names_of_stages()
    for task in now.rows("task"):
        key: Task = (task["plan_id"], task["ordinal"])
        task_id = f"{key[0]}-{key[1]}"
        marked = {
            name for name, mark in zip(names[key], task["marks"], strict=True) if ord(mark) - ord("0") & COMPLETED_MARK
        }
        assert marked == told[task_id], f"task {task_id}: marks say {marked} are complete, events {told[task_id]}"


def acknowledged(now: Snapshot, told: Iterable[str]) -> None:
    """What people were told is there: pending, or already in effect."""
    tasks: dict[str, list[Row]] = {}
    for row in now.rows("task"):
        tasks.setdefault(row["tenant_id"], []).append(row)
    kinds: dict[Task, set[int]] = {}
    for row in now.rows("event"):
        kinds.setdefault((row["plan_id"], row["ordinal"]), set()).add(row["type"])
    resumed = {line.split()[1] for line in told if line.startswith("resume ")} | _asked_to_resume(now)
    for line in told:
        verb, target, *more = line.split()
        if verb == "create":
            count = sum(row["plan_id"] == int(target) for row in now.rows("task"))
            assert count == int(more[0]), f"plan {target} was created with {more[0]} tasks; {count} are there"
        elif verb == "hold":
            assert any(row["tenant_id"] == target for row in now.rows("tenant_hold")), f"the hold of {target} is gone"
        elif verb == "rollback-plan":
            own = [row for row in now.rows("task") if row["plan_id"] == int(target)]
            lost = [row for row in own if not _applies(row, kinds, "rollback")]
            assert not lost, f"the rollback of plan {target} is gone for {len(lost)} tasks"
        elif verb in OPERATIONS:
            applies = any(_applies(row, kinds, verb) for row in tasks.get(target, ()))
            withdrawn = verb in {"pause", "resume"} and target in resumed
            assert applies or withdrawn, f"{verb} of {target} was acknowledged and is gone"
        else:
            raise AssertionError(f"what is {line!r}?")


def _asked_to_resume(now: Snapshot) -> set[str]:
    return {str(json.loads(row["payload"])["target"]) for row in now.rows("request") if row["verb"] == "resume"}


def _applies(task: Row, kinds: dict[Task, set[int]], verb: str) -> bool:
    key = (task["plan_id"], task["ordinal"])
    if task["pending_operation"] == OPERATIONS[verb] or EFFECTS[verb] in kinds.get(key, ()):
        return True
    return (verb, task["status"]) in {("pause", _PAUSED), ("resume", _RESUMING)}


# --- rules for two moments ------------------------------------------------------------------------------------------


def _follows(before: Snapshot, after: Snapshot) -> None:
    """Events and requests stay as they were, and only grow; generations and epochs never fall."""
    for plan_id, events in before.events.items():
        same = after.events[plan_id][: len(events)]
        if same != events:
            changed = next(pair for pair in zip_longest(events, same) if pair[0] != pair[1])
            raise AssertionError(f"plan {plan_id}: an event is lost or rewritten: {changed}")
    requests = {row["request_id"]: row for row in after.rows("request")}
    for old in before.rows("request"):
        new = requests.get(old["request_id"])
        assert new is not None, f"request {old} is lost"
        kept = old if old["answer"] is not None else {**old, "answer": new["answer"]}
        assert new == kept, f"request {old} became {new}"
    generations = {row["tenant_id"]: row["generation"] for row in after.rows("tenant")}
    for row in before.rows("tenant"):
        assert generations[row["tenant_id"]] >= row["generation"], f"the generation of {row['tenant_id']} fell"
    for old, new in zip(before.rows("driver"), after.rows("driver"), strict=False):
        assert new["epoch"] >= old["epoch"], f"the epoch fell from {old['epoch']} to {new['epoch']}"
    for table in ("plan", "task", "pre_image"):
        assert len(after.rows(table)) >= len(before.rows(table)), f"rows of {table} are gone"


# --- rules for targets ----------------------------------------------------------------------------------------------


def targets(service: DeadlyService) -> None:
    """Nothing that was accepted is older than what was there, and what a dead process had under way is refused."""
    held: dict[str, int] = {}
    for write in service.writes:
        if write.late:
            assert not write.accepted, f"a dead process overwrote its successor: {write}, held {held.get(write.key)}"
        elif write.accepted:
            assert write.generation >= held.get(write.key, 0), f"{write} after generation {held[write.key]}"
            held[write.key] = write.generation
    refused: Sequence[Write] = [write for write in service.writes if not write.accepted and not write.late]
    assert not refused, f"the only live process was refused: {refused[:3]}"


# --- the end --------------------------------------------------------------------------------------------------------


def final_state(last: Snapshot, folder: Path, service: DeadlyService | None) -> dict[str, Any]:
    """What must be the same, however often the process died: moments, generations and epochs apart."""
    return {
        "plans": [
            _only(row, "plan_id status unsettled idle touched run counts cancelled") for row in last.rows("plan")
        ],
        "tasks": [
            {
                **_only(row, "plan_id ordinal tenant_id status marks retry_count pending_operation"),
                "failure": None if row["failure"] is None else _failure(row["failure"]),
            }
            for row in last.rows("task")
        ],
        "owners": {row["tenant_id"]: (row["owner_plan"], row["owner_ordinal"]) for row in last.rows("tenant")},
        "started": {row["tenant_id"]: (row["started_plan"], row["started_ordinal"]) for row in last.rows("tenant")},
        "queue": last.rows("lock_queue"),
        "holds": {row["tenant_id"]: row["reason"] for row in last.rows("tenant_hold")},
        "last known good": {row["tenant_id"]: json.loads(row["config"]) for row in last.rows("last_known_good")},
        "pre-images": sorted(
            (row["plan_id"], row["ordinal"], row["stage"], _relative(row["key"], folder, service), row["value"] or b"-")
            for row in last.rows("pre_image")
        ),
        "map": (folder / "map.json").read_bytes(),
        "files": {path.name: path.read_bytes() for path in sorted((folder / "routing").glob("*.json"))},
        "served": {} if service is None else dict(sorted(service.values.items())),
        "stories": _stories(last),
    }


def _relative(key: str, folder: Path, service: DeadlyService | None) -> str:
    key = key.replace(str(folder), "")
    return key if service is None or not service.url else key.replace(service.url, "")


def _only(row: Row, names: str) -> Row:
    return {name: row[name] for name in names.split()}


def _failure(text: str) -> Row:
    failure: Row = json.loads(text)
    failure.pop("timestamp", None)
    return failure


def _stories(last: Snapshot) -> dict[Task, list[tuple[object, ...]]]:
    """What each task went through; announcements of a take-over are not part of it."""
    told: dict[Task, list[tuple[object, ...]]] = {}
    for row in last.rows("event"):
        if row["ordinal"] and row["type"] != HEARTBEAT and not is_recovered(row):
            story = (row["type"], row["status"], row["stage"], row["completed"], row["total"], row["data"])
            told.setdefault((row["plan_id"], row["ordinal"]), []).append(story)
    return told
