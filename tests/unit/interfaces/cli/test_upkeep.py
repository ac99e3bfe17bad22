import json
import sqlite3
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from switchover.reports import checkup
from tests.unit.interfaces.cli.conftest import Call, Files


@pytest.fixture
def ran(call: Call, files: Files) -> Call:
    """A database with plan 100, done; before it, one of the two values was not there."""
    (files.folder / "map.json").write_text('{"acme": {"gateway": {"version":  "41"}}}')
    files.plan("acme")
    call("run", "plan.json")
    return call


def test_export_has_everything_about_the_plan(ran: Call) -> None:
    document = ran("export", "100").json()
    assert document["format"] == "switchover-export/1"
    assert document["plan"]["status"] == "COMPLETED"
    assert [service["name"] for service in document["plan"]["rules"]["services"]] == ["gateway", "media"]
    (task,) = document["tasks"]
    assert task["config"]["deployUnitVersion"] == 42
    assert task["config"]["sourceTenantDeployConfig"]["deployUnitVersion"] == 41
    gateway, media = task["stages"]
    assert gateway["marks"] == ["STARTED", "COMPLETED", "CHECKPOINTED"] or "COMPLETED" in gateway["marks"]
    assert [image["value"] for image in gateway["preImages"]] == ['{"version":  "41"}'], "byte for byte"
    assert [image["value"] for image in media["preImages"]] == [None]
    assert [event["position"] for event in document["events"]] == list(range(1, document["plan"]["position"] + 1))


def test_a_file_is_written_whole_or_not_at_all(ran: Call, tmp_path: Path) -> None:
    assert ran("export", "100", "--to", "plan-100.json").output == "plan 100 is exported to plan-100.json\n"
    assert json.loads((tmp_path / "plan-100.json").read_text())["plan"]["planId"] == 100
    refused = ran("export", "100", "--to", "no/such/folder.json", code=30)
    assert "cannot be written" in refused.errors
    assert not list(tmp_path.glob(".*part"))


def test_an_export_holds_no_password(call: Call, files: Files) -> None:
    file = files.plan("acme")
    document = json.loads(file.read_text())
    document["spec"]["tenants"][0]["nacosNameSpace"] = "redis://app:hunter2@10.0.0.1/0"
    file.write_text(json.dumps(document))
    call("run", "plan.json")
    text = call("export", "100").output
    assert "hunter2" not in text
    assert "redis://10.0.0.1/0" in text


# --- prune ---------------------------------------------------------------------------------------------------------


def test_pruned_events_are_gone_and_every_verb_that_reads_them_says_so(ran: Call) -> None:
    last = ran("get", "plan", "100", "-o", "json").json()
    whole = len(ran("events").lines())
    foreseen = ran("prune", "--older-than", "0", "--forecast", "-o", "json").json()
    assert foreseen == {"events": whole - 1, "plans": [{"planId": 100, "events": whole - 1}]}
    assert len(ran("events").lines()) == whole, "a forecast changes nothing"
    assert f"{whole - 1} events are forgotten" in ran("prune", "--plan", "100", "--reason", "CHG-1").output
    assert ran("prune", "--older-than", "0").output == "0 events of 0 plans are forgotten\n"
    for words in (("events",), ("events", "--plan", "100")):
        refused = ran(*words, code=30)
        assert "older events were pruned" in refused.errors
        assert f"--since {whole - 1}" in refused.errors
        assert [event["position"] for event in ran(*words, "--since", str(whole - 1)).lines()] == [whole]
    of_task = ran("events", "--task", "100-1")
    assert of_task.output == ""
    assert "of task 100-1 are no longer kept" in of_task.errors
    assert ran("get", "plan", "100", "-o", "json").json() == last
    assert [event["position"] for event in ran("export", "100").json()["events"]] == [whole]
    assert [entry["reason"] for entry in ran("audit", "--verb", "prune", "-o", "json").json()] == ["CHG-1"]


@pytest.mark.parametrize("words", [(), ("--plan", "1", "--older-than", "1h"), ("--older-than", "x")])
def test_prune_needs_to_know_what(call: Call, words: tuple[str, ...]) -> None:
    assert "--older-than" in call("prune", *words, code=2).errors
    call("prune", "--plan", "100", "--forecast", code=2)


# --- doctor --------------------------------------------------------------------------------------------------------


def verdicts(call: Call, *, code: int = 0) -> dict[str, tuple[str, str]]:
    return {
        check["name"]: (check["verdict"], check["found"]) for check in call("doctor", "-o", "json", code=code).json()
    }


def test_everything_is_in_order(ran: Call) -> None:
    found = verdicts(ran)
    assert list(found) == [
        *("store", "integrity", "schema", "disk", "driver", "requests", "line", "holds", "clock", "redis"),
    ]
    assert {verdict for verdict, _ in found.values()} <= {"ok", "note"}
    assert ran("doctor").output.endswith("everything is in order\n")


def test_what_a_person_decided_is_a_note(ran: Call) -> None:
    ran("stop-line", "--reason", "fire")
    ran("hold", "--tenant", "acme", "--reason", "under repair")
    found = verdicts(ran)
    assert found["line"][0] == "note"
    assert "fire" in found["line"][1]
    assert found["holds"] == ("note", "1 tenant on hold: acme (under repair)")


def test_a_store_that_contradicts_itself_is_a_problem(ran: Call, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "switchover.db") as connection:
        connection.execute("DELETE FROM event WHERE position = 2")
    connection.close()
    found = verdicts(ran, code=1)
    assert found["integrity"][0] == "problem"
    assert "problem" in ran("doctor", code=1).output


def test_a_missing_database_is_a_problem_and_stays_missing(call: Call, tmp_path: Path) -> None:
    assert verdicts(call, code=1)["store"][0] == "problem"
    (tmp_path / "notes.db").write_text("no database " * 100)
    answer = call("doctor", "--db", "notes.db", code=1)
    assert "is not an SQLite database" in answer.output
    assert [file.name for file in tmp_path.iterdir()] == ["notes.db"]


def test_a_full_disk_is_a_problem(ran: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024  # as shutil has it
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(10**12, 10**12 - 10**6, 10**6))
    assert verdicts(ran, code=1)["disk"][0] == "problem"


def test_a_clock_that_went_back_is_a_problem(ran: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Slow":
            return cls.fromtimestamp((datetime.now(UTC) - timedelta(days=1)).timestamp(), UTC)

    monkeypatch.setattr(checkup, "datetime", Slow)
    assert verdicts(ran, code=1)["clock"][0] == "problem"


def test_a_missing_extra_is_a_note(ran: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert verdicts(ran)["redis"][0] == "note"


def test_a_request_that_nobody_answers_is_told(ran: Call, tmp_path: Path) -> None:
    old = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with sqlite3.connect(tmp_path / "switchover.db") as connection:
        (kind,) = connection.execute("SELECT typeof(since) FROM driver").fetchone()
        at = old if kind == "text" else int((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1_000_000)
        connection.execute("INSERT INTO request (verb, payload, submitted_at) VALUES ('pause', x'7b7d', ?)", (at,))
    connection.close()
    verdict, found = verdicts(ran)["requests"]
    assert verdict == "note"
    assert "1 requests without an answer, the oldest (pause)" in found
