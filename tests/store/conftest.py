"""A store on each database. No test below here names one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from outlast._store.contract import Store
from outlast._store.door import open_store as open_store_of
from outlast._store.sqlite.files import database_path
from outlast._store.sqlite.store import SqliteStore
from outlast.config import make_config
from tests.store.given import Database, Given, PinnedWorld
from tests.store.owners import Owners

OpenStore = Callable[..., Awaitable[Store]]
OpenSqlite = Callable[..., Awaitable[SqliteStore]]


@pytest.fixture
def database(store_url: str) -> Database:
    """A fresh database with its tables: the test runs once on each kind."""
    return _database(store_url)


@pytest.fixture
def empty_database(empty_url: str) -> Database:
    """A fresh database without tables: the test runs once on each kind."""
    return _database(empty_url)


def _database(url: str) -> Database:
    def make(world: PinnedWorld, **options: object) -> Store:
        return open_store_of(make_config(url, options), world)

    return Database(url, make)


@pytest.fixture
def world() -> PinnedWorld:
    """Clock and ids; its clock runs until a test pins it."""
    return PinnedWorld()


@pytest.fixture
async def open_store(database: Database, world: PinnedWorld) -> AsyncIterator[OpenStore]:
    """Opens one more store on the same database, as another process would have."""
    async with AsyncExitStack() as stack:

        async def open_one(**options: object) -> Store:
            store = database.make(world, **options)
            stack.push_async_callback(store.close)
            if "schema" in options:
                await store.schema.migrate()
            await store.open()
            return store

        yield open_one


@pytest.fixture
def path(empty_sqlite_url: str) -> Path:
    """The file of a database on SQLite that does not exist yet."""
    found = database_path(empty_sqlite_url)
    assert found is not None
    return found


@pytest.fixture
async def open_sqlite(empty_sqlite_url: str) -> AsyncIterator[OpenSqlite]:
    """Opens one more store on that file, or on another URL, for what only SQLite has."""
    async with AsyncExitStack() as stack:

        async def open_one(url: str = empty_sqlite_url, **options: object) -> SqliteStore:
            store = SqliteStore(make_config(url, options), PinnedWorld())
            stack.push_async_callback(store.close)
            await store.open()
            return store

        yield open_one


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    """A store with its tables, open."""
    return await open_store()


@pytest.fixture
def given(store: Store, world: PinnedWorld, database: Database) -> Given:
    """Makes what a test starts from."""
    return Given(store, world, database)


@pytest.fixture
def owners(given: Given) -> Owners:
    """Makes what tests of objects start from."""
    return Owners(given)
