"""Steps with concurrency keys, while workers are killed in the middle of them."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.pace import peaks
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: jobs started, kills, and the mean time between them."""

    jobs: int
    kills: int
    gap_s: float


SIZES: Final = {"full": Size(10_000, 80, 0.4), "ci": Size(440, 5, 0.1)}
SLOTS: Final = {"k1": 1, "k2": 2, "k3": 3, "k10": 10, "k64": 64}
SHARES: Final = {"k1": 1.0, "k2": 1.5, "k3/a": 1.5, "k3/b": 1.5, "k10": 4.0, "k64": 8.0}
"""Keys, two of them partitions of one name, and how often each is chosen."""
WORKERS: Final = 4
LEASE_S: Final = 0.5
CONCURRENCY: Final = 30
"""Of each worker: together more than the widest key lets through."""
NAP_S: Final = (0.02, 0.1)


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills workers and replaces them. Of a key never more steps run at once than it has slots."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        arena.slots = SLOTS
        arena.options = {"concurrency_limits": SLOTS}
        feeder = arena.feed(size.jobs, nap_s=NAP_S, keys=SHARES)
        for _ in range(WORKERS):
            arena.hire(concurrency=CONCURRENCY)
        for number in range(size.kills):
            arena.allow(size.jobs * (size.kills + number + 1) // (2 * size.kills))  # half of them at once.
            arena.wait(size.gap_s)
            arena.strike()
            arena.hire(concurrency=CONCURRENCY)
        arena.finish(feeder, patience_s=300.0 if scale == "full" else 180.0)
        most = peaks(arena.evidence())
        arena.more["most at once"] = ", ".join(f"{key} {most[key][0]}" for key in sorted(most))

    return stage("keys", act, store=store, scale=scale, seed=seed, lease_s=LEASE_S, mutation=mutation)
