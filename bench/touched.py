"""`touched`: stored objects called once each, when only some of them have room in memory."""

from __future__ import annotations

from bench import children
from bench.figures import Figures
from bench.objects import CALLERS, RESIDENTS
from bench.places import Database

N = 200_000
SETTINGS = f"{CALLERS} callers at once; resident_objects={RESIDENTS}; a unit is a first call, answered after its commit"


def measure(database: Database, n: int) -> list[Figures]:
    """Objects that another process has stored before."""
    children.play(database, "bench.objects:stored", n=n)
    found = children.run(database, "bench.objects:touched", n=n)
    return [Figures(workload="touched", store=database.store, n=n, **found)]
