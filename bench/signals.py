"""`signals`: parked machines, each sent a signal, all done."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from bench import children, meter
from bench.child import Stage
from bench.ends import Ends
from bench.figures import Figures
from bench.places import Database
from outlast import Await, Done, Engine, Machine, Queue, step

N = 5_000
CALLERS: Final = 500
SETTINGS = f"Queue(concurrency=100), {CALLERS} senders at once; a unit is a machine signalled and done"


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
    engine = Engine(url, queues={"default": Queue(concurrency=100)})
    ends = Ends(engine, n)
    async with engine:
        before_mb = meter.rss_mb()
        handles = await engine.start_many(Parked() for _ in range(n))
        while ends.steps < n:  # noqa: ASYNC110  # nobody tells.
            await asyncio.sleep(0.01)
        parked_mb = meter.rss_mb()
        await stage.ask()
        ends.begin()
        left = iter(handles)

        async def send() -> None:
            for handle in left:
                await engine.signal(handle, "go", 1)

        began = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(CALLERS)))
        sent_s = time.perf_counter() - began
        await ends.over.wait()
        more = {"sent_per_s": round(n / sent_s), "rss_before_mb": before_mb, "rss_parked_mb": parked_mb}
        await stage.ask(**ends.facts(n), more=more)
