"""
JSON, strictly: no name twice, no NaN, no comments.

The parser of the standard library does it, with a hook for names given twice; measured on 48 MB, a faster parser plus a
search for double names took longer than both in one.
"""

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from switchover.planfile.positions import Place, PlanSyntaxError, Sign

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]]|[^\s"{}\[\],:]++', re.DOTALL)


class _DoubleNameError(ValueError):
    pass


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _DoubleNameError
    return members


def _no_constant(name: str) -> NoReturn:
    raise PlanSyntaxError(f"{name} is no JSON number")


def parse_json(text: str) -> object:
    """
    The value.

    Raises:
        PlanSyntaxError: It is none.
    """
    try:
        return json.loads(text, object_pairs_hook=_members, parse_constant=_no_constant)
    except _DoubleNameError:
        raise _double_name(text) from None
    except json.JSONDecodeError as error:
        raise PlanSyntaxError(f"no valid JSON: {error.msg}", Place(error.lineno, error.colno)) from error
    except RecursionError as error:
        raise PlanSyntaxError("nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise PlanSyntaxError("a number has too many digits") from error


def json_signs(text: str) -> Iterator[Sign]:
    """The signs of a text that ``parse_json`` accepts."""
    line, line_start, seen = 1, 0, 0
    for token in _TOKEN.finditer(text):
        start = token.start()
        breaks = text.count("\n", seen, start)
        if breaks:
            line += breaks
            line_start = text.rindex("\n", seen, start) + 1
        seen = start
        mark = token.group()
        place = Place(line, start - line_start + 1)
        if mark in "{}[]":
            yield Sign(mark, "", place)
        else:
            yield Sign("s", _unquoted(mark), place)


def _unquoted(token: str) -> str:
    if not token.startswith('"'):
        return token
    return str(json.loads(token, strict=False)) if "\\" in token else token[1:-1]


def _double_name(text: str) -> PlanSyntaxError:
    """Which name it was; walks the whole text up to there, which only an error is worth."""
    inside: list[tuple[set[str], list[bool]] | None] = []
    for sign in json_signs(text):
        if sign.kind in "}]":
            inside.pop()
            continue
        around = inside[-1] if inside else None
        if around is not None:
            names, at_key = around
            at_key[0] = not at_key[0]
            if not at_key[0]:
                if sign.text in names:
                    return double_name(sign.text, sign.place)
                names.add(sign.text)
        if sign.kind in "{[":
            inside.append((set(), [True]) if sign.kind == "{" else None)
    return PlanSyntaxError("a name is given twice in one mapping; keep one of them")


def double_name(name: str, place: Place) -> PlanSyntaxError:
    """The refusal of a name that is given twice in one mapping."""
    return PlanSyntaxError(f"{name[:80]!r} is given twice in one mapping; keep one of them", place)
