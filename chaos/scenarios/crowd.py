"""Many engines on one SQLite file, and a neighbour who keeps its lock: contention, and no other fault."""

from __future__ import annotations

from typing import Final

from chaos.arena import Arena, stage
from chaos.faults import Fault
from chaos.report import Report

JOBS: Final = {"full": 20_000, "ci": 1_500}
PROCESSES: Final = 4
ENGINES: Final = 2
"""In each process."""
CONCURRENCY: Final = 4
"""Of each engine."""
HELD_S: Final = (0.0, 0.1)


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Nothing dies, so nothing is run twice."""

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        feeder = arena.feed(JOBS[scale], nap_s=(0.0, 0.06))
        for _ in range(PROCESSES):
            arena.hire(engines=ENGINES, concurrency=CONCURRENCY)
        arena.allow(JOBS[scale])
        arena.busy(PROCESSES)
        locker = arena.lock(HELD_S)
        arena.finish(feeder, patience_s=120.0)
        held_us = arena.watches[locker.name].look().held_us
        arena.faults += [Fault("lock", None, since_us, until_us) for since_us, until_us in held_us]
        arena.more["lock_held_s"] = round(sum(until_us - since_us for since_us, until_us in held_us) / 1e6, 1)

    return stage("crowd", act, store=store, scale=scale, seed=seed, lease_s=2.0, mutation=mutation)
