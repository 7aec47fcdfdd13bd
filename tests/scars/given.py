"""Shared by the scars: sessions that are in the way, statements that break off, and rows of limits."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from harness.waiting import eventually_async
from outlast._model import Claim, NewInstance, Taken
from outlast._store.contract import Store
from tests.engine.given import own_connection
from tests.store.given import Given, settlement, take_as

only_postgres = pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
"""For what cannot be on SQLite, where one transaction writes at a time."""

LIVING = "b"
"""A node that has announced itself, unlike `DEAD`."""
DEAD = "a"


@contextmanager
def breaking_off(noun: Any, name: str) -> Iterator[None]:
    """Within it, transactions of a store's noun break off at this statement."""
    desk = noun._desk
    sql = desk.sql
    broken = replace(sql[name], text="SELECT 1 FROM nowhere", numbered="SELECT 1 FROM nowhere", parameters=())
    desk.sql = {**sql, name: broken}
    try:
        yield
    finally:
        desk.sql = sql


@contextmanager
def changing(given: Given, change: str, *values: Any) -> Iterator[Any]:
    """Somebody else's open transaction, which has changed instances: `SET ... WHERE ...` with `?` parameters.

    Gives its connection, to commit on; else it is rolled back.
    """
    is_sqlite = given.database.url.startswith("sqlite")
    table = "outlast_instances" if is_sqlite else "outlast.instances"
    text = f"UPDATE {table} {change}"
    with own_connection(given.database.url) as connection:
        connection.execute(text if is_sqlite else text.replace("?", "%s"), values)
        yield connection


async def waits_for_lock(watcher: asyncpg.Connection) -> None:
    """Waits until a statement of the database waits for a lock."""
    found = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await eventually_async(
        lambda: watcher.fetchval(f"SELECT EXISTS ({found})"), what="a statement that waits", poll=0.005
    )


async def a_while() -> None:
    """Lets what was begun get as far as it gets: on the loop, and on the one thread that SQLite has."""
    for _ in range(20):
        await asyncio.sleep(0.001)


def rows_of(given: Given) -> list[Any]:
    """All that instances, signals and journal hold."""
    return [
        given.database.query(f"SELECT * FROM {{{table}}} ORDER BY 1") for table in ("instances", "signals", "journal")
    ]


async def reclaimed(given: Given, node: str = LIVING) -> Claim:
    """The one claim of a dead node, taken over by a living one."""
    assert (await given.store.leases.reclaim(10, 99)).returned == 1
    await given.node(node)
    (again,) = await given.taken(node=node)
    return again


async def admitted(store: Store, *rows: NewInstance) -> None:
    """Rows in the table, and those with a limit at their gate, which is open as far as there is room."""
    assert await store.instances.add(rows) == []
    await promote(store)


async def promote(store: Store) -> None:
    """Admits what is due."""
    while (await store.timers.promote(1_000)).promoted:
        pass


async def take(store: Store, limit: int = 10, *, node: str = "n") -> Taken:
    """What a node claims now."""
    return await take_as(store, node, limit)


async def end(store: Store, claim: Claim) -> None:
    """Ends a claim and opens the gate of its key, as the committer does."""
    assert (await store.claims.commit([settlement(claim)])).stale == []
    await store.limits.open([f"k:{claim.concurrency_key}"])


def running(given: Given) -> int:
    """How many instances run."""
    return int(given.database.query("SELECT count(*) FROM {instances} WHERE status = 'running'")[0][0])
