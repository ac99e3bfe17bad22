"""What is wrong with a command line, and what happens around every verb."""

import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from switchover.errors import StoreConflictError, StoreUnavailableError
from switchover.interfaces.cli import failing
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.verbs import reading
from tests.unit.interfaces.cli.conftest import Call, Files

WRONG = [
    ("apply",),
    ("approve", "100"),
    ("reject", "100"),
    ("serve", "--port", "many"),
    ("worker", "--concurrency", "none"),
    ("nonsense",),
    ("--nonsense",),
    ("run",),
    ("run", "a.yaml", "--plan", "1"),
    ("run", "--plan", "1", "--new"),
    ("run", "a.yaml", "b.yaml"),
    ("get",),
    ("get", "plan"),
    ("get", "plan", "first"),
    ("get", "tasks", "1", "--status", "ASLEEP"),
    ("get", "tasks", "1", "--after", "2-7"),
    ("get", "tasks", "1", "--limit", "0"),
    ("get", "plans", "-o", "xml"),
    ("pause",),
    ("pause", "--tenant", "a", "--plan", "1"),
    ("pause", "--task", "1-1"),
    ("resume", "--task", "1-1"),
    ("cancel",),
    ("cancel", "--task", "1-1", "--plan", "1"),
    ("retry", "--plan", "1", "--from", "memory"),
    ("retry", "--plan", "1", "--wait", "--no-wait"),
    ("rollback",),
    ("adopt",),
    ("hold", "--reason", "x"),
    ("hold", "--tenant", "a", "--reason", "  "),
    ("unhold", "--tenant", "a"),
    ("stop-line", "--reason", " "),
    ("events", "--plan", "1", "--task", "1-1"),
    ("events", "--follow", "-o", "json"),
    ("watch", "1", "--timeout", "soon"),
    ("lint",),
    ("get", "plans", "--db", "a.db", "--store", "memory://"),
    ("get", "plans", "--config", "missing.toml"),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_a_wrong_command_line_is_answered_with_2_and_changes_nothing(
    call: Call, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    answer = call(*arguments, code=None)
    # Without any words after it, `get` shows its help, as any group does.
    assert answer.code == ExitCode.USAGE
    assert answer.errors or arguments == ("get",)
    assert "Traceback" not in answer.errors
    assert not list(tmp_path.iterdir())


def test_the_version_needs_nothing_but_itself() -> None:
    program = (
        "import sys; from switchover.interfaces.cli.main import main; main(['--version']);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'typer', 'rich', 'pydantic', 'asyncio', 'aiohttp', 'structlog', 'orjson', 'yaml'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    version, loaded = done.stdout.splitlines()
    assert version.startswith("switchover ")
    assert loaded == "[]"


def test_help_loads_no_engine() -> None:
    program = (
        "import sys\nfrom switchover.interfaces.cli.main import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'rich', 'aiohttp', 'structlog', 'orjson', 'yaml'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--progress" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_may_stand_with_other_options(call: Call) -> None:
    assert call("--db", "x.db", "--version").output.startswith("switchover ")


def test_the_place_may_stand_before_the_verb_or_after_it(
    call: Call, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.plan("acme")
    call("--db", "here.db", "run", "plan.json")
    assert "COMPLETED" in call("get", "plans", "--db", "here.db").output
    assert "COMPLETED" in call("--db", "nowhere.db", "get", "plans", "--db", "here.db").output
    assert "COMPLETED" in call("--store", "sqlite:///here.db", "get", "plans").output
    monkeypatch.setenv("SWITCHOVER_DB", "here.db")
    assert "COMPLETED" in call("get", "plans").output
    assert "nowhere.db" in call("get", "plans", "--db", "nowhere.db", code=30).errors


def test_a_database_that_is_none_is_refused_in_one_paragraph(call: Call, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are my notes, and no database\n" * 100)
    answer = call("get", "plans", "--db", "notes.db", code=30)
    assert "notes.db is not an SQLite database" in answer.errors
    assert len(answer.errors.splitlines()) == 1
    assert call("get", "plans", "--store", "ftp://x", code=30).errors.count("unknown scheme")
    assert "memory://" in call("get", "plans", "--store", "memory://", code=30).errors
    missing = call("run", "plan.json", "--db", "no/such/folder/x.db", code=None)
    assert missing.code in {ExitCode.INVALID_PLAN, ExitCode.REFUSED}


def broken(error: BaseException) -> object:
    def work(*_arguments: object) -> NoReturn:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (StoreUnavailableError("the disk is full"), ExitCode.REFUSED, "the disk is full"),
        (StoreConflictError("another process drives"), ExitCode.DISCONNECTED, "another process drives"),
        (KeyboardInterrupt(), ExitCode.DISCONNECTED, "interrupted"),
        (RuntimeError("odd"), ExitCode.UNEXPECTED, "RuntimeError: odd"),
    ],
)
def test_errors_end_as_a_paragraph_and_a_code(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: ExitCode, told: str
) -> None:
    monkeypatch.setattr(reading, "run_async", lambda work: (work.close(), broken(error)())[1])  # type: ignore[operator]
    answer = call("get", "plans", code=code)
    assert told in answer.errors
    assert len(answer.errors.splitlines()) == 1
    assert "Traceback" not in answer.errors
    assert "Traceback" in call("get", "plans", "--debug", code=code).errors


def test_a_reader_that_has_enough_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom switchover.interfaces.cli.verbs import reading\n"
        "from switchover.interfaces.cli.app import run\n"
        "def work(coroutine):\n    coroutine.close()\n    for _ in range(100_000): print('x' * 100)\n"
        "reading.run_async = work\nsys.exit(run(['get', 'plans']))"
    )
    reader = subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    writer = subprocess.run(
        [sys.executable, "-c", program], stdout=reader.stdin, stderr=subprocess.PIPE, text=True, check=False
    )
    reader.communicate()
    assert writer.returncode == 0, writer.stderr
    assert writer.stderr == ""


def test_what_is_said_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    failing.say("no \x1b[2Jsuch\nthing")
    assert capsys.readouterr().err == "switchover: no  [2Jsuch thing\n"


def test_the_list_of_verbs_cuts_nothing_off(call: Call) -> None:
    told = " ".join(call("--help").output.partition("Commands:")[2].split())
    assert "..." not in told
    assert "hold Start nothing more for a tenant, and refuse new plans for it, until the hold is lifted." in told


@pytest.mark.parametrize("words", [("run",), ("get", "plans"), ("get", "tasks"), ("plan",), ("hold",), ("stop-line",)])
def test_help_names_what_an_option_takes_in_words(call: Call, words: tuple[str, ...]) -> None:
    options = call(*words, "--help").output.partition("Options:")[2]
    assert not [kind for kind in ("<str>", "<int", "<list") if kind in options]
