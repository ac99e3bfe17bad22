"""
Which deaths a campaign is made of: each is named by a text from which it can be run again.

``story@durable:17``: one death at the 17th commit that is durable and not answered; ``crowd@rolling back/begin:3``: at
the third transaction that begins while the script rolls back. ``crowd:42``: as many deaths as the
seed 42 chooses, at places that it chooses from what an uninterrupted run passes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tests.campaigns.crash.fate import Death
from tests.campaigns.crash.scripts import SCRIPTS

_NAME = re.compile(r"(?P<script>\w+)(?:@(?:(?P<phase>[a-z ]+)/)?(?P<point>\w+))?:(?P<number>\d+)")
_MOST_DEATHS = 4
_SERVED = 0.3
_TORN = 0.2
_OPENING = 0.35
_PLACES_OF_A_RECOVERY = 30
_LARGEST_TEAR = 60_000
_SMALL_JOURNAL = 8

POINTS = ("begin", "statement", "commit", "durable", "answered")
"""Around one commit: before the transaction, between its statements, before COMMIT, after it, after its answer."""

Passed = Mapping[str, Mapping[str, int]]
"""How often an uninterrupted run passes each ``phase/point``, by role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    One run.

    Attributes:
        deaths: Of the lives of each role, in order; the lives after them are not disturbed.
        kill_at, side: At which write the configuration service kills the writer, if any; see ``DeadlyService``.
        stops: At which step the driving lives leave in good order.
    """

    name: str
    script: str
    deaths: Mapping[str, Sequence[Death]]
    kill_at: int = 0
    side: str = ""
    checkpoint_pages: int = 0
    stops: Sequence[int] = ()


def case_of(name: str, passed: Passed, writes: int) -> Case:
    """The case of this name."""
    found = _NAME.fullmatch(name)
    if found is None or found["script"] not in SCRIPTS:
        known = ", ".join(SCRIPTS)
        forms = "SCRIPT:SEED, SCRIPT@POINT:NUMBER or SCRIPT@PHASE/POINT:NUMBER"
        message = f"{name!r} names no case: write {forms}; the scripts are {known}"
        raise ValueError(message)
    script, number = found["script"], int(found["number"])
    if found["point"] is not None:
        death = Death(phase=found["phase"] or "", point=found["point"], number=number)
        return Case(name=name, script=script, deaths={"drive": [death]})
    return _seeded(name, script, Random(name), passed, writes)


def _seeded(name: str, script: str, random: Random, passed: Passed, writes: int) -> Case:
    described = SCRIPTS[script]
    count = random.randint(1, _MOST_DEATHS)
    deaths: dict[str, list[Death]] = {"drive": [], "ask": []}
    for number in range(count):
        role = "ask" if described.ask is not None and random.random() < 1 / 3 else "drive"
        deaths[role].append(_death(random, passed[role], described.phases, first=number == 0))
    served = described.server and random.random() < _SERVED
    return Case(
        name=name,
        script=script,
        deaths=deaths,
        kill_at=random.randint(1, writes) if served else 0,
        side=random.choice(("before", "after", "late")) if served else "",
        checkpoint_pages=random.choice((0, 0, _SMALL_JOURNAL)),
        stops=sorted(random.sample(range(1, 8), 2)) if described.stops else (),
    )


def _death(random: Random, passed: Mapping[str, int], phases: Sequence[str], *, first: bool) -> Death:
    """A place: every phase and every kind of place is as likely as the others, however often it is passed."""
    if not first and random.random() < _OPENING:
        return Death(phase="opening", number=random.randint(1, _PLACES_OF_A_RECOVERY))
    wanted = random.choice((*phases, "", ""))
    places = [place for place in sorted(passed) if place.startswith(f"{wanted}/") or not wanted] or sorted(passed)
    phase, point = random.choice(places).split("/")
    number = random.randint(1, passed[f"{phase}/{point}"])
    if point == "commit" or random.random() < _TORN:
        commits = passed.get(f"{phase}/commit", 0)
        if commits and random.random() < 3 / 4:
            return Death(
                phase=phase,
                point="commit",
                number=random.randint(1, commits),
                torn_bytes=random.randint(1, _LARGEST_TEAR),
            )
    return Death(phase=phase, point=point, number=number)


def every_commit(script: str, passed: Passed, *, stride: int) -> Iterator[str]:
    """Names of the cases that die around every commit of a script, or around each so many-th."""
    for point in POINTS:
        total = sum(count for place, count in passed["drive"].items() if place.endswith(f"/{point}"))
        for number in range(1, total + 1, stride * (2 if point == "statement" else 1)):
            yield f"{script}@{point}:{number}"


def seeded(seed: int) -> Iterator[str]:
    """Names of seeded cases without end: the scripts by their weight."""
    random = Random(seed)
    names = list(SCRIPTS)
    weights = [SCRIPTS[name].weight for name in names]
    while True:
        yield f"{random.choices(names, weights)[0]}:{random.randrange(10**6)}"
