"""Instances that kill the process that runs them, among many that do not."""

from __future__ import annotations

import sqlite3
import time
from typing import Final, NamedTuple

import psycopg

from chaos.arena import Arena, stage
from chaos.members import Member
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: instances started, and the share of them that kills."""

    jobs: int
    killers: float


SIZES: Final = {"full": Size(5_000, 0.02), "ci": Size(300, 0.02)}
WORKERS: Final = 5
MAX_CRASHES: Final = 5
"""As by default."""
NAP_S: Final = (0.0, 0.05)
_FULL_S: Final = 900.0
_LOOK_S: Final = 0.01


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Processes that die are replaced. Killers are quarantined after so many deaths, and nobody else is."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.options = {"max_crashes": MAX_CRASHES}
        feeder = arena.feed(size.jobs, nap_s=NAP_S, shares={"nap": 1 - size.killers, "die": size.killers})
        arena.allow(size.jobs)
        for _ in range(WORKERS):
            arena.hire()
        await_quarantined(arena, feeder)
        arena.end()
        rows = arena.place.rows()
        crashes = [row.crashes for row in rows if row.program == "die"]
        arena.said += [f"survived: {row.id} has {row.crashes} crashes" for row in rows if row.crashes > MAX_CRASHES]
        arena.more |= {"killers": len(crashes), "deaths": len(arena.faults)}
        arena.more["most crashes of a neighbour"] = max(
            (row.crashes for row in rows if row.program != "die"), default=0
        )

    return stage("killers", act, store=store, scale=scale, seed=seed, mutation=mutation)


def await_quarantined(arena: Arena, feeder: Member) -> None:
    """Replaces processes that die until all has ended, or is quarantined."""
    arena.await_exit(feeder, timeout_s=60.0)
    deadline = time.monotonic() + _FULL_S
    while not is_settled(arena):
        for _ in arena.fallen():
            arena.hire()
        if time.monotonic() > deadline:
            arena.said.append(f"stuck: there is work left after {_FULL_S:g} s")
            return
        time.sleep(_LOOK_S)
    arena.fallen()


def is_settled(arena: Arena) -> bool:
    """Whether nothing is left but what is quarantined."""
    try:
        return set(arena.place.live()) <= {"quarantined"}
    except (sqlite3.Error, psycopg.Error):
        return False
