"""Inserting on a connection, and in a transaction, that belong to the caller: `start(..., connection=...)`."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from django.utils.connection import ConnectionProxy
from sqlalchemy import orm

from harness.waiting import eventually_async
from outlast._kernel.identity import scope_text
from outlast._model import Claim, Filter, Held, NewInstance
from outlast._store.contract import Store
from outlast._store.door import open_store
from outlast._store.enlist import enlist
from outlast._store.enlist.inserts import MESSAGE_BYTES_MAX, TRIES_MAX, Inserts
from outlast._world import SystemWorld, instant
from outlast.config import Config
from outlast.errors import ConfigError, StoreError
from tests.store.callers import KINDS, OPENERS, Caller, calling
from tests.store.given import NODE

SCHEMA = "jobs_of_mine"
WORLD = SystemWorld()
AWKWARD = """{"text":"it's 100%, %s, %(x)s, $1, :name, ::json, \\\\, \\"quoted\\", Zoë, 🦉"}"""


@pytest.fixture
def url(dialect: str, request: pytest.FixtureRequest) -> str:
    """A fresh database of the dialect that the test's parameters name."""
    found: str = request.getfixturevalue(f"{dialect}_url")
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """The engine's own store, on which nobody listens, and one node."""
    opened = open_store(Config(url=url, schema=SCHEMA), WORLD)
    await opened.schema.migrate() if opened.dialect == "postgres" else None
    await opened.open()
    await opened.leases.register(NODE, "host", 1, 30.0)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def caller(dialect: str, kind: str, url: str, store: Store) -> AsyncIterator[Caller]:
    """A caller that has a table of its own, and a transaction open."""
    async with calling(dialect, kind, url) as first:
        await first.run(first.execute, "CREATE TABLE orders (number INTEGER NOT NULL)")
        await first.run(first.commit)
    async with calling(dialect, kind, url) as opened:
        yield opened


every_kind = pytest.mark.parametrize(("dialect", "kind"), KINDS)
on_postgres = pytest.mark.parametrize(("dialect", "kind"), [("postgres", kind) for kind in OPENERS["postgres"]])


@every_kind
async def test_a_commit_makes_it_claimable(url: str, store: Store, caller: Caller) -> None:
    row = new(state=AWKWARD)

    await order(caller)
    held = await caller.add(store.enlist(caller.connection), [row])
    before = await take(store)
    await caller.run(caller.commit)

    assert held == []
    assert before == []
    claims = await take(store)
    assert [(claim.id, claim.state) for claim in claims] == [(row.id, AWKWARD)]
    assert orders(url) == 1


@every_kind
async def test_a_rollback_leaves_nothing(url: str, store: Store, caller: Caller) -> None:
    await caller.add(store.enlist(caller.connection), [new()])  # First: ours may be what begins the transaction.
    await order(caller)
    await caller.run(caller.rollback)

    assert await store.instances.totals() == {}
    assert orders(url) == 0


@every_kind
async def test_a_held_key_is_told_and_the_transaction_goes_on(url: str, store: Store, caller: Caller) -> None:
    holder, refused, free, twin = new("a"), new("a"), new("b"), new("b")
    await store.instances.add([holder])

    held = await caller.add(store.enlist(caller.connection), [refused, free, twin])
    await order(caller)
    await caller.run(caller.commit)

    assert sorted(held) == [Held(refused.id, "a", holder.id), Held(twin.id, "b", free.id)]
    assert {claim.id for claim in await take(store)} == {holder.id, free.id}
    assert orders(url) == 1


@every_kind
async def test_what_is_committed_is_found_by_its_tags(store: Store, caller: Caller) -> None:
    holder, refused, free = new("a"), new("a"), new("b")
    refused.tags = free.tags = '{"customer":"42","region":"it\'s 100%, :name"}'
    await store.instances.add([holder])
    wanted = Filter(tags=(("region", "it's 100%, :name"),))

    await caller.add(store.enlist(caller.connection), [refused, free])
    before = await store.instances.list(wanted)
    await caller.run(caller.commit)

    assert before == []
    assert [row.id for row in await store.instances.list(wanted)] == [free.id]


