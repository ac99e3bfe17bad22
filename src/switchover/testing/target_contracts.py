"""
What every configuration target must promise, as tests.

Inherit, say how to reach the target, and run pytest::

    class TestMyTarget(ConfigTargetContract):
        @pytest.fixture
        async def target(self) -> AsyncIterator[ConfigTarget]: ...
        @pytest.fixture
        async def other(self) -> AsyncIterator[ConfigTarget]: ...
        async def peek(self, key: str, field: str | None) -> bytes | None: ...

``peek`` reads behind the target's back, so that a target which only remembers what it was told cannot pass.
"""

import asyncio
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import ClassVar

import pytest

from switchover.errors import StaleGenerationError
from switchover.spi import ConfigTarget, HeldValue

VALUES: tuple[bytes, ...] = (
    b'{"unit":"green","version":"42"}',
    b'{ "unit" :\t"blue" ,\n "version":1.0, "list": [ 1,2 , 3 ] }',
    b'{"z":1,"a":2,"z2":{"b":null,"a":[]}}',
    b'"\\u00e9 is not \xc3\xa9, and \\/ is not /"',
    '"grün 🟢 绿色"'.encode(),
    b"1e5",
    b"100000.0",
    b"-0",
    b"12345678901234567890123456789",
    b"true",
    b"null",
    b'""',
    b"{}",
    b"{ }",
    b"[]",
    b'"{braces} and, commas: \\"quoted\\" }"',
)
"""JSON texts that say the same in many ways: none may be turned into another."""


