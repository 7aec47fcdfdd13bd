"""`hot`: one object, called by one after the other, and by many at once."""

from __future__ import annotations

from typing import Final

from bench import children
from bench.figures import Figures
from bench.places import Database

N = 20_000
CALLERS: Final = 100
ROUNDS: Final = 5
SETTINGS = (
    f"one object; {CALLERS} callers at once, or one; of {ROUNDS} rounds of bare commits and lone calls the middle one"
)


def measure(database: Database, n: int) -> list[Figures]:
    """One caller, against bare commits of as many changes of one row; many callers, who share commits."""
    rounds = [_alone(database, max(1, n // 20)) for _ in range(ROUNDS)]
    alone = sorted(rounds, key=lambda each: each.ratio or 0.0)[ROUNDS // 2]
    found = children.run(database, "bench.objects:crowd", n=n, callers=CALLERS)
    return [alone, Figures(workload="hot", store=database.store, n=n, variant=f"{CALLERS} callers", **found)]


def _alone(database: Database, n: int) -> Figures:
    floor = children.play(database, f"bench.floor.{database.store}:changes", n=n)
    found = children.run(database, "bench.objects:sequential", n=n)
    return Figures(
        workload="hot",
        store=database.store,
        n=n,
        compared="p50_ms",
        floor=floor["p50_ms"],
        variant="sequential",
        **found,
    )
