"""What only the Postgres store promises: plans, sessions, trouble with the server, and its URL."""

import asyncio
import dataclasses
import logging
import re
import ssl
import threading
import tracemalloc
from asyncio import sslproto
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import psycopg
import pytest

from harness.waiting import eventually_async
from outlast._model import Committed, NewInstance, Receipt, Settlement, Signal, Wanted
from outlast._store.postgres import bell
from outlast._store.postgres.address import parse, redacted
from outlast._store.postgres.claims import _columns
from outlast._store.postgres.desk import Transaction
from outlast._store.postgres.effects import settle_within
from outlast._store.postgres.faults import translated
from outlast._store.postgres.links import LANE_MAX, disconnect, driver
from outlast._store.postgres.signals import send_within
from outlast._store.postgres.store import PostgresStore
from outlast._store.postgres.transport import read_by_little
from outlast._store.statements import Statement, load
from outlast._world import SystemWorld
from outlast.config import Config, make_config
from outlast.errors import (
    ConfigError,
    SchemaError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from tests.store.given import take_as

Make = Callable[..., PostgresStore]
WORLD = SystemWorld()
SQL = load("outlast._store.postgres.sql", schema="outlast")


class Clock(SystemWorld):
    """A world whose monotonic clock says what it is told."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read

    def monotonic(self) -> float:
        return self._read()


@pytest.fixture
async def make(postgres_url: str) -> AsyncIterator[Make]:
    """Makes a store, not yet open; it is closed at the end."""
    made: list[PostgresStore] = []

    def make_one(url: str = postgres_url, **options: Any) -> PostgresStore:
        made.append(PostgresStore(make_config(url, options), WORLD))
        return made[-1]

    yield make_one
    for store in made:
        await store.close()


@pytest.fixture
async def store(make: Make) -> PostgresStore:
    """A store with its tables, open."""
    store = make()
    await store.schema.migrate()
    await store.open()
    return store


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's session on the same database."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
async def watcher(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A session that only looks; inside a transaction, what the server tells of its sessions stands still."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


def new(**columns: Any) -> NewInstance:
    plain: dict[str, Any] = {
        "id": WORLD.new_id(),
        "program": "p",
        "version": 1,
        "queue": "q",
        "priority": 0,
        "step": "run",
        "state": "{}",
    }
    return NewInstance(**plain | columns)


async def claimed(store: PostgresStore, count: int = 1) -> list[Settlement]:
    """Outcomes of rows that were just claimed, by id."""
    await store.instances.add([new() for _ in range(count)])
    claims = await take_as(store, "n", count, queue="q", known=["p@1"])
    assert len(claims) == count
    return [Settlement(claim.id, claim.epoch, "done", 0, "1") for claim in sorted(claims, key=lambda claim: claim.id)]


async def blocked(watcher: asyncpg.Connection) -> None:
    """Waits until a statement of the database waits for a lock."""
    found = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await eventually_async(lambda: watcher.fetchval(f"SELECT EXISTS ({found})"), what="a blocked statement")


async def hang_up_on_others(connection: asyncpg.Connection) -> None:
    """Ends every other session of the database, and waits until they are gone."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    await connection.execute(f"SELECT pg_terminate_backend(pid) {others}")
    await eventually_async(lambda: connection.fetchval(f"SELECT NOT EXISTS (SELECT 1 {others})"))


# Plans.

FILL = """
INSERT INTO outlast.instances (id, program, version, step, queue, priority, status, node, created_at, due_at,
    finished_at, expires_at, state, result, correlation_key, correlation_scope, parent, round, child)
SELECT gen_random_uuid(), 'p', 1, 'run', 'q', 0, $1, CASE WHEN $1 = 'running' THEN 'n' || number % 5 END, now(),
    now() + CASE WHEN $1 = 'scheduled' THEN number ELSE 0 END * interval '1 second',
    CASE WHEN $1 = 'done' THEN now() END, CASE WHEN $1 = 'done' THEN now() + number * interval '1 second' END,
    '{}', '1', CASE WHEN number % 100 = 0 THEN $1 || number END, ',ready,scheduled,running,',
    CASE WHEN number % 2 = 0 THEN gen_random_uuid() END, 1, number
FROM generate_series(1, $2::integer) AS number
"""
FILL_SIGNALS = """
INSERT INTO outlast.signals (id, instance, name, payload, dedup_key, sent_at, consumed_at)
SELECT gen_random_uuid(), id, 'go', '1', 'd', now(), CASE WHEN status = 'done' THEN now() END
FROM outlast.instances LIMIT 100000
"""
FILL_TAGS = """
INSERT INTO outlast.tags (name, value, instance) SELECT 'region', 'eu', id FROM outlast.instances LIMIT 100000
"""
INDEXES = {
    "take": {"instances_ready", "instances_fair", "instances_pkey"},
    "commit": {"instances_pkey"},
    "commit_full": {"instances_pkey"},
    "commit_recorded": {"instances_pkey"},
    "commit_and_record": {"instances_pkey"},
    "settled": {"instances_pkey"},
    "release": {"instances_pkey"},
    "report": {"instances_pkey"},
    "owned": {"instances_running"},
    "add": set(),
    "add_full": set(),
    "add_one": set(),
    "holders": {"instances_pkey", "instances_key"},
    "get": {"instances_pkey"},
    "find_last_by_key": {"instances_key_all"},
    "list": {"instances_pkey"},
    "list_waiting": {"instances_waiting"},
    "list_tagged": {"tags_pkey", "instances_pkey"},
    "weigh_tags": {"tags_pkey"},
    "count_tagged": {"tags_pkey", "instances_pkey"},
    "count_children": {"instances_child"},
    "add_tags": {"instances_pkey"},
    "forget_tags": {"tags_pkey", "instances_pkey"},
    "read_tags": {"instances_pkey"},
    "write_tags": {"instances_pkey"},
    "removable": {"instances_pkey"},
    "lock_removable": {"instances_pkey"},
    "remove": {"instances_pkey"},
    "ended": {"instances_pkey"},
    "stand_runs": {"instances_pkey"},
    "stand": {"instances_pkey"},
    "cancel": {"instances_pkey"},
    "retry": {"instances_pkey"},
    "pause_instances": {"instances_pkey"},
    "resume_instances": {"instances_pkey"},
    "hold": {"instances_pkey"},
    "unhold": {"instances_pkey"},
    "put_back": {"signals_instance"},
    "delete": {"instances_pkey"},
    "promote": {"instances_due", "instances_wake", "instances_pkey"},
    "hurry": {"instances_pkey"},
    "find_callers": {"instances_pkey"},
    "pending": {"journal_pending", "instances_pkey"},
    "wake_late": {"instances_wake", "instances_pkey"},
    "find_targets": {"instances_key", "instances_pkey"},
    "known_keys": {"instances_key", "instances_key_all"},
    "wake": {"instances_pkey"},
    "recheck": {"instances_pkey", "signals_instance"},
    "deliver": set(),
    "inbox": {"signals_instance"},
    "signals": {"signals_instance"},
    "consume": {"signals_pkey", "signals_instance"},
    "forget": {"signals_instance"},
    "lock_ours": {"instances_pkey"},
    "lock_families": {"instances_pkey"},
    "lock_parents": {"instances_pkey"},
    "lock_instance": {"instances_pkey"},
    "lower": {"instances_pkey"},
    "open_round": {"instances_pkey"},
    "landed": {"instances_child"},
    "raise": {"instances_pkey"},
    "tree": {"instances_child", "instances_pkey"},
    "take_fair": {"instances_fair", "instances_pkey"},
    "free_slots": {"instances_slot"},
    "grant": {"instances_pkey"},
    "deny": {"instances_pkey"},
    "open_keys": {"instances_blocked", "instances_slot", "instances_ready_keyed", "instances_pkey"},
    "open_rates": {"instances_blocked", "instances_ready_rated", "instances_pkey"},
    "sleep_buckets": {"instances_blocked"},
    "find_gates": {"instances_blocked"},
    "write_logs": {"instances_pkey"},
    "queue_blocked": {"instances_blocked", "instances_paused"},
    "queue_waiting": {"instances_waiting"},
    "children": {"instances_child"},
    "reclaim": {"instances_running", "instances_pkey"},
    "nodes": {"instances_running"},
    "prune": {"instances_expired", "instances_child", "instances_pkey", "signals_instance", "tags_pkey"},
    "queue_ready": {"instances_ready", "instances_fair"},
    "queue_running": {"instances_running"},
    "queue_scheduled": {"instances_due"},
    "standing": {"instances_quarantined", "instances_due", "instances_running"},
    "ready_programs": {"instances_ready", "instances_fair"},
}

LARGE = {
    "instances_pkey",
    "instances_child",
    "instances_key",
    "instances_key_all",
    "signals_pkey",
    "signals_instance",
    "signals_dedup",
    "tags_pkey",
}


async def plan(connection: asyncpg.Connection, statement: Statement) -> list[str]:
    """The plan that a session of ours keeps for a statement."""
    values = f"({', '.join(['NULL'] * len(statement.parameters))})" if statement.parameters else ""
    await connection.execute(f"PREPARE plan AS {statement.numbered}")
    try:
        return [row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE plan{values}")]
    finally:
        await connection.execute("DEALLOCATE plan")


def misuses(lines: list[str], indexes: set[str]) -> list[str]:
    """What a plan does with instances, signals and tags that it should not."""
    found = [line for line in lines if re.search(r"(Seq|Bitmap \w+|Tid) Scan on (instances|signals)", line)]
    found += [line for line in lines if re.search(r"(Seq|Bitmap \w+) Scan on tags", line)]
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if (used := re.search(r" using (\w+) on (?:instances|signals|tags)", line)) and used[1] not in indexes:
            found.append(line)
        # These hold rows that have ended, too: without a condition one would be walked from end to end.
        if used and used[1] in LARGE and "Index Cond: " not in after:
            found.append(line)
    return found


async def test_plans_are_right_for_an_empty_table_and_stay_so(store: PostgresStore) -> None:
    """A session may have planned on an empty table, and keeps that plan while a million rows arrive."""
    connection = await store._links.connect("test")
    wrong: dict[str, list[str]] = {}

    async def look(when: str) -> None:
        for name, indexes in INDEXES.items():
            if found := misuses(await plan(connection, SQL[name]), indexes):
                wrong[f"{name}, {when}"] = found

    try:
        await look("empty")
        for status, count in (("done", 200_000), ("ready", 20_000), ("scheduled", 20_000), ("running", 500)):
            await connection.execute(FILL, status, count)
        await connection.execute(FILL_SIGNALS)
        await connection.execute(FILL_TAGS)
        await look("filled")
        await connection.execute("ANALYZE outlast.instances")
        await connection.execute("ANALYZE outlast.tags")
        await connection.execute("ANALYZE outlast.signals")
        await look("analysed")
    finally:
        await connection.close()

    assert not wrong


FILL_LOGS = """
INSERT INTO outlast.logs (instance, number, at, level, message, source, step, attempt)
SELECT gen_random_uuid(), number, now(), 20, 'x', 'print', 'run', 0 FROM generate_series(1, 100000) AS number
"""


async def test_lines_are_found_by_their_key_and_never_by_reading_all(store: PostgresStore) -> None:
    connection = await store._links.connect("test")
    wrong: dict[str, list[str]] = {}

    async def look(when: str) -> None:
        for name in ("write_logs", "trim_logs", "read_logs", "forget_logs", "prune"):
            lines = await plan(connection, SQL[name])
            for line, after in zip(lines, [*lines[1:], ""], strict=True):
                scanned = re.search(r"Scan .*\bon logs", line) and "Tid Scan" not in line
                if scanned and "Index Cond: " not in after:
                    wrong.setdefault(f"{name}, {when}", []).append(line)

    try:
        await look("empty")
        await connection.execute(FILL_LOGS)
        await look("filled")
        await connection.execute("ANALYZE outlast.logs")
        await look("analysed")
    finally:
        await connection.close()

    assert not wrong


OBJECT_INDEXES = {
    "activate": {"objects_pkey"},
    "lock_objects": {"objects_pkey"},
    "take_over": {"objects_pkey"},
    "object_holders": {"objects_pkey"},
    "save_object": {"objects_pkey"},
    "save_objects": {"objects_pkey"},
    "saved_objects": {"objects_pkey"},
    "owned_objects": {"objects_pkey"},
    "release_objects": {"objects_pkey"},
    "release_all": {"objects_node"},
    "get_object": {"objects_pkey"},
    "list_objects": {"objects_pkey"},
    "lock_expired_objects": {"objects_expired", "calls_object", "alarms_pkey"},
    "drop_expired_objects": {"objects_pkey", "calls_object", "alarms_pkey"},
    "post": {"objects_pkey"},
    "find_keyed": {"calls_key"},
    "revive_calls": {"calls_pkey"},
    "waiting_calls": {"calls_waiting", "objects_pkey"},
    "answers": {"calls_pkey"},
    "answer_calls": {"calls_pkey"},
    "drop_calls": {"calls_pkey"},
    "prune_calls": {"calls_expired", "calls_pkey"},
    "due_alarms": {"alarms_due", "objects_pkey"},
    "set_alarms": set(),
    "move_alarms": {"alarms_pkey"},
    "finish_alarms": {"alarms_pkey"},
    "clear_alarms": {"alarms_pkey"},
    "cancel_alarms": {"alarms_pkey"},
    "object_alarms": {"alarms_pkey"},
    "type_alarms": {"alarms_due", "alarms_failed"},
}
FILL_OBJECTS = """
INSERT INTO outlast.objects (type, id, version, state, node, epoch, born, created_at, updated_at, expires_at)
SELECT 'cart' || number % 3, 'user-' || number, 1, '{}', CASE WHEN number % 2 = 0 THEN 'n' || number % 5 END, 1, 1,
    now(), now(), CASE WHEN number % 3 = 0 THEN now() END
FROM generate_series(1, 100000) AS number;
INSERT INTO outlast.alarms (type, id, name, revision, due_at, failed_at)
SELECT 'cart' || number % 3, 'user-' || number, 'a', 'r', now(), CASE WHEN number % 10 = 0 THEN now() END
FROM generate_series(1, 100000) AS number;
INSERT INTO outlast.calls (call, type, id, handler, args, sender, key, chain, keep_s, made_at, answered_at, expires_at)
SELECT gen_random_uuid(), 'cart' || number % 3, 'user-' || number % 1000, 'h', '{}', 's', 'k' || number, '[]', 1, now(),
    CASE WHEN number % 10 > 0 THEN now() END, now()
FROM generate_series(1, 50000) AS number
"""
FULL_KEYS = {
    "objects_pkey": ("type", "id"),
    "alarms_pkey": ("type", "id"),
    "calls_key": ("type", "id", "key"),
    "calls_object": ("type", "id"),
    "calls_pkey": ("call",),
}
"""Columns that a look into an index must name: by the first alone, half of the table would be walked."""


async def test_objects_alarms_and_calls_are_found_by_their_keys(store: PostgresStore) -> None:
    """Planned while the tables are empty, filled, and analysed."""
    connection = await store._links.connect("test")
    wrong: dict[str, list[str]] = {}

    async def look(when: str) -> None:
        for name, indexes in OBJECT_INDEXES.items():
            lines = await plan(connection, SQL[name])
            found = [line for line in lines if re.search(r"(Seq|Bitmap \w+|Tid) Scan on (objects|alarms|calls)", line)]
            for line, after in zip(lines, [*lines[1:], ""], strict=True):
                if used := re.search(r" using (\w+) on (?:objects|alarms|calls)", line):
                    columns = FULL_KEYS.get(used[1], ()) if name != "list_objects" else ("type", "id")
                    missing = [column for column in columns if not re.search(rf"\({column} ", after)]
                    if used[1] not in indexes or missing or "Index Cond: " not in after:
                        found += [line, after]
            if found:
                wrong[f"{name}, {when}"] = found

    try:
        await look("empty")
        await connection.execute(FILL_OBJECTS)
        await look("filled")
        await connection.execute("ANALYZE outlast.objects, outlast.alarms, outlast.calls")
        await look("analysed")
    finally:
        await connection.close()

    assert not wrong


def test_every_statement_on_objects_has_its_plan_looked_at() -> None:
    tables = ("outlast.objects", "outlast.alarms", "outlast.calls")
    named = {name for name, statement in SQL.items() if any(table in statement.text for table in tables)}

    # count_objects reads the whole table, and says so.
    assert named ^ OBJECT_INDEXES.keys() == {"count_objects", "drop_tables"}


def test_every_statement_on_instances_has_its_plan_looked_at() -> None:
    tables = ("outlast.instances", "outlast.signals", "outlast.tags")
    named = {name for name, statement in SQL.items() if any(table in statement.text for table in tables)}

    # find_by_key may take either index of keys; totals and count read the whole table, and say so.
    assert named - INDEXES.keys() == {"find_by_key", "totals", "count", "drop_tables"}


# Locks.


async def locked_object(other: asyncpg.Connection) -> Any:
    """Somebody's transaction that holds an object's row."""
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SELECT FROM outlast.objects WHERE type = 't' AND id = '1' FOR UPDATE")
    return transaction


async def owned_by_the_dead(store: PostgresStore) -> None:
    """An object whose owner has no row."""
    found = await store.objects.activate("ann", [Wanted("t", "1", 1, "{}")])
    assert [each.epoch for each in found.owned] == [1]


@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "in one statement"])
async def test_an_owner_that_registers_while_others_wait_for_its_object_keeps_it(
    store: PostgresStore, other: asyncpg.Connection, watcher: asyncpg.Connection, planted: bool
) -> None:
    """Whether it lives is asked after the lock. A statement that asks and waits at once has asked too early."""
    await owned_by_the_dead(store)
    if planted:
        desk = store.objects._desk
        naive = dataclasses.replace(desk.sql["lock_objects"], numbered="SELECT FROM unnest($1::text[], $2::text[])")
        desk.sql = {**desk.sql, "lock_objects": naive, "activate": _blind(desk.sql["activate"])}
    transaction = await locked_object(other)

    wanting = asyncio.ensure_future(store.objects.activate("bob", [Wanted("t", "1", 1, "{}")]))
    await blocked(watcher)
    await store.leases.register("ann", "host", 1, 30.0)
    await transaction.rollback()

    found = await wanting
    if planted:
        assert [each.id for each in found.owned] == ["1"]
    else:
        assert found == ([], [("t", "1", "ann")])


