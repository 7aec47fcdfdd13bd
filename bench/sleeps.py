"""`sleeps`: sleeping workflows that are all due within one second."""

from __future__ import annotations

from bench import children, waits
from bench.figures import Figures
from bench.places import Database

N = 10_000
SETTINGS = (
    f"Queue(concurrency={waits.CONCURRENCY}); a unit is a workflow woken and done; late_s after the last one's time"
)


def measure(database: Database, n: int) -> list[Figures]:
    """From the first one's time to the last end."""
    found = children.run(database, "bench.waits:doze", n=n)
    return [Figures(workload="sleeps", store=database.store, n=n, **found)]
