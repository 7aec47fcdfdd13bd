"""What the model provokes is logged by the thousand: it is kept quiet, and only here."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("outlast")
    level = logger.level
    yield
    logger.setLevel(level)
