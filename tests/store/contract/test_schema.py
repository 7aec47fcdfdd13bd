"""The tables, and opening and closing a store on them."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
import pytest

from outlast._store.contract import Store
from outlast.errors import EngineStateError, SchemaError, StoreError
from tests.store.conftest import OpenStore
from tests.store.given import Database, Given, PinnedWorld


@asynccontextmanager
async def closing(store: Store) -> AsyncIterator[Store]:
    """Closes a store at the end, opened or not."""
    try:
        yield store
    finally:
        await store.close()


async def test_an_open_store_has_the_latest_tables(store: Store) -> None:
    assert await store.schema.version() == store.schema.latest >= 1


async def test_migrating_again_does_nothing(store: Store) -> None:
    assert await store.schema.migrate() == []


async def test_many_may_open_and_migrate_at_once(empty_database: Database, world: PinnedWorld) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(closing(empty_database.make(world))) for _ in range(8)]

        made = await asyncio.gather(*(_migrated_and_opened(store) for store in stores))

        assert sorted(number for each in made for number in each) == list(range(1, stores[0].schema.latest + 1))
        assert {await store.schema.version() for store in stores} == {stores[0].schema.latest}
        assert [await store.schema.migrate() for store in stores] == [[]] * 8


async def _migrated_and_opened(store: Store) -> list[int]:
    made = await store.schema.migrate()
    await store.open()
    return made


async def test_newer_tables_are_refused(store: Store, open_store: OpenStore, database: Database) -> None:
    database.query("INSERT INTO {migrations} (version) VALUES (?)", store.schema.latest + 1)

    with pytest.raises(SchemaError, match="upgrade outlast"):
        await open_store()


async def test_tables_may_be_made_before_the_store_is_open(empty_database: Database, world: PinnedWorld) -> None:
    store = empty_database.make(world)
    async with closing(store):
        assert await store.schema.version() == 0

        applied = await store.schema.migrate()

        assert applied[-1] == await store.schema.version() == store.schema.latest
        await store.open()
        assert await store.instances.totals() == {}


async def test_the_script_makes_the_same_tables(empty_database: Database, world: PinnedWorld) -> None:
    async with closing(empty_database.make(world)) as store:
        empty_database.run(store.schema.script())

        assert await store.schema.migrate() == []
        await store.open()
        await Given(store, world, empty_database).ended()


async def test_the_script_from_the_latest_version_makes_nothing(store: Store) -> None:
    assert "instances" not in store.schema.script(store.schema.latest)


async def test_two_schemas_in_one_database_are_strangers(given: Given, open_store: OpenStore) -> None:
    await given.one()

    other = await open_store(schema="second")

    assert await other.instances.totals() == {}
    assert await given.store.instances.totals() == {"ready": 1}


async def test_dropped_tables_are_gone_and_can_be_made_again(given: Given, open_store: OpenStore) -> None:
    other = await open_store(schema="second")
    await given.one()

    await other.schema.drop()
    await other.schema.drop()

    assert await other.schema.version() == 0
    assert await other.schema.migrate() != []
    assert await other.instances.totals() == {}
    assert await given.store.instances.totals() == {"ready": 1}


async def test_a_store_that_has_found_no_tables_says_so(empty_database: Database, world: PinnedWorld) -> None:
    async with closing(empty_database.make(world)) as store:
        with pytest.raises((StoreError, EngineStateError)):
            await store.instances.totals()


async def test_a_closed_store_says_so(given: Given, open_store: OpenStore) -> None:
    store = await open_store()
    await store.close()
    await store.close()

    with pytest.raises(StoreError):
        await store.instances.totals()
    with pytest.raises(StoreError):
        await store.instances.add([given.new()])
    with pytest.raises(StoreError):
        await asyncio.to_thread(store.leases.renewer().renew, "n1")
    store.bell.ring("*")


async def test_closing_what_was_never_open_is_harmless(database: Database, world: PinnedWorld) -> None:
    await database.make(world).close()


async def test_what_was_begun_before_the_close_is_finished(given: Given, open_store: OpenStore) -> None:
    store = await open_store()
    added = asyncio.ensure_future(store.instances.add([row := given.new()]))
    await asyncio.sleep(0)

    await store.close()

    try:
        await added
    except StoreError:
        assert await given.store.instances.get(row.id) is None
    else:
        assert await given.status(row.id) == "ready"


async def test_a_cancelled_caller_leaves_the_store_whole(given: Given) -> None:
    for turns in range(6):
        async with asyncio.TaskGroup() as group:
            caller = group.create_task(given.store.instances.add([given.new() for _ in range(3)]))
            for _ in range(turns):
                await asyncio.sleep(0)
            caller.cancel()

    await given.added(3)
    assert (await given.store.instances.totals())["ready"] % 3 == 0


async def test_a_store_is_described_in_one_line_without_secrets(store: Store) -> None:
    text = store.describe()

    assert text
    assert "\n" not in text


NO_SUCH_ROWS = {
    "runs for nobody": ("status = 'running', node = NULL", {}),
    "is somebody's and does not run": ("node = 'ann'", {}),
    "has ended at no time": ("status = 'done'", {}),
    "has ended and goes on": ("{finished}", {}),
    "stands nowhere": ("status = 'asleep'", {}),
    "has a slot and does not run": ("slot = 0", {}),
    "wakes without waiting": ("{wake}", {}),
    "has no such epoch": ("epoch = NULL", {}),
    "shares a slot": ("status = 'running', node = 'ann', slot = 0", {"concurrency_key": "k"}),
    "shares a key": ("correlation_key = 'taken'", {"key": "free"}),
    "shares its place in a family": ("child = 0", {"parent": "0190a2b3-0000-7000-8000-000000000000"}),
}


@pytest.mark.parametrize("edit", NO_SUCH_ROWS)
async def test_a_row_that_cannot_be_is_refused_whoever_writes_it(given: Given, store: Store, edit: str) -> None:
    """Tables are edited by hand, too; what is refused there cannot harm anybody."""
    change, columns = NO_SUCH_ROWS[edit]
    lite = store.dialect == "sqlite"
    change = change.format(
        finished="finished_us = 1" if lite else "finished_at = now()", wake="wake_us = 1" if lite else "wake_at = now()"
    )
    first = given.new(
        **columns | ({"key": "taken"} if "key" in columns else {}) | ({"child": 0} if "parent" in columns else {})
    )
    second = given.new(**columns | ({"child": 1} if "parent" in columns else {}))
    assert await store.instances.add([first, second]) == []
    if "concurrency_key" in columns:
        given.database.poke(first.id, status="running", node="ann", slot=0)

    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        given.database.query(f"UPDATE {{instances}} SET {change} WHERE id = ?", second.id)

    assert (await given.read(second.id)).status in ("ready", "scheduled")
