import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchover.domain.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("3s", 3),
        ("10m", 600),
        ("4h", 14400),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (2, 2),
        (0.25, 0.25),
        ("7", 7),
    ],
)
def test_durations_are_read(written: object, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["", "3x", "s", "-3s", -1, True, None, float("nan"), float("inf"), [], "1d", "3 4"])
def test_anything_else_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@given(st.integers(min_value=0, max_value=10_000_000))
def test_what_is_written_can_be_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_the_shortest_spelling_is_chosen() -> None:
    assert [format_duration(seconds) for seconds in (0, 0.5, 3, 90, 600, 14400)] == [
        "0s",
        "500ms",
        "3s",
        "90s",
        "10m",
        "4h",
    ]
