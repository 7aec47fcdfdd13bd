"""What the scars start from: stores, single actors and engines, all on one fresh database."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from outlast._runtime.events import Events
from outlast._runtime.upkeep import Reaper
from outlast._store.contract import Store
from tests.engine.conftest import engine, engines, table, url
from tests.runtime.conftest import clock, database, events, given, heard, rings, store
from tests.runtime.stage import Clock, Rings
from tests.store.conftest import owners
from tests.store.given import Database, Given
from tests.store.outcomes import Post

__all__ = [
    "clock",
    "database",
    "engine",
    "engines",
    "events",
    "given",
    "heard",
    "owners",
    "rings",
    "store",
    "table",
    "url",
]


@pytest.fixture
async def other(database: Database, clock: Clock) -> AsyncIterator[Store]:
    """Another process's store."""
    store = database.make(clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def post(given: Given) -> Post:
    """Sends signals."""
    return Post(given)


@pytest.fixture
def make_reaper(given: Given, clock: Clock, rings: Rings, events: Events) -> Callable[..., Reaper]:
    """Makes a reaper of the node "own", whose own renewals never failed."""

    def make(**options: Any) -> Reaper:
        plain: dict[str, Any] = {
            "interval_s": 1.0,
            "max_crashes": 5,
            "own_node": lambda: "own",
            "steady_since": lambda: float("-inf"),
        }
        return Reaper(given.store.leases, rings, events=events, world=clock, **plain | options)

    return make


@pytest.fixture
async def session(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's session on Postgres."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
async def watcher(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A session that only looks; inside a transaction, what the server tells of its sessions stands still."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()
