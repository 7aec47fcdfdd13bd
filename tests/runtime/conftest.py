"""A store on each database, and what single actors need around them. No test here names a database."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from outlast._runtime.events import Events
from outlast._store.contract import Store
from outlast._store.door import open_store
from outlast.config import make_config
from tests.runtime.stage import Clock, Heard, Rings
from tests.store.given import Database, Given


@pytest.fixture
def database(store_url: str) -> Database:
    """A fresh database with its tables: the test runs once on each kind."""
    return Database(store_url, lambda world, **options: open_store(make_config(store_url, options), world))


@pytest.fixture
def clock() -> Clock:
    """A world whose monotonic clock stands still until it is moved."""
    return Clock()


@pytest.fixture
async def store(database: Database, clock: Clock) -> AsyncIterator[Store]:
    """A store with its tables, open."""
    store = database.make(clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def given(store: Store, clock: Clock, database: Database) -> Given:
    """Makes what a test starts from."""
    return Given(store, clock, database)


@pytest.fixture
def heard() -> Heard:
    """What was reported."""
    return Heard()


@pytest.fixture
async def events(heard: Heard) -> Events:
    """Reports to `heard`."""
    events = Events("test")
    events.open()
    events.listen(heard)
    return events


@pytest.fixture
def rings() -> Rings:
    """A doorbell that notes who was woken."""
    return Rings()


@pytest.fixture
async def loops() -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Tasks to end with the test."""
    tasks: list[asyncio.Task[Any]] = []
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
