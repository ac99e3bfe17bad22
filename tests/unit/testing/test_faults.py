"""What an author of a store can let go wrong, and how exactly it can be told."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.domain.task import PlanId
from switchover.errors import StoreUnavailableError
from switchover.spi import Entry, ExecutionStore
from switchover.testing.clock import ManualClock
from switchover.testing.fakes import FaultyStore
from switchover.testing.faults import Fault, RandomFaults
from switchover.testing.samples import sample_plan

PLAN = PlanId(1)


async def opened(clock: ManualClock | None = None) -> FaultyStore:
    store = FaultyStore(inner=MemoryExecutionStore(), clock=clock)
    await store.open()
    return store


async def outcomes(count: int, call: Callable[[], Coroutine[Any, Any, object]]) -> str:
    """One letter per call: f for a fault, . for a success."""
    told = ""
    for _ in range(count):
        try:
            await call()
        except StoreUnavailableError:
            told += "f"
        else:
            told += "."
    return told


async def test_so_many_calls_fail_after_so_many_that_pass() -> None:
    store = await opened()
    store.fail("load_state", skip=2, times=3)
    assert await outcomes(8, store.load_state) == "..fff..."
    assert await outcomes(1, store.load_line) == ".", "other methods do not count"


async def test_an_outage_lasts_from_its_first_call_by_the_clock_of_the_test() -> None:
    clock = ManualClock()
    store = await opened(clock)
    store.fail(fault=Fault.LOCKED, times=None, seconds=60)
    await clock.advance(100)  # nobody calls, so nothing has begun
    assert await outcomes(2, store.load_state) == "ff"
    await clock.advance(59)
    assert await outcomes(1, store.load_line) == "f"
    await clock.advance(1)
    assert await outcomes(2, store.load_line) == ".."


def test_a_time_without_a_clock_is_refused() -> None:
    store = FaultyStore(inner=MemoryExecutionStore())
    with pytest.raises(ValueError, match="needs a clock"):
        store.fail(seconds=1)
    with pytest.raises(ValueError, match="needs a clock"):
        store.slow(1)


async def test_a_call_that_is_slow_succeeds() -> None:
    clock = ManualClock()
    store = await opened(clock)
    store.slow(5, "load_state")
    await clock.run(store.load_state())
    assert clock.monotonic() == 5
    await store.load_state()
    assert clock.monotonic() == 5


async def test_a_request_whose_answer_is_lost_is_in_the_store() -> None:
    store = await opened()
    store.fail("put_request", Fault.AFTER)
    assert await outcomes(1, lambda: store.put_request("pause", b"{}")) == "f"
    assert len(await store.open_requests(0, 10)) == 1


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.LOCKED, Fault.DURING, Fault.DISK_FULL])
async def test_a_request_that_fails_otherwise_is_not(fault: Fault) -> None:
    store = await opened()
    store.fail("put_request", fault)
    assert await outcomes(1, lambda: store.put_request("pause", b"{}")) == "f"
    assert len(await store.open_requests(0, 10)) == 0


@pytest.mark.parametrize("fault", Fault)
async def test_each_fault_of_a_commit_says_what_it_is_and_leaves_what_it_says(fault: Fault) -> None:
    store = await opened()
    lease = await store.acquire_driver("test")
    assert lease is not None
    store.fail("commit", fault)
    with pytest.raises(StoreUnavailableError, match=fault.value):
        await store.commit(lease, [Entry(new_plan=sample_plan(1, ["acme"]).new_plan())])
    assert (await store.load_plan(PLAN) is not None) is (fault is Fault.AFTER)
    assert list(await store.check()) == []


async def test_every_method_that_a_store_has_can_fail() -> None:
    """With the next method of the SPI this fails, unless it passes through the wrapper."""
    methods = [name for name, _ in inspect.getmembers(ExecutionStore, inspect.iscoroutinefunction)]
    assert len(methods) > 20
    for name in methods:
        store = await opened()
        store.calls.clear()
        store.fail(name, times=None)
        method = getattr(store, name)
        given = {
            parameter.name: None
            for parameter in inspect.signature(method).parameters.values()
            if parameter.default is inspect.Parameter.empty
        }
        with pytest.raises(StoreUnavailableError):
            await method(**given)
        assert store.calls[name] == 1


async def test_a_fault_of_any_method_spares_opening_and_closing() -> None:
    store = await opened()
    store.fail(times=None)
    await store.aclose()
    await store.open()
    assert await outcomes(1, store.load_state) == "f"
    store.fail("open")
    assert await outcomes(2, store.open) == "f."


async def test_chance_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    async def told(seed: int) -> str:
        store = await opened()
        store.chance = RandomFaults(seed=seed, rate=0.5)
        return await outcomes(200, store.load_state)

    first = await told(1)
    assert first == await told(1)
    assert first != await told(2)
    assert 50 < first.count("f") < 150


async def test_chance_lets_a_call_pass_in_the_end_and_keeps_to_its_methods() -> None:
    store = await opened()
    store.chance = RandomFaults(seed=1, rate=1, methods=frozenset({"load_state"}), most_in_a_row=3)
    assert await outcomes(8, store.load_state) == "fff.fff."
    assert await outcomes(3, store.load_line) == "..."


async def test_healed_is_healed() -> None:
    store = await opened(ManualClock())
    store.fail(times=None)
    store.slow(5, times=None)
    store.chance = RandomFaults(seed=1, rate=1)
    store.away = True
    store.heal()
    assert await outcomes(3, store.load_state) == "..."
