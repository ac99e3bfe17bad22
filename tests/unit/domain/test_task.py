"""What a task is made of: how its moments are told."""

from datetime import UTC, datetime

import pytest

from switchover.domain.task import wire_timestamp


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 25, 9, 3, 4, 60313, tzinfo=UTC), "2026-11-25T09:03:04.060313Z"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00.000000Z"),
        (datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "1970-01-01T00:00:00.000001Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_timestamp_is_always_of_one_length(moment: datetime, text: str) -> None:
    assert wire_timestamp(moment) == text
