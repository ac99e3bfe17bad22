import pytest

from switchover.adapters.targets.provider import SchemeTargetProvider, TargetFamily
from switchover.errors import StageError
from switchover.spi import BroadcastTarget, ConfigTarget, TargetProvider
from tests.support.stages import MemoryTarget


class Family:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.closed = 0

    def config_target(self, url: str) -> ConfigTarget:
        self.urls.append(url)
        return MemoryTarget()

    def broadcast_target(self, url: str) -> BroadcastTarget:
        self.urls.append(url)
        return MemoryTarget()

    async def aclose(self) -> None:
        self.closed += 1


def test_schemes_lead_to_their_family_which_is_made_when_it_is_needed() -> None:
    made: list[Family] = []

    def make() -> TargetFamily:
        made.append(Family())
        return made[-1]

    def never() -> TargetFamily:
        raise AssertionError

    provider: TargetProvider = SchemeTargetProvider({"redis": make, "rediss": make, "http": never})
    assert made == []
    provider.config_target("redis://a/0")
    provider.broadcast_target("REDISS://b/0")
    assert [family.urls for family in made] == [["redis://a/0", "REDISS://b/0"]]


@pytest.mark.parametrize("url", ["ftp://u:s3cret@h/", "nonsense", ""])
def test_a_scheme_that_nobody_serves_is_named_without_secrets(url: str) -> None:
    with pytest.raises(StageError, match="known schemes: redis") as refused:
        SchemeTargetProvider({"redis": Family}).config_target(url)
    assert "s3cret" not in str(refused.value)


def test_a_missing_driver_says_what_to_install() -> None:
    def make() -> TargetFamily:
        raise ModuleNotFoundError(name="redis")

    with pytest.raises(StageError, match=r"pip install 'switchover\[redis\]'"):
        SchemeTargetProvider({"rediss": make}).config_target("rediss://h/0")


async def test_what_was_opened_is_closed_once() -> None:
    family = Family()
    provider = SchemeTargetProvider({"redis": lambda: family, "http": Family})
    provider.config_target("redis://a/0")
    await provider.aclose()
    await provider.aclose()
    assert family.closed == 1
    with pytest.raises(StageError, match="closed"):
        provider.config_target("redis://a/0")


async def test_a_provider_that_was_never_used_can_be_closed() -> None:
    await SchemeTargetProvider({"redis": Family}).aclose()
