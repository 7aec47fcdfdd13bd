"""`signals`: parked machines, each sent a signal, all done."""

from __future__ import annotations

from typing import Any, Final

from bench import children
from bench.child import Stage
from bench.figures import Figures
from bench.places import Database
from bench.waking import CALLERS, park_and_wake
from outlast import Await, Done, Machine, step

N = 5_000
CONCURRENCY: Final = 100
SETTINGS = f"Queue(concurrency={CONCURRENCY}), {CALLERS} senders at once; a unit is a machine signalled and done"


class Parked(Machine, name="bench.parked"):
    """Waits for a signal."""

    @step
    async def start(self, ctx: Any) -> Any:
        """Parks."""
        return Await("go", then=self.end)

    @step
    async def end(self, ctx: Any) -> Any:
        """Was woken."""
        return Done(ctx.awaited[0].payload)


def measure(database: Database, n: int) -> list[Figures]:
    """From the first signal to the last end."""
    found = children.run(database, "bench.signals:wake", n=n)
    return [Figures(workload="signals", store=database.store, n=n, **found)]


async def wake(stage: Stage, *, url: str, n: int) -> None:
    """Parks all, then sends to all."""
    await park_and_wake(stage, (Parked() for _ in range(n)), url=url, concurrency=CONCURRENCY, n=n)