@every_kind
async def test_a_hundred_rows_are_one_insert(store: Store, caller: Caller) -> None:
    rows = [new(f"key {number}", state=AWKWARD, priority=number) for number in range(100)]

    held = await caller.add(store.enlist(caller.connection), rows)
    await caller.run(caller.commit)

    assert held == []
    assert [claim.id for claim in await take(store)] == [row.id for row in rows]


@every_kind
async def test_rows_keep_what_they_say(store: Store, caller: Caller) -> None:
    due_us = WORLD.wall_us() + 3_600_000_000
    rows = [new("a", delay_s=1.5, timeout_s=30.5, version=3, priority=-2), new(due_us=due_us), new(due_us=1)]

    await caller.add(store.enlist(caller.connection), rows)
    await caller.run(caller.commit)

    delayed, dated, overdue = [await store.instances.get(row.id) for row in rows]
    assert delayed is not None
    assert dated is not None
    assert overdue is not None
    assert (delayed.status, delayed.version, delayed.priority) == ("scheduled", 3, -2)
    assert (delayed.program, delayed.step, delayed.queue, delayed.state) == ("send", "run", "mail", "{}")
    assert (delayed.due_at - delayed.created_at).total_seconds() == 1.5
    assert (dated.status, dated.due_at) == ("scheduled", instant(due_us))
    assert (overdue.status, overdue.due_at) == ("ready", instant(1))


@every_kind
async def test_adding_again_is_harmless(store: Store, caller: Caller) -> None:
    row = new("a")
    place = store.enlist(caller.connection)

    held = [await caller.add(place, rows) for rows in ([row], [row], [], [row, row])]
    await caller.run(caller.commit)

    assert held == [[], [], [], []]
    assert len(await take(store)) == 1


@every_kind
async def test_missing_tables_are_explained(caller: Caller, dialect: str) -> None:
    place = enlist(caller.connection, dialect=dialect, schema="elsewhere", notify=True, now_us=WORLD.wall_us)

    with pytest.raises(Exception, match=r"elsewhere[._]instances") as caught:
        await caller.add(place, [new()])

    assert "is it the engine's?" in caught.value.__notes__[0]


@on_postgres
async def test_the_doorbell_rings_at_the_commit(kind: str, url: str, store: Store) -> None:
    async with listening(url) as heard:
        async with calling("postgres", kind, url) as caller:
            await caller.add(store.enlist(caller.connection), [new()], ["never"])
            await caller.run(caller.rollback)
        async with calling("postgres", kind, url) as caller:
            await caller.add(store.enlist(caller.connection), [new(), new(delay_s=5)], ["mail", "default"])
            assert heard.empty()
            await caller.run(caller.commit)

        assert await heard.get() == "enlist q:default\nq:mail\nt"


@pytest.mark.parametrize("dialect", ["postgres"])
async def test_the_doorbell_stays_silent_when_told(url: str, store: Store) -> None:
    async with listening(url) as heard:
        async with calling("postgres", "asyncpg", url) as caller:
            silent = enlist(caller.connection, dialect="postgres", schema=SCHEMA, notify=False, now_us=lambda: None)
            await caller.add(silent, [new()])
            await caller.run(caller.commit)
        async with calling("postgres", "asyncpg", url) as caller:
            await caller.add(store.enlist(caller.connection), [new()], ["second"])
            await caller.run(caller.commit)

        assert await heard.get() == "enlist q:second"


def test_a_long_message_says_look_at_everything() -> None:
    inserts = Inserts("postgres", SCHEMA, notify=True, now_us=lambda: None)
    _, few = next(inserts.add([new()], ["mail"]))
    _, many = next(inserts.add([new()], [f"{number:0200}" for number in range(40)]))

    assert few["message"] == "enlist q:mail"
    assert many["message"] == "enlist *"
    assert len("enlist " + "\n".join(["q:" + "0" * 200] * 40)) > MESSAGE_BYTES_MAX


