"""Frozen values that are made quickly are values like any other."""

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from switchover.domain.values import evolver, new_list, quick


@quick
@dataclass(frozen=True, slots=True)
class Place:
    """A value with every kind of field: by position, by keyword, with a default and without."""

    row: int
    column: int = 7
    name: str = field(default="here", kw_only=True)


evolve_place = evolver(Place)


def test_it_is_made_and_compared_like_any_dataclass() -> None:
    place = Place(1, name="there")
    assert (place.row, place.column, place.name) == (1, 7, "there")
    assert place == Place(1, 7, name="there")
    assert place != Place(1)
    assert hash(place) == hash(Place(1, name="there"))
    assert repr(place) == "Place(row=1, column=7, name='there')"
    assert type(place) is Place


def test_nobody_changes_it_afterwards() -> None:
    place = Place(1)
    with pytest.raises(FrozenInstanceError):
        place.row = 2  # type: ignore[misc]  # what must not be
    with pytest.raises(FrozenInstanceError):
        del place.row
    assert place.row == 1


def test_what_is_missing_unknown_or_in_the_wrong_place_is_refused() -> None:
    with pytest.raises(TypeError, match="row"):
        Place()  # type: ignore[call-arg]  # what must not be
    with pytest.raises(TypeError, match="colour"):
        Place(1, colour="red")  # type: ignore[call-arg]  # as above
    with pytest.raises(TypeError, match="positional"):
        Place(1, 2, "there")  # type: ignore[call-arg]  # as above


def test_it_is_copied_and_pickled() -> None:
    place = Place(1, name="there")
    assert replace(place, row=2) == Place(2, name="there")
    assert copy.copy(place) == place
    assert copy.deepcopy(place) == place
    assert pickle.loads(pickle.dumps(place)) == place  # our own bytes


def test_an_evolved_copy_differs_in_what_was_named_and_is_frozen_too() -> None:
    place = Place(1, name="there")
    moved = evolve_place(place, row=2)
    assert (moved, place) == (Place(2, name="there"), Place(1, name="there"))
    assert type(moved) is Place
    with pytest.raises(FrozenInstanceError):
        moved.row = 3  # type: ignore[misc]  # what must not be
    with pytest.raises(AttributeError):
        evolve_place(place, colour="red")


def test_a_class_that_does_more_than_keep_its_fields_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class WithFactory:
        items: list[int] = field(default_factory=new_list)

    @dataclass(frozen=True, slots=True)
    class WithCheck:
        row: int

        def __post_init__(self) -> None:
            """Does more."""

    for cls in (WithFactory, WithCheck):
        with pytest.raises(TypeError, match=f"{cls.__name__} has a __post_init__ or a default factory"):
            quick(cls)
