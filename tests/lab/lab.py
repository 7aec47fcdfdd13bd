"""A database in which the same scene can be played again and again, and which keeps a history of its rows."""

import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import asyncpg

from outlast._store.postgres.store import PostgresStore
from outlast.config import make_config
from tests.lab.stepping import Actor, Driver, Operation
from tests.store.given import Database, Given, PinnedWorld

NODES = ("bob", "cyd", "dan")
"""Whom the actors speak for. Scenes are made by another node."""
TABLES = (
    "instances",
    "signals",
    "journal",
    "logs",
    "tags",
    "acts",
    "nodes",
    "queues",
    "gates",
    "rates",
    "buckets",
    "schedules",
    "objects",
    "alarms",
    "calls",
)
_LOCKED = {
    "instances": ("id",),
    "objects": ("type", "id"),
    "alarms": ("type", "id", "name"),
    "calls": ("call",),
    "buckets": ("rate_limit",),
    "schedules": ("name",),
}
"""Tables whose rows several operations lock, with their keys."""
_WATCHED = ("instances", "objects", "schedules")
_PLAYS_BETWEEN_VACUUMS = 300

# History is kept by triggers: in the transaction of the change, so that only what was committed is in it. What the lab
# itself does is left out. Of an object whose owner changes it says whether the former owner's node lived.
_HISTORY = """
CREATE TABLE lab.history (number bigserial, what text, who text, alive boolean, before jsonb, after jsonb);
CREATE FUNCTION lab.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lab.history (what, who, alive, before, after) VALUES (
        TG_TABLE_NAME, split_part(current_setting('application_name'), ' ', 2),
        EXISTS (SELECT 1 FROM outlast.nodes WHERE id = to_jsonb(OLD) ->> 'node'), to_jsonb(OLD), to_jsonb(NEW));
    RETURN NULL;
END $$;
"""


class Hold(NamedTuple):
    """How the lock of one row is taken."""

    statement: str
    values: tuple[str, ...]


def holds(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Hold]:
    """Rows that operations may have to wait for."""
    found: list[Hold] = []
    for table, key in _LOCKED.items():
        fits = " AND ".join(f"{name}::text = ${n}" for n, name in enumerate(key, 1))
        text = f"SELECT 1 FROM outlast.{table} WHERE {fits} FOR NO KEY UPDATE"
        found += [Hold(text, tuple(row[name] for name in key)) for row in rows[table]]
    return found


class Lab:
    """The actors, the driver, and the rows of a scene.

    Attributes:
        actors: Those who act, each with a store of their own.
        driver: Steps them.
        given: Makes rows, through the first actor's store.
        world: The clock, pinned; the same for all.
    """

    def __init__(self, url: str, world: PinnedWorld, actors: list[Actor], connection: Any) -> None:
        self.actors = actors
        self.driver = Driver(connection)
        self.world = world
        self.given = Given(actors[0].store, world, Database(url, lambda *_: actors[0].store))
        self._connection = connection
        self._plays = 0

    async def clear(self) -> None:
        """Deletes all rows."""
        await self._connection.execute("SELECT lab.clear()")

    async def save(self) -> None:
        """Remembers all rows as they are."""
        await self._connection.execute("SELECT lab.save()")

    async def restore(self) -> None:
        """All rows as they were saved; no history."""
        self._plays += 1
        self.world.dice.seed(1)  # a play that is repeated throws the same.
        if self._plays % _PLAYS_BETWEEN_VACUUMS == 0:
            await self._connection.execute("VACUUM")
        await self._connection.execute("SELECT lab.restore()")

    async def rows(self) -> dict[str, list[dict[str, Any]]]:
        """All rows by table; `history`, what has been changed since; `saved_gates` and `saved_nodes`, as they were."""
        found: dict[str, Any] = json.loads(await self._connection.fetchval("SELECT lab.rows()"))
        return {name: rows or [] for name, rows in found.items()}

    def holding(self, hold: "Hold") -> Operation:
        """What an actor does to hold a row's lock until it is told to let go."""

        async def hold_it(who: Actor) -> None:
            async def lock(connection: Any) -> None:
                await connection.fetch(hold.statement, *hold.values)

            await who.store._links.engine.transact(lock)

        return hold_it

    async def drop_index(self, name: str) -> str:
        """Drops an index. Returns the statement that makes it again."""
        made: str = await self._connection.fetchval("SELECT pg_get_indexdef($1::regclass)", f'outlast."{name}"')
        await self._connection.execute(f'DROP INDEX outlast."{name}"')
        return made

    async def make_index(self, statement: str) -> None:
        """Makes an index."""
        await self._connection.execute(statement)


@asynccontextmanager
async def open_lab(url: str) -> AsyncIterator[Lab]:
    """A lab in a fresh database."""
    world = PinnedWorld()
    world.dice = random.Random(1)
    world.pin()
    async with AsyncExitStack() as stack:
        first = _store(url, world, "lab")
        await first.schema.migrate()
        await first.close()
        connection = await asyncpg.connect(url, server_settings={"application_name": "lab lab"})
        stack.push_async_callback(connection.close)
        await _furnish(connection)
        actors = []
        for number, node in enumerate(NODES):
            actor = Actor(number, node, _store(url, world, node))
            stack.push_async_callback(actor.store.close)
            await actor.store.open()
            actors.append(actor)
        yield Lab(url, world, actors, connection)


def _store(url: str, world: PinnedWorld, name: str) -> PostgresStore:
    return PostgresStore(make_config(url, {"name": name, "doorbell": "local"}), world)


async def _furnish(connection: Any) -> None:
    """Tables for what is saved, and what is done with all tables at once."""
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"ALTER DATABASE {database} SET deadlock_timeout = '10ms'; CREATE SCHEMA lab;{_HISTORY}")
    for name in TABLES:
        await connection.execute(
            f"CREATE TABLE lab.{name} (LIKE outlast.{name}); ALTER TABLE outlast.{name} SET (autovacuum_enabled = off)"
        )
    for name in _WATCHED:
        await connection.execute(
            f"CREATE TRIGGER noted AFTER UPDATE ON outlast.{name} FOR EACH ROW"
            " WHEN (current_setting('application_name') <> 'lab lab') EXECUTE FUNCTION lab.note()"
        )
    clear = "".join(f"DELETE FROM outlast.{name};" for name in TABLES) + "DELETE FROM lab.history;"
    save = "".join(f"DELETE FROM lab.{name}; INSERT INTO lab.{name} SELECT * FROM outlast.{name};" for name in TABLES)
    restore = clear + "".join(f"INSERT INTO outlast.{name} SELECT * FROM lab.{name};" for name in TABLES)
    for name, body in (("clear", clear), ("save", save), ("restore", restore)):
        await connection.execute(
            f"CREATE FUNCTION lab.{name}() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        )
    parts = [f"'{name}', (SELECT json_agg(t) FROM outlast.{name} AS t)" for name in TABLES]
    parts.append("'history', (SELECT json_agg(h ORDER BY h.number) FROM lab.history AS h)")
    parts += [f"'saved_{name}', (SELECT json_agg(t) FROM lab.{name} AS t)" for name in ("gates", "nodes")]
    await connection.execute(
        f"CREATE FUNCTION lab.rows() RETURNS json LANGUAGE sql AS $$ SELECT json_build_object({', '.join(parts)}) $$"
    )
