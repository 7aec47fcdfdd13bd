"""For tests that provoke thousands of lines of log: what they do to the log ends with them."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """The log says after each test what it said before."""
    logger = logging.getLogger("outlast")
    level = logger.level
    yield
    logger.setLevel(level)
