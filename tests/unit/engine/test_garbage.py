"""The collector is calm while somebody drives, and what it was when nobody does."""

import gc
from collections.abc import Generator

import pytest

from switchover import open_executor
from switchover.engine import garbage


@pytest.fixture(autouse=True)
def _own_thresholds() -> Generator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


async def test_it_is_calm_as_long_as_any_executor_drives() -> None:
    gc.set_threshold(700, 10, 10)
    async with open_executor("memory://"):
        assert gc.get_threshold() == (50_000, 10, 10)
        assert gc.get_freeze_count() > 0
        async with open_executor("memory://"):
            pass
        assert gc.get_threshold() == (50_000, 10, 10)
    assert gc.get_threshold() == (700, 10, 10)
    assert gc.get_freeze_count() == 0


def test_whoever_made_it_calmer_or_switched_it_off_is_respected() -> None:
    for threshold in (90_000, 0):
        gc.set_threshold(threshold, 20, 30)
        garbage.calm()
        assert gc.get_threshold() == (threshold, 20, 30)
        garbage.restore()
        assert gc.get_threshold() == (threshold, 20, 30)
