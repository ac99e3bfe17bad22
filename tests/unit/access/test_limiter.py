import pytest

from switchover.access import LoginLimiter
from switchover.testing.clock import ManualClock


def limiter(clock: ManualClock, attempts: int = 2, most: int = 10_000) -> LoginLimiter:
    return LoginLimiter(clock=clock, attempts=attempts, refill_seconds=10, most_addresses=most)


async def test_attempts_come_back_one_by_one() -> None:
    clock = ManualClock()
    limited = limiter(clock)
    for _ in range(2):
        assert limited.retry_after("10.0.0.1") == 0
        limited.failed("10.0.0.1")
    assert limited.retry_after("10.0.0.1") == 10
    await clock.advance(9.5)
    assert limited.retry_after("10.0.0.1") == 1
    await clock.advance(0.5)
    assert limited.retry_after("10.0.0.1") == 0
    limited.failed("10.0.0.1")
    assert limited.retry_after("10.0.0.1") == 10


async def test_failures_while_it_is_closed_do_not_close_it_for_longer() -> None:
    clock = ManualClock()
    limited = limiter(clock)
    for _ in range(50):
        limited.failed("10.0.0.1")
    assert limited.retry_after("10.0.0.1") == 10


def test_what_is_remembered_is_bounded() -> None:
    limited = limiter(ManualClock(), most=100)
    for number in range(1_000):
        limited.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(limited._used) == 100


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("unix", "unix", True),
    ],
)
def test_what_one_customer_has_at_hand_counts_as_one_address(one: str, other: str, same: bool) -> None:
    limited = limiter(ManualClock(), attempts=1)
    limited.failed(one)
    assert bool(limited.retry_after(other)) is same


def test_zero_attempts_mean_no_limit() -> None:
    limited = limiter(ManualClock(), attempts=0)
    for _ in range(9):
        limited.failed("10.0.0.1")
    assert limited.retry_after("10.0.0.1") == 0
