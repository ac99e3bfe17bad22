"""Schedules break things thousands of times a second, and the program would log each one."""

import logging
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def quiet() -> Generator[None]:
    """While open, nothing is logged."""
    logger = logging.getLogger("switchover")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
