"""The floor on Postgres: asyncpg, prepared statements, one connection unless said otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from bench.child import Stage
from bench.floor import Change, ids
from bench.meter import Watch

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

BATCH = 500

_TABLES = """
CREATE TABLE IF NOT EXISTS bench_floor (
    id uuid PRIMARY KEY,
    queue text NOT NULL DEFAULT 'default',
    status text NOT NULL DEFAULT 'ready',
    due_at timestamptz NOT NULL DEFAULT now(),
    payload text NOT NULL,
    result text
);
CREATE INDEX IF NOT EXISTS bench_floor_ready ON bench_floor (queue, due_at, id) WHERE status = 'ready';
"""
# The array keeps the plan from depending on a guess of how many rows there will be.
_CLAIM = """
UPDATE bench_floor SET status = 'running' WHERE id = ANY(ARRAY(
    SELECT id FROM bench_floor WHERE queue = 'default' AND status = 'ready' ORDER BY due_at, id LIMIT $1
    FOR UPDATE SKIP LOCKED))
RETURNING id, payload
"""
_COMPLETE = "UPDATE bench_floor SET status = 'done', result = 'null' WHERE id = ANY($1::uuid[])"
_INSERT = "INSERT INTO bench_floor (id, payload) VALUES ($1, $2)"
_INSERT_MANY = "INSERT INTO bench_floor (id, payload) SELECT * FROM unnest($1::uuid[], $2::text[])"
_CHANGE = "UPDATE bench_floor SET payload = $2 WHERE id = $1"
# The doorbell rings within the statement's own commit.
_SUBMIT = f"WITH row AS ({_INSERT} RETURNING id) SELECT pg_notify('bench_work', '') FROM row"
_FINISH = f"WITH row AS ({_COMPLETE} RETURNING id) SELECT pg_notify('bench_done', id::text) FROM row"


async def _connect(url: str) -> Connection:
    connection = await asyncpg.connect(url)
    await connection.execute(_TABLES)
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    return connection


async def jobs(stage: Stage, *, url: str, n: int) -> None:
    """Claims and completes, 500 to a commit."""
    connection = await _connect(url)
    keys = ids(n)
    for first in range(0, n, 1_000):
        some = keys[first : first + 1_000]
        await connection.execute(_INSERT_MANY, some, ["{}"] * len(some))
    claim, complete = await connection.prepare(_CLAIM), await connection.prepare(_COMPLETE)
    await stage.ask()
    watch = Watch()
    while rows := await claim.fetch(BATCH):
        await complete.fetch([row[0] for row in rows])
    await stage.ask(**watch.facts(n))
    await connection.close()


async def inserts(stage: Stage, *, url: str, n: int, rows: int) -> None:
    """Inserts `n` rows, `rows` to a commit."""
    connection = await _connect(url)
    insert = await connection.prepare(_INSERT if rows == 1 else _INSERT_MANY)
    keys = ids(n)
    await stage.ask()
    watch = Watch()
    for first in range(0, n, rows):
        with watch.timed():
            if rows == 1:
                await insert.fetch(keys[first], "{}")
            else:
                some = keys[first : first + rows]
                await insert.fetch(some, ["{}"] * len(some))
    await stage.ask(**watch.facts(n))
    await connection.close()


@asynccontextmanager
async def one_row(url: str) -> AsyncIterator[Change]:
    """What changes one row, one commit each time."""
    connection = await _connect(url)
    (key,) = ids(1)
    await connection.execute(_INSERT, key, "{}")
    change = await connection.prepare(_CHANGE)

    async def changed(text: str) -> None:
        await change.fetch(key, text)

    yield changed
    await connection.close()


async def round_trips(stage: Stage, *, url: str, n: int, pauses_s: list[float]) -> None:
    """Inserts, claims and completes one row at a time, three commits each."""
    connection = await _connect(url)
    insert, claim, complete = [await connection.prepare(text) for text in (_INSERT, _CLAIM, _COMPLETE)]
    keys = ids(n)
    await stage.ask()
    watch = Watch()
    for id, pause_s in zip(keys, pauses_s, strict=True):
        await asyncio.sleep(pause_s)
        with watch.timed():
            await insert.fetch(id, "{}")
            rows = await claim.fetch(1)
            await complete.fetch([rows[0][0]])
    await stage.ask(**watch.facts(n))
    await connection.close()


async def serve(stage: Stage, *, url: str) -> None:
    """The worker of `submit`: hears, claims one, completes it, rings."""
    ears, hands = await _connect(url), await _connect(url)
    claim, finish = await hands.prepare(_CLAIM), await hands.prepare(_FINISH)
    rung = asyncio.Event()
    await ears.add_listener("bench_work", lambda *_: rung.set())

    async def work() -> None:
        while True:
            await rung.wait()
            rung.clear()
            for row in await claim.fetch(1):
                await finish.fetch([row[0]])

    async with asyncio.TaskGroup() as group:
        worker = group.create_task(work())
        await stage.ask()
        worker.cancel()
    await ears.close()
    await hands.close()


async def submit(stage: Stage, *, url: str, n: int, pauses_s: list[float]) -> None:
    """Inserts a row, rings, and waits until `serve` in another process rings back."""
    ears, hands = await _connect(url), await _connect(url)
    insert = await hands.prepare(_SUBMIT)
    keys = ids(n)
    done = {id: asyncio.Event() for id in keys}

    def heard(_connection: Any, _pid: int, _channel: str, id: object) -> None:
        done[str(id)].set()

    await ears.add_listener("bench_done", heard)
    await stage.ask()
    watch = Watch()
    for id, pause_s in zip(keys, pauses_s, strict=True):
        await asyncio.sleep(pause_s)
        with watch.timed():
            await insert.fetch(id, "{}")
            await done[id].wait()
    await stage.ask(**watch.facts(n))
    await ears.close()
    await hands.close()
