"""Steps that block the event loop for three leases, while other processes' reapers watch."""

from __future__ import annotations

from typing import Final

from chaos.arena import Arena, stage
from chaos.faults import Fault
from chaos.history import Watch
from chaos.report import Report

LEASES: Final = 3.0
BLOCKS: Final = {"full": 40, "ci": 6}
WORKERS: Final = 3
AT_ONCE: Final = 2
"""Blocking jobs that a worker takes together: the second begins when the first is done, so the loop is blocked on."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Each worker blocks itself again and again; none may lose a claim."""

    def act(arena: Arena) -> None:
        arena.crashes_may_count = False
        block_s = arena.lease_s * LEASES
        feeder = arena.feed(BLOCKS[scale], nap_s=(block_s, block_s * 1.1), program="block")
        watcher = arena.hire(queues={"idle": 1})  # its loop is never blocked, so its reaper always watches.
        arena.await_beat(watcher)
        for _ in range(WORKERS):
            arena.hire(concurrency=AT_ONCE)
        arena.allow(BLOCKS[scale])
        patience_s = BLOCKS[scale] * block_s * 1.2 + 20.0
        arena.finish(feeder, patience_s=patience_s, watcher=watcher)
        for watch in arena.watches.values():
            arena.faults += blocks(watch)

    return stage("blocked", act, store=store, scale=scale, seed=seed, mutation=mutation)


def blocks(watch: Watch) -> list[Fault]:
    """The blocked times of one process."""
    story = watch.look()
    times = [(began_us, story.ends[claim]) for claim, began_us in story.runs.items() if claim in story.ends]
    return [Fault("block", story.name, began_us, ended_us) for began_us, ended_us in times]
