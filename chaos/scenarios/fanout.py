"""One parent with many children; workers are killed while these run."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.faults import is_effective
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: children, and workers killed while they run."""

    children: int
    kills: int


SIZES: Final = {"full": Size(20_000, 20), "ci": Size(400, 3)}
WORKERS: Final = 3
NAP_S: Final = 0.1


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills a worker each time that some more children have ended. Each counts once, and the parent wakes once."""
    size = SIZES[scale]

    def act(arena: Arena) -> None:
        feeder = arena.feed(1, nap_s=(NAP_S, NAP_S), program="family", size=size.children)
        arena.allow(1)
        for _ in range(WORKERS):
            arena.hire()
        for number in range(1, size.kills + 1):
            arena.await_commits(size.children * number // (size.kills + 2), patience_s=60.0)
            arena.strike()
            arena.hire()
        arena.finish(feeder, patience_s=180.0)
        stories = {name: watch.look() for name, watch in arena.watches.items()}
        arena.more["kills while children ran"] = sum(is_effective(fault, stories) for fault in arena.faults)

    return stage("fanout", act, store=store, scale=scale, seed=seed, mutation=mutation)
