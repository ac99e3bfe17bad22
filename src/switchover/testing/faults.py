"""
What goes wrong with a store, and when: the vocabulary of ``FaultyStore``.

A fault is told either by hand (``FaultyStore.fail``: this method, so many calls, or for so long) or by a seeded source
(``RandomFaults``), which gives the same faults for the same calls every time.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from switchover.errors import StoreUnavailableError

ANY_METHOD = "*"
"""Every method but ``open`` and ``aclose``, which fail only when they are named."""

_NEVER_BY_CHANCE = frozenset({"open", "aclose"})


class Fault(Enum):
    """
    What goes wrong with one call; each ends in ``StoreUnavailableError``.

    DURING and DISK_FULL are about commits; with another method nothing is done, as with BEFORE.
    """

    BEFORE = "was not reached"
    """Nothing was done."""
    LOCKED = "is kept locked by another program"
    """Nothing was done."""
    DURING = "took back what it had applied"
    """The whole batch was applied and is taken back: nothing of it may remain."""
    DISK_FULL = "found the disk full and took back what it had applied"
    """The same, for want of room."""
    AFTER = "did not answer"
    """Everything was done, and is durable; only the answer was lost."""

    @property
    def takes_back(self) -> bool:
        """A commit gets as far as its transaction."""
        return self in {Fault.DURING, Fault.DISK_FULL}

    def error(self, what: str) -> StoreUnavailableError:
        """What the caller is told; ``what`` names the call."""
        return StoreUnavailableError(f"{what} failed because a test says so: the store {self.value}")


@dataclass(slots=True, kw_only=True)
class FaultRule:
    """
    One thing that goes wrong, as it was asked for.

    Attributes:
        fault: None: the call is only slow.
        skip: So many calls pass before.
        times: So many calls are met; None: any number.
        seconds: From the first call that is met, by the clock of the store; None: without an end.
        delay_seconds: How long a call that is met takes longer.
    """

    method: str
    fault: Fault | None
    skip: int = 0
    times: int | None = None
    seconds: float | None = None
    delay_seconds: float = 0.0
    _until: float | None = None

    def meets(self, method: str, now: float) -> bool:
        """Whether it concerns this call; counts it when it does."""
        if method != self.method and (self.method != ANY_METHOD or method in _NEVER_BY_CHANCE):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.seconds is not None:
            if self._until is None:
                self._until = now + self.seconds
            if now >= self._until:
                self.times = 0
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0

    @property
    def is_over(self) -> bool:
        """It concerns no call any more."""
        return self.times is not None and self.times <= 0


@dataclass(slots=True, kw_only=True)
class RandomFaults:
    """
    Faults by chance, and the same ones for the same seed and the same calls.

    Attributes:
        rate: The share of calls that fail.
        faults: Which ones; each is as likely as the others.
        methods: Of which methods; ``ANY_METHOD`` for all.
        most_in_a_row: After so many failures of one method its next call passes, so that no run waits for ever.
    """

    seed: int
    rate: float = 0.1
    faults: Sequence[Fault] = tuple(Fault)
    methods: frozenset[str] = frozenset({ANY_METHOD})
    most_in_a_row: int = 5
    _random: random.Random = field(init=False)
    _in_a_row: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  # repeatable, not secret

    def draw(self, method: str) -> Fault | None:
        """What happens to the next call of the method."""
        if method not in self.methods and (ANY_METHOD not in self.methods or method in _NEVER_BY_CHANCE):
            return None
        fails = self._random.random() < self.rate
        fault = self._random.choice(self.faults)
        in_a_row = self._in_a_row.get(method, 0)
        if not fails or in_a_row >= self.most_in_a_row:
            self._in_a_row[method] = 0
            return None
        self._in_a_row[method] = in_a_row + 1
        return fault
