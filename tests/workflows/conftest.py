"""Workflows run by hand, and by workers, on each database."""

from collections.abc import AsyncIterator

import pytest

from outlast import Engine
from outlast.testing import by_hand
from tests.engine.conftest import engine as worker
from tests.engine.conftest import engines, table, url
from tests.workflows.programs import SEEN

__all__ = ["engines", "table", "url", "worker"]


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


@pytest.fixture
async def hand(store_url: str) -> AsyncIterator[Engine]:
    """An engine that is run by hand."""
    async with by_hand(url=store_url, max_crashes=50) as engine:
        yield engine
