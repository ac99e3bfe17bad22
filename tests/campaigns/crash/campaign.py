"""Runs cases: starts the processes, looks after every death, starts them again, and compares the end."""

import asyncio
import json
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from switchover.adapters.stores.sqlite import SqliteExecutionStore
from switchover.domain.task import PlanId
from tests.campaigns.crash.cases import Case, Passed, case_of
from tests.campaigns.crash.fate import Death
from tests.campaigns.crash.host import Host, Life, host
from tests.campaigns.crash.judge import Judge, final_state, targets
from tests.campaigns.crash.scripts import SCRIPTS, Script
from tests.campaigns.crash.service import DeadlyService, Stand, stand
from tests.campaigns.crash.snapshot import Snapshot
from tests.campaigns.crash.stages import STAGES, prepare
from tests.support.event_grammar import assert_legal_log

_DEADLY = {-signal.SIGKILL, -signal.SIGXFSZ}
_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Kill:
    """One death that happened."""

    case: str
    kind: str
    phase: str
    role: str


@dataclass(frozen=True, slots=True)
class Reference:
    """An uninterrupted run."""

    state: dict[str, Any]
    passed: Passed
    writes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a case; ``problem`` is empty when all is well."""

    case: str
    kills: Sequence[Kill]
    problem: str = ""


@dataclass(slots=True)
class Bench:
    """Where cases are run, one at a time."""

    host: Host
    stand: Stand
    folder: Path
    keep: bool = False
    references: dict[str, Reference] = field(default_factory=dict[str, Reference])

    def reference(self, script: str) -> Reference:
        """How the script ends when nobody dies."""
        if script not in self.references:
            run = _Run(self, Case(name=f"{script}-undisturbed", script=script, deaths={}))
            run.to_the_end()
            passed = {role: json.loads((run.folder / f"passed-{role}.json").read_text()) for role in run.roles}
            state = final_state(run.judge.snapshots[-1], run.folder, run.service)
            self.references[script] = Reference(state, passed, len(run.service.writes))
            run.clean_up()
        return self.references[script]

    def run(self, name: str) -> Verdict:
        """Run the case, and judge it."""
        reference = self.reference(name.split(":", maxsplit=1)[0].split("@", maxsplit=1)[0])
        run = _Run(self, case_of(name, reference.passed, reference.writes))
        try:
            run.to_the_end()
            run.compare(reference)
        except AssertionError as error:
            return Verdict(case=name, kills=run.kills, problem=str(error))
        run.clean_up()
        return Verdict(case=name, kills=run.kills)


@contextmanager
def bench(repository: Path, folder: Path, *, keep: bool = False) -> Iterator[Bench]:
    """A bench, until the context is left."""
    folder.mkdir(parents=True, exist_ok=True)
    with host(repository, folder / "log") as lives, stand() as services:
        yield Bench(lives, services, folder, keep)


class _Run:
    """One case under way."""

    def __init__(self, where: Bench, case: Case) -> None:
        self.folder = where.folder / re.sub(r"\W", "-", case.name)
        shutil.rmtree(self.folder, ignore_errors=True)
        prepare(self.folder)
        self.judge = Judge(self.folder)
        self.kills: list[Kill] = []
        self.service = DeadlyService(folder=self.folder, kill_at=case.kill_at, side=case.side)
        where.stand.service = self.service
        self._where = where
        self._case = case
        self._script: Script = SCRIPTS[case.script]
        self._deaths = {role: iter(case.deaths.get(role, ())) for role in self.roles}
        self._stops = iter(case.stops)
        self._alive: dict[int, tuple[str, Death | None]] = {}
        self.service.url = where.stand.url if self._script.server else ""

    @property
    def roles(self) -> Sequence[str]:
        return ("drive",) if self._script.ask is None else ("drive", "ask")

    def to_the_end(self) -> None:
        """Until every role has finished."""
        try:
            for role in self.roles:
                self._start(role)
            while self._alive:
                self._one_ended()
        except BaseException:
            for pid in list(self._alive):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self._where.host.wait()
            raise
        self.service.let_late_writes_arrive()
        self.judge.look()
        self.judge.settled()
        targets(self.service)

    def compare(self, reference: Reference) -> None:
        """The end with that of an uninterrupted run."""
        found = final_state(self.judge.snapshots[-1], self.folder, self.service)
        for name, expected in reference.state.items():
            assert found[name] == expected, f"{name}: {_difference(found[name], expected)}"
        asyncio.run(_check_log(self.folder, self.judge.snapshots[-1], self._script))

    def clean_up(self) -> None:
        """Unless somebody wants to look at it."""
        if not self._where.keep:
            shutil.rmtree(self.folder)

    def _start(self, role: str) -> None:
        death = next(self._deaths[role], None)
        life = Life(
            folder=str(self.folder),
            script=self._case.script,
            role=role,
            death=death,
            server=self.service.url,
            checkpoint_pages=self._case.checkpoint_pages,
            stop_at=next(self._stops, 0) if role == "drive" else 0,
        )
        self._alive[self._where.host.start(life)] = (role, death)

    def _one_ended(self) -> None:
        pid, code = self._where.host.wait()
        role, death = self._alive.pop(pid)
        finished = (self.folder / f"finished-{role}").exists()
        assert code == 0 or code in _DEADLY, f"a life ended with {code}: {self._log()}"
        if code:
            self._note(role, death, code)
        with self._others_standing_still():
            self.judge.look(beside=bool(self._alive))
        if code or not finished:
            self._start(role)

    def _note(self, role: str, death: Death | None, code: int) -> None:
        by_service = (
            self.service.kill_at <= 0 and self._case.kill_at and not any(k.phase == "writing" for k in self.kills)
        )
        if by_service and code == -signal.SIGKILL:
            self.kills.append(Kill(self._case.name, f"target, {self._case.side}", "writing", role))
        elif death is not None:
            self.kills.append(Kill(self._case.name, death.kind, death.phase or "any", role))

    @contextmanager
    def _others_standing_still(self) -> Iterator[None]:
        for pid in self._alive:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in self._alive:
                os.kill(pid, signal.SIGCONT)

    def _log(self) -> str:
        return self._where.host.log.read_text()[-3_000:]


async def _check_log(folder: Path, last: Snapshot, script: Script) -> None:
    """By the engine's own check and by the grammar of events, through the public reading side."""
    store = SqliteExecutionStore(folder / "switchover.db")
    await store.open()
    try:
        problems = list(await store.check())
        assert not problems, problems
        for plan in last.rows("plan"):
            events: list[dict[str, Any]] = []
            while page := await store.load_events(PlanId(plan["plan_id"]), len(events), _PAGE):
                events.extend(event.to_dict() for event in page)
            assert_legal_log(events, stages=list(script.stages.get("names", STAGES)))
    finally:
        await store.aclose()


def _difference(found: Any, expected: Any) -> str:  # noqa: ANN401  # values of any kind
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
        return "; ".join(f"{key}: {found.get(key)} in place of {expected.get(key)}" for key in keys[:3])
    if isinstance(found, list) and isinstance(expected, list):
        pairs = [(one, other) for one, other in zip(found, expected, strict=False) if one != other]
        return f"{len(found)} and {len(expected)}; {pairs[:2]}"
    return f"{found!r} in place of {expected!r}"


def summary(kills: Sequence[Kill]) -> dict[str, dict[str, int]]:
    """How many of each kind, in each phase, in each script."""
    return {
        "by kind": dict(Counter(kill.kind for kill in kills).most_common()),
        "by phase": dict(Counter(kill.phase for kill in kills).most_common()),
        "by script": dict(Counter(kill.case.split(":")[0].split("@")[0] for kill in kills).most_common()),
        "by role": dict(Counter(kill.role for kill in kills).most_common()),
    }
