"""`hot`: one object, called by one after the other, and by many at once."""

from __future__ import annotations

from typing import Final

from bench import children
from bench.figures import Figures
from bench.places import Database

N = 20_000
CALLERS: Final = 100
SETTINGS = f"one object; {CALLERS} callers at once, or one"


def measure(database: Database, n: int) -> list[Figures]:
    """One caller, against one bare commit; many callers, who share commits."""
    few = max(1, n // 20)
    floor = children.play(database, f"bench.floor.{database.store}:inserts", n=few, rows=1)
    found = children.run(database, "bench.objects:sequential", n=few)
    alone = Figures(
        workload="hot",
        store=database.store,
        n=few,
        compared="p50_ms",
        floor=floor["p50_ms"],
        variant="sequential",
        **found,
    )
    found = children.run(database, "bench.objects:crowd", n=n, callers=CALLERS)
    return [alone, Figures(workload="hot", store=database.store, n=n, variant=f"{CALLERS} callers", **found)]