def _blind(statement: Statement) -> Statement:
    """`activate` that leaves alone what has an owner of whatever kind, without waiting for it."""
    numbered = statement.numbered.replace("WHERE holder IS NULL ORDER BY", "WHERE false ORDER BY")
    assert numbered != statement.numbered
    return dataclasses.replace(statement, numbered=numbered)


async def test_an_owner_that_does_not_register_loses_its_object_after_the_wait(
    store: PostgresStore, other: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    await owned_by_the_dead(store)
    transaction = await locked_object(other)

    wanting = asyncio.ensure_future(store.objects.activate("bob", [Wanted("t", "1", 1, "{}")]))
    await blocked(watcher)
    await transaction.rollback()

    assert [(each.id, each.epoch) for each in (await wanting).owned] == [("1", 2)]


async def test_what_another_owner_lives_on_is_not_locked_by_asking(
    store: PostgresStore, other: asyncpg.Connection
) -> None:
    await store.leases.register("ann", "host", 1, 30.0)
    await owned_by_the_dead(store)
    transaction = await locked_object(other)

    try:
        found = await store.objects.activate("bob", [Wanted("t", "1", 1, "{}"), Wanted("t", "2", 1, "{}")])
    finally:
        await transaction.rollback()

    assert ([each.id for each in found.owned], found.elsewhere) == (["2"], [("t", "1", "ann")])


async def test_pruning_skips_what_somebody_writes(store: PostgresStore, other: asyncpg.Connection) -> None:
    await owned_by_the_dead(store)
    await other.execute("UPDATE outlast.objects SET expires_at = now() - interval '1 hour'")
    transaction = await locked_object(other)

    assert await store.objects.prune(10) == 0

    await transaction.rollback()
    assert await store.objects.prune(10) == 1


async def test_a_deadlock_is_tried_again(make: Make, other: asyncpg.Connection, watcher: asyncpg.Connection) -> None:
    name = await other.fetchval("SELECT current_database()")
    # The sessions of the store look first, and so are the ones to give way.
    await other.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '200ms'")
    store = make()
    await store.schema.migrate()
    first, second = await claimed(store, 2)
    mine = other.transaction()
    await mine.start()
    await other.execute("SELECT FROM outlast.instances WHERE id = $1 FOR UPDATE", second.id)

    committing = asyncio.ensure_future(store.claims.commit([second, first]))
    await blocked(watcher)
    try:
        # The store holds the first and waits for the second. Now the second's holder waits for the first: a circle.
        await other.execute("SELECT FROM outlast.instances WHERE id = $1 FOR UPDATE", first.id)
    finally:
        await mine.rollback()

    assert (await committing).stale == []


@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "looked at without a lock"])
async def test_a_signal_waits_for_a_park_that_is_under_way(
    store: PostgresStore, watcher: asyncpg.Connection, planted: bool
) -> None:
    """The park has looked for signals and found none, and is not committed yet. A naive look at its status loses it."""
    (outcome,) = await claimed(store)
    park = Settlement(outcome.id, outcome.epoch, "waiting", 0, step="next", awaits=["go"])
    desk = store.signals._desk
    if planted:
        find = desk.sql["find_targets"]
        naive = dataclasses.replace(find, numbered=find.numbered.replace("FOR NO KEY UPDATE OF i", ""))
        assert naive != find
        desk.sql = {**desk.sql, "find_targets": naive}
    looked, go_on = asyncio.Event(), asyncio.Event()

    async def park_slowly(transaction: Transaction) -> Committed:
        committed = await settle_within(transaction, [park], _columns([park]))
        looked.set()
        await go_on.wait()
        return committed

    parking = asyncio.ensure_future(desk.transact(park_slowly))
    await looked.wait()
    sending = asyncio.ensure_future(store.signals.send([Signal(WORLD.new_id(), "go", "1", park.id)]))
    await blocked(watcher)
    go_on.set()

    assert await parking == Committed([], [])
    (receipt,) = await sending
    row = await store.instances.get(park.id)
    assert row is not None
    lost = ("delivered", None, "waiting")
    assert (receipt.result, receipt.queue, row.status) == (lost if planted else ("delivered", "q", "ready"))


