"""The floor on SQLite: one connection, one thread; WAL, and every commit on the disk before it counts."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.child import Stage
from bench.floor import Change, ids
from bench.meter import Watch

BATCH = 500

_TABLES = """
CREATE TABLE IF NOT EXISTS bench_floor (
    id TEXT NOT NULL PRIMARY KEY,
    queue TEXT NOT NULL DEFAULT 'default',
    status TEXT NOT NULL DEFAULT 'ready',
    due_us INTEGER NOT NULL,
    payload TEXT NOT NULL,
    result TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS bench_floor_ready ON bench_floor (queue, due_us, id) WHERE status = 'ready';
"""
_CLAIM = """
UPDATE bench_floor SET status = 'running'
WHERE id IN (SELECT id FROM bench_floor WHERE queue = 'default' AND status = 'ready' ORDER BY due_us, id LIMIT ?)
RETURNING id, payload
"""
_COMPLETE = "UPDATE bench_floor SET status = 'done', result = 'null' WHERE id IN (SELECT value FROM json_each(?))"
_INSERT = "INSERT INTO bench_floor (id, due_us, payload) VALUES (?, ?, '{}')"
_INSERT_MANY = "INSERT INTO bench_floor (id, due_us, payload) SELECT value, ?, '{}' FROM json_each(?)"
_CHANGE = "UPDATE bench_floor SET payload = ? WHERE id = ?"


def _connect(url: str) -> sqlite3.Connection:
    connection = sqlite3.connect(Path(url.removeprefix("sqlite:///")), isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # 16 MB, as the engine has it.
    connection.execute("PRAGMA cache_size = -16000")
    connection.executescript(_TABLES)
    return connection


def _now_us() -> int:
    return time.time_ns() // 1_000


async def jobs(stage: Stage, *, url: str, n: int) -> None:
    """Claims and completes, 500 to a commit."""
    connection = _connect(url)
    connection.execute(_INSERT_MANY, [_now_us(), json.dumps(ids(n))])
    await stage.ask()
    watch = Watch()
    while rows := connection.execute(_CLAIM, [BATCH]).fetchall():
        connection.execute(_COMPLETE, [json.dumps([row[0] for row in rows])])
    await stage.ask(**watch.facts(n))
    connection.close()


async def inserts(stage: Stage, *, url: str, n: int, rows: int) -> None:
    """Inserts `n` rows, `rows` to a commit."""
    connection = _connect(url)
    keys = ids(n)
    await stage.ask()
    watch = Watch()
    for first in range(0, n, rows):
        with watch.timed():
            if rows == 1:
                connection.execute(_INSERT, [keys[first], _now_us()])
            else:
                connection.execute(_INSERT_MANY, [_now_us(), json.dumps(keys[first : first + rows])])
    await stage.ask(**watch.facts(n))
    connection.close()


@asynccontextmanager
async def one_row(url: str) -> AsyncIterator[Change]:
    """What changes one row, one commit each time; in a file of its own, for an engine hears whoever writes in its."""
    connection = _connect(url + ".floor")
    (key,) = ids(1)
    connection.execute(_INSERT, [key, _now_us()])

    async def changed(text: str) -> None:
        connection.execute(_CHANGE, [text, key])

    yield changed
    connection.close()


async def round_trips(stage: Stage, *, url: str, n: int, pauses_s: list[float]) -> None:
    """Inserts, claims and completes one row at a time, three commits each."""
    connection = _connect(url)
    keys = ids(n)
    await stage.ask()
    watch = Watch()
    for id, pause_s in zip(keys, pauses_s, strict=True):
        await asyncio.sleep(pause_s)
        with watch.timed():
            connection.execute(_INSERT, [id, _now_us()])
            rows = connection.execute(_CLAIM, [1]).fetchall()
            connection.execute(_COMPLETE, [json.dumps([rows[0][0]])])
    await stage.ask(**watch.facts(n))
    connection.close()
