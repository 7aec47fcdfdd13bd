"""`reads`: read-only calls of one object in memory, one after the other."""

from __future__ import annotations

from bench import children
from bench.figures import Figures
from bench.places import Database

N = 200_000
SETTINGS = "one caller, one object; a unit is a call that changes nothing"


def measure(database: Database, n: int) -> list[Figures]:
    """One caller."""
    found = children.run(database, "bench.objects:reads", n=n)
    return [Figures(workload="reads", store=database.store, n=n, **found)]
