"""Commits that wait for a standby: what it does not have is not told as made, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import msgspec
import psycopg
import pytest

from harness.binaries import NoPostgres
from harness.postgres import USER, PostgresServer
from harness.replicas import Replica, await_state, replicate_to
from harness.waiting import eventually_async
from outlast import Engine
from outlast._model import NewInstance, Settlement
from outlast._store.postgres import links
from outlast._store.postgres.store import PostgresStore
from outlast._world import SystemWorld
from outlast.config import make_config
from outlast.errors import StoreUnavailable
from tests.store.given import take_as

WORLD = SystemWorld()
STATUS = "SELECT status FROM outlast.instances WHERE id = %s"


class Pair(NamedTuple):
    """A server and the standby that its commits wait for."""

    primary: PostgresServer
    standby: Replica


@pytest.fixture
def pair(own_postgres: None) -> Iterator[Pair]:
    """Both run."""
    with PostgresServer(durable=False) as primary:
        try:
            standby = Replica(primary, name="standby", durable=False)
        except NoPostgres as error:
            pytest.skip(str(error))
        with standby:
            replicate_to(primary, "standby")
            yield Pair(primary, standby)


@pytest.fixture
async def store(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    """A store that gives up soon."""
    monkeypatch.setattr(links, "_LATE_S", 0.2)
    store = PostgresStore(make_config(pair.primary.url(), {"statement_timeout": 0.6, "connect_timeout": 1.0}), WORLD)
    await store.schema.migrate()
    await store.open()
    yield store
    await store.close()


def new() -> NewInstance:
    """An instance to be added."""
    return NewInstance(id=WORLD.new_id(), program="p", version=1, queue="q", priority=0, step="run", state="{}")


async def claimed(store: PostgresStore) -> Settlement:
    """The outcome of a row that was just claimed."""
    await store.instances.add([new()])
    (claim,) = await take_as(store, "n", 1, queue="q", known=["p@1"])
    return Settlement(claim.id, claim.epoch, "done", 0, "1")


async def status(server: PostgresServer, id: str) -> str:
    """What anybody sees."""

    def look() -> str:
        with psycopg.connect(server.url()) as connection:
            row = connection.execute(STATUS, (id,)).fetchone()
            assert row is not None
            return str(row[0])

    return await asyncio.to_thread(look)


async def is_made(store: PostgresStore, outcome: Settlement) -> bool:
    """Whether the store says so, asked again and again as a committer would."""
    try:
        return (await store.claims.commit([outcome])).stale == []
    except StoreUnavailable:
        return False


@pytest.mark.parametrize("has_effects", [False, True], ids=["one statement", "a transaction"])
async def test_a_commit_that_its_standby_does_not_have_is_not_told_as_made(
    pair: Pair, store: PostgresStore, has_effects: bool
) -> None:
    outcome = await claimed(store)
    if has_effects:
        outcome = msgspec.structs.replace(outcome, started=[new()])
    await asyncio.to_thread(pair.standby.kill_postmaster, whole=True)

    for _ in range(3):
        assert not await is_made(store, outcome)
        assert await status(pair.primary, outcome.id) == "running", "nobody sees it before the standby has it"

    await asyncio.to_thread(pair.standby.start)
    await eventually_async(lambda: is_made(store, outcome), timeout=30.0)
    await asyncio.to_thread(pair.primary.kill_postmaster, whole=True)
    await asyncio.to_thread(pair.standby.promote)
    assert await status(pair.standby, outcome.id) == "done"


async def test_what_a_crash_has_shown_is_not_told_as_made_before_the_standby_has_it(
    pair: Pair, store: PostgresStore
) -> None:
    """After a crash the server shows commits that were still waiting for their standby."""
    outcome = await claimed(store)
    await asyncio.to_thread(pair.standby.kill_postmaster, whole=True)
    assert not await is_made(store, outcome)
    await asyncio.to_thread(pair.primary.kill_postmaster, whole=True)
    await asyncio.to_thread(pair.primary.start)
    assert await status(pair.primary, outcome.id) == "done"

    for _ in range(3):
        assert not await is_made(store, outcome)

    await asyncio.to_thread(pair.standby.start)
    await eventually_async(lambda: is_made(store, outcome), timeout=30.0)


async def test_who_may_not_ask_for_it_can_connect_again(pair: Pair) -> None:
    """Some take the right to call functions away from everybody."""
    await Engine(pair.primary.url()).migrate()
    with psycopg.connect(pair.primary.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE bob LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA outlast TO bob")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA outlast TO bob")
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC")
    store = PostgresStore(make_config(pair.primary.url().replace("outlast@", "bob@"), {}), WORLD)
    try:
        for _ in range(2):
            assert await store.instances.totals() == {}
            for lane in (store._links.engine, store._links.client):
                for session in list(lane._connections):
                    session.terminate()
    finally:
        await store.close()


async def test_the_primary_of_before_a_failover_is_used_no_more(pair: Pair) -> None:
    """It comes back, stands first in the URL, and takes writes."""
    first, second = pair
    replicate_to(first, None)
    url = f"postgresql://{USER}@127.0.0.1:{first.port},127.0.0.1:{second.port}/postgres?target_session_attrs=read-write"
    store = PostgresStore(make_config(url, {}), WORLD)
    await store.schema.migrate()
    before, after = new(), new()

    async def is_added(one: NewInstance) -> bool:
        try:
            await store.instances.add([one])
        except StoreUnavailable:
            return False
        return True

    try:
        await eventually_async(lambda: is_added(before))
        with psycopg.connect(first.url(), autocommit=True) as connection:
            await asyncio.to_thread(await_state, connection, "standby", "async")
        await asyncio.to_thread(first.kill_postmaster, whole=True)
        await asyncio.to_thread(second.promote)
        await eventually_async(lambda: is_added(new()), timeout=30.0)
        await asyncio.to_thread(first.start)
        for lane in (store._links.engine, store._links.client):
            for session in list(lane._connections):
                session.terminate()
        await eventually_async(lambda: is_added(after), timeout=30.0)

        assert await status(second, after.id) == "ready"
        store._links._timeline = 99
        with pytest.raises(StoreUnavailable, match="on timeline 2, and one on 99 has been seen"):
            await store._links.connect("one")
    finally:
        await store.close()
