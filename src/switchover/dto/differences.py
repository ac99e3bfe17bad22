"""Where two contents differ: as JSON pointers, with both values, fit to be shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from switchover.redaction import without_secrets

MOST: Final = 20
"""Differences that are told; a person needs the first few."""

_LONGEST: Final = 200
_SECRET: Final = ("password", "passwd", "secret", "token", "credential", "apikey", "api_key")
_GONE: Final = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """
    One place that differs.

    Attributes:
        pointer: JSON pointer (RFC 6901) into the content.
        stored, given: The values as JSON text, without secrets and cut when they are long; None where there is nothing.
    """

    pointer: str
    stored: str | None
    given: str | None

    def to_dict(self) -> dict[str, object]:
        """The wire form."""
        return {"pointer": self.pointer, "stored": self.stored, "given": self.given}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Difference":
        """The inverse of ``to_dict``."""
        return Difference(pointer=data["pointer"], stored=data["stored"], given=data["given"])

    def __str__(self) -> str:
        stored = "nothing" if self.stored is None else self.stored
        return f"{self.pointer}: {stored} then, {'nothing' if self.given is None else self.given} now"


def differences(stored: object, given: object, pointer: str = "") -> Iterator[Difference]:
    """Every place where two JSON values differ, as deep as it can be named."""
    if _is_mapping(stored) and _is_mapping(given):
        before, now = cast("Mapping[str, object]", stored), cast("Mapping[str, object]", given)
        for name in dict.fromkeys((*before, *now)):
            place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from differences(before.get(name), now.get(name), place)
    elif _is_list(stored) and _is_list(given):
        first, second = cast("Sequence[object]", stored), cast("Sequence[object]", given)
        for index in range(max(len(first), len(second))):
            yield from differences(_at(first, index), _at(second, index), f"{pointer}/{index}")
    elif stored != given or type(stored) is not type(given):
        yield Difference(pointer=pointer, stored=_shown(pointer, stored), given=_shown(pointer, given))


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _at(items: Sequence[object], index: int) -> object:
    return items[index] if index < len(items) else None


def _shown(pointer: str, value: object) -> str | None:
    if value is None:
        return None
    if any(word in part for part in pointer.lower().split("/") for word in _SECRET):
        return _GONE
    text = without_secrets(orjson.dumps(_open(value), default=str).decode())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _open(value: object) -> object:
    """The value with the members gone that are called like secrets."""
    if _is_mapping(value):
        members = cast("Mapping[str, object]", value).items()
        return {
            name: _GONE if any(word in name.lower() for word in _SECRET) else _open(inner) for name, inner in members
        }
    return [_open(inner) for inner in cast("Sequence[object]", value)] if _is_list(value) else value
