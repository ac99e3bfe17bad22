import pytest

from switchover.reports.texts import count, elapsed, moment, printable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.42, "0.4 s"),
        (12.4, "12 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7_640, "2 h 07 min"),
        (277_000, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


def test_nothing_moves_the_cursor_or_hides_text() -> None:
    assert printable("a\x1b[2Jb\nc\x07d\u202ee\x9bf") == "a [2Jb c d e f"
    assert printable("Zürich 東京 ✓") == "Zürich 東京 ✓"


def test_counts_and_moments() -> None:
    assert count(1, "task") == "1 task"
    assert count(1_200, "task") == "1,200 tasks"
    assert moment(None) == ""