def test_a_key_that_was_freed_meanwhile_is_tried_again() -> None:
    row = new("a")
    course = Inserts("postgres", SCHEMA, notify=False, now_us=lambda: None).add([row], ["mail"])

    asked = [next(course)[0].name]
    asked += [course.send(answer)[0].name for answer in ([(0,)], [(row.id, "a", None)])]
    with pytest.raises(StopIteration) as end:
        course.send([(1,)])

    assert asked == ["add", "holders", "add"]
    assert end.value.value == []


def test_a_key_that_never_stays_free_is_given_up() -> None:
    row = new("a")
    course = Inserts("sqlite", SCHEMA, notify=False, now_us=WORLD.wall_us).add([row], ["mail"])

    next(course)
    for _ in range(TRIES_MAX - 1):
        course.send([])
        course.send([(row.id, "a", None)])
    course.send([])

    with pytest.raises(StoreError, match="'a' changed hands 5 times"):
        course.send([(row.id, "a", None)])


@pytest.mark.parametrize("dialect", ["postgres"])
async def test_a_key_in_another_open_transaction_is_waited_for(url: str, store: Store) -> None:
    async with (
        calling("postgres", "asyncpg", url) as first,
        calling("postgres", "psycopg-async", url) as second,
    ):
        winner, waiter = new("a"), new("a")
        await first.add(store.enlist(first.connection), [winner])
        waiting = asyncio.create_task(second.add(store.enlist(second.connection), [waiter]))
        watch = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await eventually_async(lambda: first.connection.fetchval(watch), what="waiting for the key")
        await first.run(first.rollback)

        assert await waiting == []
        await second.run(second.commit)
        assert [claim.id for claim in await take(store)] == [waiter.id]


@pytest.mark.parametrize("dialect", ["postgres"])
async def test_a_holder_newer_than_the_callers_snapshot_is_a_serialization_failure(url: str, store: Store) -> None:
    holder, refused = new("a"), new("a")
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM pg_class")
        await store.instances.add([holder])

        with pytest.raises(psycopg.errors.SerializationFailure):
            store.enlist(connection).add([refused], ["mail"])
        connection.rollback()

        assert store.enlist(connection).add([refused], ["mail"]) == [Held(refused.id, "a", holder.id)]


@pytest.mark.parametrize("dialect", ["postgres"])
async def test_a_pinned_instant_is_now(url: str, store: Store) -> None:
    row = new(delay_s=60)
    async with calling("postgres", "asyncpg", url) as caller:
        pinned = enlist(caller.connection, dialect="postgres", schema=SCHEMA, notify=False, now_us=lambda: 1_000_001)
        await caller.add(pinned, [row])
        await caller.run(caller.commit)

    found = await store.instances.get(row.id)
    assert found is not None
    assert (found.created_at, found.due_at) == (instant(1_000_001), instant(61_000_001))


@pytest.mark.parametrize("dialect", ["postgres"])
async def test_delays_count_from_the_insert_and_not_from_the_transactions_start(url: str, store: Store) -> None:
    row = new()
    async with calling("postgres", "asyncpg", url) as caller:
        began = await caller.connection.fetchval("SELECT now()")
        await caller.add(store.enlist(caller.connection), [row])
        await caller.run(caller.commit)

    found = await store.instances.get(row.id)
    assert found is not None
    assert found.created_at > began


@pytest.mark.parametrize("dialect", ["postgres"])
async def test_without_a_transaction_postgres_connections_commit_at_once(url: str, store: Store) -> None:
    async with AsyncExitStack() as stack:
        plain = await asyncpg.connect(url)
        stack.push_async_callback(plain.close)
        eager = stack.enter_context(psycopg.connect(url, autocommit=True))
        await store.enlist(plain).add([new()], ["mail"])
        store.enlist(eager).add([new()], ["mail"])

        assert len(await take(store)) == 2


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_without_a_transaction_sqlite_connections_commit_at_once(url: str, store: Store) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    store.enlist(connection).add([new()], ["mail"])
    connection.close()

    assert len(await take(store)) == 1


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3.connect(autocommit=...) came with Python 3.12")
@pytest.mark.parametrize(("autocommit", "left"), [(True, 1), (False, 0)])
async def test_sqlite_autocommit(url: str, store: Store, autocommit: bool, left: int) -> None:
    options: dict[str, Any] = {"autocommit": autocommit}
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), **options)
    store.enlist(connection).add([new()], ["mail"])
    connection.close()  # Rolls back what is open.

    assert len(await take(store)) == left


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_what_has_no_transaction_is_refused(dialect: str) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    cursor = sqlite3.connect(":memory:").cursor()
    expected = {"sqlite": "expected a sqlite3.Connection, a SQLAlchemy Session", "postgres": "an asyncpg Connection"}

    for given, name in [(engine, "sqlalchemy.engine.base.Engine"), (cursor, "sqlite3.Cursor"), (3, "builtins.int")]:
        with pytest.raises(ConfigError, match=f"cannot insert on a {name}; .*{expected[dialect]}"):
            enlist(given, dialect=dialect, schema=SCHEMA, notify=True, now_us=WORLD.wall_us)

    cursor.connection.close()
    engine.dispose()


