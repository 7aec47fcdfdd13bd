"""Rows, claims and clocks for the store's tests, made the short way."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

from outlast._kernel.identity import scope_text
from outlast._model import Claim, NewInstance, Row, Settlement, Taken
from outlast._store.contract import Store
from outlast._world import SystemWorld

NODE = "ann"
KNOWN = ["greet@1"]
NOON_US = 1_900_000_000_000_000
"""Where a pinned clock begins, in microseconds since 1970."""


class PinnedWorld(SystemWorld):
    """The real world until `pin` stops its clock; stores must then take `now_us` for now.

    Attributes:
        now_us: Where the clock stands, or None while it runs.
    """

    now_us: int | None = None

    def pinned_us(self) -> int | None:
        return self.now_us

    def pin(self, now_us: int = NOON_US) -> int:
        """Stops the clock."""
        self.now_us = now_us
        return now_us

    def advance(self, seconds: float) -> int:
        """Moves a stopped clock."""
        assert self.now_us is not None
        return self.pin(self.now_us + round(seconds * 1_000_000))


@dataclass(frozen=True)
class Database:
    """A fresh database, and a way past the store to look at its rows.

    Attributes:
        url: Where it is.
        make: Makes a store on it, not yet open, from a world and engine options.
    """

    url: str
    make: Callable[..., Store]

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Runs one statement with `?` parameters on its own connection; `{instances}` names a table."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)) as lite:
                return lite.execute(_with_tables(text, "outlast_"), values).fetchall()
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(_with_tables(text, "outlast.").replace("?", "%s"), values)
            return found.fetchall() if found.description else []

    def run(self, script: str) -> None:
        """Runs a script of several statements."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)) as lite:
                lite.executescript(script)
        else:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(script)

    def peek(self, id: str, column: str) -> Any:
        """One column of one instance."""
        return self.query(f"SELECT {column} FROM {{instances}} WHERE id = ?", id)[0][0]

    def poke(self, id: str, **columns: Any) -> None:
        """Writes columns that no method of the contract would write."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self.query(f"UPDATE {{instances}} SET {names} WHERE id = ?", *columns.values(), id)


class Given:
    """What a test starts from."""

    def __init__(self, store: Store, world: PinnedWorld, database: Database) -> None:
        self.store = store
        self.world = world
        self.database = database

    def new(self, **columns: Any) -> NewInstance:
        """A row to add. `scope` is written as users write it."""
        if "key" in columns:
            columns["correlation_key"] = columns.pop("key")
            columns["correlation_scope"] = scope_text(columns.pop("scope", "live"))
        plain: dict[str, Any] = {
            "id": self.world.new_id(),
            "program": "greet",
            "version": 1,
            "queue": "default",
            "priority": 0,
            "step": "run",
            "state": '{"name":"Ann"}',
        }
        return NewInstance(**plain | columns)

    async def added(self, count: int = 1, **columns: Any) -> list[str]:
        """Rows in the table, as one batch; their ids."""
        rows = [self.new(**columns) for _ in range(count)]
        assert await self.store.instances.add(rows) == []
        return [row.id for row in rows]

    async def one(self, **columns: Any) -> str:
        """One row in the table; its id."""
        return (await self.added(**columns))[0]

    async def node(self, node: str = NODE, *, lease_s: float = 30.0) -> str:
        """A node that has announced itself."""
        await self.store.leases.register(node, "host", 1, lease_s)
        return node

    async def taken(
        self, limit: int = 1_000, *, node: str = NODE, queue: str = "default", grace_s: float = 5.0
    ) -> list[Claim]:
        """What a node claims now. See `take_as`."""
        return await take_as(self.store, node, limit, queue=queue, grace_s=grace_s)

    async def claimed(self, count: int = 1, *, node: str = NODE, **columns: Any) -> list[Claim]:
        """Claims of rows that were just added."""
        ids = await self.added(count, **columns)
        claims = await self.taken(count, node=node, queue=columns.get("queue", "default"))
        assert sorted(claim.id for claim in claims) == sorted(ids)
        return claims

    async def claim(self, **columns: Any) -> Claim:
        """A claim of one row that was just added."""
        return (await self.claimed(**columns))[0]

    async def ended(self, status: str = "done", *, retention_s: float | None = 60.0, **columns: Any) -> str:
        """One row that ended; its id."""
        claim = await self.claim(**columns)
        assert (await self.store.claims.commit([settlement(claim, status, retention_s=retention_s)])).stale == []
        return claim.id

    async def standing(self, status: str, **columns: Any) -> str:
        """One row in this status, whatever it is; its id."""
        match status:
            case "ready":
                return await self.one(**columns)
            case "scheduled":
                return await self.one(delay_s=3600.0, **columns)
            case "running":
                await self.node()
                return (await self.claim(**columns)).id
            case "blocked" | "waiting":
                # Written past the contract: no program of this release waits.
                id = await self.one(**columns)
                self.database.poke(id, status=status)
                return id
            case _:
                return await self.ended(status, **columns)

    async def read(self, id: str) -> Row:
        """One row that must be there."""
        row = await self.store.instances.get(id)
        assert row is not None, f"no row {id}"
        return row

    async def status(self, id: str) -> str:
        """One row's status."""
        return (await self.read(id)).status


async def take_as(
    store: Store,
    node: str,
    limit: int = 10,
    *,
    queue: str = "default",
    known: Sequence[str] = tuple(KNOWN),
    grace_s: float = 5.0,
    **more: Any,
) -> Taken:
    """What a node claims now. One that has not announced itself is there for this moment only, and then dead."""
    is_known = node in [each.id for each in await store.leases.nodes()]
    if not is_known:
        await store.leases.register(node, "host", 1, 30.0)
    claims = await store.claims.take(queue, node, list(known), limit, grace_s, **more)
    if not is_known:
        await store.leases.retire(node)
    return claims


def settlement(claim: Claim, status: str = "done", **columns: Any) -> Settlement:
    """What a claim's outcome writes."""
    plain: dict[str, Any] = {
        "result": '"hello"' if status == "done" else None,
        "error": None if status in ("done", "ready", "scheduled") else '{"type":"ValueError"}',
        "delay_s": {"ready": 0.0, "scheduled": 60.0}.get(status),
        "retention_s": None if status in ("ready", "scheduled", "quarantined") else 60.0,
    }
    if status in ("ready", "scheduled", "quarantined"):
        columns.pop("retention_s", None)
    return Settlement(claim.id, claim.epoch, status, columns.pop("attempt", claim.attempt), **plain | columns)


def ids(claims: list[Claim]) -> list[str]:
    """The ids, in order."""
    return [claim.id for claim in claims]


def _with_tables(text: str, prefix: str) -> str:
    tables = (
        "instances",
        "signals",
        "journal",
        "logs",
        "tags",
        "acts",
        "nodes",
        "queues",
        "rates",
        "buckets",
        "schedules",
        "objects",
        "alarms",
        "calls",
        "migrations",
    )
    for table in (*tables, "migrations"):
        text = text.replace("{" + table + "}", prefix + table)
    return text
