"""JSON, strictly."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchover.planfile.json_text import json_signs, parse_json
from switchover.planfile.positions import Place, PlanSyntaxError, locate, parts_of
from switchover.testing import strategies
from tests.support.growth import seconds


@given(strategies.json_values(), st.sampled_from([None, 0, 2]))
def test_json_is_read(value: object, indent: int | None) -> None:
    assert parse_json(json.dumps(value, indent=indent)) == value


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ('{"a": 1,\n "b": {"x": 1},\n "a": 2}', "'a' is given twice", Place(3, 2)),
        ('{"a": [{"b": 1, "c": "b", "b": 2}]}', "'b' is given twice", Place(1, 27)),
        ('{"a": {"a": {"a": 1}}, "\\u0061": 2}', "'a' is given twice", Place(1, 24)),
        ('{"a": 1,}', "no valid JSON", None),
        ('{"a": 1} x', "no valid JSON", Place(1, 10)),
        ("[1,\n 2", "no valid JSON", None),
        ("[NaN]", "NaN", None),
        ("[-Infinity]", "Infinity", None),
        ("[" * 100_000, "nested too deeply", None),
        ('{"a":' * 100_000, "nested too deeply", None),
        (f"[{'1' * 5000}]", "too many digits", None),
        ('["\n"]', "no valid JSON", None),
        ("", "no valid JSON", Place(1, 1)),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_refused_says_where(text: str, message: str, place: Place | None) -> None:
    with pytest.raises(PlanSyntaxError, match=message) as caught:
        parse_json(text)
    if place is not None:
        assert caught.value.place == place


@given(st.text(max_size=200))
def test_any_text_is_a_value_or_a_refusal(text: str) -> None:
    try:
        parse_json(text)
    except PlanSyntaxError:
        return
    assert list(json_signs(text))


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, member in value.items():
            found += paths_of(member, (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += paths_of(item, (*path, index))
    return found


@given(strategies.json_values(), st.sampled_from([None, 1]))
def test_every_path_is_found_where_it_stands(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    lines = text.split("\n")
    for path, place in locate(json_signs(text), paths_of(value)).items():
        rest = lines[place.line - 1][place.column - 1 :]
        if path and isinstance(path[-1], str):
            assert rest.startswith(json.dumps(path[-1], ensure_ascii=False))
        else:
            target: Any = value
            for part in path:
                target = target[part]
            assert rest[0] == json.dumps(target, ensure_ascii=False)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda n: '{"a": 1, "a": [' + ",".join(["1"] * n) + "]}",
        lambda n: "[" + '"' * n,
        lambda n: '"' + "\\" * n,
        lambda n: "[" + ",".join(['{"a":1}'] * n) + ',{"a":1,"a":2}]',
    ],
    ids=["double", "quotes", "backslashes", "objects"],
)
def test_time_is_linear(make: Callable[[int], str]) -> None:
    def parse(text: str) -> None:
        with pytest.raises(PlanSyntaxError):
            parse_json(text)

    few, many = make(20_000), make(80_000)
    assert seconds(lambda: parse(many)) < 0.5 + 4 * 4 * seconds(lambda: parse(few))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("tenantId", ("tenantId",)),
        ("networkEndpoints[10].targetIp", ("networkEndpoints", 10, "targetIp")),
        ("services[0].steps[1].configUpdate.value", ("services", 0, "steps", 1, "configUpdate", "value")),
        ("[5]", (5,)),
        ("a[x]", ("a", "x")),
    ],
)
def test_field_paths_are_taken_apart(text: str, parts: tuple[str | int, ...]) -> None:
    assert parts_of(text) == parts