@pytest.mark.parametrize(("dialect", "kind"), KINDS)
async def test_the_other_database_is_refused(dialect: str, kind: str, url: str) -> None:
    other = {"sqlite": "postgres", "postgres": "sqlite"}[dialect]
    said = {"sqlite": "leads to SQLite, .* is Postgres", "postgres": "leads to Postgres, .* is SQLite"}[dialect]

    async with calling(dialect, kind, url) as caller:
        with pytest.raises(ConfigError, match=said):
            enlist(caller.connection, dialect=other, schema=SCHEMA, notify=True, now_us=WORLD.wall_us)


def test_what_is_no_database_at_all_is_refused() -> None:
    cache = ConnectionProxy({"default": object()}, "default")

    with pytest.raises(ConfigError, match="leads to no database"):
        enlist(cache, dialect="sqlite", schema=SCHEMA, notify=True, now_us=WORLD.wall_us)


def test_a_session_of_several_databases_must_say_which() -> None:
    with pytest.raises(ConfigError, match=r"session\.connection\("):
        enlist(orm.Session(), dialect="sqlite", schema=SCHEMA, notify=True, now_us=WORLD.wall_us)


def test_nobody_reaches_a_database_in_memory() -> None:
    store = open_store(Config(url="sqlite://", schema=SCHEMA), WORLD)
    connection = sqlite3.connect(":memory:")

    with pytest.raises(ConfigError, match="in memory"):
        store.enlist(connection)

    connection.close()


def test_looking_at_a_connection_imports_no_driver() -> None:
    script = """
import sqlite3, sys
from outlast._store.enlist import enlist
enlist(sqlite3.connect(":memory:"), dialect="sqlite", schema="outlast", notify=False, now_us=lambda: 0)
print({"psycopg", "sqlalchemy", "django"} & set(sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "set()"


def new(key: str | None = None, **given: Any) -> NewInstance:
    """A row to insert."""
    values: dict[str, Any] = {"version": 1, "priority": 0, "state": "{}", **given}
    return NewInstance(
        id=WORLD.new_id(),
        program="send",
        queue="mail",
        step="run",
        correlation_key=key,
        correlation_scope=None if key is None else scope_text("live"),
        **values,
    )


class listening:
    """What the doorbell of a database says, as a queue."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> asyncio.Queue[str]:
        heard: asyncio.Queue[str] = asyncio.Queue()
        self._connection = await asyncpg.connect(self._url)
        await self._connection.add_listener(SCHEMA, lambda *said: heard.put_nowait(str(said[3])))
        return heard

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()


async def take(store: Store) -> list[Claim]:
    """Claims all there is."""
    return await store.claims.take("mail", NODE, ["send@1"], 1_000, 1.0)


async def order(caller: Caller) -> None:
    """The caller's own write."""
    await caller.run(caller.execute, "INSERT INTO orders VALUES (1)")


def orders(url: str) -> int:
    """How many of the caller's own writes are committed, as somebody else sees it."""
    count = "SELECT count(*) FROM orders"
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return int(file.execute(count).fetchone()[0])
    with psycopg.connect(url) as connection:
        row = connection.execute(count).fetchone()
        assert row is not None
        return int(row[0])
