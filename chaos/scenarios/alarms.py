"""Very many alarms that are due at the same moment, while those who ring them are killed."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import Final, NamedTuple

import psycopg

from chaos.arena import Arena, stage
from chaos.cells import TYPE, Cell
from chaos.history import History, Watch
from chaos.report import Report
from chaos.scenarios.objects import LEASE_S, finish
from outlast import Engine
from outlast._model import AlarmRow

SETTER: Final = "setter"
BATCH: Final = 5_000
WORKERS: Final = 3
CALLS: Final = 4
"""That each process makes beside, so that a kill hits work."""
_SET_AT_S: Final = 1.0


class Size(NamedTuple):
    """How much of it: alarms, objects that have them, and kills."""

    alarms: int
    cells: int
    kills: int


SIZES: Final = {"full": Size(100_000, 20_000, 50), "ci": Size(2_000, 500, 4)}


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills workers while they ring. Each alarm rings, and is in the state once."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        asyncio.run(set_all(arena, size))
        began_at = time.monotonic()
        for _ in range(WORKERS):
            arena.serve(size.cells, CALLS)
        for number in range(1, size.kills + 1):
            wanted = size.alarms * (size.kills + 1 - number) // (size.kills + 1)
            arena.await_so(lambda wanted=wanted: owed(arena) <= wanted, timeout_s=60.0, what=f"{wanted} left")  # type: ignore[misc]
            arena.strike()
            arena.serve(size.cells, CALLS)
        arena.await_so(lambda: owed(arena) < 50, timeout_s=120.0, what="the last alarms")
        arena.more["alarms_per_s"] = round(size.alarms / (time.monotonic() - began_at))
        finish(arena)

    return stage("alarms", act, store=store, scale=scale, seed=seed, lease_s=LEASE_S, mutation=mutation)


async def set_all(arena: Arena, size: Size) -> None:
    """Sets the alarms, due soon, and writes them down as answered calls."""
    path = arena.folder / f"{SETTER}.history"
    history = History(path)
    arena.watches[SETTER] = Watch(SETTER, path)
    names = [(f"c{number % size.cells}", number) for number in range(1, size.alarms + 1)]
    async with Engine(arena.place.url, programs=(), queues={}) as engine:
        engine.object(Cell, "c0")
        for start in range(0, size.alarms, BATCH):
            some = names[start : start + BATCH]
            history.write_all(("ask", id, n, "arm", f"a{n}") for id, n in some)
            rows = [AlarmRow(TYPE, id, f"a{n}", f"r{n}", due_us=None, delay_s=_SET_AT_S) for id, n in some]
            await engine._store.alarms.set(rows)
            history.write_all(("told", id, n, "ok", "None") for id, n in some)


def owed(arena: Arena) -> int:
    """How many alarms have not rung; far more than there are, while the database does not say."""
    try:
        return arena.place.owed()
    except (psycopg.Error, sqlite3.Error):
        return 10**9