async def test_a_park_waits_for_a_signal_that_is_under_way(store: PostgresStore, watcher: asyncpg.Connection) -> None:
    (outcome,) = await claimed(store)
    park = Settlement(outcome.id, outcome.epoch, "waiting", 0, step="next", awaits=["go"])
    sent, go_on = asyncio.Event(), asyncio.Event()

    async def send_slowly(transaction: Transaction) -> list[Receipt]:
        receipts = await send_within(transaction, [Signal(WORLD.new_id(), "go", "1", park.id)])
        sent.set()
        await go_on.wait()
        return receipts

    sending = asyncio.ensure_future(store.signals._desk.transact(send_slowly))
    await sent.wait()
    parking = asyncio.ensure_future(store.claims.commit([park]))
    await blocked(watcher)
    go_on.set()

    assert [receipt.queue for receipt in await sending] == [None]
    assert await parking == Committed([], ["q"])


async def test_a_tree_is_locked_from_its_leaves(
    store: PostgresStore, other: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    """As by a commit that ends a child: the child first, then its parent. Else they would wait in a circle."""
    (outcome,) = await claimed(store)
    children = [new(queue="children") for _ in range(3)]
    await store.claims.commit(
        [Settlement(outcome.id, outcome.epoch, "waiting", 0, step="next", children=children, round=1)]
    )
    lock = "SELECT FROM outlast.instances WHERE id = $1 FOR NO KEY UPDATE NOWAIT"

    async with other.transaction():
        await other.execute(lock, children[1].id)
        cancelling = asyncio.ensure_future(store.instances.cancel(outcome.id, "{}", None, tree=True))
        await blocked(watcher)
        await other.execute(lock, outcome.id)  # nobody holds it yet.
        await other.execute(lock, children[2].id)

    stopped = await cancelling
    assert stopped is not None
    assert len(stopped.ids) == 4


async def test_a_lock_that_stays_makes_the_store_unavailable(make: Make, other: asyncpg.Connection) -> None:
    store = make(statement_timeout=1.0)
    await store.schema.migrate()
    (outcome,) = await claimed(store)

    async with other.transaction():
        await other.execute("LOCK TABLE outlast.instances")
        with pytest.raises(StoreUnavailable):
            await store.claims.commit([outcome])

    assert (await store.claims.commit([outcome])).stale == []


async def test_a_write_once_begun_is_finished_when_its_caller_is_cancelled(
    store: PostgresStore, other: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    (outcome,) = await claimed(store)
    async with other.transaction():
        await other.execute("SELECT FROM outlast.instances WHERE id = $1 FOR UPDATE", outcome.id)
        committing = asyncio.ensure_future(store.claims.commit([outcome]))
        await blocked(watcher)

        committing.cancel()
        await asyncio.wait([committing])

        assert committing.cancelled()
    await store.close()
    assert await other.fetchval("SELECT status FROM outlast.instances") == "done"


async def test_locked_rows_keep_nobody_waiting(store: PostgresStore, other: asyncpg.Connection) -> None:
    await store.instances.add([held := new(), free := new(), new(delay_s=60.0)])
    async with other.transaction():
        await other.execute("SELECT FROM outlast.instances WHERE id = $1 OR status = 'scheduled' FOR UPDATE", held.id)

        assert [claim.id for claim in await take_as(store, "n", queue="q", known=["p@1"])] == [free.id]
        later_us = WORLD.wall_us() + 10**9
        due = await store.timers.promote(10, later_us)
        assert (due.promoted, due.next_s) == (0, None)
        assert (await store.leases.reclaim(10, 5)).returned == 1

    assert (await store.timers.promote(10, later_us)).promoted == 1


async def test_what_holds_a_transaction_open_is_named(store: PostgresStore, other: asyncpg.Connection) -> None:
    await other.execute("SET application_name = 'forgetful'")
    async with other.transaction():
        await other.execute("SELECT 1")

        found = await store._links.engine.read(SQL["old_transactions"].numbered, [0.0])

        # Other tests use the same server; none of their transactions is as old as this one, for long.
        assert "forgetful" in [row["application_name"] for row in found]


# Sessions.


async def test_few_connections_serve_many_callers(store: PostgresStore, other: asyncpg.Connection) -> None:
    rows = [new() for _ in range(200)]
    await asyncio.gather(*(store.instances.add([row]) for row in rows), *(store.claims.owned("n") for _ in range(200)))

    sessions = await other.fetch(
        "SELECT application_name FROM pg_stat_activity"
        " WHERE application_name LIKE 'outlast %' AND datname = current_database()"
    )

    assert len(sessions) <= 2 * LANE_MAX
    assert {row[0] for row in sessions} == {"outlast outlast engine", "outlast outlast client"}
    assert await store.instances.totals() == {"ready": 200}


async def test_the_store_comes_back_when_its_sessions_are_ended(
    store: PostgresStore, other: asyncpg.Connection
) -> None:
    renewer = store.leases.renewer()
    await store.leases.register("n", "host", 1, 30.0)
    assert await asyncio.to_thread(renewer.renew, "n")

    await hang_up_on_others(other)

    try:
        # It has noticed, or notices now; the next statement finds a new connection either way.
        assert await asyncio.to_thread(renewer.renew, "n")
        for call in (store.leases.beats, store.instances.totals):
            try:
                await call()
            except StoreUnavailable:
                await call()
    finally:
        await asyncio.to_thread(renewer.close)


async def test_a_renewer_needs_no_event_loop_but_its_own(store: PostgresStore) -> None:
    await store.leases.register("n", "host", 1, 30.0)
    renewer = store.leases.renewer()
    answers: list[bool] = []

    def renew() -> None:
        answers.extend([renewer.renew("n"), renewer.renew("somebody else")])
        renewer.close()

    thread = threading.Thread(target=renew)
    thread.start()
    thread.join()  # This blocks the loop that the store lives on, as user code may.

    assert answers == [True, False]


async def test_a_read_takes_little_memory(store: PostgresStore) -> None:
    connection = await store._links.connect("reader")
    try:
        await connection.fetchval("SELECT 1")
        tracemalloc.start()
        try:
            assert await connection.fetchval("SELECT 1") == 1
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert await connection.fetchval("SELECT repeat('x', 1000000)") == "x" * 1_000_000
    finally:
        await disconnect(connection)

    assert most < 128 * 1024  # asyncio's own 256 KiB for each read leave holes in the heap, which grows for hours.


async def test_a_read_through_tls_takes_little_memory() -> None:
    protocol = sslproto.SSLProtocol(
        asyncio.get_running_loop(), asyncio.Protocol(), ssl.create_default_context(), None, call_connection_made=False
    )
    assert protocol.max_size > 64 * 1024

    transport = protocol._get_app_transport()
    try:
        read_by_little(transport)
    finally:
        transport.close()

    assert protocol.max_size == 64 * 1024


def test_a_transport_of_another_make_stays_as_it_is() -> None:
    read_by_little(object())


async def test_an_unreachable_server_is_unavailable_and_no_secret_is_told(make: Make) -> None:
    store = make("postgresql://ann:s3cret@127.0.0.1:1/shop?connect_timeout=2")

    with pytest.raises(StoreUnavailable, match=r"cannot be reached.*ann:\*\*\*@127\.0\.0\.1:1/shop") as caught:
        await store.open()

    assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__)
    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(store.leases.renewer().renew, "n")


async def test_while_the_server_is_away_connections_are_tried_one_at_a_time(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of an engine's loops wants the database again: together they must not storm it."""
    lane = store._links.engine
    now, dials = 100.0, list[float]()

    async def refuse(role: str, **_: object) -> Any:
        dials.append(now)
        raise StoreUnavailable("away")

    async def nap(seconds: float) -> None:
        nonlocal now
        now += max(0.0, seconds)

    for connection in lane._connections:
        connection.terminate()
    with monkeypatch.context() as away:
        away.setattr(store._links, "connect", refuse)
        away.setattr(lane, "_world", Clock(lambda: now))
        away.setattr(asyncio, "sleep", nap)
        answers = await asyncio.gather(*(lane.read("SELECT 1", []) for _ in range(30)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {StoreUnavailable}
    first = dials.count(100.0)
    assert first <= LANE_MAX
    assert now - 100.0 >= len(dials) - first - 4  # the first rests are shorter.
    assert len(await lane.read("SELECT 1", [])) == 1  # it is back.


async def test_a_missing_database_is_said_plainly(make: Make, postgres_url: str) -> None:
    store = make(postgres_url.replace("/test_", "/missing_"))

    with pytest.raises(StoreUnavailable, match="does not exist"):
        await store.open()


async def test_missing_tables_say_what_to_do(make: Make, empty_postgres_url: str) -> None:
    with pytest.raises(SchemaError, match="run `outlast migrate`"):
        await make(empty_postgres_url).open()


async def test_statements_work_behind_a_transaction_pooler(make: Make, other: asyncpg.Connection) -> None:
    """Without a pooler here: nothing is prepared, nothing is set, nobody listens."""
    store = make(pooler="transaction")
    await store.schema.migrate()
    await store.open()
    outcomes = await claimed(store, 3)
    await store.bell.listen(pytest.fail)
    store.bell.ring("q:q")

    assert (await store.claims.commit(outcomes)).stale == []
    assert await store._links.engine.read("SELECT name FROM pg_prepared_statements", []) == []
    assert (await store._links.engine.read("SHOW plan_cache_mode", []))[0][0] == "auto"
    listening = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%bell' AND datname = current_database()"
    )
    assert await other.fetchval(listening) == 0


async def test_schemas_named_like_words_of_sql_work(make: Make) -> None:
    store = make(schema="user")
    await store.schema.migrate()
    await store.open()

    assert (await store.claims.commit(await claimed(store))).stale == []


async def test_a_role_without_rights_is_told_so(store: PostgresStore, make: Make, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS outlast_reader")
        admin.execute("CREATE ROLE outlast_reader LOGIN")
        admin.execute("GRANT USAGE ON SCHEMA outlast TO outlast_reader")
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA outlast TO outlast_reader")
        reader = make(re.sub(r"//[^@]*@", "//outlast_reader@", postgres_url))
        try:
            await reader.open()
            with pytest.raises(StoreReadOnly):
                await reader.instances.add([new()])
            assert await reader.schema.migrate() == []
        finally:
            await reader.close()
            admin.execute("DROP OWNED BY outlast_reader")
            admin.execute("DROP ROLE outlast_reader")


# The bell.


class Ear:
    """What was heard, and a way to wait for more of it."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._moved = asyncio.Event()

    def __call__(self, message: str) -> None:
        self.heard.append(message)
        self._moved.set()

    async def until(self, wanted: Callable[[list[str]], object]) -> None:
        async with asyncio.timeout(10):
            while not wanted(self.heard):
                self._moved.clear()
                await self._moved.wait()


async def test_own_rings_are_not_heard_and_others_are(store: PostgresStore, make: Make) -> None:
    ear = Ear()
    await store.bell.listen(ear)
    assert ear.heard == ["*"]

    store.bell.ring("q:own")
    make().bell.ring("q:other")

    await ear.until(lambda heard: "q:other" in heard)
    assert "q:own" not in ear.heard


async def test_a_cut_bell_is_hung_again_and_says_so(
    store: PostgresStore, make: Make, other: asyncpg.Connection
) -> None:
    ear, friend = Ear(), make()
    await store.bell.listen(ear)
    friend.bell.ring("q:before")
    await ear.until(lambda heard: "q:before" in heard)

    await hang_up_on_others(other)

    await ear.until(lambda heard: heard.count("*") == 2)
    friend.bell.ring("q:after")
    await ear.until(lambda heard: {"q:after", "*"} & set(heard[3:]))


async def test_a_deaf_bell_notices(
    store: PostgresStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "PING_S", 0.01)
    monkeypatch.setattr(bell, "_ECHO_S", 0.01)
    ear = Ear()
    # What a transaction pooler does to LISTEN: it is heard by nobody.
    monkeypatch.setattr(store.bell, "_notified", lambda *_: None)

    with caplog.at_level(logging.WARNING, "outlast"):
        await store.bell.listen(ear)
        await ear.until(lambda heard: heard.count("*") >= 2)

    assert "does not hear itself" in caplog.text


async def test_a_bell_that_hears_itself_keeps_its_connection(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "PING_S", 0.001)
    ear, echoes = Ear(), Ear()

    def hear() -> None:
        asyncio.Event.set(store.bell._echo)
        echoes("echo")

    monkeypatch.setattr(store.bell._echo, "set", hear)

    await store.bell.listen(ear)
    await echoes.until(lambda heard: len(heard) >= 5)

    assert ear.heard == ["*"]


def test_a_payload_that_is_too_long_says_anything() -> None:
    assert bell.payload("me", ["q:a", "t"]) == "me q:a\nt"
    assert bell.payload("me", [f"f:{number:060}" for number in range(200)]) == "me *"
    assert len(bell.payload("me", ["ü" * 3_948]).encode()) <= bell.PAYLOAD_BYTES_MAX


# Errors.


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("08006", StoreUnavailable),
        ("57P01", StoreUnavailable),
        ("57P03", StoreUnavailable),
        ("57014", StoreUnavailable),
        ("53300", StoreUnavailable),
        ("55P03", StoreUnavailable),
        ("40P01", StoreUnavailable),
        ("40001", StoreUnavailable),
        ("28P01", StoreUnavailable),
        ("3D000", StoreUnavailable),
        ("26000", StoreUnavailable),
        ("58030", StoreUnavailable),
        ("25006", StoreReadOnly),
        ("42501", StoreReadOnly),
        ("53100", StoreFull),
        ("XX001", StoreCorrupt),
        ("42P01", SchemaError),
        ("3F000", SchemaError),
        ("42703", SchemaError),
        ("22021", StoreError),
        ("22003", StoreError),
        ("23514", StoreError),
        ("54000", StoreError),
    ],
)
def test_every_code_has_its_kind(code: str, kind: type[StoreError]) -> None:
    error = asyncpg.PostgresError.new({"C": code, "M": "what the server said"})

    made = translated(error)

    assert type(made) is kind
    assert "what the server said" in str(made)
    assert made.__cause__ is error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(111, "refused"), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
        (asyncpg.InterfaceError("connection is closed"), StoreUnavailable),
        (asyncpg.DataError("invalid input"), StoreError),
        (asyncpg.exceptions.ClientConfigurationError("no such sslmode"), ConfigError),
    ],
)
def test_errors_on_our_side_have_their_kind(error: Exception, kind: type[Exception]) -> None:
    assert type(translated(error)) is kind


def test_errors_of_nobody_here_stay_as_they_are() -> None:
    bug, ours = ZeroDivisionError(), SchemaError("ours")

    assert translated(bug) is bug
    assert translated(ours) is ours


@pytest.mark.parametrize("column", [{"state": "\x00"}, {"state": "\ud800"}, {"priority": 2**31}])
async def test_a_bad_value_is_the_rows_fault(store: PostgresStore, column: dict[str, Any]) -> None:
    """The runtime looks for the row only when the database itself is well."""
    for rows in ([new(**column)], [new(), new(**column)]):
        with pytest.raises(StoreError) as caught:
            await store.instances.add(rows)
        assert type(caught.value) is StoreError

    assert await store.instances.totals() == {}


def test_a_missing_driver_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asyncpg", None)

    with pytest.raises(ConfigError, match=re.escape("pip install 'outlast[postgres]'")):
        driver()


# The URL.


@pytest.mark.parametrize(
    ("url", "dsn"),
    [
        ("postgres://host/db", "postgresql://host/db"),
        ("postgresql+asyncpg://u@host/db", "postgresql://u@host/db"),
        ("postgresql+psycopg://u@host/db", "postgresql://u@host/db"),
        ("postgresql+psycopg2://u@host:5433/db", "postgresql://u@host:5433/db"),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=%2Frun%2Fpg"),
        ("postgresql://u:p@one:1,two:2/db", "postgresql://u:p@one:1,two:2/db"),
        ("postgresql://u:p@[::1]:5432/db", "postgresql://u:p@[::1]:5432/db"),
        ("postgresql://u:p@ss@host/db", "postgresql://u:p%40ss@host/db"),
        ("postgresql://u:%2F%40@host/a%20b", "postgresql://u:%2F%40@host/a%20b"),
        ("postgresql://u@%2Frun%2Fpg/db", "postgresql://u@%2Frun%2Fpg/db"),
        ("postgresql://h/d?sslmode=require&target_session_attrs=read-write", None),
        ("postgresql://h/d?keepalives=1&keepalives_idle=5&tcp_user_timeout=9", "postgresql://h/d"),
        ("postgresql://h/d?gssencmode=disable&load_balance_hosts=disable", "postgresql://h/d"),
        ("postgresql://h/d?channel_binding=prefer&client_encoding=UTF8", "postgresql://h/d"),
        ("postgresql://h/d?ssl=true", "postgresql://h/d?sslmode=require"),
        ("postgresql://h/d?ssl=verify-full", "postgresql://h/d?sslmode=verify-full"),
        ("postgresql://h/d?sslrootcert=system", "postgresql://h/d?sslmode=verify-full"),
    ],
)
def test_urls_are_made_fit(url: str, dsn: str | None) -> None:
    assert parse(url).dsn == (dsn or url)


def test_what_a_url_says_is_used() -> None:
    plain = parse("postgresql://h/d")
    assert (plain.connect_timeout_s, plain.names_itself, plain.system_roots) == (None, False, False)

    full = parse("postgresql://h/d?connect_timeout=7&application_name=shop&sslrootcert=system")
    assert (full.connect_timeout_s, full.names_itself, full.system_roots) == (7.0, True, True)
    assert parse("postgresql://h/d?connect_timeout=0").connect_timeout_s is None


def test_each_of_several_servers_can_be_asked_by_itself() -> None:
    assert parse("postgresql://h/d").servers == ()
    assert parse("postgresql://u:p@one:1,two:2/d?sslmode=require").servers == (
        "postgresql://u:p@one:1/d?sslmode=require",
        "postgresql://u:p@two:2/d?sslmode=require",
    )
    assert "secret" not in repr(parse("postgresql://u:secret@one,two/d"))


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://h/d", "begins with postgresql://"),
        ("postgresql://h/d?sslmod=require", "unknown option 'sslmod'; did you mean 'sslmode'?"),
        ("postgresql://h/d?gssencmode=require", "gssencmode=require, which is not supported"),
        ("postgresql://h/d?load_balance_hosts=random", "load_balance_hosts=random, which is not supported"),
        ("postgresql://h/d?channel_binding=maybe", "channel_binding must be one of"),
        ("postgresql://h/d?connect_timeout=soon", "connect_timeout in the Postgres URL must be whole seconds"),
        ("postgresql://h:port/d", "is not understood"),
        ("postgresql://h:5432x/d", "is not understood"),
    ],
)
def test_urls_are_refused_by_name(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        PostgresStore(Config(url=url), WORLD)


@pytest.mark.parametrize("mark", ["/", "?", "#", "?x=", "@", ":", "[", "%", "&"])
def test_no_refusal_tells_a_secret(mark: str) -> None:
    secret = f"pa{mark}ssw0rd"
    try:
        shown = parse(f"postgresql://ann:{secret}@host:5432/db").shown
    except ConfigError as error:
        shown = str(error)

    assert "ssw0rd" not in shown
    assert "ssw0rd" not in redacted(f"postgresql://ann:{secret}@host/db")


def test_a_password_among_the_options_is_hidden() -> None:
    url = "postgresql://host/db?user=ann&password=s3cret&sslpassword=k3y&sslmode=require"

    assert parse(url).shown == "postgresql://host/db?user=ann&password=***&sslpassword=***&sslmode=require"
    assert "s3cret" not in repr(parse(url))


def test_a_binding_that_cannot_be_had_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    parse("postgresql://h/d?channel_binding=require&sslmode=verify-full")
    assert not caplog.records

    parse("postgresql://h/d?channel_binding=require&sslmode=require")
    assert "channel_binding=require is not supported" in caplog.text


@pytest.mark.parametrize("split", ["postgresql:\n//", "postgresql:/\t/", "postgres\r\nql://", "postgresql://\n"])
def test_a_url_that_is_broken_over_lines_is_refused_and_shown_without_its_password(split: str) -> None:
    url = f"{split}ann:s3cret@host/db"

    with pytest.raises(ConfigError) as refusal:
        parse(url)

    assert "s3cret" not in str(refusal.value)
    assert "s3cret" not in redacted(url)
