"""`remote`: calls of objects that another process owns."""

from __future__ import annotations

from typing import Final

from bench.figures import Figures
from bench.objects import play_away
from bench.places import Database

N = 10_000
CALLERS: Final = 100
SETTINGS = f"two processes, 100 objects; one caller with pauses of 5 ms, or {CALLERS} callers without"


def measure(database: Database, n: int) -> list[Figures]:
    """One call at a time, in between nothing happens; many at once."""
    few = max(1, n // 20)
    idle = play_away(database, n=few, callers=1, pause_s=0.005)
    busy = play_away(database, n=n, callers=CALLERS, pause_s=0.0)
    return [
        Figures(workload="remote", store=database.store, n=few, variant="idle", **(idle | {"per_s": None})),
        Figures(workload="remote", store=database.store, n=n, variant=f"{CALLERS} callers", **busy),
    ]
