"""
YAML, as far as it means what it looks like.

Plain scalars are ``null``, ``true``, ``false``, numbers as JSON writes them, or text: ``yes``, ``012``, ``1_000``,
``12:30`` and ``2024-01-01`` stay the text that they are, and where a number is needed that text is reported. Names are
text and come once. Tags, merge keys, directives and several documents are refused. Aliases share a value; how much they
may multiply a text is limited, so that a few lines cannot become gigabytes.

Values are built from the parser's events: a tree of nodes, as the usual loaders make, would need ten times the memory.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import yaml

from switchover.planfile.json_text import double_name
from switchover.planfile.positions import Place, PlanSyntaxError, Sign

DEEPEST = 64
"""Mappings and lists inside each other."""

FREE_COPIES = 10_000
COPIES_PER_VALUE = 20
MOST_COPIES = 5_000_000
"""What aliases may add: so many values, plus so many per value that is written out; never more than so many."""

_LONGEST_NUMBER = 40
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, object] = {"": None, "~": None, "null": None, "true": True, "false": False}
_DIRECTIVE = re.compile(r"^%.*", re.MULTILINE)


class _Mark(Protocol):
    line: int
    column: int


class _Event(Protocol):
    """An event of PyYAML with what the kinds that are used have; its own types say less."""

    start_mark: _Mark
    anchor: str | None
    tag: str | None
    implicit: tuple[bool, bool]
    value: str


_SIGNS: dict[type, str] = {
    yaml.MappingStartEvent: "{",
    yaml.MappingEndEvent: "}",
    yaml.SequenceStartEvent: "[",
    yaml.SequenceEndEvent: "]",
    yaml.ScalarEvent: "s",
    yaml.AliasEvent: "s",
}


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being built; ``size`` counts its values, those of aliases included."""

    value: dict[str, object] | list[object]
    anchor: str | None
    size: int = 1
    key: str | None = None


def parse_yaml(text: str) -> object:
    """
    The value.

    Raises:
        PlanSyntaxError: It is none, or uses what is refused.
    """
    return _Builder().build(text)


def yaml_signs(text: str) -> Iterator[Sign]:
    """The signs of a text that ``parse_yaml`` accepts."""
    for event in _events(text):
        kind = _SIGNS.get(type(event))
        if kind is not None:
            yield Sign(kind, event.value if kind == "s" and not _is_alias(event) else "", _place(event))


def _is_alias(event: object) -> bool:
    return isinstance(event, yaml.AliasEvent)


def _place(event: _Event) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _events(text: str) -> Iterator[_Event]:
    # Directives come before the first document; the parser would compare each of them with every other.
    head = text[: text.find("\n---")] if "\n---" in text else text
    directive = _DIRECTIVE.search(head) if text.lstrip().startswith("%") else None
    if directive is not None:
        place = Place(text.count("\n", 0, directive.start()) + 1, 1)
        raise PlanSyntaxError("directives (%YAML, %TAG) are not supported; take the line out", place)
    try:
        yield from cast("Iterator[_Event]", yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = cast("_Mark | None", error.problem_mark or error.context_mark)
        reason = ": ".join(part for part in (error.context, error.problem) if part)
        marked = None if mark is None else Place(mark.line + 1, mark.column + 1)
        raise PlanSyntaxError(f"no valid YAML: {reason}", marked) from error
    except yaml.reader.ReaderError as error:
        position = int(error.position)
        before = text[:position]
        place = Place(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)
        raise PlanSyntaxError("no valid YAML: a control character", place) from error
    except yaml.YAMLError as error:
        raise PlanSyntaxError(f"no valid YAML: {str(error)[:200]}") from error


class _Builder:
    def __init__(self) -> None:
        self._inside: list[_Open] = []
        self._anchors: dict[str, tuple[object, int]] = {}
        self._open_anchors: set[str] = set()
        self._written = 0
        self._copied = 0
        self._result: object = None
        self._documents = 0

    def build(self, text: str) -> object:
        handlers: dict[type, Callable[[_Event], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._open,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceStartEvent: self._open,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        for event in _events(text):
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)
        return self._result

    def _document(self, event: _Event) -> None:
        self._documents += 1
        if self._documents > 1:
            raise PlanSyntaxError("a second document begins here; a plan file holds one", _place(event))

    def _scalar(self, event: _Event) -> None:
        _refuse_tag(event)
        self._written += 1
        text = event.value
        around = self._inside[-1] if self._inside else None
        if around is not None and isinstance(around.value, dict) and around.key is None:
            self._name(around, text, event)
            return
        value = _plain_scalar(text) if event.implicit[0] else text
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._put(value, 1)

    def _name(self, around: _Open, text: str, event: _Event) -> None:
        place = _place(event)
        if text == "<<" and event.implicit[0]:
            raise PlanSyntaxError(
                "merge keys (<<) are not supported; write the fields out, or alias a whole value", place
            )
        if text in cast("dict[str, object]", around.value):
            raise double_name(text, place)
        if event.anchor is not None:
            self._anchors[event.anchor] = (text, 1)
        around.key = text

    def _open(self, event: _Event) -> None:
        _refuse_tag(event)
        self._refuse_as_name(event)
        self._written += 1
        if len(self._inside) >= DEEPEST:
            raise PlanSyntaxError(f"nested too deeply: more than {DEEPEST} levels", _place(event))
        value: dict[str, object] | list[object] = {} if _SIGNS[type(event)] == "{" else []
        anchor = event.anchor
        if anchor is not None:
            self._open_anchors.add(anchor)
            self._anchors.pop(anchor, None)
        self._inside.append(_Open(value, anchor))

    def _close(self, _event: _Event) -> None:
        closed = self._inside.pop()
        if closed.anchor is not None:
            self._open_anchors.discard(closed.anchor)
            self._anchors[closed.anchor] = (closed.value, closed.size)
        self._put(closed.value, closed.size)

    def _alias(self, event: _Event) -> None:
        self._refuse_as_name(event)
        name = str(event.anchor)
        found = self._anchors.get(name)
        if found is None:
            reason = "contains itself" if name in self._open_anchors else "refers to nothing above it"
            raise PlanSyntaxError(f"the alias *{name[:80]} {reason}", _place(event))
        value, size = found
        self._copied += size
        if self._copied > min(FREE_COPIES + COPIES_PER_VALUE * self._written, MOST_COPIES):
            raise PlanSyntaxError(
                f"the aliases up to *{name[:80]} multiply this text to more than {self._copied:,} values; "
                "write the values out, or use fewer aliases",
                _place(event),
            )
        self._put(value, size)

    def _refuse_as_name(self, event: _Event) -> None:
        around = self._inside[-1] if self._inside else None
        if around is not None and isinstance(around.value, dict) and around.key is None:
            raise PlanSyntaxError("the name of a field must be plain text", _place(event))

    def _put(self, value: object, size: int) -> None:
        if not self._inside:
            self._result = value
            return
        around = self._inside[-1]
        around.size += size
        if isinstance(around.value, list):
            around.value.append(value)
        else:
            around.value[cast("str", around.key)] = value
            around.key = None


def _refuse_tag(event: _Event) -> None:
    if event.tag is not None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:80]
        raise PlanSyntaxError(f"tags ({tag}) are not supported; write the plain value", _place(event))


def _plain_scalar(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER or text[0] not in "-0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text
