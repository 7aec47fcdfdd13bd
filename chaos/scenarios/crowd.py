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
LOCKS_MIN: Final = {"full": 50, "ci": 10}
"""So often the neighbour has had the lock in the end, however seldom it gets it: on a busy machine, once in seconds."""
MORE: Final = 200
"""Jobs that are added when all but so many are done, and it has not had it so often."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Nothing dies, so nothing is run twice."""

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        feeder = arena.feed(None, nap_s=(0.0, 0.06))
        for _ in range(PROCESSES):
            arena.hire(engines=ENGINES, concurrency=CONCURRENCY)
        allowed = JOBS[scale]
        arena.allow(allowed)
        arena.busy(PROCESSES)
        neighbour = arena.watches[arena.lock(HELD_S).name]

        def has_met_work() -> bool:
            nonlocal allowed
            if arena.commits() > allowed - MORE:
                allowed += MORE
                arena.allow(allowed)
            return len(neighbour.look().held_us) >= LOCKS_MIN[scale]

        arena.await_so(has_met_work, timeout_s=300.0, what="the neighbour to have had the lock often enough")
        arena.allow(allowed, is_all=True)
        arena.finish(feeder, patience_s=120.0)
        held_us = neighbour.look().held_us
        arena.faults += [Fault("lock", None, since_us, until_us) for since_us, until_us in held_us]
        arena.more["lock_held_s"] = round(sum(until_us - since_us for since_us, until_us in held_us) / 1e6, 1)

    return stage("crowd", act, store=store, scale=scale, seed=seed, lease_s=2.0, mutation=mutation)
