import sqlite3
from collections.abc import Iterator

import pytest

from switchover.adapters.stores.sqlite.bulk import insert, update


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c INTEGER)")
    yield connection
    connection.close()


@pytest.mark.parametrize("number", [0, 1, 2, 15, 16, 17, 33, 100, 255, 256, 257, 1000])
def test_every_row_is_written_once(connection: sqlite3.Connection, number: int) -> None:
    rows = [(i, f"b{i}", i * 2) for i in range(number)]
    assert insert("t", ("a", "b", "c")).run(connection, rows) == number
    assert connection.execute("SELECT * FROM t ORDER BY a").fetchall() == rows
    changes = [(f"x{i}", i, i * 2) for i in range(number)]
    assert update("t", ("b",), ("a", "c")).run(connection, changes) == number
    assert connection.execute("SELECT b, a, c FROM t ORDER BY a").fetchall() == changes


def test_an_update_counts_only_what_it_found(connection: sqlite3.Connection) -> None:
    insert("t", ("a", "b", "c")).run(connection, [(1, None, 1), (2, None, 2), (3, "kept", 3)])
    fix = update("t", ("b",), ("a", "c"), "t.b IS NULL")
    assert fix.run(connection, [("x", 1, 1), ("x", 2, 99), ("x", 3, 3), ("x", 4, 4)]) == 1
    assert connection.execute("SELECT b FROM t ORDER BY a").fetchall() == [("x",), (None,), ("kept",)]


def test_a_few_large_statements_do_the_work(connection: sqlite3.Connection) -> None:
    """Each statement has to win the interpreter back from the event loop; two hundred rows must not do so each."""
    ran: list[str] = []
    connection.set_trace_callback(ran.append)
    insert("t", ("a", "b", "c")).run(connection, [(i, None, 0) for i in range(200)])
    assert len([text for text in ran if text.startswith("INSERT")]) <= 3
