"""Where two contents differ: named, short and without secrets."""

import pytest

from switchover.dto.differences import Difference, differences


@pytest.mark.parametrize(
    ("stored", "given", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, [("/a", "1", "true")]),
        ({"a": {"b/c": 1, "~": 2}}, {"a": {"b/c": 2, "~": 3}}, [("/a/b~1c", "1", "2"), ("/a/~0", "2", "3")]),
        ([1, 2], [1], [("/1", "2", None)]),
        ({}, {"a": [1]}, [("/a", None, "[1]")]),
        ({"password": "x"}, {"password": "y"}, [("/password", "***", "***")]),
        ({"a": None}, {"a": {"apiKey": "x", "b": "c"}}, [("/a", None, '{"apiKey":"***","b":"c"}')]),
        ("redis://u:p@h/0", "redis://u:q@h/0", [("", '"redis://h/0"', '"redis://h/0"')]),
    ],
)
def test_each_place_is_named_with_both_values(
    stored: object, given: object, expected: list[tuple[str, str | None, str | None]]
) -> None:
    found = list(differences(stored, given))
    assert [(item.pointer, item.stored, item.given) for item in found] == expected
    assert [Difference.from_dict(item.to_dict()) for item in found] == found


def test_a_long_value_is_cut() -> None:
    (found,) = differences("x" * 10_000, "y")
    assert found.stored is not None
    assert len(found.stored) < 300
