"""
Ten thousand schedules of the real engine, and a thousand duels; ``make schedules`` plays more.

Each is a number: a failure names the command that plays the same one again.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.schedules.duels import duel
from tests.schedules.explorer import FoundError, explore
from tests.schedules.mutants import FOUND_BY_DUELS, FOUND_BY_SCHEDULES, Mutant
from tests.schedules.quiet import quiet

_SCHEDULES, _DUELS, _PORTION = 10_000, 1_000, 250
_ENOUGH = 600


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with quiet():
        yield


@pytest.mark.parametrize("first", range(0, _SCHEDULES, _PORTION))
def test_nothing_is_ever_violated_whatever_comes_first(first: int) -> None:
    for seed in range(first, first + _PORTION):
        explore(seed)


@pytest.mark.parametrize("first", range(0, _DUELS, _PORTION))
def test_two_requests_at_one_instant_end_as_one_of_the_serial_orders(first: int) -> None:
    for seed in range(first, first + _PORTION):
        duel(seed)


def test_a_number_is_a_schedule() -> None:
    assert [explore(seed) for seed in range(20)] == [explore(seed) for seed in range(20)]


@pytest.mark.parametrize("mutant", FOUND_BY_SCHEDULES)
def test_schedules_find_an_engine_that_is_broken_on_purpose(mutant: Mutant) -> None:
    _assert_found(mutant, explore)


@pytest.mark.parametrize("mutant", FOUND_BY_DUELS)
def test_duels_find_an_engine_that_is_broken_on_purpose(mutant: Mutant) -> None:
    _assert_found(mutant, duel)


def _assert_found(mutant: Mutant, play: Callable[[int], int]) -> None:
    with mutant(), pytest.raises(FoundError, match="make schedules ARGS="):
        _play_all(play)


def _play_all(play: Callable[[int], int]) -> None:
    for seed in range(_ENOUGH):
        play(seed)
