"""Steps that hold the interpreter's lock for three leases, and until others have taken over: their process gives no
sign of life, and is not dead."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.faults import Fault
from chaos.history import Watch
from chaos.programs import HOARD_MAX_S, let_go
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: jobs started, and how many of them hold the lock, in turns."""

    jobs: int
    hoards: int


SIZES: Final = {"full": Size(2_000, 50), "ci": Size(100, 3)}
LEASES: Final = 3.0
WORKERS: Final = 3
CONCURRENCY: Final = 5
HOARD_US: Final = 600_000
"""What runs for so long is one."""
AT_ONCE: Final = 1
"""The next one is started when so many are left that have not been run to their end, by whomever."""


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Others take over what such a process holds. Nothing is committed twice, and nothing late."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        hoard_s = arena.lease_s * LEASES
        feeder = arena.feed(size.jobs, nap_s=(0.0, 0.05))
        hoarder = arena.feed(size.hoards, nap_s=(hoard_s, hoard_s * 1.1), program="hoard", purse="hoards")
        watcher = arena.hire(queues={"idle": 1})  # its reaper always watches.
        arena.await_beat(watcher)
        for _ in range(WORKERS):
            arena.hire(concurrency=CONCURRENCY)
        for number in range(1, size.hoards + 1):
            arena.allow(size.jobs * number // size.hoards)
            arena.allow(number, purse="hoards")
            arena.await_so(
                lambda number=number: over(arena) >= number,  # type: ignore[misc]
                timeout_s=HOARD_MAX_S,
                what=f"another run of hoard {number}",
            )
            let_go(arena.folder, number - 1).touch()
        arena.await_exit(hoarder, timeout_s=30.0)
        arena.finish(feeder, patience_s=60.0, watcher=watcher)
        ids = hoarding(arena)
        for watch in arena.watches.values():
            arena.faults += hoards(watch, ids)

    return stage("hoarders", act, store=store, scale=scale, seed=seed, mutation=mutation)


def hoarding(arena: Arena) -> set[str]:
    """The instances that hold the lock."""
    starts = [start for watch in arena.watches.values() for start in watch.look().starts.items()]
    return {id for id, (name, _) in starts if name == "hoard"}


def over(arena: Arena) -> int:
    """How many of them have ended, in whatever claim."""
    return len(hoarding(arena) & {id for watch in arena.watches.values() for id, _ in watch.look().ends})


def hoards(watch: Watch, ids: set[str]) -> list[Fault]:
    """The times that one process stood still."""
    story = watch.look()
    return [
        Fault("hoard", story.name, began_us, story.ends[claim])
        for claim, began_us in story.runs.items()
        if claim[0] in ids and claim in story.ends and story.ends[claim] - began_us > HOARD_US
    ]
