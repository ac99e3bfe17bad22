"""
Where in a text a value stands.

Positions are looked up when there is something to report, never before: remembering them for every value of a plan of
100,000 tenants would cost more than the plan. JSON and YAML both come as a stream of the same few signs, and one walk
over it finds all that is asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from switchover.domain.wire import camel_case

Path = tuple[str | int, ...]
"""Names and indices from the root of a text: ``("spec", "tenants", 3, "tenantId")``."""


class Place(NamedTuple):
    """A place for people: both from 1, the column in characters."""

    line: int
    column: int


class Sign(NamedTuple):
    """
    One step through a text.

    Attributes:
        kind: ``{``, ``}``, ``[`` or ``]``; ``s`` for a scalar or a reference to another value.
        text: Of a scalar.
    """

    kind: str
    text: str
    place: Place


class PlanSyntaxError(Exception):
    """A text that is no JSON or YAML of the kind that a plan is written in."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place


@dataclass(slots=True)
class _Spot:
    """A part of some wanted path; ``waiting`` counts the parts right below it that may still come."""

    parent: "_Spot | None" = None
    children: dict[str | int, "_Spot"] = field(default_factory=dict[str | int, "_Spot"])
    waiting: int = 0
    place: Place | None = None
    is_settled: bool = False

    def wanted_child(self, part: str | int) -> "_Spot":
        spot = self.children.get(part)
        if spot is None:
            spot = self.children[part] = _Spot(self)
            self.waiting += 1
        return spot

    def settle(self) -> None:
        """Nothing more can be learnt about it and what is below it; perhaps that settles what is above it."""
        spot: _Spot | None = self
        while spot is not None and not spot.is_settled:
            spot.is_settled = True
            spot = spot.parent
            if spot is not None:
                spot.waiting -= 1
                if spot.waiting:
                    return

    def child(self, part: str | int) -> "_Spot | None":
        found = self.children.get(part)
        if found is None and isinstance(part, str) and "_" in part:
            found = self.children.get(camel_case(part))
        return found


@dataclass(slots=True)
class _Open:
    """A mapping or list that the walk is inside of."""

    spot: _Spot | None
    is_mapping: bool
    count: int = 0
    at_key: bool = True
    member: _Spot | None = None

    @property
    def is_name(self) -> bool:
        """The last sign was the name of a member."""
        return self.is_mapping and not self.at_key


def locate(signs: Iterable[Sign], paths: Iterable[Path]) -> dict[Path, Place]:
    """
    Where each path leads to: to its key, or to its item of a list.

    A path that is not there (a missing field) is where the last part of it is that is there.
    """
    root = _Spot()
    wanted: dict[Path, list[_Spot]] = {}
    for path in paths:
        chain = [root]
        for part in path:
            chain.append(chain[-1].wanted_child(part))
        wanted[path] = chain
    _walk(signs, root)
    return {
        path: next((spot.place for spot in reversed(chain) if spot.place is not None), Place(1, 1))
        for path, chain in wanted.items()
    }


def _walk(signs: Iterable[Sign], root: _Spot) -> None:
    """Give each spot its place; end when none can get one any more, which is often long before the text does."""
    inside: list[_Open] = []
    for sign in signs:
        if sign.kind in "}]":
            spot = inside.pop().spot
            has_ended = True
        else:
            spot = _next_spot(inside[-1], sign) if inside else root
            if spot is not None and spot.place is None:
                spot.place = sign.place
            is_name = bool(inside) and inside[-1].is_name
            if sign.kind in "{[":
                inside.append(_Open(spot, is_mapping=sign.kind == "{"))
            has_ended = sign.kind == "s" and not is_name
        if spot is not None and (has_ended or not spot.children):
            spot.settle()
            if root.is_settled:
                return


def _next_spot(around: _Open, sign: Sign) -> _Spot | None:
    if not around.is_mapping:
        around.count += 1
        return None if around.spot is None else around.spot.child(around.count - 1)
    around.at_key = not around.at_key
    if not around.at_key:
        around.member = None if around.spot is None else around.spot.child(sign.text)
    return around.member


def parts_of(field_path: str) -> Path:
    """``networkEndpoints[0].targetIp`` -> ``("networkEndpoints", 0, "targetIp")``."""
    parts: list[str | int] = []
    for name in field_path.split("."):
        head, *indices = name.split("[")
        if head:
            parts.append(head)
        parts.extend(int(index[:-1]) if index[:-1].isdecimal() else index[:-1] for index in indices)
    return tuple(parts)
