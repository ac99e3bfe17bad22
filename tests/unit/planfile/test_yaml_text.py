"""YAML means what it looks like, and a few lines cannot become gigabytes."""

import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from switchover.planfile import yaml_text
from switchover.planfile.positions import Place, PlanSyntaxError, locate
from switchover.planfile.yaml_text import parse_yaml, yaml_signs
from switchover.testing import strategies
from tests.support.growth import seconds
from tests.support.plans import dump_yaml


@pytest.fixture(params=["C", "Python"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers of PyYAML: the C one may be missing where this is installed."""
    if request.param == "Python":
        monkeypatch.setattr(yaml_text, "_LOADER", yaml.SafeLoader)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("false", False),
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("True", "True"),
        ("NULL", "NULL"),
        ("012", "012"),
        ("0x1F", "0x1F"),
        ("0o7", "0o7"),
        ("1_000", "1_000"),
        ("+5", "+5"),
        (".5", ".5"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("10.0.0.1", "10.0.0.1"),
        ("3s", "3s"),
        ("=", "="),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    parsed: Any = parse_yaml(f"a: {text}")
    assert parsed == {"a": value}
    assert type(parsed["a"]) is type(value)


def test_names_are_text_as_it_is_written() -> None:
    assert parse_yaml("1: a\ntrue: b\nnull: c\n2024-01-01: d\n") == {
        "1": "a",
        "true": "b",
        "null": "c",
        "2024-01-01": "d",
    }


def test_aliases_share_a_value() -> None:
    parsed: Any = parse_yaml("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]\ne: &y 5\nf: *y")
    assert parsed == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": [{"b": [1, 2]}] * 2, "e": 5, "f": 5}


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is given twice", Place(3, 1)),
        ("a: {b: 1, 'b': 2}", "'b' is given twice", Place(1, 11)),
        ("a: !!python/object:os.system x", "tags", Place(1, 4)),
        ("a: !!str 5", "tags", Place(1, 4)),
        ("a: !mine 5", "tags", Place(1, 4)),
        ("a: ! 5", "tags", Place(1, 4)),
        ("!!map\na: 1", "tags", Place(1, 1)),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "merge keys", Place(3, 3)),
        ("a: &a [*a]", "contains itself", Place(1, 8)),
        ("a: *b", "refers to nothing", Place(1, 4)),
        ("a: 1\n---\nb: 2\n", "second document", Place(2, 1)),
        ("%YAML 1.1\n---\na: 1", "directives", Place(1, 1)),
        ("? [a]\n: b", "plain text", Place(1, 3)),
        ("? &x a\n: 1\n*x : 2", "plain text", Place(3, 1)),
        ("a: [1", "no valid YAML", None),
        ("\t- a", "no valid YAML", None),
        ("a: b: c", "no valid YAML", None),
        ("a: \x01", "control character", Place(1, 4)),
        ("a:\n  - \x07", "control character", Place(2, 5)),
        ("[" * 65, "nested too deeply", Place(1, 65)),
    ],
)
def test_what_is_refused_says_where(text: str, message: str, place: Place | None) -> None:
    with pytest.raises(PlanSyntaxError, match=message) as caught:
        parse_yaml(text)
    if place is not None:
        assert caught.value.place == place


def test_merge_signs_in_quotes_are_a_name() -> None:
    assert parse_yaml("'<<': 1") == {"<<": 1}


def test_a_bomb_of_aliases_is_refused_before_it_grows() -> None:
    levels = [f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(20)]
    tracemalloc.start()
    try:
        with pytest.raises(PlanSyntaxError, match="aliases"):
            parse_yaml("\n".join(["a: &a [x,x,x,x,x,x,x,x,x]", *levels]))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_many_tenants_may_share_their_endpoints() -> None:
    shared = "x: &e [{targetIp: 10.0.0.1}, {targetIp: 10.0.0.2}]\nt:\n"
    parsed: Any = parse_yaml(shared + "".join(f"- {{tenantId: t{n}, networkEndpoints: *e}}\n" for n in range(3000)))
    assert len(parsed["t"]) == 3000


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda n: "[" * n,
        lambda n: "{" * n,
        lambda n: "- " * n,
        lambda n: "%TAG !a! b\n" * n,
        lambda n: "a: 'x\n" * n,
        lambda n: "? " * n,
        lambda n: "".join(f"- &a{i} *a{i - 1}\n" for i in range(n)),
        lambda n: "".join(f"k{i}: 1\n" for i in range(n)),
        lambda n: "a: " + "x" * n,
        lambda n: "\n" * n,
        lambda n: "# x\n" * n,
    ],
    ids=["lists", "maps", "dashes", "directives", "quotes", "keys", "anchors", "members", "text", "breaks", "comments"],
)
def test_time_is_linear(make: Callable[[int], str]) -> None:
    def parse(text: str) -> None:
        with suppress(PlanSyntaxError):
            parse_yaml(text)

    few, many = make(10_000), make(40_000)
    assert seconds(lambda: parse(many), runs=2) < 0.5 + 4 * 4 * seconds(lambda: parse(few))


@given(st.text(max_size=200))
def test_any_text_is_a_value_or_a_refusal(text: str) -> None:
    try:
        parse_yaml(text)
    except PlanSyntaxError:
        return
    assert list(yaml_signs(text)) is not None


@given(strategies.json_values())
def test_json_is_yaml(value: object) -> None:
    """JSON's own control characters and escaped surrogate pairs aside, which YAML does not have."""
    text = json.dumps(value, ensure_ascii=False)
    assume("\\" not in text and all(char.isprintable() for char in text))
    assert parse_yaml(text) == value


@given(strategies.plan_documents())
def test_plans_are_read_back_from_block_style(document: dict[str, Any]) -> None:
    assert parse_yaml(dump_yaml(document)) == document


def test_places() -> None:
    text = "a:\n  - b: 1\n    c_d: x\n  - *z\ne: {f: [1, {g: 2}]}\n"
    paths = [("a",), ("a", 0, "b"), ("a", 0, "cD"), ("a", 1), ("a", 1, "b"), ("e", "f", 1, "g"), ("e", "nope"), ()]
    assert locate(yaml_signs(text.replace("*z", "z")), paths) == {
        ("a",): Place(1, 1),
        ("a", 0, "b"): Place(2, 5),
        ("a", 0, "cD"): Place(3, 5),
        ("a", 1): Place(4, 5),
        ("a", 1, "b"): Place(4, 5),
        ("e", "f", 1, "g"): Place(5, 13),
        ("e", "nope"): Place(5, 1),
        (): Place(1, 1),
    }
