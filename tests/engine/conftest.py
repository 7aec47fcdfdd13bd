"""Engines on each database. No test here names one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast import Engine
from tests.engine.given import Engines, Table


@pytest.fixture
def url(store_url: str) -> str:
    """A fresh database with its tables: the test runs once on each kind."""
    return store_url


@pytest.fixture
def table(url: str) -> Table:
    """A way past the engine to look at the rows."""
    return Table(url)


@pytest.fixture
async def engines(url: str) -> AsyncIterator[Engines]:
    """Opens engines on the test's database, and closes them at its end."""
    async with AsyncExitStack() as stack:

        async def open_one(*, at: str = url, **options: Any) -> Engine:
            return await stack.enter_async_context(Engines.make(at, **options))

        yield Engines(url, open_one)


@pytest.fixture
async def engine(engines: Engines) -> Engine:
    """One open engine that works on the queue "default"."""
    return await engines.open()
