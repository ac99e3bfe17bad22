"""A PostgreSQL database as the place of the work: verbs, and the sentences where it cannot be used."""

import asyncio
import sys

import pytest

from tests.support.postgres import new_schema, run_sql
from tests.support.processes import free_port
from tests.unit.interfaces.cli.conftest import Call, Files

PASSWORD = "s3cr/t@x"
ESCAPED = "s3cr%2Ft%40x"
WITHOUT_DRIVER = "asyncpg"


@pytest.fixture
def database(postgres_server: str) -> str:
    """URL of an empty schema of one's own, with a password that nobody asks for."""
    return asyncio.run(new_schema(postgres_server)).replace("postgres@", f"postgres:{ESCAPED}@")


def run_statement(url: str, statement: str) -> list[tuple[object, ...]]:
    return asyncio.run(run_sql(url, statement))


def test_a_plan_runs_and_every_look_finds_it(call: Call, files: Files, database: str) -> None:
    files.mend_target()
    files.plan("acme", "bolt")
    place = ("--store", database)
    told = call("plan", "plan.json", *place)
    assert "there is none yet" in told.output
    call("run", "plan.json", *place)
    assert call("get", "plan", "100", "-o", "json", *place).json()["status"] == "COMPLETED"
    assert len(call("events", "--plan", "100", "-o", "jsonl", *place).lines()) > 10
    checks = {check["name"]: check for check in call("doctor", "-o", "json", *place).json()}
    assert {check["verdict"] for name, check in checks.items() if name != "redis"} == {"ok"}
    assert "PostgreSQL" in checks["server"]["found"]
    assert "s3cr" not in str(checks)


def test_nothing_is_made_where_only_a_look_was_asked_for(call: Call, database: str) -> None:
    told = call("get", "plan", "100", "--store", database, code=None)
    assert told.code
    assert "nothing of Switchover" in told.errors
    assert run_statement(database, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()") == [(0,)]


def test_no_password_is_ever_shown(call: Call, files: Files, database: str) -> None:
    files.break_target()
    files.plan("acme")
    answers = [call(*words, "--store", database, code=None) for words in (("get", "plan", "1"), ("plan", "plan.json"))]
    answers.append(call("run", "plan.json", "--store", database, code=None))
    answers.append(call("run", "plan.json", "--store", database.replace("postgres:", "nobody:"), code=None))
    answers.append(call("run", "plan.json", "--store", f"postgresql://u:{PASSWORD}@127.0.0.1/x", code=None))
    answers.append(call("run", "plan.json", "--store", f"mysql://u:{ESCAPED}@127.0.0.1/x", code=None))
    assert all("s3cr" not in answer.output + answer.errors for answer in answers)
    assert any("--store 'postgresql://postgres@127.0.0.1" in answer.output + answer.errors for answer in answers)


def test_a_wrong_password_is_told(call: Call, postgres_server: str) -> None:
    run_statement(postgres_server, "CREATE ROLE guarded_user LOGIN PASSWORD 'right'")
    url = postgres_server.replace("postgres@", "guarded_user:wr0ng@")
    told = call("get", "plans", "--store", url, code=None)
    assert told.code
    assert "did not accept the password" in told.errors
    assert "PGPASSWORD" in told.errors
    assert "wr0ng" not in told.errors
    run_statement(postgres_server, "DROP ROLE guarded_user")


def test_a_database_that_does_not_exist_is_told(call: Call, postgres_server: str) -> None:
    told = call("get", "plans", "--store", f"{postgres_server}_nowhere", code=None)
    assert told.code
    assert "knows no such database" in told.errors
    assert "createdb" in told.errors


def test_a_server_that_is_not_there_is_told(call: Call) -> None:
    told = call("get", "plans", "--store", f"postgresql://me@127.0.0.1:{free_port()}/x", code=None)
    assert told.code
    assert "could not be reached" in told.errors
    assert "host and port" in told.errors


def test_a_schema_of_a_newer_program_is_told(call: Call, files: Files, database: str) -> None:
    files.mend_target()
    files.plan("acme")
    call("run", "plan.json", "--store", database)
    run_statement(database, "UPDATE switchover_schema SET number = 999")
    told = call("get", "plans", "--store", database, code=None)
    assert told.code
    assert "newer Switchover (schema 999" in told.errors


def test_tables_of_somebody_else_are_left_alone(call: Call, files: Files, database: str) -> None:
    files.plan("acme")
    run_statement(database, "CREATE TABLE theirs (x INTEGER)")
    told = call("run", "plan.json", "--store", database, code=None)
    assert told.code
    assert "tables of another program" in told.errors
    assert run_statement(database, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()") == [(1,)]


def test_a_missing_driver_is_told_with_what_to_install(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == WITHOUT_DRIVER or ".stores.postgres" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, WITHOUT_DRIVER, None)
    told = call("get", "plans", "--store", "postgresql://me:s3cret@127.0.0.1/x", code=None)
    assert told.code
    assert "pip install 'switchover[postgres]'" in told.errors
    assert "s3cret" not in told.errors
