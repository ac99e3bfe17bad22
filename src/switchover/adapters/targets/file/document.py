"""
A JSON object as text, changed member by member while every other byte stays as it is.

A rollback has to leave the file as it was before the switch, odd spacing included, so nothing is parsed and written
again: a member is a span of text. A new member takes the spacing of the one before it, and when it is removed its
neighbours get back what they had.
"""

import json
import re
from collections.abc import Callable, Iterator
from json.decoder import JSONDecodeError
from typing import cast

_Decoder = Callable[[str, int], tuple[object, int]]

_SPACE = re.compile(r"[ \t\n\r]*")
_decode: _Decoder = json.JSONDecoder().raw_decode

NEW_FILE = "{\n\n}\n"
"""What a file that did not exist begins as: one member a line."""


class _Member:
    """``lead`` + ``label`` + ``value`` + ``trail``; commas stand between members."""

    __slots__ = ("key", "label", "lead", "trail", "value")

    def __init__(self, key: str, lead: str, label: str, value: str, trail: str) -> None:
        self.key = key
        self.lead = lead
        self.label = label
        self.value = value
        self.trail = trail


class ObjectText:
    """
    One JSON object.

    Raises:
        ValueError: The text is no JSON object.
    """

    def __init__(self, text: str) -> None:
        self._serial = 0
        self._members: dict[int, _Member] = {}
        self._index: dict[str, int] = {}
        self._repeated: dict[str, list[int]] = {}
        start = _skip(text, 1 if text.startswith("\ufeff") else 0)
        if text[start : start + 1] != "{":
            msg = "it is no JSON object"
            raise ValueError(msg)
        self._head = text[: start + 1]
        self._inner = ""
        try:
            end = self._parse(text, start + 1)
        except (JSONDecodeError, StopIteration) as error:
            msg = f"it is no JSON: {error}"
            raise ValueError(msg) from error
        except RecursionError:
            msg = "it is nested too deeply"
            raise ValueError(msg) from None
        self._tail = text[end:]
        if _skip(self._tail, 1) != len(self._tail):
            msg = "something follows the JSON object"
            raise ValueError(msg)

    def _parse(self, text: str, position: int) -> int:
        at = _skip(text, position)
        if text[at : at + 1] == "}":
            self._inner = text[position:at]
            return at
        while True:
            at = _skip(text, position)
            if text[at : at + 1] != '"':
                message = "a member name is expected"
                raise JSONDecodeError(message, text, at)
            key, after_key = cast("tuple[str, int]", _decode(text, at))
            colon = _skip(text, after_key)
            if text[colon : colon + 1] != ":":
                message = "a colon is expected"
                raise JSONDecodeError(message, text, colon)
            begin = _skip(text, colon + 1)
            _, end = _decode(text, begin)
            after = _skip(text, end)
            self._append(_Member(key, text[position:at], text[at:begin], text[begin:end], text[end:after]))
            mark = text[after : after + 1]
            if mark == "}":
                return after
            if mark != ",":
                message = "a comma or a closing brace is expected"
                raise JSONDecodeError(message, text, after)
            position = after + 1

    def _append(self, member: _Member) -> None:
        self._serial += 1
        earlier = self._index.get(member.key)
        if earlier is not None:
            self._repeated.setdefault(member.key, []).append(earlier)
        self._index[member.key] = self._serial
        self._members[self._serial] = member

    def get(self, key: str) -> str | None:
        """The exact text of a member's value; of a name that is there twice, the last, as every reader sees it."""
        serial = self._index.get(key)
        return None if serial is None else self._members[serial].value

    def set(self, key: str, value: str) -> None:
        """Replace a value in its place, or append a member."""
        serial = self._index.get(key)
        if serial is not None:
            self._members[serial].value = value
            return
        name = json.dumps(key, ensure_ascii=False)
        if not self._members:
            first_line = self._inner.find("\n") + 1
            split = first_line if 0 < first_line < len(self._inner) else len(self._inner)
            self._append(_Member(key, self._inner[:split], f"{name}: ", value, self._inner[split:]))
            self._inner = ""
            return
        last = self._last()
        separator = last.label[last.label.rindex(":") :]
        trail, last.trail = last.trail, ""
        self._append(_Member(key, last.lead, name + separator, value, trail))

    def remove(self, key: str) -> None:
        """Take a member away, if it is there."""
        serial = self._index.pop(key, None)
        if serial is None:
            return
        for one in (*self._repeated.pop(key, ()), serial):
            member = self._members[one]
            was_last = member is self._last()
            del self._members[one]
            if not self._members:
                self._inner = member.lead + member.trail
            elif was_last:
                self._last().trail = member.trail

    def _last(self) -> _Member:
        return self._members[next(reversed(self._members))]

    def __len__(self) -> int:
        return len(self._index)

    def __str__(self) -> str:
        return "".join([self._head, *self._texts(), self._tail])

    def _texts(self) -> Iterator[str]:
        if not self._members:
            yield self._inner
        comma = ""
        for member in self._members.values():
            yield f"{comma}{member.lead}{member.label}{member.value}{member.trail}"
            comma = ","


def value_text(value: bytes) -> str:
    """
    The text of a value that is to become part of an object.

    Raises:
        ValueError: It would break the object.
    """
    try:
        text = value.decode().strip(" \t\r\n")
        _, end = _decode(text, 0)
    except (JSONDecodeError, StopIteration, UnicodeDecodeError, RecursionError) as error:
        msg = f"the value to write is no JSON: {error}"
        raise ValueError(msg) from error
    if end != len(text):
        msg = "the value to write is more than one JSON value"
        raise ValueError(msg)
    return text


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()
