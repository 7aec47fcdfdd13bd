"""Workflows run by hand, and by workers, on each database: with code that stays in memory, and without."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from zlib import crc32

import pytest

from outlast import Engine
from outlast.testing import by_hand
from tests.engine.conftest import engine as worker
from tests.engine.conftest import table, url
from tests.engine.given import Engines
from tests.workflows.programs import SEEN

__all__ = ["table", "url", "worker"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On Postgres each test runs in one of the two ways, by its name; in both with OUTLAST_TEST_WAYS=all."""
    if os.environ.get("OUTLAST_TEST_WAYS") == "all":
        return
    left = {item for item in items if _is_the_other_way(item)}
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=list(left))


def _is_the_other_way(item: pytest.Item) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if params.get("store_url") != "postgres" or "residents_max" not in params:
        return False
    name = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
    return bool(params["residents_max"]) is bool(crc32(name.encode()) % 2)


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


@pytest.fixture(params=[1_000, 0], ids=["stays", "anew"])
def residents_max(request: pytest.FixtureRequest) -> int:
    """How much code of waiting workflows stays in memory: the test runs once with much, and once with none."""
    return int(request.param)


@pytest.fixture
def runs(residents_max: int) -> int:
    """How often the code in front of a workflow's last wait runs in all."""
    return 1 if residents_max else 2


@pytest.fixture
async def hand(store_url: str, residents_max: int) -> AsyncIterator[Engine]:
    """An engine that is run by hand."""
    async with by_hand(url=store_url, max_crashes=50, residents_max=residents_max) as engine:
        yield engine


@pytest.fixture
async def engines(url: str, residents_max: int) -> AsyncIterator[Engines]:
    """Opens engines on the test's database, and closes them at its end."""
    async with AsyncExitStack() as stack:

        async def open_one(*, at: str = url, **options: Any) -> Engine:
            options = {"residents_max": residents_max} | options
            return await stack.enter_async_context(Engines.make(at, **options))

        yield Engines(url, open_one)
