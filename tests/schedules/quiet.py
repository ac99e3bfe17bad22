"""Schedules break things thousands of times a second, and the program would log each one."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

import structlog


@contextmanager
def quiet() -> Generator[None]:
    """While open, nothing is logged."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
