"""Engines run by hand, on each database."""

from collections.abc import AsyncIterator

import pytest

from outlast import Engine
from outlast.testing import by_hand
from tests.testing import programs


@pytest.fixture
async def engine(store_url: str) -> AsyncIterator[Engine]:
    """An engine that is run by hand."""
    programs.SEEN.clear()
    async with by_hand(
        url=store_url,
        programs=programs.ALL,
        concurrency_limits={"pair": 2},
        rate_limits={"slow": "1/h"},
        max_crashes=3,
    ) as engine:
        yield engine
