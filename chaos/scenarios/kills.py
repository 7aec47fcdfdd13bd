"""SIGKILL of workers, in the middle of work."""

from __future__ import annotations

from typing import Final, NamedTuple

from chaos.arena import Arena, stage
from chaos.attrition import wear_down
from chaos.report import Report


class Size(NamedTuple):
    """How much of it: jobs started, kills, and the mean time between them."""

    jobs: int
    kills: int
    gap_s: float


SIZES: Final = {
    ("sqlite", "full"): Size(50_000, 500, 0.05),
    ("sqlite", "ci"): Size(2_000, 20, 0.05),
    ("postgres", "full"): Size(50_000, 200, 0.1),
    ("postgres", "ci"): Size(1_000, 10, 0.1),
}
WORKERS: Final = 6


def run(*, store: str, scale: str, seed: int, mutation: str | None = None) -> Report:
    """Kills workers and replaces them, while jobs come in as fast as workers die."""
    size = SIZES[store, scale]

    def act(arena: Arena) -> None:
        feeder = arena.feed(size.jobs, nap_s=(0.0, 0.06))
        wear_down(arena, size.jobs, workers=WORKERS, kills=size.kills, gap_s=size.gap_s, kill=_kill_a_busy_one)
        arena.finish(feeder, patience_s=120.0)

    return stage("kills", act, store=store, scale=scale, seed=seed, mutation=mutation)


def _kill_a_busy_one(arena: Arena) -> None:
    arena.kill(arena.busy()[0])
