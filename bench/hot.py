"""`hot`: one object, called by one after the other, and by many at once."""

from __future__ import annotations

from typing import Final

from bench import children
from bench.figures import Figures
from bench.places import Database

N = 20_000
CALLERS: Final = 100
SETTINGS = f"one object; {CALLERS} callers at once, or one, by turns with bare commits"


def measure(database: Database, n: int) -> list[Figures]:
    """One caller, by turns with one who changes a row and commits; many callers, who share commits."""
    few = max(1, n // 20)
    both = children.run(database, "bench.objects:sequential", n=few, store=database.store)
    both["per_s"] = None  # the time is that of both, and so is the CPU.
    alone = Figures(workload="hot", store=database.store, n=few, compared="p50_ms", variant="sequential", **both)
    found = children.run(database, "bench.objects:crowd", n=n, callers=CALLERS)
    return [alone, Figures(workload="hot", store=database.store, n=n, variant=f"{CALLERS} callers", **found)]
