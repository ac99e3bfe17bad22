"""The schema as code: a replayed one equals a fresh one, and the data of every release opens in this one."""
# ruff: noqa: ASYNC240  # a test may wait for the disk

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from switchover.adapters.stores.sqlite import SqliteExecutionStore, schema, store
from switchover.adapters.stores.sqlite.schema import APPLICATION_ID, Migration, migrate, migrations, statements
from switchover.domain.task import PlanId, TenantId
from switchover.errors import StoreUnusableError
from switchover.spi import Entry
from switchover.testing.samples import SAMPLE_MOMENT, sample_pre_image
from switchover.testing.samples import sample_plan as plan_of

DATA = Path(__file__).parent / "data"
RELEASES = sorted(DATA.glob("schema-*.sql"))


def shape(path: Path) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return (
            connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall(),
            connection.execute("PRAGMA user_version").fetchone(),
            connection.execute("PRAGMA application_id").fetchone(),
        )


def normal(path: Path) -> object:
    """Columns and indexes as SQLite understands them, however the statements that made them were put."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: (
                connection.execute(f"PRAGMA table_xinfo({table})").fetchall(),
                sorted(row[1:] for row in connection.execute(f"PRAGMA index_list({table})")),
            )
            for table in tables
        }


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [step.number for step in migrations()] == list(range(1, len(migrations()) + 1))
    for step in migrations():
        assert step.name.startswith(f"{step.number:04d}_")
        assert not any(line.startswith(("BEGIN", "COMMIT")) for line in step.sql.splitlines())


async def test_a_replayed_schema_equals_a_fresh_one(tmp_path: Path) -> None:
    fresh = SqliteExecutionStore(tmp_path / "fresh.db")
    await fresh.open()
    await fresh.aclose()
    with closing(sqlite3.connect(tmp_path / "replayed.db", isolation_level=None)) as connection:
        for number in range(1, len(migrations()) + 1):
            migrate(connection, migrations()[:number])
            assert connection.execute("PRAGMA user_version").fetchone() == (number,)
            assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert shape(tmp_path / "replayed.db") == shape(tmp_path / "fresh.db")


async def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    one = SqliteExecutionStore(path)
    await one.open()
    await one.aclose()
    before = path.read_bytes()
    await one.open()
    await one.aclose()
    assert path.read_bytes() == before


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
async def test_the_data_of_a_release_opens_in_this_one(tmp_path: Path, release: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(release.read_text("utf-8"))
    one = SqliteExecutionStore(path)
    await one.open()
    assert list(await one.check()) == []
    (plan,) = await one.list_plans(before=None, limit=10)
    assert (plan.plan_id, plan.total, plan.created_at) == (1, 2, SAMPLE_MOMENT)
    stored = await one.load_tasks(
        [task.key for task in await one.list_tasks(PlanId(1), statuses=None, after=0, limit=9)]
    )
    assert [item.task.tenant_id for item in stored] == ["acme", "bolt"]
    assert [item.config.deploy_unit_version for item in stored] == [2, 2]
    assert (stored[0].task.status, stored[0].task.generation, stored[0].tenant.generation) == ("FAILED", 1, 1)
    assert stored[0].task.failure_info is not None
    assert stored[0].tenant.last_known_good is not None
    assert stored[1].tenant.hold is not None
    assert [event.position for event in await one.load_events(PlanId(1), 0, 99)] == list(range(1, plan.position + 1))
    everything = await one.load_all_events(0, 99)
    assert [(item.number, item.event.position) for item in everything.events] == [
        (number, number) for number in range(1, plan.position + 1)
    ]
    assert list(await one.load_pre_images(stored[0].task.key, "routing")) == [sample_pre_image("k", b"before")]
    lease = await one.acquire_driver("test")
    assert lease is not None
    await one.commit(lease, [Entry(new_plan=plan_of(2, ["cove"], after_arrival=2).new_plan())])
    await one.aclose()
    fresh = SqliteExecutionStore(tmp_path / "fresh.db")
    await fresh.open()
    await fresh.aclose()
    assert normal(path) == normal(tmp_path / "fresh.db")


def test_events_of_before_their_order_was_kept_are_ordered_by_moment_and_within_a_plan_by_position() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, migrations()[:3])
        moments = {1: [10, 11, 30, 29, 40], 2: [20, 21, 30]}  # of plan 1 the clock was set back once
        for plan_id, ats in moments.items():
            rows = [(plan_id, place, 0, place, 1, at, "RUNNING", 0, 1) for place, at in enumerate(ats, start=1)]
            connection.executemany(
                "INSERT INTO event (plan_id, position, ordinal, sequence_id, type, at, status, completed, total)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        migrate(connection, migrations())
        runs = connection.execute("SELECT number, plan_id, position, length FROM event_run ORDER BY number").fetchall()
    assert runs == [(2, 1, 2, 2), (4, 2, 2, 2), (6, 1, 4, 2), (7, 2, 3, 1), (8, 1, 5, 1)]


def test_every_released_schema_has_its_data() -> None:
    assert len(RELEASES) == len(migrations())


async def test_a_newer_program_brings_the_data_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    one = SqliteExecutionStore(path)
    await one.open()
    lease = await one.acquire_driver("test")
    assert lease is not None
    sample = plan_of(1, ["acme"])
    await one.commit(lease, [Entry(new_plan=sample.new_plan())])
    await one.aclose()
    number = len(migrations()) + 1
    later = (
        *migrations(),
        Migration(number, "later", "CREATE TABLE later (x TEXT) STRICT;\nALTER TABLE tenant ADD COLUMN cell TEXT;\n"),
    )
    monkeypatch.setattr(store, "migrations", lambda: later)
    await one.open()
    assert await one.load_plan(PlanId(1)) == sample.plan
    assert (await one.load_tenants([TenantId("acme")]))[TenantId("acme")].owner == sample.key(1)
    await one.aclose()
    monkeypatch.undo()
    with pytest.raises(StoreUnusableError, match="newer Switchover"):
        await one.open()


async def test_a_migration_that_fails_is_taken_back_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    one = SqliteExecutionStore(path)
    await one.open()
    await one.aclose()
    before = shape(path)
    number = len(migrations()) + 1
    broken = Migration(number, "broken", "CREATE TABLE later (x TEXT);\nCREATE TABLE task (x TEXT);\n")
    monkeypatch.setattr(store, "migrations", lambda: (*migrations(), broken))
    with pytest.raises(StoreUnusableError):
        await one.open()
    assert shape(path) == before
    monkeypatch.undo()
    await one.open()
    await one.aclose()


def test_two_processes_may_migrate_at_once(tmp_path: Path) -> None:
    """The second one waits for the first, looks again, and finds it done."""
    path = tmp_path / "store.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as first,
        closing(sqlite3.connect(path, isolation_level=None)) as second,
    ):
        asked: list[str] = []

        def overtake(sql: str) -> None:
            if sql.startswith("BEGIN") and not asked:
                asked.append(sql)
                migrate(second, migrations())

        first.set_trace_callback(overtake)
        migrate(first, migrations())
        assert asked
    assert schema.APPLICATION_ID == 0x53774F76


def test_statements_are_told_apart() -> None:
    sql = "-- a; comment\nCREATE TABLE a (x TEXT DEFAULT ';');\nCREATE TABLE b (y);\n\n-- the end\n"
    assert [text.split("CREATE")[1].split()[1] for text in statements(sql) if "CREATE" in text] == ["a", "b"]
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM b;\n  DELETE FROM b;\nEND;\n"
    assert list(statements(trigger)) == [trigger]
