"""Workflows with branches, waits, children and failures, while workers are killed."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.attrition import wear_down
from chaos.evidence import Evidence
from chaos.report import Report
from chaos.trips import UNDO


class Size(NamedTuple):
    """How much of it: trips started, kills, and the mean time between them."""

    trips: int
    kills: int
    gap_s: float


SIZES: Final = {
    ("sqlite", "full"): Size(5_000, 500, 0.1),
    ("sqlite", "ci"): Size(80, 8, 0.1),
    ("postgres", "full"): Size(5_000, 500, 0.1),
    ("postgres", "ci"): Size(80, 8, 0.1),
}
WORKERS: Final = 5
NAP_S: Final = (0.0, 0.03)


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills workers and replaces them. Each step is recorded once, and what has failed is undone once."""
    size = SIZES[store, scale]

    def act(arena: Arena) -> None:
        feeder = arena.feed(size.trips, nap_s=NAP_S, program="trip")
        wear_down(arena, size.trips, workers=WORKERS, kills=size.kills, gap_s=size.gap_s)
        arena.finish(feeder, patience_s=300.0 if scale == "full" else 120.0)
        arena.more["undone"] = _undone(arena.evidence())

    return stage("workflows", act, store=store, scale=scale, seed=seed, mutation=mutation)


def _undone(evidence: Evidence) -> str:
    """How many trips were undone, and how many of them went on with it in another claim than that which began it."""
    trips = sum(row.status == "compensated" for row in evidence.rows.values())
    claims = [
        {mark.epoch for _, mark in marks if mark.word == "begin" and mark.key.startswith(UNDO)}
        for marks in evidence.marks().values()
    ]
    return f"{trips:,} trips, {sum(len(found) > 1 for found in claims):,} of them in several claims"
