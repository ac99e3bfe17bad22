import pytest
from rich.cells import cell_len

from switchover.interfaces.cli.output import Column, table_lines
from switchover.interfaces.cli.verbs.reading import PLAN_COLUMNS, TASK_COLUMNS

LONG = "tenant acme, stage media, step healthCheck: 2 of 2 endpoints did not report version 42 within 10 rounds " * 3
TASK_ROWS = [
    ("100000-100000", "a" * 128, "ROLLBACK_FAILED", "gateway", "12/12", 3, "rollback", "2026-05-04 12:00:00", LONG),
    ("100000-1", "acme", "FAILED", "media", "0/12", "", "", "2026-05-04 12:00:00", LONG),
    ("100000-2", "東京テナント", "COMPLETED", "", "12/12", "", "", "2026-05-04 12:00:00", ""),
]
PLAN_ROWS = [
    (100_000, "PARTIAL_FAILED", "99999/100000", 1, 0, 0, 0, 0, "2026-05-04 12:00:00", "2026-05-04 13:00:00", LONG),
    (7, "RUNNING", "3/12", 0, 0, 4, 5, 0, "2026-05-04 12:00:00", "", "first"),
]


@pytest.mark.parametrize("width", [66, 80, 120, 200])
@pytest.mark.parametrize(("columns", "rows"), [(TASK_COLUMNS, TASK_ROWS), (PLAN_COLUMNS, PLAN_ROWS)])
def test_a_table_fits_the_terminal(width: int, columns: tuple[Column, ...], rows: list[tuple[object, ...]]) -> None:
    lines = [line.plain for line in table_lines(columns, rows, width)]
    assert len(lines) == 1 + len(rows), "one line per row"
    assert max(cell_len(line) for line in lines) <= width
    for row, line in zip(rows, lines[1:], strict=True):
        assert str(row[0]) in line, "the id is always whole"
        assert str(row[1])[:8] in line or str(row[2]) in line


@pytest.mark.parametrize("width", [80, 200])
def test_statuses_are_never_shortened(width: int) -> None:
    lines = [line.plain for line in table_lines(TASK_COLUMNS, TASK_ROWS, width)]
    assert "ROLLBACK_FAILED" in lines[1]
    assert "FAILED" in lines[2]
    assert "acme" in lines[2]
    assert lines[2].endswith("…")


def test_a_wide_terminal_shows_more_columns() -> None:
    narrow, wide = (table_lines(TASK_COLUMNS, TASK_ROWS, width)[0].plain for width in (80, 200))
    assert "UPDATED" not in narrow
    assert "UPDATED" in wide
    assert "FAILURE" in narrow


def test_without_a_terminal_nothing_is_cut() -> None:
    lines = [line.plain for line in table_lines(TASK_COLUMNS, TASK_ROWS, None)]
    assert lines[2].endswith(LONG.strip())
    assert "a" * 128 in lines[1]
    assert all(line == line.rstrip() for line in lines)


def test_columns_stand_below_each_other() -> None:
    header, *lines = [line.plain for line in table_lines(TASK_COLUMNS, TASK_ROWS, None)]
    at = header.index("STATUS")
    assert lines[0][at:].startswith("ROLLBACK_FAILED")
    assert lines[1][at:].startswith("FAILED")
    before = lines[2][: lines[2].index("COMPLETED")]
    assert cell_len(before) == at, "wide characters take two columns"


def test_cells_cannot_move_the_cursor() -> None:
    lines = table_lines((Column("A"),), [("a\x1b[2J\nb",)], 80)
    assert "\x1b" not in lines[1].plain
    assert len(lines) == 2