class ConfigTargetContract(ABC):
    """The promises; see ``switchover.spi.ConfigTarget``."""

    field: ClassVar[str | None] = "gateway"
    """None to test keys that hold the value themselves."""

    @pytest.fixture
    def target(self) -> ConfigTarget:
        """The target, over a place that is empty for each test."""
        raise NotImplementedError

    @pytest.fixture
    def other(self) -> ConfigTarget:
        """A second one over the same place, sharing nothing else, as in another process."""
        raise NotImplementedError

    @abstractmethod
    async def peek(self, key: str, field: str | None) -> bytes | None:
        """What really lies there; None when nothing does."""

    async def test_nothing_is_there_at_first(self, target: ConfigTarget) -> None:
        """Absent is None with generation 0, not an error and not an empty value."""
        assert await target.read("tenant:acme", self.field) == HeldValue(value=None, generation=0)
        assert await self.peek("tenant:acme", self.field) is None

    @pytest.mark.parametrize("value", VALUES)
    async def test_a_value_comes_back_byte_for_byte(
        self, target: ConfigTarget, other: ConfigTarget, value: bytes
    ) -> None:
        """Spacing, order, escapes and spelling of numbers are kept, as seen by anybody."""
        await target.write("tenant:acme", self.field, value, 1)

        assert await target.read("tenant:acme", self.field) == HeldValue(value=value, generation=1)
        assert await other.read("tenant:acme", self.field) == HeldValue(value=value, generation=1)
        assert await self.peek("tenant:acme", self.field) == value

    async def test_a_big_value_comes_back(self, target: ConfigTarget) -> None:
        """A megabyte is no limit."""
        value = json.dumps({"rules": ["x" * 100] * 10_000}).encode()
        await target.write("tenant:acme", self.field, value, 1)
        assert await target.read("tenant:acme", self.field) == HeldValue(value=value, generation=1)

    async def test_absent_empty_and_null_are_three_things(self, target: ConfigTarget) -> None:
        """A rollback has to restore each of them as what it was."""
        await target.write("empty", self.field, b'""', 1)
        await target.write("null", self.field, b"null", 1)

        assert (await target.read("absent", self.field)).value is None
        assert (await target.read("empty", self.field)).value == b'""'
        assert (await target.read("null", self.field)).value == b"null"

    @pytest.mark.parametrize(
        "key", ["tenant_config:acme", "ключ", "with space", 'quote"d', "per%cent", "{tag}key", "a.b-c_d~e", "x" * 150]
    )
    async def test_keys_are_taken_as_they_are(self, target: ConfigTarget, key: str) -> None:
        """Whatever the key is made of, it names one place and no other."""
        await target.write("neighbour", self.field, b'"untouched"', 1)
        await target.write(key, self.field, b'"here"', 1)

        assert (await target.read(key, self.field)).value == b'"here"'
        assert await self.peek(key, self.field) == b'"here"'
        assert (await target.read("neighbour", self.field)).value == b'"untouched"'

    async def test_fields_of_one_key_are_strangers(self, target: ConfigTarget) -> None:
        """Values, generations and removals of one service leave the other's alone."""
        await target.write("tenant:acme", "one", b"1", 5)
        await target.write("tenant:acme", "two", b"2", 3)
        await target.remove("tenant:acme", "one", 6)

        assert await target.read("tenant:acme", "one") == HeldValue(value=None, generation=6)
        assert await target.read("tenant:acme", "two") == HeldValue(value=b"2", generation=3)

    async def test_a_lower_generation_cannot_write(self, target: ConfigTarget, other: ConfigTarget) -> None:
        """A process that was frozen wakes up late: it is refused, and nothing changes (lesson 9)."""
        await target.write("tenant:acme", self.field, b'"new"', 7)

        with pytest.raises(StaleGenerationError) as refused:
            await other.write("tenant:acme", self.field, b'"old"', 6)

        assert refused.value.held_generation in {7, None}
        assert await target.read("tenant:acme", self.field) == HeldValue(value=b'"new"', generation=7)
        assert await self.peek("tenant:acme", self.field) == b'"new"'

    async def test_a_lower_generation_cannot_remove(self, target: ConfigTarget, other: ConfigTarget) -> None:
        """The fence holds for removals too."""
        await target.write("tenant:acme", self.field, b'"new"', 7)
        with pytest.raises(StaleGenerationError):
            await other.remove("tenant:acme", self.field, 6)
        assert await target.read("tenant:acme", self.field) == HeldValue(value=b'"new"', generation=7)

    async def test_generations_are_numbers_not_texts(self, target: ConfigTarget) -> None:
        """9 is lower than 10, although it sorts above it."""
        await target.write("tenant:acme", self.field, b'"ten"', 10)
        with pytest.raises(StaleGenerationError):
            await target.write("tenant:acme", self.field, b'"nine"', 9)

    async def test_an_equal_generation_is_accepted(self, target: ConfigTarget) -> None:
        """A step that runs again after a crash writes under the generation that it wrote under before."""
        for value in (b'"first"', b'"first"', b'"second"'):
            await target.write("tenant:acme", self.field, value, 4)
        assert await target.read("tenant:acme", self.field) == HeldValue(value=b'"second"', generation=4)
        for _ in range(2):
            await target.remove("tenant:acme", self.field, 4)
        assert await target.read("tenant:acme", self.field) == HeldValue(value=None, generation=4)

    async def test_a_higher_generation_replaces(self, target: ConfigTarget) -> None:
        """What a rollback writes is newer than what it undoes (lesson 23)."""
        await target.write("tenant:acme", self.field, b'"a"', 1)
        await target.write("tenant:acme", self.field, b'"b"', 9)
        assert await target.read("tenant:acme", self.field) == HeldValue(value=b'"b"', generation=9)

    async def test_the_generation_outlives_the_value(self, target: ConfigTarget) -> None:
        """Gone is gone, but an old run cannot bring it back."""
        await target.write("tenant:acme", self.field, b'"a"', 3)
        await target.remove("tenant:acme", self.field, 5)

        assert await target.read("tenant:acme", self.field) == HeldValue(value=None, generation=5)
        assert await self.peek("tenant:acme", self.field) is None
        with pytest.raises(StaleGenerationError):
            await target.write("tenant:acme", self.field, b'"late"', 4)
        assert await self.peek("tenant:acme", self.field) is None
        await target.write("tenant:acme", self.field, b'"next"', 6)
        assert await target.read("tenant:acme", self.field) == HeldValue(value=b'"next"', generation=6)

    async def test_removing_nothing_is_fine(self, target: ConfigTarget) -> None:
        """The switch created the key, somebody removed it by hand, and the rollback still succeeds."""
        await target.remove("tenant:acme", self.field, 2)
        assert (await target.read("tenant:acme", self.field)).value is None
        assert await self.peek("tenant:acme", self.field) is None

    async def test_of_many_writers_the_highest_generation_wins(self, target: ConfigTarget, other: ConfigTarget) -> None:
        """Checked and written in one atomic operation: no order of arrival lets an older value survive."""
        generations = [*range(1, 41)]
        random.Random(7).shuffle(generations)  # noqa: S311  # a fixed order, not a secret
        writers = (target, other)

        outcomes = await asyncio.gather(
            *(
                _attempt(writers[number % 2].write("tenant:acme", self.field, str(number).encode(), number))
                for number in generations
            )
        )

        assert await target.read("tenant:acme", self.field) == HeldValue(value=b"40", generation=40)
        assert await self.peek("tenant:acme", self.field) == b"40"
        assert outcomes[generations.index(40)], "the highest generation was refused"

    async def test_writers_of_different_keys_lose_nothing(self, target: ConfigTarget, other: ConfigTarget) -> None:
        """Fifty tenants at once, through two handles: every value is there afterwards."""
        writers = (target, other)
        await asyncio.gather(
            *(
                writers[number % 2].write(f"tenant:{number}", self.field, str(number).encode(), 1)
                for number in range(50)
            )
        )
        for number in range(50):
            held = await target.read(f"tenant:{number}", self.field)
            assert held == HeldValue(value=str(number).encode(), generation=1)


async def _attempt(write: Awaitable[None]) -> bool:
    try:
        await write
    except StaleGenerationError:
        return False
    return True
