"""`alarms`: alarms of as many objects, all due at the same moment."""

from __future__ import annotations

from bench import children
from bench.figures import Figures
from bench.places import Database

N = 100_000
SETTINGS = "all due when the engine opens; a unit is an alarm that has rung and is committed"


def measure(database: Database, n: int) -> list[Figures]:
    """From the opening of the engine to the last commit."""
    found = children.run(database, "bench.objects:ring", n=n)
    return [Figures(workload="alarms", store=database.store, n=n, **found)]
