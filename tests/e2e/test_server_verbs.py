"""Every verb with --server says what it says about the store itself."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from switchover.interfaces.cli.app import run
from tests.support.command_line import Answer, CommandLine, wait_for_output
from tests.support.gated_fleet import GatedFleet, gated_fleet
from tests.support.processes import free_port
from tests.support.served import start_server

pytestmark = pytest.mark.slow


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[GatedFleet]:
    with gated_fleet(tmp_path, ("t1", "t2", "t3", "t4")) as opened:
        yield opened


@pytest.fixture
def switchover(tmp_path: Path) -> Iterator[CommandLine]:
    with CommandLine(tmp_path) as command_line:
        yield command_line


READING = (
    ("get", "plans"),
    ("get", "plan", "100"),
    ("get", "tasks", "100"),
    ("get", "tasks", "100", "--status", "FAILED"),
    ("get", "tasks", "100", "--limit", "1", "--after", "100-1"),
    ("get", "task", "100-2"),
    ("get", "tenant", "t2"),
    ("explain", "100-2"),
    ("history", "t1"),
    ("observe", "100-2"),
    ("forecast", "rollback", "--plan", "100"),
    ("forecast", "retry", "--tenant", "t2", "--from", "scratch"),
    ("forecast", "pause", "--plan", "100"),
    ("events", "--plan", "100"),
    ("events", "--plan", "100", "--since", "5"),
    ("events", "--task", "100-2"),
    ("watch", "100"),
    ("watch", "100-1"),
)
UNKNOWN = (
    ("get", "plan", "7"),
    ("get", "tasks", "7"),
    ("get", "task", "7-1"),
    ("get", "tenant", "nobody"),
    ("explain", "7-1"),
    ("history", "nobody"),
    ("observe", "7-1"),
    ("forecast", "pause", "--plan", "7"),
    ("forecast", "pause", "--tenant", "nobody"),
    ("events", "--plan", "7"),
    ("watch", "7"),
    ("pause", "--plan", "7"),
    ("cancel", "--task", "7-1"),
    ("retry", "--tenant", "nobody"),
    ("export", "7"),
)


def _same(text: str) -> str:
    """Without what two calls differ in: whose store it is, and moments of the call itself."""
    text = re.sub(r" --server http:[^\s`;)]+", "", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "MOMENT", text) if '"failureInfo"' in text else text


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """A verb in this process, as ``main`` calls it: there are many to compare."""
    monkeypatch.chdir(tmp_path)

    def run_verb(*words: str) -> Answer:
        capsys.readouterr()
        code = run(words)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run_verb


def test_every_reading_verb_says_the_same_of_a_server_as_of_its_store(
    switchover: CommandLine, fleet: GatedFleet, call: Callable[..., Answer]
) -> None:
    fleet.closed.add("t2/media")
    plan = fleet.write_plan(["t1", "t2", "t3"], attempts=1)
    served = start_server(switchover)
    applied = switchover("apply", str(plan), "--server", served.url, "--wait", code=20)
    assert "1 failed" in applied.output
    for words in READING:
        for output in ("json", "jsonl", "table"):
            here = call(*words, "-o", output)
            there = call(*words, "-o", output, "--server", served.url)
            assert there.code == here.code, (words, there.errors)
            assert _same(there.output) == _same(here.output), words
    for words in UNKNOWN:
        here = call(*words)
        there = call(*words, "--server", served.url)
        assert (there.code, _same(there.errors)) == (here.code, _same(here.errors)), words
        assert here.code == 30, words
    here, there = (call("export", "100", *where).json() for where in ((), ("--server", served.url)))
    assert {**there, "exportedAt": ""} == {**here, "exportedAt": ""}
    preview = ("plan", str(fleet.write_plan(["t1", "t4"], name="next.json", plan_id=101)), "-o", "json")
    assert call(*preview, "--server", served.url).json() == call(*preview).json()
    checks = {check["name"] for check in call("doctor", "-o", "json").json()}
    assert {check["name"] for check in call("doctor", "-o", "json", "--server", served.url).json()} == checks


def test_every_writing_verb_is_carried_out_by_the_server(
    switchover: CommandLine, fleet: GatedFleet, call: Callable[..., Answer]
) -> None:
    fleet.closed |= {"t1/gateway", "t2/gateway"}
    plan = fleet.write_plan(["t1", "t2", "t3"])
    served = start_server(switchover)
    where = ("--server", served.url, "-o", "json")
    made = call("apply", str(plan), *where).json()
    assert made["taskIds"] == ["100-1", "100-2", "100-3"]
    assert call("apply", str(plan), *where).json()["planId"] == 100, "the same file is the same plan"
    fleet.wait_for("t1/gateway")
    for words in (
        ("pause", "--tenant", "t1"),
        ("resume", "--tenant", "t1", "--no-wait"),
        ("pause", "--plan", "100"),
        ("resume", "--plan", "100", "--no-wait"),
        ("hold", "--tenant", "t9", "--reason", "look"),
        ("unhold", "--tenant", "t9", "--reason", "looked"),
        ("stop-line", "--reason", "fire"),
        ("start-line",),
        ("cancel", "--task", "100-2"),
    ):
        assert call(*words, *where).json()["success"], words
    fleet.closed.clear()
    ended = call("watch", "100", *where)
    assert ended.json()["counts"] == {"COMPLETED": 2, "CANCELLED": 1}, ended
    back = call("rollback", "--tenant", "t1", "--wait", "--progress", "off", *where)
    assert (back.code, back.json()["success"]) == (21, True)
    assert call("adopt", "--tenant", "t3", *where).json()["success"]
    refused = call("retry", "--tenant", "t3", "--no-wait", *where)
    assert (refused.code, refused.json()["failureInfo"]["errorCode"]) == (30, "ILLEGAL_STATE")
    again = call("apply", str(plan), "--new", *where)
    assert (again.code, "PLAN_EXISTS" in again.output) == (30, True)


def test_a_plan_that_the_server_refuses_is_told_with_its_places(switchover: CommandLine, fleet: GatedFleet) -> None:
    plan = fleet.write_plan(["t1", "t1"])
    served = start_server(switchover)
    here = switchover("run", str(plan), "-o", "json", code=3)
    there = switchover("apply", str(plan), "-o", "json", "--server", served.url, code=3)
    findings = there.json()["findings"]
    assert findings == here.json()["findings"]
    assert findings[0]["line"] > 1


def test_nobody_at_the_address_is_told_with_the_next_move(call: Callable[..., Answer]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for words in (("get", "plans"), ("pause", "--plan", "1"), ("watch", "1"), ("events", "--plan", "1", "-f")):
        told = call(*words, "--server", url)
        assert told.code == 30
        assert f"UNREACHABLE: no server answers at {url}" in told.errors, words
        assert "switchover serve" in told.errors
    assert call("get", "plans", "--server", "nonsense").code == 2
    assert "give one of them" in call("get", "plans", "--server", url, "--db", "x.db").errors


def test_a_watch_whose_server_dies_ends_as_disconnected_and_the_work_goes_on(
    switchover: CommandLine, fleet: GatedFleet
) -> None:
    fleet.closed.add("t1/gateway")
    plan = fleet.write_plan(["t1"])
    served = start_server(switchover)
    switchover("apply", str(plan), "--server", served.url)
    fleet.wait_for("t1/gateway")
    watch = switchover.start("watch", "100", "--server", served.url, "--progress", "plain")
    wait_for_output(watch, "RUNNING")
    served.program.kill()
    switchover.wait_for_end(watch, code=41)
    assert "UNREACHABLE" in watch.output()
    fleet.closed.clear()
    ended = json.loads(switchover("run", "--plan", "100", "--progress", "off", "-o", "json").output)
    assert ended["status"] == "COMPLETED"


@pytest.mark.parametrize(
    "words",
    [
        ("token", "list"),
        ("token", "create", "ci", "--scope", "viewer"),
        ("token", "revoke", "ci"),
        ("token", "rotate", "ci"),
        ("audit",),
        ("prune", "--plan", "100"),
        ("lint", "plan.json"),
    ],
)
def test_what_a_server_is_asked_is_asked_of_no_other_store_when_it_is_away(
    call: Callable[..., Answer], tmp_path: Path, words: tuple[str, ...]
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('[{"tenantId": "acme", "deployUnitId": 2, "deployUnitVersion": 42}]')
    refused = call(*words, "--server", "http://127.0.0.1:9")
    assert refused.code == 30, refused
    assert "no server answers" in refused.errors
    assert list(tmp_path.iterdir()) == [plan], "no store is opened or made"
