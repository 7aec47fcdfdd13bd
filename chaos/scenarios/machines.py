"""Chains of twenty steps, while workers are killed and, now and then, frozen with outcomes in hand."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.attrition import wear_down
from chaos.report import Report
from chaos.scenarios.freezes import freeze_some


class Size(NamedTuple):
    """How much of it: chains started, kills, the mean time between them, and after how many of them some are frozen."""

    chains: int
    kills: int
    gap_s: float
    freeze_every: int


SIZES: Final = {
    ("sqlite", "full"): Size(5_000, 200, 0.1, 20),
    ("sqlite", "ci"): Size(90, 8, 0.05, 4),
    ("postgres", "full"): Size(5_000, 120, 0.15, 12),
    ("postgres", "ci"): Size(90, 6, 0.1, 3),
}
WORKERS: Final = 5
NAP_S: Final = (0.0, 0.03)
FROZEN: Final = 2


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills workers and replaces them. Every step is committed once, in order."""
    size = SIZES[store, scale]

    def act(arena: Arena) -> None:
        feeder = arena.feed(size.chains, nap_s=NAP_S, program="chain")

        def freeze_now_and_then(number: int) -> None:
            if number % size.freeze_every == 0:
                freeze_some(arena, FROZEN)

        wear_down(arena, size.chains, workers=WORKERS, kills=size.kills, gap_s=size.gap_s, after=freeze_now_and_then)
        arena.finish(feeder, patience_s=180.0)

    return stage("machines", act, store=store, scale=scale, seed=seed, mutation=mutation)
